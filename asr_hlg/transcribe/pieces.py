"""From blocks of sound to pieces for search, however long the recording is.

>>> for piece in pieces(recognise(recording.blocks(model.sample_rate), model)):
...     lattice = decode(graph, piece.posteriors)

Long recordings are cut at pauses, so that search and lattices stay small. The acoustic model itself
says where nobody speaks: a pause is a run of frames in which silence or blank are nearly certain.
Nothing here waits for the end of the recording: a minute or two of it lie in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from asr_hlg.acoustic import AcousticModel
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.fst.symbols import BLANK
from asr_hlg.lexicon.phones import SILENCE

MAX_SECONDS = 30.0
"""Longest stretch that is searched in one piece."""

CHUNK = 26.0
"""Seconds of a long recording that the acoustic model hears at a time; with the context and the
margins that it adds, one window of :class:`~asr_hlg.acoustic.NetworkModel`."""

CONTEXT = 3.0
"""Seconds that it hears more on both sides."""

Heard = tuple[Tensor, Posteriors]
"""The samples of a stretch of sound, and the posteriors of its frames."""


@dataclass(frozen=True)
class Piece:
    """A stretch of a recording that is searched in one go.

    Attributes
    ----------
    number : int
        From 1.
    begin : int
        Its first frame, counted from the recording's start.
    samples : Tensor
        float32 ``(samples,)``.
    posteriors : Posteriors
        Of one utterance.
    last : bool
        Whether the recording ends here.
    """

    number: int
    begin: int
    samples: Tensor
    posteriors: Posteriors
    last: bool


def recognise(blocks: Iterable[Tensor], model: AcousticModel) -> Iterator[Heard]:
    """Let an acoustic model hear one recording.

    Parameters
    ----------
    blocks : iterable of Tensor
        float32 samples ``(n,)`` at the model's rate. A recording of one block is heard whole, a
        longer one in stretches of ``CHUNK`` seconds with ``CONTEXT`` around them.
    model : AcousticModel
    """
    blocks = iter(blocks)
    first = next(blocks)
    second = next(blocks, None)
    if second is None:
        yield first, model.posteriors([first], model.sample_rate)
    else:
        yield from _recognise_long(chain([first, second], blocks), model)


def _recognise_long(blocks: Iterator[Tensor], model: AcousticModel) -> Iterator[Heard]:
    def sample(frame: int) -> int:
        return round(frame * model.frame_shift * model.sample_rate)

    size, context = (int(seconds / model.frame_shift) for seconds in (CHUNK, CONTEXT))
    held = torch.zeros(0)
    origin = begin = 0  # frames: the first that `held` covers, and the first to give out
    while True:
        end = begin + size
        wanted = sample(end + context) - sample(origin)
        while len(held) <= wanted and (block := next(blocks, None)) is not None:
            held = torch.cat([held, block])
        last = len(held) <= wanted
        posteriors = model.posteriors([held if last else held[:wanted]], model.sample_rate)
        samples = slice(
            sample(begin) - sample(origin), None if last else sample(end) - sample(origin)
        )
        frames = posteriors.frames(begin - origin, None if last else end - origin)
        yield held[samples], frames
        if last:
            return
        held = held[sample(end - context) - sample(origin) :]
        origin, begin = end - context, end


def pieces(heard: Iterable[Heard], max_seconds: float = MAX_SECONDS) -> Iterator[Piece]:
    """Divide one recording into pieces of at most ``max_seconds``.

    Cuts are made in the middle of the longest pause of each window's second half, so that no
    word is divided; in speech without any pause, at the frame that is most surely blank.

    Parameters
    ----------
    heard : iterable of Heard
        Consecutive stretches of the recording, at least one.
    max_seconds : float

    Yields
    ------
    Piece
        Together they cover the recording.
    """
    number, begin = 1, 0
    samples, held = torch.zeros(0), None
    for more_samples, posteriors in heard:
        samples = torch.cat([samples, more_samples])
        more = posteriors.frames(0, None)
        held = more if held is None else held.followed_by(more)
        limit = max(1, int(max_seconds / posteriors.frame_shift))
        samples_per_frame = len(samples) / max(1, int(held.lengths[0]))
        while int(held.lengths[0]) > limit:
            middle = limit // 2
            end = middle + _best_cut(_quiet(held.frames(middle, limit)))
            split = min(len(samples), round(end * samples_per_frame))
            yield Piece(number, begin, samples[:split], held.frames(0, end), False)
            samples, held = samples[split:], held.frames(end, None)
            number, begin = number + 1, begin + end
    assert held is not None
    yield Piece(number, begin, samples, held, True)


def _quiet(posteriors: Posteriors) -> Tensor:
    """Probability ``(frames,)`` that a frame of one utterance is silence or blank."""
    columns = [i for i, name in enumerate(posteriors.tokens) if name in (BLANK, SILENCE)]
    log_probs = posteriors.log_probs[0][:, columns]
    return log_probs.exp().sum(dim=1).clamp(max=1.0).cpu()


def _best_cut(quiet: Tensor) -> int:
    """The middle of the longest run of sure pauses, or else the surest frame."""
    sure = torch.cat([torch.zeros(1), (quiet > 0.95).float(), torch.zeros(1)])
    change = sure.diff()
    starts, ends = torch.nonzero(change > 0)[:, 0], torch.nonzero(change < 0)[:, 0]
    if not len(starts):
        return 1 + int(quiet.argmax())
    longest = int((ends - starts).argmax())
    return max(1, int((starts[longest] + ends[longest]) // 2))
