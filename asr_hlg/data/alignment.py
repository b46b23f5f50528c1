"""Frame labels on cuts, as Lhotse alignment items, which stay correct when a cut is changed.

Runs of equal labels become items with a start and a duration in the recording. When a cut is sped
up, truncated or joined to another, Lhotse changes these times accordingly.
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
"""Key of the frame labels in ``supervision.alignment``."""

_ROUNDING = 5e-4
"""Largest gap between two items, in seconds, that rounding their times to samples can make."""


@dataclass(frozen=True)
class FrameLabels:
    """How a loader turns alignments into labels, one for each output frame of a network.

    >>> FrameLabels.of(network)

    Attributes
    ----------
    names : tuple of str
        Names of the network's columns; a label is an index into them.
    frame_shift : float
        Seconds from one output frame to the next.
    num_frames : callable
        Converts int64 ``(B,)`` input lengths to numbers of output frames, int64 ``(B,)``.
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
    """Copy a cut, with a label for every frame.

    Parameters
    ----------
    cut : Cut
        With exactly one supervision.
    labels : iterable of int
        One for each frame, :data:`UNALIGNED` for frames without a label.
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
            remedy="split it with cuts.trim_to_supervisions()",
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
    """Supervisions of a cut with all times relative to its start, alignments included.

    In Lhotse, times of alignments are relative to the start of the recording.
    """
    return [
        fastcopy(
            supervision.with_offset(offset),
            alignment={
                tier: list(_clipped(items, part, offset))
                for tier, items in (supervision.alignment or {}).items()
            },
        )
        for offset, part in _tracks(cut)
        for supervision in part.supervisions
    ]


def _clipped(items: Iterable[AlignmentItem], part: Cut, offset: float) -> Iterator[AlignmentItem]:
    """Items clipped to a cut, with times shifted so that the cut begins at ``offset``."""
    for item in items:
        start, end = max(item.start, part.start), min(item.end, part.end)
        if start < end:
            times = round(start - part.start + offset, 8), round(end - start, 8)
            yield AlignmentItem(item.symbol, *times, item.score)


def _tracks(cut: Cut) -> list[tuple[float, Cut]]:
    """Offsets and cuts of the tracks of a mixed cut; other cuts are one track."""
    if isinstance(cut, MixedCut):
        return [(track.offset, track.cut) for track in cut.tracks]
    return [(0.0, cut)]


def frame_labels(cut: Cut, columns: dict[str, int], frame_shift: float, num_frames: int) -> Tensor:
    """Label of every frame, taken from the item that covers the middle of the frame.

    Parameters
    ----------
    cut : Cut
        With alignments from :func:`with_alignment`.
    columns : dict
        Label of each name.
    frame_shift : float
        Seconds; may differ from that of the alignment.
    num_frames : int
        Number of labels; those after the end of the alignment are :data:`UNALIGNED`.

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
                f"the alignment of cut {cut.id!r} has {item.symbol!r}, which is not an "
                "output of the network",
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
