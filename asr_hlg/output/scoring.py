"""Scoring: how far recognised words are from what was said.

Example
-------
>>> result = score({"a": "the cat", "b": "a hat"}, {"a": "the cat", "b": "hat"})
>>> f"{result.words.rate:.0%}", result.words.deletions
('25%', 1)
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import kaldialign

from asr_hlg.errors import AsrHlgError

_GAP = ""  # stands for "no word" in an alignment; a word is never empty


@dataclass(frozen=True)
class Errors:
    """The fewest edits that turn ``length`` reference units into the hypothesis."""

    insertions: int
    deletions: int
    substitutions: int
    length: int

    @property
    def total(self) -> int:
        """All edits."""
        return self.insertions + self.deletions + self.substitutions

    @property
    def rate(self) -> float:
        """Edits per reference unit; infinite where there are edits and no reference."""
        if self.length == 0:
            return float("inf") if self.total else 0.0
        return self.total / self.length

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.insertions + other.insertions,
            self.deletions + other.deletions,
            self.substitutions + other.substitutions,
            self.length + other.length,
        )


_NONE = Errors(0, 0, 0, 0)


@dataclass(frozen=True)
class Utterance:
    """One utterance's errors in words and characters, and which words they are.

    ``alignment`` holds pairs of reference and hypothesis word; one of them is empty for an
    insertion or a deletion. ``oracle`` are the errors of the best alternative, where an n-best
    list was given.
    """

    id: str
    alignment: list[tuple[str, str]]
    words: Errors
    characters: Errors
    oracle: Errors | None = None

    def pretty(self) -> str:
        """The two texts under each other with stars for gaps, and a line of I, D and S."""
        columns = []
        for reference, hypothesis in self.alignment:
            size = max(_width(reference), _width(hypothesis))
            columns.append(
                (
                    _pad(reference, size, "*"),
                    _pad(hypothesis, size, "*"),
                    _pad(_edit(reference, hypothesis), size, " "),
                )
            )
        rows = zip(("ref", "hyp", "err"), *columns, strict=True)
        return "\n".join([f"id  {self.id}", *(" ".join(row).rstrip() for row in rows)])


@dataclass(frozen=True)
class Score:
    """The errors of a whole test set.

    ``interval`` is the 95 % confidence interval of the word error rate, from 10,000 bootstrap
    replications over utterances (Bisani and Ney, "Bootstrap estimates for confidence intervals in
    ASR performance evaluation", ICASSP 2004); None where the references have no words.
    ``missing`` are the ids without a hypothesis, all of whose words count as deleted.
    """

    utterances: list[Utterance]
    interval: tuple[float, float] | None
    missing: list[str] = field(default_factory=list)

    @cached_property
    def words(self) -> Errors:
        """Errors in words: ``words.rate`` is the WER."""
        return sum((utterance.words for utterance in self.utterances), _NONE)

    @cached_property
    def characters(self) -> Errors:
        """Errors in characters, blanks between words included: ``characters.rate`` is the CER."""
        return sum((utterance.characters for utterance in self.utterances), _NONE)

    @cached_property
    def oracle(self) -> Errors | None:
        """Word errors if the best of every n-best list were known; None without lists."""
        chosen = [utterance.oracle for utterance in self.utterances if utterance.oracle]
        return sum(chosen, _NONE) if chosen else None

    @property
    def sentence_errors(self) -> int:
        """Utterances with any error."""
        return sum(utterance.words.total > 0 for utterance in self.utterances)

    def confusions(self) -> list[tuple[str, str, int]]:
        """What was taken for what, most frequent first; an empty string stands for no word."""
        pairs = Counter(
            pair
            for utterance in self.utterances
            for pair in utterance.alignment
            if pair[0] != pair[1]
        )
        ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
        return [(reference, hypothesis, count) for (reference, hypothesis), count in ordered]

    def report(self, confusions: int = 10) -> str:
        """A table of the rates, and the most frequent ``confusions``."""
        wer = _row("WER", self.words)
        if self.interval is not None:
            wer += ", 95 % interval {:.2%} to {:.2%}".format(*self.interval)
        lines = [wer, _row("CER", self.characters)]
        if self.oracle is not None:
            lines.append(_row("oracle", self.oracle))
        wrong, count = self.sentence_errors, len(self.utterances)
        lines.append(f"{'SER':8}{wrong / count:8.2%}  {wrong} of {count} sentences")
        if self.missing:
            lines.append(f"no hypothesis for {len(self.missing)}: {', '.join(self.missing)}")
        frequent = self.confusions()[:confusions]
        if frequent:
            lines += ["", "most frequent errors"]
            lines += [f"{n:5}  {ref or '*'} → {hyp or '*'}" for ref, hyp, n in frequent]
        return "\n".join(lines)

    def alignments(self) -> str:
        """Every utterance's alignment, for a file to read through."""
        return "\n\n".join(utterance.pretty() for utterance in self.utterances)

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON; an infinite rate becomes None."""
        return {
            "words": _with_rate(self.words),
            "interval": self.interval,
            "characters": _with_rate(self.characters),
            "oracle": None if self.oracle is None else _with_rate(self.oracle),
            "sentences": len(self.utterances),
            "sentence_errors": self.sentence_errors,
            "missing": self.missing,
            "confusions": self.confusions(),
            "utterances": [asdict(utterance) for utterance in self.utterances],
        }


def score(
    references: Mapping[str, str],
    hypotheses: Mapping[str, str],
    *,
    alternatives: Mapping[str, Sequence[str]] | None = None,
    normalise: Callable[[str], str] | None = None,
) -> Score:
    """Compare hypotheses with references, both given as text by utterance id.

    Parameters
    ----------
    references, hypotheses : mapping of str to str
        A reference without hypothesis counts as deleted, word for word, and is named in
        ``missing``.
    alternatives : mapping of str to sequence of str, optional
        N-best lists, for the oracle error rate; the hypothesis counts as a member of its list.
    normalise : callable, optional
        Applied to every text first, ``asr_hlg.output.text.normalise`` for instance; by default
        texts are compared as they are.

    Raises
    ------
    AsrHlgError
        Where there is no reference at all, or a hypothesis has an id that no reference has.
    """
    if not references:
        raise AsrHlgError("there are no references to score against")
    _check_ids(references, hypotheses, "hypothesis")
    _check_ids(references, alternatives or {}, "n-best list")
    fold = normalise or str

    utterances = []
    for name, reference in references.items():
        hypothesis = fold(hypotheses.get(name, ""))
        rivals = None
        if alternatives is not None:
            rivals = [hypothesis, *(fold(text) for text in alternatives.get(name, ()))]
        utterances.append(_compare(name, fold(reference), hypothesis, rivals))
    missing = [name for name in references if name not in hypotheses]
    return Score(utterances, _interval(utterances), missing)


def _check_ids(references: Mapping[str, str], given: Mapping[str, Any], what: str) -> None:
    unknown = [name for name in given if name not in references]
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise AsrHlgError(
            f"the {what} {unknown[0]!r}{more} has no reference",
            remedy="add it to the reference file, or drop it from what is scored",
        )


def _compare(id: str, reference: str, hypothesis: str, rivals: list[str] | None) -> Utterance:
    alignment = kaldialign.align(reference.split(), hypothesis.split(), _GAP)
    oracle = None
    if rivals is not None:
        counts = [
            _edits(kaldialign.align(reference.split(), text.split(), _GAP)) for text in rivals
        ]
        oracle = min(counts, key=lambda errors: errors.total)
    characters = kaldialign.align(" ".join(reference.split()), " ".join(hypothesis.split()), _GAP)
    return Utterance(id, alignment, _edits(alignment), _edits(characters), oracle)


def _edits(alignment: list[tuple[str, str]]) -> Errors:
    kinds = Counter(_edit(reference, hypothesis) for reference, hypothesis in alignment)
    return Errors(kinds["I"], kinds["D"], kinds["S"], sum(kinds.values()) - kinds["I"])


def _edit(reference: str, hypothesis: str) -> str:
    """I, D or S, or nothing where the two agree."""
    if reference == hypothesis:
        return ""
    if not reference:
        return "I"
    return "S" if hypothesis else "D"


def _interval(utterances: list[Utterance]) -> tuple[float, float] | None:
    references = [[ref for ref, _ in utterance.alignment if ref] for utterance in utterances]
    hypotheses = [[hyp for _, hyp in utterance.alignment if hyp] for utterance in utterances]
    bounds = kaldialign.bootstrap_wer_ci(references, hypotheses)
    # One utterance shows no spread, and a replication without reference words has no rate.
    if len(utterances) < 2 or not math.isfinite(bounds["wer"]):
        return None
    return max(0.0, bounds["ci95min"]), bounds["ci95max"]


def _row(name: str, errors: Errors) -> str:
    return (
        f"{name:8}{errors.rate:8.2%}  {errors.total} of {errors.length}: {errors.insertions} "
        f"insertions, {errors.deletions} deletions, {errors.substitutions} substitutions"
    )


def _with_rate(errors: Errors) -> dict[str, Any]:
    rate = errors.rate if math.isfinite(errors.rate) else None
    return {"rate": rate, **asdict(errors)}


def _pad(cell: str, size: int, gap: str) -> str:
    return cell + " " * (size - _width(cell)) if cell else gap * size


def _width(text: str) -> int:
    """Columns on a terminal: none for a combining mark, two for a wide character."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
