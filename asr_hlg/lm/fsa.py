"""G: compilation of a back-off model into an automaton over words.

``kaldilm`` does this for an ARPA file, but it stops at the first word outside the vocabulary,
returns a text of a hundred megabytes, and makes a state for every history, also for the six of
seven that no n-gram continues. Here the arcs are arrays from the start.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import LanguageModelError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.symbols import SymbolTable
from asr_hlg.lm.ngrams import BOS, EOS, ArpaModel, Bools, Floats, Ints, select

if TYPE_CHECKING:
    import k2

_Columns = tuple[Ints, Ints, Ints, Floats]  # src, dst, label, score

_LOG = logging.getLogger(__name__)
_ZERO = -80.0  # natural log; ARPA files have 1e-99 for a word that is never predicted


@dataclass(frozen=True)
class Dropped:
    """The words and n-grams that are removed when a model is restricted to a vocabulary.

    Attributes
    ----------
    words : tuple of str
        The words of the model that are not in the vocabulary, most probable first.
    ngrams : tuple of int
        For every order, the number of n-grams that contain such a word.
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


def read_arpa(path: str | Path, words: SymbolTable) -> k2.Fsa:
    """Read an ARPA file as G, an acceptor of word sequences scored with log-probabilities.

    Parameters
    ----------
    path : str or Path
        An ARPA file of any order, gzipped if its name ends in ``.gz``.
    words : SymbolTable
        The vocabulary of the graph. N-grams with other words are dropped, and the logger
        ``asr_hlg.lm.fsa`` warns with their number and probability.

    Returns
    -------
    k2.Fsa
        The automaton of :func:`to_arcs` as an acceptor: a back-off arc has the label ``#0``, and
        there are no ``aux_labels``. Sorted by label.

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


def to_arcs(model: ArpaModel, words: SymbolTable) -> tuple[Arcs, Dropped]:
    """Compile a back-off model into an automaton over the words of a symbol table.

    A state is a history. A listed n-gram (h, w) is an arc from h to the longest history that is
    a suffix of (h, w); its labels are the id of w, its score is log P(w|h). A back-off arc from h
    to the next shorter history has the score log α(h), the input label ``#0`` and the output
    label ε, as in Kaldi, so that the output of L (with its ``#0`` loops) composed with G consists
    of words alone. The start state is the history ``<s>``, and log P(</s>|h) is the final score
    of h: neither symbol is on an arc. Histories that no n-gram continues have no state: their
    back-off weight is in the score of the arcs that would lead there.

    The path of a sentence that backs off only if the n-gram is not listed has the score of the
    model. Other paths back off although the n-gram is listed, and mostly have lower scores.

    Parameters
    ----------
    model : ArpaModel
    words : SymbolTable
        The vocabulary; it needs ``#0`` unless the model is a unigram.

    Returns
    -------
    arcs : Arcs
        Sorted by source state and then by label.
    dropped : Dropped
        The words and n-grams that are not in the vocabulary.

    Raises
    ------
    LanguageModelError
        If ``#0`` is needed and absent, no word is in both vocabularies, or the model has no
        ``</s>``.
    """
    bos, eos = (model.word_ids.get(word, -1) for word in (BOS, EOS))
    labels = _labels(model.words, words)
    unknown = labels < 0
    unknown[[i for i in (bos, eos) if i >= 0]] = False
    model, dropped = _restrict(model, unknown, bos, eos)
    states = _States(model, bos)

    columns: list[_Columns] = []
    final = np.full(states.num, -np.inf, dtype=np.float32)
    for n, table in enumerate(model.orders, start=1):
        src = (states.of_order[n - 2] if n > 1 else states.root)[table.history]
        ends = (table.word == eos) & (table.log_prob > _ZERO)
        final[src[ends]] = table.log_prob[ends]
        rows = np.flatnonzero((labels[table.word] >= 0) & (table.log_prob > _ZERO))
        dst, backoff = states.after(model.spell(n, rows))
        score = table.log_prob[rows] + backoff
        columns.append((src[rows], dst, labels[table.word[rows]], score))

    backoff_label = words["#0"] if "#0" in words else -1  # noqa: SIM401 (a table of k2 has no default)
    for n, (table, state) in enumerate(zip(model.orders, states.of_order, strict=False), start=1):
        rows = np.flatnonzero(state >= 0)
        dst, backoff = states.after(model.spell(n, rows)[:, 1:])
        score = table.log_backoff[rows] + backoff
        columns.append((state[rows], dst, np.full(len(rows), backoff_label), score))
    if states.num > 1 and backoff_label < 0:
        raise LanguageModelError(
            "the words table has no #0 for back-off arcs", remedy="add #0 as its last symbol"
        )
    if not len(columns[0][0]):
        raise LanguageModelError("no word of the language model is in the words table")
    if not np.isfinite(final).any():
        raise LanguageModelError(f"no sentence can end: the model has no {EOS}")
    return _assemble(columns, final, backoff_label), dropped


def _labels(model_words: tuple[str, ...], words: SymbolTable) -> npt.NDArray[np.int64]:
    """Label of each word; -1 for a word that is not in the table and for special symbols."""
    special = {BOS, EOS, symbols.EPS, "#0"}
    known = (w not in special and w in words for w in model_words)
    return np.array([words[w] if k else -1 for w, k in zip(model_words, known, strict=True)])


def _assemble(columns: list[_Columns], final: npt.NDArray[np.float32], backoff_label: int) -> Arcs:
    """Arcs in the order of their source states and labels; back-off arcs have no output label."""
    src, dst, label, score = (np.concatenate(column) for column in zip(*columns, strict=True))
    order = np.argsort((src << 32) + label)
    label = label[order].astype(np.int32)
    return Arcs(
        src[order].astype(np.int32),
        dst[order].astype(np.int32),
        label,
        np.where(label == backoff_label, 0, label).astype(np.int32),
        score[order].astype(np.float32),
        final,
    )


class _States:
    """States of G, one per history that an n-gram continues.

    Attributes
    ----------
    num : int
        Number of states.
    of_order : list of np.ndarray
        For every order except the highest, the state of each n-gram, -1 for none.
    root : np.ndarray
        int64 ``(1,)``: the state of the empty history.
    """

    def __init__(self, model: ArpaModel, bos: int):
        self.model = model
        self.root = np.zeros(1, dtype=np.int64)
        self.num = 1
        self.of_order: list[npt.NDArray[np.int64]] = []
        for n in range(1, model.order):
            continued = np.zeros(model.counts[n - 1], dtype=bool)
            continued[model.orders[n].history] = True
            if n == 1 and bos >= 0 and model.orders[0].log_backoff[bos] != 0:
                continued[bos] = True  # no n-gram continues <s>, but its back-off weight counts
            self.of_order.append(np.where(continued, np.cumsum(continued) - 1 + self.num, -1))
            self.num += int(continued.sum())
        if bos >= 0 and self.of_order and self.of_order[0][bos] >= 0:
            # the start state is state 0 in k2 and in our OpenFst files
            start, self.of_order[0][bos] = self.of_order[0][bos], 0
            self.root[0] = start

    def after(self, ngrams: Ints) -> tuple[npt.NDArray[np.int64], Floats]:
        """State after each n-gram, and the sum of the log back-off weights on the way there."""
        state = np.full(len(ngrams), self.root[0])
        backoff = np.zeros(len(ngrams))
        pending = np.arange(len(ngrams))
        for first in range(ngrams.shape[1]):
            n = ngrams.shape[1] - first
            if n > len(self.of_order) or not len(pending):
                continue  # n-grams of the highest order are no histories
            row = self.model.find(ngrams[pending, first:])
            target = np.where(row >= 0, self.of_order[n - 1][row], -1)
            has_state = target >= 0
            state[pending[has_state]] = target[has_state]
            passed = (row >= 0) & ~has_state
            backoff[pending[passed]] += self.model.orders[n - 1].log_backoff[row[passed]]
            pending = pending[~has_state]
        return state, backoff


def _restrict(model: ArpaModel, unknown: Bools, bos: int, eos: int) -> tuple[ArpaModel, Dropped]:
    """Remove n-grams with unknown words, and those that no sentence can contain."""
    keep: list[Bools] = [np.ones(len(unknown), dtype=bool)]
    has_unknown = [unknown]
    for shorter, table in zip(model.orders, model.orders[1:], strict=False):
        has_unknown.append(unknown[table.word] | has_unknown[-1][table.history])
        impossible = (table.word == bos) | (shorter.word[table.history] == eos)
        keep.append(keep[-1][table.history] & ~has_unknown[-1] & ~impossible)
    rows = np.flatnonzero(unknown)
    rows = rows[np.argsort(-model.orders[0].log_prob[rows], kind="stable")]
    dropped = Dropped(
        tuple(model.words[row] for row in rows),
        tuple(int(column.sum()) for column in has_unknown),
        float(np.exp(model.orders[0].log_prob[rows]).sum()),
    )
    return select(model, keep), dropped
