"""G: a back-off model as an acceptor of words, for k2 and for OpenFst.

``kaldilm`` does the same for an ARPA file, but refuses words outside the vocabulary, and its
answer is one text of a hundred megabytes. Here the arcs are arrays from the start.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import k2
import kaldifst
import numpy as np
import torch

from asr_hlg.errors import LanguageModelError
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


@dataclass(frozen=True, eq=False)
class Acceptor:
    """A weighted acceptor as arrays; state 0 starts.

    Attributes
    ----------
    source, target, label : np.ndarray
        int32 ``(num_arcs,)``, sorted by source and then by label.
    score : np.ndarray
        float32 ``(num_arcs,)``: natural-log probabilities.
    final : np.ndarray
        float32 ``(num_states,)``: score of ending in a state, ``-inf`` where one cannot.
    backoff : int
        The label of back-off arcs, the id of ``#0``; -1 where there are none.
    dropped : Dropped
        What the vocabulary did not have.
    """

    source: np.ndarray
    target: np.ndarray
    label: np.ndarray
    score: np.ndarray
    final: np.ndarray
    backoff: int
    dropped: Dropped

    def to_k2(self, words: k2.SymbolTable | None = None) -> k2.Fsa:
        """As a ``k2.Fsa`` on the CPU, sorted by label; ``#0`` is a label like any other."""
        ends = np.flatnonzero(self.final > -np.inf).astype(np.int32)
        order = np.argsort(np.concatenate([self.source, ends]), kind="stable")
        num_states = len(self.final)
        arcs = np.empty((len(order), 4), dtype=np.int32)
        arcs[:, 0] = np.concatenate([self.source, ends])[order]
        arcs[:, 1] = np.concatenate([self.target, np.full_like(ends, num_states)])[order]
        arcs[:, 2] = np.concatenate([self.label, np.full_like(ends, -1)])[order]
        scores = np.concatenate([self.score, self.final[ends]])[order]
        arcs[:, 3] = scores.astype(np.float32).view(np.int32)
        fsa = k2.Fsa(torch.from_numpy(arcs))
        if words is not None:
            fsa.labels_sym = words
        return fsa

    def to_openfst(self) -> kaldifst.StdVectorFst:
        """As an OpenFst transducer from words to words, costs instead of scores.

        Back-off arcs read ``#0`` and write nothing, as Kaldi's do, so that the composition
        of L (with its ``#0`` loops) and this one has words alone on its output side.
        """
        num_states = len(self.final)
        data = np.empty(3 * num_states + 4 * len(self.label), dtype="<i4")
        num_arcs = np.bincount(self.source, minlength=num_states)
        # a state is its final cost and its 64-bit number of arcs; an arc is four 32-bit numbers
        state = 3 * np.arange(num_states) + 4 * (np.cumsum(num_arcs) - num_arcs)
        data[state] = (-self.final.astype("<f4")).view("<i4")
        data[state + 1] = num_arcs
        data[state + 2] = 0
        arc = 4 * np.arange(len(self.label)) + 3 * (self.source.astype(np.int64) + 1)
        data[arc] = self.label
        data[arc + 1] = np.where(self.label == self.backoff, 0, self.label)
        data[arc + 2] = (-self.score.astype("<f4")).view("<i4")
        data[arc + 3] = self.target
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "G.fst"
            with open(path, "wb") as file:
                file.write(_openfst_header(num_states, len(self.label)))
                data.tofile(file)
            return kaldifst.StdVectorFst.read(str(path))


def _openfst_header(num_states: int, num_arcs: int) -> bytes:
    """The header of a binary "vector" FST with "standard" arcs (OpenFst, fst.cc)."""
    magic, version, start, no_symbols = 2125659606, 2, 0, 0
    expanded_and_mutable = 0x3
    parts = [np.int32(magic)]
    for name in (b"vector", b"standard"):
        parts += [np.int32(len(name)), name]
    parts += [np.int32(version), np.int32(no_symbols), np.uint64(expanded_and_mutable)]
    parts += [np.int64(start), np.int64(num_states), np.int64(num_arcs)]
    return b"".join(part if isinstance(part, bytes) else part.tobytes() for part in parts)


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
        An acceptor, described at :func:`acceptor`.
    """
    graph = acceptor(ArpaModel.read(path), words)
    if graph.dropped.words:
        _LOG.warning("%s: %s", path, graph.dropped)
    return graph.to_k2(words)


def acceptor(model: ArpaModel, words: k2.SymbolTable) -> Acceptor:
    """Turn a back-off model into an acceptor over the words of a symbol table.

    A state is a history. A listed n-gram (h, w) is an arc from h to the longest history that
    (h, w) ends with, its label the id of w and its score log P(w|h); an arc ``#0`` from h to
    the next shorter history has log α(h). The start is the history ``<s>``, and P(</s>|h) is
    the final score of h: neither symbol is on an arc. Histories that no n-gram continues have no
    state: their back-off weight is on the arcs that would lead there.

    A sentence thus has one path through the longest histories that scores as the model does,
    and others that back off too early: those are what the determinization of L∘G prunes or
    keeps, as it does in Kaldi.

    Parameters
    ----------
    model : ArpaModel
    words : k2.SymbolTable
        The vocabulary; it needs ``#0`` unless the model is a unigram.

    Raises
    ------
    LanguageModelError
        If ``#0`` is wanted and absent, or no word is in both vocabularies.
    """
    bos, eos = (model.word_ids.get(word, -1) for word in (BOS, EOS))
    labels = np.array([-1 if w in (BOS, EOS) else words._sym2id.get(w, -1) for w in model.words])
    unknown = labels < 0
    unknown[[i for i in (bos, eos) if i >= 0]] = False
    model, dropped = _restrict(model, unknown, bos, eos)
    states = _States(model, bos)

    arcs: list[tuple[np.ndarray, ...]] = []  # source, target, label, score
    final = np.full(states.num, -np.inf, dtype=np.float32)
    for n, table in enumerate(model.orders, start=1):
        origin = (states.of[n - 2] if n > 1 else states.root)[table.history]
        ends = (table.word == eos) & (table.log_prob > _ZERO)
        final[origin[ends]] = table.log_prob[ends]
        rows = np.flatnonzero((labels[table.word] >= 0) & (table.log_prob > _ZERO))
        target, carried = states.arrive(model.spell(n, rows))
        score = table.log_prob[rows] + carried
        arcs.append((origin[rows], target, labels[table.word[rows]], score))

    backoff = words._sym2id.get("#0", -1)
    for n, (table, state) in enumerate(zip(model.orders, states.of, strict=False), start=1):
        rows = np.flatnonzero(state >= 0)
        target, carried = states.arrive(model.spell(n, rows)[:, 1:])
        score = table.log_backoff[rows] + carried
        arcs.append((state[rows], target, np.full(len(rows), backoff), score))
    if states.num > 1 and backoff < 0:
        raise LanguageModelError(
            "the words table has no #0 for back-off arcs", remedy="add #0 as its last symbol"
        )
    if not len(arcs[0][0]):
        raise LanguageModelError("no word of the language model is in the words table")
    return _sorted(arcs, final, backoff, dropped)


def _sorted(arcs, final: np.ndarray, backoff: int, dropped: Dropped) -> Acceptor:
    source, target, label, score = (np.concatenate(column) for column in zip(*arcs, strict=True))
    order = np.argsort((source << 32) + label)
    return Acceptor(
        source[order].astype(np.int32),
        target[order].astype(np.int32),
        label[order].astype(np.int32),
        score[order].astype(np.float32),
        final,
        backoff,
        dropped,
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
