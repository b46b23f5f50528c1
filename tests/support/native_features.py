"""Features that kaldi-native-fbank computes, which sherpa-onnx uses."""

from __future__ import annotations

import numpy as np
import pytest

from asr_hlg.acoustic.filter_banks import FilterOptions


def native_features(samples: np.ndarray, sample_rate: int, options: FilterOptions) -> np.ndarray:
    """Features ``(num_frames, dim)`` of one utterance; the test is skipped without the package."""
    knf = pytest.importorskip("kaldi_native_fbank")
    config = knf.MfccOptions() if options.num_ceps else knf.FbankOptions()
    frame = config.frame_opts
    frame.samp_freq = sample_rate
    frame.dither = 0
    frame.frame_length_ms = 1000 * options.frame_length
    frame.frame_shift_ms = 1000 * options.frame_shift
    frame.window_type = options.window
    frame.preemph_coeff = options.preemphasis
    frame.remove_dc_offset = options.subtract_mean
    frame.round_to_power_of_two = options.power_of_two
    frame.snip_edges = options.snip_edges
    mel = config.mel_opts
    mel.num_bins = options.num_filters
    mel.low_freq = options.low_freq
    mel.high_freq = options.high_freq
    mel.is_librosa = options.mel == "slaney"
    if options.num_ceps:
        config.num_ceps, config.use_energy = options.num_ceps, False
    elif options.guard:
        config.use_log_fbank = False
    computer = (knf.OnlineMfcc if options.num_ceps else knf.OnlineFbank)(config)
    computer.accept_waveform(sample_rate, (samples * np.float32(options.scale)).tolist())
    computer.input_finished()
    rows = np.stack([computer.get_frame(k) for k in range(computer.num_frames_ready)])
    return np.log(rows + np.float32(options.guard)) if options.guard else rows
