"""Cut long recordings at pauses, so that search and lattices stay small.

The acoustic model itself says where nobody speaks: a pause is a run of frames in which silence
or blank are nearly certain.
"""

from __future__ import annotations

import torch

from asr_hlg.phones import SILENCE
from asr_hlg.posteriors import Posteriors
from asr_hlg.symbols import BLANK

MAX_SECONDS = 30.0
"""Longest stretch that is searched in one piece."""


def cut(posteriors: Posteriors, max_seconds: float = MAX_SECONDS) -> list[tuple[int, int]]:
    """Divide one utterance's frames into pieces of at most ``max_seconds``.

    Cuts are made in the middle of the longest pause of each window's second half, so that no
    word is divided; in speech without any pause, at the frame that is most surely blank.

    Parameters
    ----------
    posteriors : Posteriors
        Of one utterance.

    Returns
    -------
    list of (int, int)
        Frames [begin, end) of every piece; together they cover the utterance.
    """
    num_frames = int(posteriors.lengths[0])
    limit = max(1, int(max_seconds / posteriors.frame_shift))
    if num_frames <= limit:
        return [(0, num_frames)]
    quiet = _quiet(posteriors)[:num_frames]
    pieces = []
    begin = 0
    while num_frames - begin > limit:
        middle = begin + limit // 2
        end = middle + _best_cut(quiet[middle : begin + limit])
        pieces.append((begin, end))
        begin = end
    return [*pieces, (begin, num_frames)]


def _quiet(posteriors: Posteriors) -> torch.Tensor:
    """Probability ``(num_frames,)`` that a frame is silence or blank."""
    columns = [i for i, name in enumerate(posteriors.tokens) if name in (BLANK, SILENCE)]
    if not columns:
        return torch.zeros(posteriors.log_probs.shape[1])
    return posteriors.log_probs[0][:, columns].exp().sum(dim=1).clamp(max=1.0).cpu()


def _best_cut(quiet: torch.Tensor) -> int:
    """The middle of the longest run of sure pauses, or else the surest frame."""
    sure = torch.cat([torch.zeros(1), (quiet > 0.95).float(), torch.zeros(1)])
    change = sure.diff()
    starts, ends = torch.nonzero(change > 0)[:, 0], torch.nonzero(change < 0)[:, 0]
    if not len(starts):
        return 1 + int(quiet.argmax())
    longest = int((ends - starts).argmax())
    return max(1, int((starts[longest] + ends[longest]) // 2))
