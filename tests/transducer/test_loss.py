"""The transducer's losses against enumeration, the plain recursion, k2, and finite differences."""

from __future__ import annotations

import math

import k2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.errors import ModelError
from asr_hlg.transducer import loss
from asr_hlg.transducer.targets import LATTICES, Targets
from tests.support import transducer_reference as reference
from tests.support.examples import examples

lattices = pytest.mark.parametrize("lattice", LATTICES)


def targets_of(rows, num_frames, lattice="modified"):
    most = max(map(len, rows))
    padded = [list(row) + [1] * (most - len(row)) for row in rows]
    tokens = torch.tensor(padded, dtype=torch.int64).reshape(len(rows), most)
    return Targets(tokens, torch.tensor([len(r) for r in rows]), torch.tensor(num_frames), lattice)


def random_scores(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def simple(am, lm, targets, am_scale=0.0, lm_scale=0.0):
    return loss.prune_ranges(am, lm, targets, 2, am_scale, lm_scale)[0]


@lattices
def test_losses_are_sums_over_enumerated_alignments(lattice):
    """``_hell o _the re`` over nine frames: all alignments together are exp(−loss)."""
    pieces = ("<blk>", "_hell", "o", "_the", "re")
    tokens = [pieces.index(piece) for piece in ("_hell", "o", "_the", "re")]
    log_probs = random_scores(9, 5, len(pieces)).log_softmax(-1).numpy()
    paths = set(reference.alignments(9, tokens, lattice))
    # Four tokens in four different frames of nine, or any number of them in a frame.
    assert len(paths) == (math.comb(9, 4) if lattice == "modified" else math.comb(12, 4))
    total = sum(math.exp(reference.alignment_score(log_probs, path, lattice)) for path in paths)
    assert math.exp(-reference.loss(log_probs, tokens, lattice)) == pytest.approx(total, rel=1e-12)
    targets = targets_of([tokens], [9], lattice)
    losses = loss.full(torch.from_numpy(log_probs)[None], targets)
    assert math.exp(-losses.item()) == pytest.approx(total, rel=1e-12)


cases = st.lists(
    st.tuples(st.lists(st.integers(1, 3), max_size=4), st.integers(0, 5)), min_size=1, max_size=3
)


@examples(60)
@given(cases, st.sampled_from(LATTICES), st.integers(0, 1000))
def test_full_is_the_recursion(batch, lattice, seed):
    """Also without tokens, without frames, and with more tokens than frames, in one batch."""
    rows, num_frames = zip(*batch, strict=True)
    targets = targets_of(rows, list(num_frames), lattice)
    frames, most = max(num_frames), targets.shape[1]
    logits = random_scores(len(rows), frames, most + 1, 4, seed=seed)
    logits.requires_grad_()
    losses = loss.full(logits, targets)
    table = logits.detach().log_softmax(-1).numpy()
    expected = [
        reference.loss(table[k, : num_frames[k], : len(row) + 1], row, lattice)
        for k, row in enumerate(rows)
    ]
    np.testing.assert_allclose(losses.detach().numpy(), expected, rtol=1e-9, atol=1e-12)
    # The loss is finite exactly where there is an alignment.
    assert torch.equal(torch.isfinite(losses), targets.alignable())
    if bool(targets.alignable().any()):
        losses[targets.alignable()].sum().backward()
        assert bool(torch.isfinite(logits.grad).all())
        assert not logits.grad[~targets.alignable()].any()


@examples(60)
@given(cases, st.sampled_from(LATTICES), st.integers(0, 1000))
def test_simple_is_full_with_added_logits(batch, lattice, seed):
    rows, num_frames = zip(*batch, strict=True)
    targets = targets_of(rows, list(num_frames), lattice)
    am = random_scores(len(rows), max(num_frames), 4, seed=seed)
    lm = random_scores(len(rows), targets.shape[1] + 1, 4, seed=seed + 1)
    expected = loss.full(am[:, :, None] + lm[:, None], targets)
    torch.testing.assert_close(simple(am, lm, targets), expected)
    # With all columns kept, pruning changes nothing.
    losses, ranges = loss.prune_ranges(am, lm, targets, prune_range=10)
    torch.testing.assert_close(losses, expected)
    pruned = loss.pruned(am, lm, ranges, lambda joined: joined, targets)
    torch.testing.assert_close(pruned, expected)


@lattices
@pytest.mark.parametrize(("am_scale", "lm_scale"), [(0.0, 0.0), (0.2, 0.0), (0.1, 0.3)])
def test_simple_and_smoothed_are_those_of_k2(lattice, am_scale, lm_scale):
    am, lm = random_scores(3, 9, 6), random_scores(3, 5, 6, seed=1)
    targets = targets_of([[1, 2, 3, 4], [5, 5, 1, 2], [3, 1, 1, 1]], [9, 9, 9], lattice)
    expected = k2.rnnt_loss_smoothed(
        lm, am, targets.tokens, 0, lm_scale, am_scale, targets.boundary(), lattice, reduction="none"
    )
    torch.testing.assert_close(simple(am, lm, targets, am_scale, lm_scale), expected)


def test_smoothing_does_not_depend_on_padding():
    am, lm = random_scores(1, 6, 5), random_scores(1, 3, 5, seed=1)
    alone = simple(am, lm, targets_of([[1, 2]], [6]), 0.1, 0.2)
    padded = Targets(torch.tensor([[1, 2, 3, 3]]), torch.tensor([2]), torch.tensor([6]))
    longer = torch.cat([lm, random_scores(1, 2, 5, seed=2)], 1)
    torch.testing.assert_close(simple(am, longer, padded, 0.1, 0.2), alone)


@lattices
def test_pruned_is_that_of_k2(lattice):
    am, lm = random_scores(2, 12, 8), random_scores(2, 7, 8, seed=1)
    output = random_scores(8, 8, seed=2)
    targets = targets_of([[1, 2, 3, 4, 5, 6], [7, 7, 1]], [12, 7], lattice)
    _, ranges = loss.prune_ranges(am, lm, targets, prune_range=3)
    assert ranges.shape == (2, 12, 3)
    logits = torch.tanh(am[:, :, None] + lm[torch.arange(2)[:, None, None], ranges]) @ output
    expected = k2.rnnt_loss_pruned(
        logits, targets.tokens, ranges, 0, targets.boundary(), lattice, reduction="none"
    )
    got = loss.pruned(am, lm, ranges, lambda joined: torch.tanh(joined) @ output, targets)
    torch.testing.assert_close(got, expected)
    everything = torch.tanh(am[:, :, None] + lm[:, None]) @ output
    assert bool((got >= loss.full(everything, targets)).all())


@examples(60)
@given(cases, st.sampled_from(LATTICES), st.integers(0, 1000), st.integers(2, 4))
def test_pruning_leaves_an_alignment(batch, lattice, seed, prune_range):
    """Pruning keeps an alignment of every transcript, and the loss is never below the full one."""
    rows, num_frames = zip(*batch, strict=True)
    targets = targets_of(rows, list(num_frames), lattice)
    am = random_scores(len(rows), max(num_frames), 4, seed=seed)
    lm = random_scores(len(rows), targets.shape[1] + 1, 4, seed=seed + 1)
    full, ranges = loss.prune_ranges(am, lm, targets, prune_range)
    pruned = loss.pruned(am, lm, ranges, lambda joined: joined, targets)
    assert torch.equal(torch.isfinite(pruned), targets.alignable())
    assert bool((pruned >= full - 1e-9).all())


@lattices
def test_chunks_do_not_change_the_loss(lattice, monkeypatch):
    """The pruned table in one chunk, or frame by frame with recomputation."""

    def run():
        parts = random_scores(2, 12, 8), random_scores(2, 7, 8, seed=1), random_scores(8, 8, seed=2)
        am, lm, output = (part.requires_grad_() for part in parts)
        targets = targets_of([[1, 2, 3, 4, 5, 6], [7, 7, 1]], [12, 7], lattice)
        _, ranges = loss.prune_ranges(am.detach(), lm.detach(), targets, prune_range=3)
        losses = loss.pruned(am, lm, ranges, lambda joined: torch.tanh(joined) @ output, targets)
        losses.sum().backward()
        return losses, am.grad, lm.grad, output.grad

    whole = run()
    monkeypatch.setattr(loss, "_CHUNK", 1)
    for part, piece in zip(whole, run(), strict=True):
        torch.testing.assert_close(part, piece)


@lattices
def test_gradients_are_those_of_finite_differences(lattice):
    am, lm = random_scores(2, 5, 4).requires_grad_(), random_scores(2, 4, 4).requires_grad_()
    output = random_scores(4, 4, seed=2).requires_grad_()
    targets = targets_of([[1, 2, 3], [3]], [5, 4], lattice)
    _, ranges = loss.prune_ranges(am.detach(), lm.detach(), targets, prune_range=2)

    def joined(sums):
        return torch.tanh(sums) @ output

    def full(am, lm, output):
        return loss.full(torch.tanh(am[:, :, None] + lm[:, None]) @ output, targets)

    def pruned(am, lm, output):
        return loss.pruned(am, lm, ranges, lambda sums: torch.tanh(sums) @ output, targets)

    assert torch.autograd.gradcheck(full, (am, lm, output))
    assert torch.autograd.gradcheck(pruned, (am, lm, output))
    for scales in ((0.0, 0.0), (0.1, 0.3)):
        assert torch.autograd.gradcheck(lambda a, b, s=scales: simple(a, b, targets, *s), (am, lm))


@lattices
def test_edges(lattice):
    """No tokens; one frame; no frames; more tokens than frames."""
    logits = random_scores(5, 3, 4, 5)
    rows = [[], [2], [], [1], [1, 2, 3]]
    targets = targets_of(rows, [3, 1, 0, 0, 2], lattice)
    losses = loss.full(logits, targets)
    table = logits.log_softmax(-1)
    silence = -sum(table[0, t, 0, 0] for t in range(3))
    assert losses[0] == pytest.approx(silence.item())
    one = -table[1, 0, 0, 2] - (table[1, 0, 1, 0] if lattice == "regular" else 0)
    assert losses[1] == pytest.approx(one.item())
    assert losses[2] == 0
    assert losses[3] == torch.inf
    assert math.isfinite(losses[4]) == (lattice == "regular")


def test_batches_without_any_token_or_frame():
    nothing = targets_of([[], []], [2, 0])
    am, lm = random_scores(2, 2, 3), random_scores(2, 1, 3)
    losses, ranges = loss.prune_ranges(am, lm, nothing, 5)
    expected = -(am[0] + lm[0]).log_softmax(-1)[:, 0].sum()
    torch.testing.assert_close(losses, torch.stack([expected, 0 * expected]))
    pruned = loss.pruned(am, lm, ranges, lambda joined: joined, nothing)
    torch.testing.assert_close(pruned, losses)
    no_frames = targets_of([[], [1]], [0, 0])
    assert simple(am[:, :0], random_scores(2, 2, 3), no_frames).tolist() == [0, math.inf]
    assert loss.full(random_scores(2, 0, 2, 3), no_frames).tolist() == [0, math.inf]


def test_half_precision_sums_in_float32():
    am, lm = random_scores(1, 5, 4).bfloat16(), random_scores(1, 3, 4).bfloat16()
    targets = targets_of([[1, 2]], [5])
    expected = simple(am.float(), lm.float(), targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(simple(am, lm, targets), expected)


@pytest.mark.parametrize(
    ("am", "lm", "message"),
    [
        ((2, 5), (2, 3, 4), r"am has shape \(2, 5\), expected \(B, T, V\)"),
        ((3, 5, 4), (2, 3, 4), r"am has shape \(3, 5, 4\), expected \(2, 5, 4\)"),
        ((2, 5, 4), (2, 2, 4), r"lm has shape \(2, 2, 4\), expected \(2, 3, 4\)"),
        ((2, 5, 4), (2, 3, 3), r"lm has shape \(2, 3, 3\), expected \(2, 3, 4\)"),
        ((2, 4, 4), (2, 3, 4), r"num_frames are \[5, 3\], but there are 4 frames"),
        ((2, 5, 2), (2, 3, 2), "token 2 is not from 1 to 1"),
    ],
)
def test_shapes_that_do_not_fit_are_named(am, lm, message):
    targets = targets_of([[1, 2], [1]], [5, 3])
    with pytest.raises(ModelError, match=message):
        simple(torch.zeros(am), torch.zeros(lm), targets)


def test_more_shapes_that_do_not_fit():
    targets = targets_of([[1, 2], [1]], [5, 3])
    with pytest.raises(ModelError, match=r"logits have shape \(2, 5, 3\)"):
        loss.full(torch.zeros(2, 5, 3), targets)
    with pytest.raises(ModelError, match=r"expected \(2, 5, 3, 4\)"):
        loss.full(torch.zeros(2, 5, 2, 4), targets)
    ranges = torch.zeros(2, 4, 2, dtype=torch.int64)
    with pytest.raises(ModelError, match=r"ranges has shape \(2, 4, 2\), expected \(2, 5, 2\)"):
        loss.pruned(torch.zeros(2, 5, 4), torch.zeros(2, 3, 4), ranges, torch.tanh, targets)
    with pytest.raises(ModelError, match="prune_range must be at least 2, not 1"):
        loss.prune_ranges(torch.zeros(2, 5, 4), torch.zeros(2, 3, 4), targets, 1)


@pytest.mark.parametrize(
    ("tokens", "num_tokens", "num_frames", "lattice", "message"),
    [
        ((2,), (2,), (2,), "modified", r"tokens have shape \(2,\)"),
        ((2, 3), (1,), (2,), "modified", r"num_tokens has shape \(1,\), expected \(2,\)"),
        ((2, 3), (2,), (3,), "modified", r"num_frames has shape \(3,\), expected \(2,\)"),
        ((2, 3), (2,), (2,), "constrained", "not 'constrained'"),
    ],
)
def test_targets_that_do_not_fit(tokens, num_tokens, num_frames, lattice, message):
    shapes = (tokens, num_tokens, num_frames)
    with pytest.raises(ModelError, match=message):
        Targets(*(torch.zeros(shape, dtype=torch.int64) for shape in shapes), lattice)


def test_targets_outside_their_range():
    with pytest.raises(ModelError, match=r"num_tokens are \[4\], not from 0 to U = 3"):
        Targets(torch.ones(1, 3, dtype=torch.int64), torch.tensor([4]), torch.tensor([3]))
    one = torch.tensor([1])
    with pytest.raises(ModelError, match=r"num_frames are torch.int32"):
        Targets(torch.ones(1, 3, dtype=torch.int64), one, one.int())
