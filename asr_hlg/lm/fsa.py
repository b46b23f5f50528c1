"""G: a back-off model as an automaton over words.

``kaldilm`` makes one from an ARPA file, but it stops at the first word outside the vocabulary,
answers with a text of a hundred megabytes, and keeps a state for every history, also for the
six of seven that no n-gram continues. Here the arcs are arrays from the start.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import k2
import numpy as np

from asr_hlg.errors import LanguageModelError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.lm.ngrams import BOS, EOS, ArpaModel, select

_LOG = logging.getLogger(__name__)
_ZERO = -80.0  # natural log; ARPA files write 1e-99 for a word that is never predicted


@dataclass(frozen=True)
class Dropped:
    """What a model loses when it is limited to a vocabulary.

    Attributes
    ----------
    words : tuple of str
        The words of the model that the vocabulary lacks, most probable first.
    ngrams : tuple of int
        For every order, how many n-grams contain such a word.
    share : float
        The unigram probability of those words, between 0 and 1.
    """

    words: tuple[str, ...]
    ngrams: tuple[int, ...]
    share: float

    def __str__(self) -> str:
        shown = ", ".join(self.words[:5]) + (", …" if len(self.words) > 5 else "")
        counts = ", ".join(f"{count} {n}-grams" for n, count in enumerate(self.ngrams, start=1))
        return f"dropped {counts} ({self.share:.3%} of the unigram probability): {shown}"


def read_arpa(path: str | Path, words: k2.SymbolTable) -> k2.Fsa:
    """Read an ARPA file as G, a graph over words that knows how probable a sentence is.

    Parameters
    ----------
    path : str or Path
        An ARPA file of any order, or one ending in ``.gz``.
    words : k2.SymbolTable
        The vocabulary of the graph. N-grams with other words are dropped, and a warning on the
        logger ``asr_hlg.lm`` says how many and how probable.

    Returns
    -------
    k2.Fsa
        The automaton that :func:`to_arcs` describes, as an acceptor: a back-off arc has the
        label ``#0`` like a word, and there are no ``aux_labels``. Sorted by label.

    Raises
    ------
    LanguageModelError
        For a malformed file, or as :func:`to_arcs` does.
    """
    arcs, dropped = to_arcs(ArpaModel.read(path), words)
    if dropped.words:
        _LOG.warning("%s: %s", path, dropped)
    fsa = replace(arcs, olabel=arcs.ilabel).to_k2()
    del fsa.aux_labels
    fsa.labels_sym = words
    return fsa


def to_arcs(model: ArpaModel, words: k2.SymbolTable) -> tuple[Arcs, Dropped]:
    """Turn a back-off model into an automaton over the words of a symbol table.

    A state is a history. A listed n-gram (h, w) is an arc from h to the longest history that
    (h, w) ends with, its labels the id of w and its score log P(w|h). An arc from h to the next
    shorter history has log α(h); it reads ``#0`` and writes nothing, as Kaldi's do, so that L
    (with its ``#0`` loops) composed with G writes words alone. The start is the history ``<s>``,
    and P(</s>|h) is the final score of h: neither symbol is on an arc. Histories that no n-gram
    continues have no state: their back-off weight is on the arcs that would lead there.

    A sentence has one path that backs off only where it must, which scores as the model does.
    Others back off although the n-gram is listed, and mostly score less.

    Parameters
    ----------
    model : ArpaModel
    words : k2.SymbolTable
        The vocabulary; it needs ``#0`` unless the model is a unigram.

    Returns
    -------
    arcs : Arcs
        Sorted by source state and then by label.
    dropped : Dropped
        What went because the vocabulary lacks its words.

    Raises
    ------
    LanguageModelError
        If ``#0`` is wanted and absent, no word is in both vocabularies, or the model has no
        ``</s>``.
    """
    bos, eos = (model.word_ids.get(word, -1) for word in (BOS, EOS))
    labels = _labels(model.words, words)
    unknown = labels < 0
    unknown[[i for i in (bos, eos) if i >= 0]] = False
    model, dropped = _restrict(model, unknown, bos, eos)
    states = _States(model, bos)

    columns: list[tuple[np.ndarray, ...]] = []  # src, dst, label, score
    final = np.full(states.num, -np.inf, dtype=np.float32)
    for n, table in enumerate(model.orders, start=1):
        origin = (states.of[n - 2] if n > 1 else states.root)[table.history]
        ends = (table.word == eos) & (table.log_prob > _ZERO)
        final[origin[ends]] = table.log_prob[ends]
        rows = np.flatnonzero((labels[table.word] >= 0) & (table.log_prob > _ZERO))
        dst, carried = states.arrive(model.spell(n, rows))
        score = table.log_prob[rows] + carried
        columns.append((origin[rows], dst, labels[table.word[rows]], score))

    backoff = words._sym2id.get("#0", -1)
    for n, (table, state) in enumerate(zip(model.orders, states.of, strict=False), start=1):
        rows = np.flatnonzero(state >= 0)
        dst, carried = states.arrive(model.spell(n, rows)[:, 1:])
        score = table.log_backoff[rows] + carried
        columns.append((state[rows], dst, np.full(len(rows), backoff), score))
    if states.num > 1 and backoff < 0:
        raise LanguageModelError(
            "the words table has no #0 for back-off arcs", remedy="add #0 as its last symbol"
        )
    if not len(columns[0][0]):
        raise LanguageModelError("no word of the language model is in the words table")
    if not np.isfinite(final).any():
        raise LanguageModelError(f"no sentence can end: the model has no {EOS}")
    return _assemble(columns, final, backoff), dropped


def _labels(model_words: tuple[str, ...], words: k2.SymbolTable) -> np.ndarray:
    """The id of each word, -1 for what must not be on an arc as a word."""
    special = {BOS, EOS, symbols.EPS, "#0"}
    return np.array([-1 if w in special else words._sym2id.get(w, -1) for w in model_words])


def _assemble(columns: list[tuple[np.ndarray, ...]], final: np.ndarray, backoff: int) -> Arcs:
    src, dst, label, score = (np.concatenate(column) for column in zip(*columns, strict=True))
    order = np.argsort((src << 32) + label)
    label = label[order].astype(np.int32)
    return Arcs(
        src[order].astype(np.int32),
        dst[order].astype(np.int32),
        label,
        np.where(label == backoff, 0, label).astype(np.int32),
        score[order].astype(np.float32),
        final,
    )


class _States:
    """Which histories are states of G, and where an n-gram leads."""

    def __init__(self, model: ArpaModel, bos: int):
        self.model = model
        self.root = np.zeros(1, dtype=np.int64)  # the empty history
        self.num = 1
        self.of = []  # for every order, the state of each n-gram, or -1
        for n in range(1, model.order):
            continued = np.zeros(model.counts[n - 1], dtype=bool)
            continued[model.orders[n].history] = True
            if n == 1 and bos >= 0 and model.orders[0].log_backoff[bos] != 0:
                continued[bos] = True  # nothing follows <s>, but it still weighs the words
            self.of.append(np.where(continued, np.cumsum(continued) - 1 + self.num, -1))
            self.num += int(continued.sum())
        if bos >= 0 and self.of and self.of[0][bos] >= 0:
            # the start comes first in both k2 and our OpenFst files
            start, self.of[0][bos] = self.of[0][bos], 0
            self.root[0] = start

    def arrive(self, ngrams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The state after each n-gram, and the log back-off weights passed on the way there."""
        state = np.full(len(ngrams), self.root[0])
        carried = np.zeros(len(ngrams))
        pending = np.arange(len(ngrams))
        for first in range(ngrams.shape[1]):
            n = ngrams.shape[1] - first
            if n > len(self.of) or not len(pending):
                continue  # the longest n-grams are nobody's history
            row = self.model.find(ngrams[pending, first:])
            found = np.where(row >= 0, self.of[n - 1][row], -1)
            arrived = found >= 0
            state[pending[arrived]] = found[arrived]
            passed = (row >= 0) & ~arrived
            carried[pending[passed]] += self.model.orders[n - 1].log_backoff[row[passed]]
            pending = pending[~arrived]
        return state, carried


def _restrict(
    model: ArpaModel, unknown: np.ndarray, bos: int, eos: int
) -> tuple[ArpaModel, Dropped]:
    """Leave out n-grams with unknown words, and those that no sentence can contain."""
    keep = [np.ones(len(unknown), dtype=bool)]
    hit = [unknown]
    for shorter, table in zip(model.orders, model.orders[1:], strict=False):
        hit.append(unknown[table.word] | hit[-1][table.history])
        impossible = (table.word == bos) | (shorter.word[table.history] == eos)
        keep.append(keep[-1][table.history] & ~hit[-1] & ~impossible)
    rows = np.flatnonzero(unknown)
    rows = rows[np.argsort(-model.orders[0].log_prob[rows], kind="stable")]
    dropped = Dropped(
        tuple(model.words[row] for row in rows),
        tuple(int(column.sum()) for column in hit),
        float(np.exp(model.orders[0].log_prob[rows]).sum()),
    )
    return select(model, keep), dropped
