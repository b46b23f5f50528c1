"""A lexicon that is small enough to enumerate the pronunciations of all its sentences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from asr_hlg.lexicon import Lexicon

PRONUNCIATIONS = {
    "cat": [(("k", "t"), 1.0)],
    "at": [(("t",), 0.75), (("k", "k"), 0.25)],
    "kit": [(("k", "i", "t"), 1.0)],
}
SILENCE_PROB = 0.3


def make_lexicon(silence: str | None = "SIL") -> Lexicon:
    entries = [(word, *p) for word, prons in PRONUNCIATIONS.items() for p in prons]
    return Lexicon(entries, silence=silence, silence_prob=SILENCE_PROB)


def readings(
    words: Sequence[str], silence: bool
) -> Iterator[tuple[list[tuple[str, int | None]], float]]:
    """All pronunciations of a sentence: tokens with the index of their word or None, log score."""
    for prons in itertools.product(*(PRONUNCIATIONS[word] for word in words)):
        for pauses in itertools.product(
            (False, True) if silence else (False,), repeat=len(words) + 1
        ):
            tokens: list[tuple[str, int | None]] = [("SIL", None)] * pauses[0]
            score = sum(math.log(probability) for _, probability in prons)
            for number, ((phones, _), pause) in enumerate(zip(prons, pauses[1:], strict=True)):
                tokens += [(phone, number) for phone in phones]
                tokens += [("SIL", None)] * pause
            if silence:
                share = (SILENCE_PROB if p else 1 - SILENCE_PROB for p in pauses)
                score += sum(map(math.log, share))
            yield tokens, score


def token_readings(text: str, lexicon: Lexicon) -> Iterator[tuple[tuple[int, ...], float]]:
    """All pronunciations of a sentence as token ids of a lexicon, with their log scores."""
    for tokens, score in readings(text.split(), lexicon.silence is not None):
        yield tuple(lexicon.tokens[name] for name, _ in tokens), score


def random_log_probs(num_frames: int, num_columns: int, seed: int = 0) -> torch.Tensor:
    """float64 ``(1, num_frames, num_columns)``, normalised."""
    logits = np.random.default_rng(seed).normal(size=(1, num_frames, num_columns))
    return torch.from_numpy(2 * logits).log_softmax(dim=2)


def loss_of_one(loss, log_probs: torch.Tensor, text: str) -> float:
    """The loss of a batch of one utterance without padding."""
    return loss(log_probs, torch.tensor([log_probs.shape[1]]), [text]).item()
