"""A small Conformer, its description, and checks of model files."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence

from asr_hlg.acoustic import Conformer, ConformerConfig
from asr_hlg.acoustic.posteriors import Posteriors

TOKENS = ("<blk>", "a", "b", "c")


def network(**fields) -> Conformer:
    torch.manual_seed(0)
    config = ConformerConfig(TOKENS, dim=16, num_blocks=1, num_heads=2, ffn_dim=32, **fields)
    return Conformer(config).eval()


def describe(path: Path, **fields) -> Path:
    description = {"tokens": list(TOKENS), "frame_shift": 0.02, "sample_rate": 16000, **fields}
    known = {key: value for key, value in description.items() if value is not None}
    path.with_suffix(".json").write_text(json.dumps(known))
    return path


def noise(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [0.1 * torch.randn(length, generator=generator) for length in lengths]


def expected(model: Conformer, waveforms) -> Posteriors:
    """Posteriors of each waveform, computed by itself."""
    with torch.no_grad():
        rows = [model(w[None], torch.tensor([len(w)]))[0][0] for w in waveforms]
    lengths = torch.tensor([len(row) for row in rows])
    return Posteriors(pad_sequence(rows, batch_first=True), lengths, 0.02, model.config.tokens)


def same(ours, theirs, tolerance: float) -> None:
    assert ours.tokens == theirs.tokens
    assert ours.frame_shift == theirs.frame_shift
    assert ours.lengths.tolist() == theirs.lengths.tolist()
    for a, b, length in zip(ours.log_probs, theirs.log_probs, ours.lengths, strict=True):
        torch.testing.assert_close(a[:length], b[:length], atol=tolerance, rtol=0)


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))
