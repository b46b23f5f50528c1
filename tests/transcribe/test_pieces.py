"""Long recordings are cut where nobody speaks."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.transcribe import pieces
from asr_hlg.transcribe.posteriors import Frames


def posteriors_of(quiet: list[float]) -> Posteriors:
    """One utterance whose frames are blank with these probabilities; a frame lasts a second."""
    blank = torch.tensor(quiet)
    log_probs = torch.stack([blank, 1 - blank], dim=1).clamp(min=1e-6).log()[None]
    return Posteriors(log_probs, torch.tensor([len(quiet)], dtype=torch.int32), 1.0, ("<blk>", "a"))


def cut(posteriors: Posteriors, max_seconds: float = 30.0) -> list[tuple[int, int]]:
    """The frames [begin, end) of every piece, of posteriors that come at once."""
    found = list(pieces.cut([Frames(np.zeros(0, np.float32), posteriors)], max_seconds))
    assert [piece.number for piece in found] == list(range(1, len(found) + 1))
    assert [piece.is_last for piece in found] == [False] * (len(found) - 1) + [True]
    for piece in found:
        inside = slice(piece.begin, piece.begin + int(piece.posteriors.lengths[0]))
        assert torch.equal(piece.posteriors.log_probs, posteriors.log_probs[:, inside])
    return [(p.begin, p.begin + int(p.posteriors.lengths[0])) for p in found]


def test_short_recordings_stay_whole():
    assert cut(posteriors_of([0.5] * 30), max_seconds=30) == [(0, 30)]


def test_the_cut_is_in_the_middle_of_the_longest_pause():
    quiet = [0.1] * 40
    quiet[16] = 1.0
    quiet[22:27] = [1.0] * 5
    assert cut(posteriors_of(quiet), max_seconds=30) == [(0, 24), (24, 40)]


def test_without_a_pause_the_surest_blank_is_cut():
    quiet = [0.1] * 40
    quiet[20] = 0.6
    assert cut(posteriors_of(quiet), max_seconds=30) == [(0, 21), (21, 40)]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300), st.integers(1, 60))
def test_pieces_cover_the_recording_and_fit(quiet, limit):
    spans = cut(posteriors_of(quiet), max_seconds=limit)
    assert spans[0][0] == 0
    assert spans[-1][1] == len(quiet)
    for (_, end), (begin, _) in itertools.pairwise(spans):
        assert end == begin
    assert all(0 < end - begin <= limit for begin, end in spans)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=200),
    st.integers(1, 60),
    st.lists(st.integers(1, 50), max_size=10),
)
def test_pieces_do_not_depend_on_how_the_sound_comes(quiet, limit, sizes):
    """Stretches of any length are cut as the whole is, and samples go with their frames."""
    whole = posteriors_of(quiet)
    samples = np.arange(10.0 * len(quiet), dtype=np.float32)
    parts, begin = [], 0
    for size in [*sizes, len(quiet)]:
        frames = whole.log_probs[:, begin : begin + size]
        if frames.shape[1]:
            lengths = torch.tensor([frames.shape[1]], dtype=torch.int32)
            part = Posteriors(frames, lengths, 1.0, whole.tokens)
            parts.append(Frames(samples[10 * begin : 10 * (begin + size)], part))
        begin += size
    found = list(pieces.cut(parts, limit))
    assert [(p.begin, p.begin + int(p.posteriors.lengths[0])) for p in found] == cut(whole, limit)
    for piece in found:
        assert piece.samples[0] == 10 * piece.begin
    assert np.array_equal(np.concatenate([piece.samples for piece in found]), samples)


def pdfs(num_frames: int, frame_shift: float) -> Posteriors:
    scores = np.random.default_rng(0).normal(5, 2, size=(1, num_frames, 3)).astype(np.float32)
    names = ("pdf_0", "pdf_1", "pdf_2")
    return Posteriors(scores, np.array([num_frames], np.int32), frame_shift, names)


def test_models_of_pdfs_are_cut_where_the_sound_is_quietest():
    sound = np.random.default_rng(1).normal(size=60 * 8000).astype(np.float32)
    sound[int(18.9 * 8000) : int(19.2 * 8000)] *= 0.01
    sound[int(41.5 * 8000) : int(41.7 * 8000)] *= 0.1
    parts = [  # as the sound of a long recording comes
        Frames(sound[begin * 8000 : end * 8000], pdfs((end - begin) * 100, 0.01))
        for begin, end in ((0, 26), (26, 52), (52, 60))
    ]
    found = list(pieces.cut(parts, 30.0))
    ends = [piece.begin / 100 for piece in found[1:]]
    assert len(ends) == 2
    assert 18.9 < ends[0] < 19.2
    assert 41.5 < ends[1] < 41.7
    assert np.array_equal(np.concatenate([piece.samples for piece in found]), sound)


@given(st.integers(2, 200), st.integers(1, 60), st.floats(0.5, 50))
def test_pieces_of_pdfs_fit(num_frames, limit, samples_per_frame):
    samples = np.ones(max(1, int(num_frames * samples_per_frame)), np.float32)
    found = list(pieces.cut([Frames(samples, pdfs(num_frames, 1.0))], limit))
    lengths = [int(piece.posteriors.lengths[0]) for piece in found]
    assert sum(lengths) == num_frames
    assert 0 < min(lengths) <= max(lengths) <= limit


def test_models_without_blank_or_silence_are_cut_too():
    log_probs = torch.from_numpy(np.log(np.full((1, 50, 2), 0.5, dtype=np.float32)))
    posteriors = Posteriors(log_probs, torch.tensor([50], dtype=torch.int32), 1.0, ("a", "b"))
    spans = cut(posteriors, max_seconds=20)
    assert spans[-1][1] == 50
    assert all(e - b <= 20 for b, e in spans)


def test_an_empty_utterance_is_one_empty_piece():
    log_probs = torch.zeros(1, 0, 2)
    posteriors = Posteriors(log_probs, torch.tensor([0], dtype=torch.int32), 1.0, ("<blk>", "a"))
    assert cut(posteriors) == [(0, 0)]
