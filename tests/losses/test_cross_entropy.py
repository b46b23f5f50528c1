"""Cross-entropy on alignments against its definition."""

from __future__ import annotations

import pytest
import torch

from asr_hlg.errors import OptionError
from asr_hlg.losses import UNALIGNED, CrossEntropy
from tests.support.tiny_lexicon import random_log_probs


def test_cross_entropys_gradient_against_finite_differences():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    alignments = [torch.tensor([0, 1, 2, 2]), torch.tensor([1, UNALIGNED])]
    lengths = torch.tensor([4, 2])
    assert torch.autograd.gradcheck(
        lambda x: CrossEntropy()(x.log_softmax(2), lengths, alignments), logits
    )


def test_cross_entropy_is_the_alignments_log_probability():
    log_probs = random_log_probs(4, 3).repeat(3, 1, 1)
    alignments = [torch.tensor([2, 1, 0, 0]), torch.tensor([1, UNALIGNED, 2]), torch.tensor([])]
    found = CrossEntropy()(log_probs, torch.tensor([4, 4, 0]), [a.long() for a in alignments])
    frames = log_probs[0].tolist()
    assert found.tolist() == pytest.approx(
        [
            -(frames[0][2] + frames[1][1] + frames[2][0] + frames[3][0]),
            -(frames[0][1] + frames[2][2]),
            0.0,
        ]
    )
    assert found.dtype == torch.float64
    assert CrossEntropy()(log_probs.float(), torch.tensor([4, 4, 0]), alignments).dtype == (
        torch.float32
    )


def test_alignments_that_do_not_fit_are_an_error():
    log_probs = random_log_probs(8, 3)
    with pytest.raises(OptionError, match=r"utterance 0 .* 8 frames, its alignment 5"):
        CrossEntropy()(log_probs, torch.tensor([8]), [torch.ones(5, dtype=torch.int64)])
    with pytest.raises(OptionError, match=r"labels from 3 to 3.*columns 0 to 2"):
        CrossEntropy()(log_probs, torch.tensor([8]), [torch.full((8,), 3)])
