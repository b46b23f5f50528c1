"""Best path of a sentence through L∘G, or the first word that no path accepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import kaldifst
import numpy as np

from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.indexing import Bools, isin_sorted, reachable
from asr_hlg.lexicon import Lexicon


@dataclass(frozen=True)
class Step:
    """Arc of a path: states, token (empty for ε), word (empty for none), log score."""

    src: int
    dst: int
    token: str
    word: str
    score: float


@dataclass(frozen=True)
class Explanation:
    """Best path of a sentence through L∘G, or the first word that no path accepts.

    Attributes
    ----------
    words : tuple of str
    steps : tuple of Step
        The arcs, first to last; empty if the sentence is not accepted.
    score : float
        Log score of the path with its final score, ``-inf`` if there is none.
    stopped_at : int or None
        Position of the first word that no path accepts (the number of words if only the final state
        is missing), None if the sentence is accepted.
    reason : str
        Reason, as a message; empty if the sentence is accepted.
    """

    words: tuple[str, ...]
    steps: tuple[Step, ...]
    score: float
    stopped_at: int | None = None
    reason: str = ""

    def __str__(self) -> str:
        if self.stopped_at is not None:
            return self.reason
        lines = [f"{'state':>9} {'to':>9}  {'token':<8}{'word':<16}{'log prob':>10}"]
        for step in self.steps:
            lines.append(
                f"{step.src:>9} {step.dst:>9}  {step.token or 'ε':<8}{step.word:<16}"
                f"{step.score:>10.4f}"
            )
        end = self.score - sum(step.score for step in self.steps)
        lines.append(f"{'':>9} {'end':>9}  {'':<24}{end:>10.4f}")
        lines.append(f"{'':>9} {'sum':>9}  {'':<24}{self.score:>10.4f}")
        return "\n".join(lines)


def explain(lg: Arcs, lexicon: Lexicon, sentence: str | Sequence[str]) -> Explanation:
    """Find the best path of a sentence through L∘G.

    Parameters
    ----------
    lg : Arcs
        Tokens to words, without disambiguation symbols (``DecodingGraph.lg``).
    lexicon : Lexicon
        Its token and word tables.
    sentence : str or sequence of str
        Words; a string is split at white space.
    """
    words = tuple(sentence.split() if isinstance(sentence, str) else sentence)
    for position, word in enumerate(words):
        if word not in lexicon:
            return Explanation(
                words,
                (),
                float("-inf"),
                position,
                f"stops at word {position + 1}, {word!r}: it is not in the lexicon",
            )
    lg, states = _part_for(lg.sorted(), [lexicon.words[word] for word in words])
    number = np.cumsum(states) - 1
    # Arc numbers are the input labels, so that the best path is a list of arcs.
    numbered = replace(
        lg,
        src=number[lg.src],
        dst=number[lg.dst],
        ilabel=np.arange(1, lg.num_arcs + 1, dtype=np.int32),
        final=lg.final[states],
    )
    fst = numbered.to_openfst()
    kaldifst.arcsort(fst, "olabel")
    best = _best_path(fst, lexicon, words)
    if best is not None:
        arcs, score = best
        return Explanation(words, tuple(_step(lg, lexicon, arc) for arc in arcs), score)
    ending_anywhere = replace(numbered, final=np.zeros_like(numbered.final)).to_openfst()
    kaldifst.arcsort(ending_anywhere, "olabel")
    accepted = len(words)
    while accepted and _best_path(ending_anywhere, lexicon, words[:accepted]) is None:
        accepted -= 1
    return Explanation(words, (), float("-inf"), accepted, _reason(words, accepted))


def _part_for(lg: Arcs, words: Sequence[int]) -> tuple[Arcs, Bools]:
    """Arcs that a path of the sentence can contain, and the states that they join."""
    arcs = lg.take(np.flatnonzero(isin_sorted(lg.olabel, np.unique([0, *words]))))
    start = np.zeros(lg.num_states, dtype=bool)
    start[0] = True
    states = reachable(arcs.src, arcs.dst, start)
    return arcs.take(np.flatnonzero(states[arcs.src])), states


def _best_path(
    fst: kaldifst.StdVectorFst, lexicon: Lexicon, words: Sequence[str]
) -> tuple[list[int], float] | None:
    """Arcs and score of the best path that writes ``words``."""
    linear = kaldifst.make_linear_acceptor([lexicon.words[word] for word in words])
    path = kaldifst.shortest_path(kaldifst.compose(fst, linear))
    if not path.num_states:
        return None
    _, arcs, _, cost = kaldifst.get_linear_symbol_sequence(path)
    return [arc - 1 for arc in arcs], -cost.value


def _step(lg: Arcs, lexicon: Lexicon, arc: int) -> Step:
    token, word = int(lg.ilabel[arc]), int(lg.olabel[arc])
    return Step(
        int(lg.src[arc]),
        int(lg.dst[arc]),
        lexicon.tokens[token] if token else "",
        lexicon.words[word] if word else "",
        float(lg.score[arc]),
    )


def _reason(words: Sequence[str], accepted: int) -> str:
    if accepted == len(words):
        return f"stops after {' '.join(words)!r}: no sentence of the grammar ends there"
    before = f"after {' '.join(words[:accepted])!r}" if accepted else "at the beginning"
    return (
        f"stops at word {accepted + 1}, {words[accepted]!r}: the grammar does not allow it {before}"
    )
