"""kaldi-decoder's FasterDecoder on a file, as a function from posteriors to words and score."""

from __future__ import annotations

import kaldifst
import numpy as np
import pytest

from asr_hlg.acoustic import likelihoods


def faster_decoder(path, names):
    """A search of a graph file; ``names`` are the words by output label."""
    kaldi_decoder = pytest.importorskip("kaldi_decoder")
    fst = kaldifst.StdConstFst.read(str(path))

    def search(posteriors, options):
        scaled = likelihoods.scale(posteriors, acoustic_scale=options.acoustic_scale)
        settings = kaldi_decoder.FasterDecoderOptions(
            beam=options.search_beam, max_active=options.max_active, min_active=options.min_active
        )
        decoder = kaldi_decoder.FasterDecoder(fst, settings)
        frames = np.asarray(scaled.array[0, : int(scaled.lengths[0])], np.float32)
        decoder.decode(kaldi_decoder.DecodableCtc(np.ascontiguousarray(frames)))
        found, path = decoder.get_best_path()
        assert found
        _, _, labels, weight = kaldifst.get_linear_symbol_sequence(path)
        return tuple(names[label] for label in labels), -(weight.value1 + weight.value2)

    return search
