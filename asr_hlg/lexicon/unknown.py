"""Pronunciations of ``[unk]``, the word of a grammar that stands for any other speech."""

from __future__ import annotations

from collections.abc import Sequence

from asr_hlg.fst import symbols
from asr_hlg.lexicon.entries import Pronunciation

PROBABILITY = 0.3
"""Of each phone. Together with the grammar's 1/2 for another phone, a phone costs 1.9, which speech
that the grammar does not have gains from its better phones. With ten sentences and ``[unk]``, and
71 recordings of LJSpeech, speechocean and wild-dev: 68 sentences were recognised and 3 became
``[unk]``; without the sentence in the grammar all 71 became ``[unk]``. With 1.0 the results are the
same, with 0.1 two and with 0.03 four wrong sentences are accepted."""


def pronunciations(
    tokens: Sequence[str], silence: str | None, position_dependent: bool
) -> list[Pronunciation]:
    """Every phone as a pronunciation of ``[unk]``, each with `PROBABILITY`.

    Parameters
    ----------
    tokens : sequence of str
        Of the acoustic model: the blank, and phones or other units.
    silence : str, optional
        The token of pauses, which is no pronunciation.
    position_dependent : bool
        Whether phones have the marks of their position in a word, such as ``_B``.
    """
    left_out = {tokens[0], silence}
    units = [token for token in tokens if token not in left_out and not symbols.is_disambig(token)]
    if position_dependent:
        units = [unit.rpartition("_")[0] for unit in units]
    units = list(dict.fromkeys(units))
    return [Pronunciation(symbols.UNKNOWN, (unit,), PROBABILITY) for unit in units]
