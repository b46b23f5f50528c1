"""What is true of every search in tensors, whatever its graph."""

from __future__ import annotations

import numpy as np
import torch

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.search.batch_decoder import BatchDecoder


def check_batch_is_as_one_at_a_time(
    decoder: BatchDecoder, posteriors: Posteriors, rows: list[int]
) -> None:
    """Lattices of some utterances of a batch are those of the utterances alone."""
    together = decoder.decode(posteriors).utterances
    for row in rows:
        alone = decoder.decode(posteriors.utterance(row)).utterances[0]
        assert (alone is None) == (together[row] is None)
        if alone is not None:
            for mine, other in zip(vars(alone).values(), vars(together[row]).values(), strict=True):
                if mine is None:
                    assert other is None
                else:
                    np.testing.assert_allclose(mine, other, atol=1e-9)


def check_no_operation_waits(decoder: BatchDecoder, posteriors: Posteriors) -> None:
    """No operation of a frame makes the host wait for the device; shapes are fixed."""
    log_probs = decoder.scaled(posteriors).log_probs
    search = decoder.start(len(log_probs), decoder.options)
    with torch.profiler.profile() as profiler:
        search.accept(log_probs)
    called = {event.key for event in profiler.key_averages()}
    assert "aten::scatter_reduce_" in called
    waiting = "nonzero", "_local_scalar_dense", "repeat_interleave", "masked_select", "unique"
    assert called.isdisjoint("aten::" + name for name in waiting)
