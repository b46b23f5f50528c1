"""Frame labels on cuts, in a form that Lhotse keeps right when a cut is changed.

A label for every frame becomes items with start and duration in the recording; speeding a cut up,
cutting it or joining it to another moves them along with the sound.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from lhotse.cut import Cut, MixedCut
from lhotse.supervision import AlignmentItem, SupervisionSegment
from lhotse.utils import fastcopy
from torch import Tensor

from asr_hlg.acoustic.network import Network
from asr_hlg.errors import DataError
from asr_hlg.losses import UNALIGNED

TIER = "pdf"
"""The name under which frame labels are found in ``supervision.alignment``."""

_ROUNDING = 5e-4
"""Seconds that may lie between two items because their times were rounded to samples."""


@dataclass(frozen=True)
class FrameLabels:
    """How a loader turns alignments into labels, one for each output frame of a network.

    >>> FrameLabels.of(network)

    Attributes
    ----------
    names : tuple of str
        The network's columns; a label is an index into them.
    frame_shift : float
        Seconds from one output frame to the next.
    num_frames : callable
        From int64 ``(B,)`` input lengths to the numbers of output frames, int64 ``(B,)``.
    """

    names: tuple[str, ...]
    frame_shift: float
    num_frames: Callable[[Tensor], Tensor]

    @classmethod
    def of(cls, network: Network) -> FrameLabels:
        """Labels for the output columns and frames of a network."""
        return cls(network.config.tokens, network.config.frame_shift, network.output_lengths)

    @cached_property
    def columns(self) -> dict[str, int]:
        """Column of each name."""
        return {name: column for column, name in enumerate(self.names)}


def with_alignment(
    cut: Cut, labels: Iterable[int], names: Sequence[str], frame_shift: float
) -> Cut:
    """A copy of a cut that carries a label for every frame.

    Parameters
    ----------
    cut : Cut
        With one supervision that covers it.
    labels : iterable of int
        One a frame; :data:`UNALIGNED` where there is none.
    names : sequence of str
        The name of each label.
    frame_shift : float
        Seconds: frame ``t`` covers the time from ``t * frame_shift`` to ``(t + 1) * frame_shift``.

    Raises
    ------
    DataError
        If the cut has not exactly one supervision.
    """
    if len(cut.supervisions) != 1:
        raise DataError(
            f"cut {cut.id!r} has {len(cut.supervisions)} supervisions, expected one",
            remedy="part it with cuts.trim_to_supervisions()",
        )
    [begin] = [part.start - offset for offset, part in _tracks(cut) if part.supervisions]
    items, start = [], 0
    for label, run in itertools.groupby(int(label) for label in labels):
        length = sum(1 for _ in run)
        if label != UNALIGNED:
            times = begin + start * frame_shift, length * frame_shift
            items.append(AlignmentItem(names[label], *(round(time, 8) for time in times)))
        start += length
    return cut.map_supervisions(lambda supervision: supervision.with_alignment(TIER, items))


def from_zero(cut: Cut) -> list[SupervisionSegment]:
    """A cut's supervisions with all times counted from its start, those of alignments too.

    Lhotse counts these from the start of the recording that a cut was taken from.
    """
    return [
        fastcopy(
            supervision.with_offset(offset),
            alignment={
                tier: list(_within(items, part, offset))
                for tier, items in (supervision.alignment or {}).items()
            },
        )
        for offset, part in _tracks(cut)
        for supervision in part.supervisions
    ]


def _within(items: Iterable[AlignmentItem], part: Cut, offset: float) -> Iterator[AlignmentItem]:
    """What of the items lies within a cut, moved so that the cut begins at ``offset``."""
    for item in items:
        start, end = max(item.start, part.start), min(item.end, part.end)
        if start < end:
            times = round(start - part.start + offset, 8), round(end - start, 8)
            yield AlignmentItem(item.symbol, *times, item.score)


def _tracks(cut: Cut) -> list[tuple[float, Cut]]:
    """The cuts that a cut is made of, and where in it they begin."""
    if isinstance(cut, MixedCut):
        return [(track.offset, track.cut) for track in cut.tracks]
    return [(0.0, cut)]


def frame_labels(cut: Cut, columns: dict[str, int], frame_shift: float, num_frames: int) -> Tensor:
    """The label of every frame: that of the item which covers the frame's middle.

    Parameters
    ----------
    cut : Cut
        With alignments from :func:`with_alignment`.
    columns : dict
        From the names of labels to labels.
    frame_shift : float
        Seconds; need not be that of the alignment.
    num_frames : int
        How many labels are wanted; those past the alignment's end are :data:`UNALIGNED`.

    Returns
    -------
    Tensor
        int64 ``(num_frames,)``.

    Raises
    ------
    DataError
        If the cut has no alignment, or one with a label that is not in ``columns``.
    """
    items = sorted(
        (item for s in from_zero(cut) for item in s.alignment.get(TIER, ())),
        key=lambda item: item.start,
    )
    if not items:
        raise DataError(
            f"cut {cut.id!r} has no alignment", remedy="align the training data before this loss"
        )
    for item in items:
        if item.symbol not in columns:
            raise DataError(
                f"the alignment of cut {cut.id!r} has {item.symbol!r}, which is no output of the "
                "network",
                remedy="align with the same lexicon and topology as the network has",
            )
    starts = [item.start for item in items]
    labels = torch.full((num_frames,), UNALIGNED, dtype=torch.int64)
    for frame in range(num_frames):
        middle = (frame + 0.5) * frame_shift
        index = bisect_right(starts, middle) - 1
        if index >= 0 and middle < items[index].end + _ROUNDING:
            labels[frame] = columns[items[index].symbol]
    return labels
