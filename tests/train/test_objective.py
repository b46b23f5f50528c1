"""The objective gives its loss what decoding will see."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from asr_hlg.acoustic import Conformer, ConformerConfig, NetworkModel
from asr_hlg.data import Batch
from asr_hlg.train import FrameObjective


class Seen(nn.Module):
    """A loss that keeps what it is given."""

    targets = "texts"

    def forward(self, log_probs, lengths, texts):
        self.log_probs, self.lengths = log_probs, lengths
        return log_probs.sum((1, 2))


def test_training_adds_the_silence_that_decoding_adds():
    torch.manual_seed(0)
    network = Conformer(ConformerConfig(("<blk>", "a", "b"), dim=16, num_blocks=2, ffn_dim=32))
    waveforms = [torch.randn(9_000) / 10, torch.randn(7_003) / 10]
    posteriors = NetworkModel(network).posteriors(waveforms, 16000)
    batch = Batch(
        ids=("one", "two"),
        inputs=pad_sequence(waveforms, batch_first=True),
        lengths=torch.tensor([9_000, 7_003]),
        texts=("", ""),
        alignments=None,
    )
    seen = Seen()
    with torch.no_grad():
        FrameObjective(network, seen).eval()(batch)
    assert network.margin > 0
    assert seen.lengths.tolist() == posteriors.lengths.tolist()
    for row, length in enumerate(posteriors.lengths.tolist()):
        torch.testing.assert_close(
            seen.log_probs[row, :length], posteriors.log_probs[row, :length], rtol=0, atol=1e-4
        )
