"""Frame labels stay with the sound when cuts are sped up, joined or cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lhotse import CutSet

from asr_hlg import data
from asr_hlg.data import UNALIGNED, Augmentation, FrameLabels, LoaderOptions
from asr_hlg.data.augmentation import joined
from asr_hlg.errors import DataError
from tests.support.corpora import make_cuts
from tests.support.examples import examples

NAMES = ("sil", "a", "b", "c")
COLUMNS = {name: column for column, name in enumerate(NAMES)}
SHIFT = 0.03
LABELS = st.lists(st.integers(UNALIGNED, len(NAMES) - 1), min_size=1, max_size=30).filter(
    lambda labels: any(label != UNALIGNED for label in labels)
)


def aligned(labels, number=0):
    [cut] = make_cuts([len(labels) * SHIFT])
    return data.with_alignment(cut, labels, NAMES, SHIFT).with_id(f"c{number}")


def labels_of(cut, frames, shift=SHIFT):
    return data.frame_labels(cut, COLUMNS, shift, frames).tolist()


@examples(100)
@given(LABELS)
def test_labels_come_back(labels):
    cut = aligned(labels)
    assert labels_of(cut, len(labels)) == labels
    assert labels_of(cut, len(labels) + 2) == [*labels, UNALIGNED, UNALIGNED]
    assert labels_of(CutSet([cut]).subset(first=1)[0], 1) == labels[:1]
    # Three frames where there was one.
    assert labels_of(cut, 3 * len(labels), SHIFT / 3) == [k for k in labels for _ in range(3)]


@examples(100)
@given(LABELS, st.sampled_from([0.8, 0.9, 1.1, 1.25]))
def test_labels_follow_the_speed(labels, factor):
    cut = aligned(labels).perturb_speed(factor)
    frames = int(cut.duration / SHIFT)
    for frame, label in enumerate(labels_of(cut, frames)):
        original = (frame + 0.5) * factor  # where the frame's middle was, in frames
        nearest_edge = abs(original - round(original)) * SHIFT
        if nearest_edge > 1e-3:  # elsewhere rounding to samples decides
            assert label == labels[int(original)]


@examples(60)
@given(st.lists(LABELS, min_size=1, max_size=4))
def test_labels_of_joined_cuts_follow_each_other(parts):
    cut = joined([aligned(labels, number) for number, labels in enumerate(parts)])
    expected = [label for labels in parts for label in labels]
    assert labels_of(cut, len(expected)) == expected


def test_labels_of_a_part_of_a_cut():
    cut = aligned([0, 1, 1, 2, 3, 0]).truncate(offset=2 * SHIFT, duration=3 * SHIFT)
    assert labels_of(cut, 3) == [1, 2, 3]
    other = aligned([3, 3], 1)
    assert labels_of(joined([other, cut]), 5) == [3, 3, 1, 2, 3]
    faster = joined([other, cut]).perturb_speed(0.5)
    assert labels_of(faster, 10) == [3, 3, 3, 3, 1, 1, 2, 2, 3, 3]
    # A segment of a recording gets labels of its own.
    segment = data.with_alignment(cut, [0, 2, 1], NAMES, SHIFT)
    assert labels_of(segment, 3) == [0, 2, 1]
    batch = next(
        iter(
            data.loader(
                CutSet([segment]),
                None,
                labels=FrameLabels(NAMES, SHIFT, lambda lengths: 0 * lengths + 3),
            )
        )
    )
    assert batch.alignments[0].tolist() == [0, 2, 1]


def test_items_are_timed_as_lhotse_has_it():
    """From the start of the recording, wherever in it the cut begins."""
    [cut] = make_cuts([1.0])
    cut = data.with_alignment(
        cut.truncate(offset=0.4, duration=0.3, preserve_id=True), [1, 2, 2], NAMES, 0.1
    )
    [spoken] = cut.supervisions
    assert [tuple(item)[:3] for item in spoken.alignment["pdf"]] == [
        ("a", 0.4, 0.1),
        ("b", 0.5, 0.2),
    ]


def test_labels_are_saved_with_the_cut(tmp_path):
    cut = aligned([0, 1, 1, 3])
    CutSet([cut]).drop_in_memory_data().to_file(tmp_path / "cuts.jsonl.gz")
    [read] = CutSet.from_file(tmp_path / "cuts.jsonl.gz")
    assert labels_of(read, 4) == [0, 1, 1, 3]


def test_a_loader_gives_the_labels_of_every_output_frame():
    cuts = CutSet([aligned([number % 4] * (10 + number), number) for number in range(12)])

    def num_frames(lengths):
        return torch.div(lengths, round(SHIFT * 16000), rounding_mode="floor")

    labels = FrameLabels(NAMES, SHIFT, num_frames)
    augmentation = Augmentation(speeds=(0.9, 1.1), noise=0.5, join=0.5)
    loader = data.loader(cuts, None, LoaderOptions(), augmentation, labels=labels)
    joins = 0
    for batch in loader:
        assert batch.alignments is not None
        frames = num_frames(batch.lengths).tolist()
        assert [len(alignment) for alignment in batch.alignments] == frames
        for name, alignment in zip(batch.ids, batch.alignments, strict=True):
            assert alignment.dtype == torch.int64
            # Each cut has one label, so that runs of labels are the labels of the cuts.
            runs = [k for i, k in enumerate(alignment) if i == 0 or alignment[i - 1] != k]
            wanted = [int(part[1:]) % 4 for part in name.split("+")]
            changes = [k for i, k in enumerate(wanted) if i == 0 or wanted[i - 1] != k]
            assert [int(k) for k in runs if k != UNALIGNED] == changes
            joins += len(wanted) > 1
    assert joins
    moved = batch.to("cpu")
    assert all(map(torch.equal, moved.alignments, batch.alignments))


def test_cuts_that_have_no_labels_or_others():
    [cut] = make_cuts([0.3])
    with pytest.raises(DataError, match="'c0' has no alignment"):
        labels_of(cut, 3)
    with pytest.raises(DataError, match="'c0' has 'c', which is not an output"):
        data.frame_labels(aligned([3]), {"a": 0}, SHIFT, 1)
    both = joined([aligned([1]), aligned([2], 1)])
    with pytest.raises(DataError, match="has 2 supervisions"):
        data.with_alignment(both, np.array([1]), NAMES, SHIFT)
