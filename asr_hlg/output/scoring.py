"""Word and character error rates of hypotheses against references.

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

_GAP = ""  # in place of a word in an alignment; words are never empty


@dataclass(frozen=True)
class Errors:
    """Edit counts of the alignment with the fewest edits, for ``length`` reference units."""

    insertions: int
    deletions: int
    substitutions: int
    length: int

    @property
    def total(self) -> int:
        """Number of edits."""
        return self.insertions + self.deletions + self.substitutions

    @property
    def rate(self) -> float:
        """Edits per reference unit; infinite if there are edits but no reference units."""
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
    """Alignment of one utterance with its reference, and its word and character errors.

    ``alignment`` holds pairs of reference and hypothesis word; one of them is empty for an
    insertion or a deletion. ``oracle`` holds the word errors of the best member of the n-best
    list, if there is one.
    """

    id: str
    alignment: list[tuple[str, str]]
    words: Errors
    characters: Errors
    oracle: Errors | None = None

    def pretty(self) -> str:
        """Reference above hypothesis with stars for gaps, and a line of I, D and S."""
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
    """Error counts and rates of a test set.

    ``interval`` is the 95 % confidence interval of the word error rate, from 10,000 bootstrap
    replications over utterances (Bisani and Ney, "Bootstrap estimates for confidence intervals in
    ASR performance evaluation", ICASSP 2004); None if it cannot be estimated. ``missing`` holds
    the ids without a hypothesis; all their words count as deletions.
    """

    utterances: list[Utterance]
    interval: tuple[float, float] | None
    missing: list[str] = field(default_factory=list)

    @cached_property
    def words(self) -> Errors:
        """Word errors; ``words.rate`` is the WER."""
        return sum((utterance.words for utterance in self.utterances), _NONE)

    @cached_property
    def characters(self) -> Errors:
        """Character errors, with blanks between words; ``characters.rate`` is the CER."""
        return sum((utterance.characters for utterance in self.utterances), _NONE)

    @cached_property
    def oracle(self) -> Errors | None:
        """Word errors of the best member of every n-best list; None without lists."""
        chosen = [utterance.oracle for utterance in self.utterances if utterance.oracle]
        return sum(chosen, _NONE) if chosen else None

    @property
    def sentence_errors(self) -> int:
        """Number of utterances with at least one word error."""
        return sum(utterance.words.total > 0 for utterance in self.utterances)

    def confusions(self) -> list[tuple[str, str, int]]:
        """Reference word, hypothesis word and count of every error, most frequent first.

        The hypothesis word of a deletion and the reference word of an insertion are empty.
        """
        pairs = Counter(
            pair
            for utterance in self.utterances
            for pair in utterance.alignment
            if pair[0] != pair[1]
        )
        ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
        return [(reference, hypothesis, count) for (reference, hypothesis), count in ordered]

    def report(self, confusions: int = 10) -> str:
        """Table of the error rates, and the most frequent ``confusions``."""
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
        """Alignments of all utterances as text."""
        return "\n\n".join(utterance.pretty() for utterance in self.utterances)

    def to_dict(self) -> dict[str, Any]:
        """Content as plain values for JSON; an infinite rate becomes None."""
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
    """Align hypotheses with references, both given as text by utterance id, and count errors.

    Parameters
    ----------
    references, hypotheses : mapping of str to str
        All words of a reference without hypothesis count as deleted; its id is in ``missing``.
    alternatives : mapping of str to sequence of str, optional
        N-best lists, for the oracle error rate; the hypothesis belongs to its list, too.
    normalise : callable, optional
        Applied to every text first, for instance ``asr_hlg.output.text.normalise``; by default
        texts are compared as they are.

    Raises
    ------
    AsrHlgError
        If there are no references, or no reference has the id of a hypothesis.
    """
    if not references:
        raise AsrHlgError("there are no references to score against")
    _check_ids(references, hypotheses, "hypothesis")
    _check_ids(references, alternatives or {}, "n-best list")
    normalise = normalise or str

    utterances = []
    for name, reference in references.items():
        hypothesis = normalise(hypotheses.get(name, ""))
        nbest = None
        if alternatives is not None:
            nbest = [hypothesis, *map(normalise, alternatives.get(name, ()))]
        utterances.append(_compare(name, normalise(reference), hypothesis, nbest))
    missing = [name for name in references if name not in hypotheses]
    return Score(utterances, _interval(utterances), missing)


def _check_ids(references: Mapping[str, str], scored: Mapping[str, Any], what: str) -> None:
    """Refuse ids that no reference has."""
    unknown = [name for name in scored if name not in references]
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise AsrHlgError(
            f"the {what} {unknown[0]!r}{more} has no reference",
            remedy="add it to the reference file, or remove it from the scored file",
        )


def _compare(id: str, reference: str, hypothesis: str, nbest: list[str] | None) -> Utterance:
    """Errors of one utterance."""
    alignment = kaldialign.align(reference.split(), hypothesis.split(), _GAP)
    oracle = None
    if nbest is not None:
        counts = [_edits(kaldialign.align(reference.split(), text.split(), _GAP)) for text in nbest]
        oracle = min(counts, key=lambda errors: errors.total)
    characters = kaldialign.align(" ".join(reference.split()), " ".join(hypothesis.split()), _GAP)
    return Utterance(id, alignment, _edits(alignment), _edits(characters), oracle)


def _edits(alignment: list[tuple[str, str]]) -> Errors:
    """Numbers of insertions, deletions, substitutions and reference units of an alignment."""
    kinds = Counter(_edit(reference, hypothesis) for reference, hypothesis in alignment)
    return Errors(kinds["I"], kinds["D"], kinds["S"], sum(kinds.values()) - kinds["I"])


def _edit(reference: str, hypothesis: str) -> str:
    """I, D or S for an edit; an empty string if the two words are the same."""
    if reference == hypothesis:
        return ""
    if not reference:
        return "I"
    return "S" if hypothesis else "D"


def _interval(utterances: list[Utterance]) -> tuple[float, float] | None:
    """Confidence interval of the word error rate by bootstrapping over utterances."""
    references = [[ref for ref, _ in utterance.alignment if ref] for utterance in utterances]
    hypotheses = [[hyp for _, hyp in utterance.alignment if hyp] for utterance in utterances]
    bounds = kaldialign.bootstrap_wer_ci(references, hypotheses)
    # One utterance has no variance, and a replication without reference words has no rate.
    if len(utterances) < 2 or not math.isfinite(bounds["wer"]):
        return None
    return max(0.0, bounds["ci95min"]), bounds["ci95max"]


def _row(name: str, errors: Errors) -> str:
    """Line of the report for one error rate."""
    return (
        f"{name:8}{errors.rate:8.2%}  {errors.total} of {errors.length}: {errors.insertions} "
        f"insertions, {errors.deletions} deletions, {errors.substitutions} substitutions"
    )


def _with_rate(errors: Errors) -> dict[str, Any]:
    """Counts and rate as plain values."""
    rate = errors.rate if math.isfinite(errors.rate) else None
    return {"rate": rate, **asdict(errors)}


def _pad(cell: str, size: int, gap: str) -> str:
    """Cell of a column of ``size`` characters, filled with ``gap`` if it is empty."""
    return cell + " " * (size - _width(cell)) if cell else gap * size


def _width(text: str) -> int:
    """Columns of a text on a terminal: 0 for combining marks, 2 for wide characters."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
