"""The kinds of exported CTC networks: tensors, metadata, features.  docs/models.md has the table.

Each kind is a function from an opened network and the file of its tokens to an
:class:`~asr_hlg.acoustic.exported.model.Exported`.  Tensor names, metadata keys and features are
those of the exporting scripts of sherpa-onnx and icefall, and of sherpa-onnx's own front ends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from asr_hlg.acoustic.config import SAMPLE_RATES
from asr_hlg.acoustic.exported.chunks import ChunkSizes, StreamingNetwork
from asr_hlg.acoustic.exported.model import Exported, FrontEnd
from asr_hlg.acoustic.exported.network import OnnxNetwork
from asr_hlg.acoustic.filter_banks import (
    FilterOptions,
    Floats,
    normalised_per_feature,
    normalised_waveform,
    shifted_and_scaled,
    stacked,
)
from asr_hlg.errors import ModelError
from asr_hlg.lexicon.token_files import read_tokens

Kind = Callable[[OnnxNetwork, Path], Exported]

_SHIFT = 0.01  # seconds from one frame of features to the next
_FACTORS = range(1, 65)  # frames of features for one of the output, or side by side
_CHUNKS = range(1, 10_001)  # frames of features of a chunk

ICEFALL = FilterOptions()
WENET = FilterOptions(scale=32768.0)
NEMO = FilterOptions(
    window="hann", mel="slaney", low_freq=0.0, high_freq=0.0, subtract_mean=False, guard=2.0**-24
)
GIGAAM = FilterOptions(
    num_filters=64,
    window="hann",
    low_freq=0.0,
    high_freq=8000.0,
    subtract_mean=False,
    preemphasis=0.0,
    power_of_two=False,
)
SENSE_VOICE = FilterOptions(window="hamming", high_freq=0.0, snip_edges=True)
TELESPEECH = FilterOptions(
    num_filters=40, num_ceps=40, low_freq=40.0, high_freq=-200.0, snip_edges=True, scale=32768.0
)


def icefall(network: OnnxNetwork, tokens: Path) -> Exported:
    """Zipformer or Conformer of icefall: ``x`` and ``x_lens`` to ``log_probs``."""
    factor = network.integer("subsampling_factor", 4, _FACTORS)
    return _time_first("icefall", network, tokens, FrontEnd(ICEFALL), factor)


def wenet(network: OnnxNetwork, tokens: Path) -> Exported:
    """WeNet: ``x`` and ``x_lens`` to ``log_probs``, samples as 16-bit numbers."""
    if "attn_mask" in network.inputs:
        raise ModelError(
            "is a streaming model of WeNet, which is not opened",
            path=network.path,
            remedy="export it with scripts/wenet/export-onnx.py of sherpa-onnx, not streaming",
        )
    factor = network.integer("subsampling_factor", within=_FACTORS)
    return _time_first("wenet", network, tokens, FrontEnd(WENET), factor)


def nemo(network: OnnxNetwork, tokens: Path) -> Exported:
    """NeMo: ``audio_signal`` ``(1, dim, frames)`` and ``length`` to ``logprobs``, blank last."""
    metadata = network.metadata
    is_gigaam = metadata.get("is_giga_am") == "1"
    normalise = metadata.get("normalize_type", "" if is_gigaam else "per_feature")
    if normalise not in ("", "NA", "per_feature"):
        raise ModelError(f"normalize_type {normalise!r} is not known", path=network.path)
    front_end = FrontEnd(
        GIGAAM if is_gigaam else NEMO,
        (normalised_per_feature,) if normalise == "per_feature" else (),
    )
    table = read_tokens(tokens, network.num_outputs)
    if "cache_last_channel" in network.inputs:
        return _streaming_nemo(network, tokens, FrontEnd(front_end.filters, ()))

    def run(features: Floats) -> Any:
        return network.run([features.T[None], [len(features)]])[0][0]

    factor = network.integer("subsampling_factor", 0, _FACTORS) or _measured(run, front_end)
    return Exported("nemo", network.path, table, front_end, run, factor * _SHIFT)


def sense_voice(network: OnnxNetwork, tokens: Path) -> Exported:
    """SenseVoice: seven frames side by side; language and written form are inputs.

    The first four outputs are language, emotion, event and written form, and no sound.
    """
    if "Nano" in network.metadata.get("comment", ""):
        raise ModelError("is a Fun-ASR-Nano model, which is not opened", path=network.path)
    window, shift = (
        network.integer(f"lfr_window_{name}", within=_FACTORS) for name in ("size", "shift")
    )
    scale = 1.0 if network.integer("normalize_samples") else 32768.0
    options = FilterOptions(**{**vars(SENSE_VOICE), "scale": scale})
    dim = window * options.num_filters
    moments = (network.numbers(name, dim) for name in ("neg_mean", "inv_stddev"))
    front_end = FrontEnd(
        options, (partial(stacked, window=window, shift=shift), shifted_and_scaled(*moments))
    )
    language, form = network.integer("lang_auto"), network.integer("without_itn")

    def run(features: Floats) -> Any:
        return network.run([features[None], [len(features)], [language], [form]])[0][0][4:]

    table = read_tokens(tokens, _num_outputs(network), blank=network.integer("blank_id", 0))
    return Exported("sense_voice", network.path, table, front_end, run, shift * _SHIFT)


def telespeech(network: OnnxNetwork, tokens: Path) -> Exported:
    """TeleSpeech: MFCCs ``(1, frames, 40)`` to logits ``(frames, 1, outputs)``."""
    front_end = FrontEnd(TELESPEECH, (normalised_per_feature,))

    def run(features: Floats) -> Any:
        return network.run([features[None]])[0][:, 0]

    table = read_tokens(tokens, network.num_outputs)
    factor = network.integer("subsampling_factor", 4, _FACTORS)
    return Exported("telespeech", network.path, table, front_end, run, factor * _SHIFT)


def omnilingual(network: OnnxNetwork, tokens: Path) -> Exported:
    """Omnilingual ASR, a wav2vec 2.0: normalised samples ``(1, n)`` to ``logits``; blank is 0."""
    return _of_waveforms("omnilingual", network, tokens, 1e-5, blank=0)


def wav2vec2(network: OnnxNetwork, tokens: Path) -> Exported:
    """wav2vec 2.0 with tokens.txt: ``input_values`` ``(1, n)``, normalised, to ``logits``."""
    return _of_waveforms("wav2vec2", network, tokens, 1e-7)


def streaming_zipformer(network: OnnxNetwork, tokens: Path) -> Exported:
    """Streaming Zipformer of icefall: ``x`` and the states of its layers to ``log_probs``."""
    if network.metadata.get("feature") == "whisper":
        raise ModelError("takes Whisper's features, and is not opened", path=network.path)
    states = {name: network.zeros(name) for name in network.inputs[1:]}
    streaming = StreamingNetwork(
        network,
        states,
        {name: f"new_{name}" for name in states},
        _chunk_sizes(network, "T", "decode_chunk_len"),
        4,
    )
    table = read_tokens(tokens, network.num_outputs)
    return Exported(
        "streaming zipformer", network.path, table, FrontEnd(ICEFALL), streaming, 4 * _SHIFT
    )


def _chunk_sizes(network: OnnxNetwork, length: str, shift: str) -> ChunkSizes:
    """Sizes of chunks that metadata with these keys give."""
    return ChunkSizes(*(network.integer(key, within=_CHUNKS) for key in (length, shift)))


def _streaming_nemo(network: OnnxNetwork, tokens: Path, front_end: FrontEnd) -> Exported:
    """Cache-aware FastConformer of NeMo: a window of frames and three caches."""
    states: dict[str, Any] = {
        f"cache_last_{name}": network.zeros_of(
            [1, *(network.integer(f"cache_last_{name}_dim{k}") for k in (1, 2, 3))],
            f"cache_last_{name}",
        )
        for name in ("channel", "time")
    }
    states["cache_last_channel_len"] = np.zeros(1, np.int64)
    factor = network.integer("subsampling_factor", within=_FACTORS)
    streaming = StreamingNetwork(
        network,
        states,
        dict(zip(states, network.outputs[2:], strict=False)),
        _chunk_sizes(network, "window_size", "chunk_shift"),
        factor,
        channels_first=True,
    )
    table = read_tokens(tokens, network.num_outputs)
    return Exported("nemo", network.path, table, front_end, streaming, factor * _SHIFT)


def _of_waveforms(
    kind: str, network: OnnxNetwork, tokens: Path, epsilon: float, blank: int | None = None
) -> Exported:
    """Model that takes samples ``(1, n)``, and gives a frame every 20 ms."""
    rate = network.integer("sample_rate", 16000, SAMPLE_RATES)

    def run(samples: Floats) -> Any:
        arrays: dict[str, Any] = {network.inputs[0]: samples[None]}
        if "attention_mask" in network.inputs:
            arrays["attention_mask"] = [[1] * len(samples)]
        return network.run(arrays)[0][0]

    table = read_tokens(tokens, _num_outputs(network), blank)
    front_end = FrontEnd(None, (normalised_waveform(epsilon),), rate)
    return Exported(kind, network.path, table, front_end, run, 0.02)


def _time_first(
    kind: str, network: OnnxNetwork, tokens: Path, front_end: FrontEnd, factor: int
) -> Exported:
    """Model whose inputs are features ``(1, frames, dim)`` and their number."""

    def run(features: Floats) -> Any:
        scores, *lengths = network.run([features[None], [len(features)]])
        return scores[0][: int(lengths[0][0])] if lengths else scores[0]

    table = read_tokens(tokens, _num_outputs(network))
    return Exported(kind, network.path, table, front_end, run, factor * _SHIFT)


def _num_outputs(network: OnnxNetwork) -> int | None:
    """Outputs of a network, by its shape or its metadata; None where neither states it."""
    return network.num_outputs or network.integer("vocab_size", 0) or None


def _measured(run: Callable[[Floats], Any], front_end: FrontEnd) -> int:
    """Subsampling factor of a network, measured on four seconds of zeros."""
    assert front_end.filters is not None
    frames = 400
    outputs = len(run(np.zeros((frames, front_end.filters.num_filters), np.float32)))
    return max(1, round(frames / max(1, outputs)))


OPENED: dict[str, Kind] = {
    "zipformer2_ctc": icefall,
    "conformer_ctc": icefall,
    "zipformer2": streaming_zipformer,
    "EncDecCTCModel": nemo,
    "EncDecCTCModelBPE": nemo,
    "EncDecHybridRNNTCTCBPEModel": nemo,
    "wenet_ctc": wenet,
    "sense_voice_ctc": sense_voice,
    "telespeech_ctc": telespeech,
    "omnilingual-asr": omnilingual,
}
"""Kinds by the ``model_type`` of their metadata."""

REFUSED = {
    "paraformer": "a Paraformer, which gives a word sequence and no frame posteriors",
    "dolphin": "a Dolphin model, which is not opened",
    "medasr_ctc": "a MedASR model, which is not opened",
    "fire-red-asr-2-ctc": "a FireRedASR model, which is not opened",
    "tdnn": "the TDNN of icefall's yesno recipe, which is not opened",
    "EncDecRNNTBPEModel": "a transducer of NeMo; only CTC models give frame posteriors",
    "conformer": "the encoder of a transducer; only CTC models give frame posteriors",
    "zipformer": "the encoder of a transducer; only CTC models give frame posteriors",
    "lstm": "the encoder of a transducer; only CTC models give frame posteriors",
}
"""Reasons by the ``model_type`` of models that cannot serve here."""


def kind_of(network: OnnxNetwork) -> Kind:
    """The kind of a network, by its metadata or, without them, by the names of its inputs.

    Raises
    ------
    ModelError
        If it is of no kind that is opened.
    """
    model_type = network.metadata.get("model_type", "")
    inputs, outputs = network.inputs, network.outputs
    if "encoder_out" in outputs or any(name.startswith("encoder_output") for name in outputs):
        raise _refused(
            network, "the encoder of a transducer; only CTC models give frame posteriors"
        )
    if model_type in OPENED:
        return OPENED[model_type]
    if model_type in REFUSED:
        raise _refused(network, REFUSED[model_type])
    if inputs[:2] == ["audio_signal", "length"]:
        return nemo
    if inputs[:1] == ["input_values"]:
        return wav2vec2
    if inputs[:2] == ["x", "x_lens"] and outputs[:1] == ["log_probs"]:
        return icefall
    kind = f"model_type {model_type!r}" if model_type else "no model_type in its metadata"
    raise ModelError(
        f"a network with the inputs {', '.join(inputs)} and {kind} is of no known kind",
        path=network.path,
        remedy="docs/models.md lists the kinds; or describe it in a JSON file beside it",
    )


def _refused(network: OnnxNetwork, reason: str) -> ModelError:
    return ModelError(f"is {reason}", path=network.path, remedy="docs/models.md lists the kinds")
