"""L∘G packed for token passing: the arcs of every state side by side, ε taken out of the way.

packed = PackedLg.pack(load_lg(Path("graphs/en")))
packed.label[packed.first[s] : packed.first[s + 1]]      # what state s can read next
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numba import njit

from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph.flat import FlatGraph, expand, splits

_STATE = np.dtype([("first", "<u4"), ("eps_first", "<u4"), ("reach", "<f4")])


@dataclass(frozen=True)
class PackedLg:
    """L∘G as flat arrays, ordered by state; state 0 is the start.

    Arcs that read a token and ε-arcs are kept apart. The ε-arcs are closed under composition, so
    that one of them goes wherever a path of them did; a state behind them that neither reads a
    token nor is final is left out. Of paths that join the same states and spell the same words
    the best one stays, as in tropical ε-removal (Mohri 2002, "Generic ε-removal").

    Records lie side by side, since memory is what a search waits for.

    Attributes
    ----------
    states : np.ndarray
        Records ``(num_states + 1,)``: state s has the arcs ``states[s].first`` to
        ``states[s + 1].first - 1`` and the ε-arcs likewise from ``eps_first``; ``reach`` is the
        largest score among the arcs, ``-inf`` without any.
    arcs : np.ndarray
        Records ``(num_arcs,)``, by score within a state, the largest first: ``dst``, ``score``,
        ``label``. A search that has read them as far as they can matter leaves the rest.
    words : np.ndarray
        int32 ``(num_arcs,)``: word ids, 0 for none.
    eps_arcs : np.ndarray
        Records ``(num_eps,)``: ``dst``, ``score`` and the row of ``spellings`` that is said.
    final : np.ndarray
        float32 ``(num_states,)``: the score of ending here, ``-inf`` where that is not allowed.
    spellings, spelling_splits : np.ndarray
        int32: words of row i are ``spellings[spelling_splits[i]:spelling_splits[i + 1]]``; row 0
        has none.
    """

    states: np.ndarray
    arcs: np.ndarray
    words: np.ndarray
    eps_arcs: np.ndarray
    final: np.ndarray
    spellings: np.ndarray
    spelling_splits: np.ndarray

    @property
    def num_states(self) -> int:
        return len(self.final)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def num_bytes(self) -> int:
        """Memory that the arrays take."""
        return sum(array.nbytes for array in self.arrays.values())

    @staticmethod
    def pack(lg: Arcs) -> PackedLg:
        """Pack L∘G, in which label 0 is ε; see :func:`asr_hlg.graph.compile_lg`."""
        number = _visiting_order(lg)
        final = np.empty_like(lg.final)
        final[number] = lg.final
        reads = np.flatnonzero(lg.ilabel > 0).astype(np.int32)
        reads = reads[_best_first(number[lg.src[reads]], lg.ilabel[reads], lg.score[reads])]
        useful = np.isfinite(final)
        useful[number[lg.src[reads]]] = True
        eps = lg.take(np.flatnonzero(lg.ilabel == 0))
        eps = replace(eps, src=number[eps.src], dst=number[eps.dst], final=final)
        return _assemble(
            number[lg.src[reads]],
            number[lg.dst[reads]],
            lg.ilabel[reads],
            lg.olabel[reads],
            lg.score[reads],
            final,
            *_closure(eps, useful),
        )

    def changed(self, change: Callable[[FlatGraph], FlatGraph]) -> PackedLg:
        """The same with other arcs; ``change`` keeps ε-arcs closed under composition."""
        flat = change(self._flat())
        src, dst, label, _ = flat.packed.T
        reads = np.flatnonzero(label > 0)
        reads = reads[_best_first(src[reads], label[reads], flat.score[reads])]
        word, ends = flat.first_word, label == -1
        final = np.full(flat.num_states - 1, -np.inf, dtype=np.float32)
        final[src[ends]] = flat.score[ends]

        eps = np.flatnonzero(label == 0)
        spellings: dict[tuple[int, ...], int] = {(): 0}
        said = np.zeros(len(eps), dtype=np.int64)
        for i in np.flatnonzero(np.diff(flat.word_splits)[eps]):
            words = flat.words[flat.word_splits[eps[i]] : flat.word_splits[eps[i] + 1]]
            said[i] = spellings.setdefault(tuple(words.tolist()), len(spellings))
        closure = src[eps], dst[eps], flat.score[eps], said
        return _assemble(
            src[reads],
            dst[reads],
            label[reads],
            word[reads],
            flat.score[reads],
            final,
            closure,
            list(spellings),
        )

    def _flat(self) -> FlatGraph:
        """All arcs: those that read a token, those that read ε, those that end."""
        num_states = self.num_states + 1  # with one for the end
        reads = FlatGraph.of_columns(
            self._sources("first"),
            self.arcs["dst"],
            self.arcs["label"],
            self.arcs["score"],
            self.words[self.words > 0],
            self.words > 0,
            num_states,
        )
        begin, end = (
            self.spelling_splits[self.eps_arcs["spelling"].astype(int) + i] for i in (0, 1)
        )
        eps = FlatGraph.of_columns(
            self._sources("eps_first"),
            self.eps_arcs["dst"],
            np.zeros(len(self.eps_arcs)),
            self.eps_arcs["score"],
            self.spellings[expand(begin, end)[0]],
            end - begin,
            num_states,
        )
        last = np.flatnonzero(np.isfinite(self.final))
        ends = FlatGraph.of_columns(
            last,
            np.full(len(last), self.num_states),
            np.full(len(last), -1),
            self.final[last],
            self.words[:0],
            np.zeros(len(last)),
            num_states,
        )
        return FlatGraph.together([reads, eps, ends], num_states)

    def _sources(self, name: str) -> np.ndarray:
        return np.repeat(np.arange(self.num_states), np.diff(self.states[name]))

    @staticmethod
    def load(folder: Path, prefix: str) -> PackedLg:
        """Map the arrays from a graph folder into memory."""
        paths = (folder / f"{prefix}{field.name}.npy" for field in fields(PackedLg))
        mapped = (np.load(path, mmap_mode="r", allow_pickle=False) for path in paths)
        return PackedLg(*map(np.asarray, mapped))


def _assemble(
    src: np.ndarray,
    dst: np.ndarray,
    label: np.ndarray,
    word: np.ndarray,
    score: np.ndarray,
    final: np.ndarray,
    eps: tuple[np.ndarray, ...],
    spellings: list[tuple[int, ...]],
) -> PackedLg:
    """Records of arcs in order, and of ε-arcs in order as columns like those of `_closure`."""
    num_states = len(final)
    states = np.zeros(num_states + 1, dtype=_STATE)
    states["first"] = splits(src, num_states)
    states["eps_first"] = splits(eps[0], num_states)
    states["reach"] = -np.inf
    reading = np.flatnonzero(np.diff(states["first"]))
    states["reach"][reading] = score[states["first"][reading]]
    return PackedLg(
        states,
        _records(dst=dst.astype(np.uint32), score=score, label=_narrow(label)),
        np.maximum(word, 0).astype(np.int32),
        _records(
            dst=eps[1].astype(np.uint32), score=eps[2].astype(np.float32), spelling=_narrow(eps[3])
        ),
        final,
        np.array([word for words in spellings for word in words], dtype=np.int32),
        np.cumsum([0, *(len(words) for words in spellings)]).astype(np.int32),
    )


def _by_label(src: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The order of arcs by source and then by label, in which most are already."""
    key = src.astype(np.int64) * (int(label.max(initial=0)) + 1) + label
    return np.argsort(key, kind="stable").astype(np.int32)


def _best_first(src: np.ndarray, label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The order of arcs by source, then by score, and of equal ones by label."""
    order = _by_label(src, label)
    src, score = src[order], score[order]
    _sort_spans(splits(src, int(src.max(initial=-1)) + 1), score, order)
    return order


@njit(cache=True)
def _sort_spans(splits, score, order):
    """Sort every span of ``order`` by falling score; equals stay as they are."""
    for span in range(len(splits) - 1):
        begin, end = splits[span], splits[span + 1]
        if end > begin + 1:
            by_score = np.argsort(-score[begin:end], kind="mergesort")
            order[begin:end] = order[begin:end][by_score]


def _visiting_order(lg: Arcs) -> np.ndarray:
    """New numbers for the states, by which what is searched together lies together."""
    order = _by_label(lg.src, lg.ilabel)
    return _depth_first(splits(lg.src, lg.num_states), lg.dst[order])


@njit(cache=True)
def _depth_first(first, dst):
    """The rank of every state when it is first seen on a depth-first walk from state 0.

    A state's only successor comes right behind it: most states are inside a word.
    """
    num_states = len(first) - 1
    number = np.full(num_states, -1, dtype=np.int32)
    stack = np.empty(len(dst) + 1, dtype=np.int32)
    count = 0
    for root in range(num_states):
        stack[0] = root
        depth = 1
        while depth > 0:
            depth -= 1
            state = stack[depth]
            if number[state] >= 0:
                continue
            number[state] = count
            count += 1
            for arc in range(first[state + 1] - 1, first[state] - 1, -1):
                if number[dst[arc]] < 0:
                    stack[depth] = dst[arc]
                    depth += 1
    return number


def _narrow(values: np.ndarray) -> np.ndarray:
    """The same numbers from 0 up in as few bytes as they need."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def _records(**columns: np.ndarray) -> np.ndarray:
    """Columns side by side, without gaps."""
    kinds = [(name, column.dtype) for name, column in columns.items()]
    result = np.empty(len(next(iter(columns.values()))), dtype=kinds)
    for name, column in columns.items():
        result[name] = column
    return result


def _closure(eps: Arcs, useful: np.ndarray) -> tuple[tuple[np.ndarray, ...], list[tuple[int, ...]]]:
    """All pairs of states that a path of ε-arcs joins, sorted by source.

    Returned as columns source, destination, score, spelling; and the table of spellings, row 0
    of it empty.
    """
    spellings: dict[tuple[int, ...], int] = {(): 0}
    words, rows = np.unique(np.maximum(eps.olabel, 0), return_inverse=True)
    ids = [spellings.setdefault((int(word),) if word else (), len(spellings)) for word in words]
    by_src = np.argsort(eps.src, kind="stable")
    step: tuple[np.ndarray, ...] = (
        eps.src[by_src].astype(np.int64),
        eps.dst[by_src].astype(np.int64),
        eps.score[by_src].astype(np.float64),
        np.array(ids, dtype=np.int64)[rows][by_src],
    )
    first = splits(step[0], len(useful))
    found = [step]
    while len(found[-1][0]):
        src, middle, score, said = found[-1]
        right, left = expand(first[middle], first[middle + 1])
        longer = (
            src[left],
            step[1][right],
            score[left] + step[2][right],
            _joined(said[left], step[3][right], spellings),
        )
        found.append(_best_of_equal(longer))
    src, dst, score, said = _best_of_equal(
        tuple(np.concatenate(column) for column in zip(*found, strict=True))
    )
    keep = useful[dst]
    return (src[keep], dst[keep], score[keep], said[keep]), list(spellings)


def _joined(left: np.ndarray, right: np.ndarray, spellings: dict) -> np.ndarray:
    """Rows of the spellings that result from saying one after the other."""
    joined = np.where(left == 0, right, left)
    both = np.flatnonzero((left > 0) & (right > 0))
    pairs, rows = np.unique(
        np.stack([left[both], right[both]], axis=1), axis=0, return_inverse=True
    )
    table = list(spellings)
    ids = [spellings.setdefault(table[a] + table[b], len(spellings)) for a, b in pairs.tolist()]
    joined[both] = np.array(ids, dtype=np.int64)[rows] if len(both) else 0
    return joined


def _best_of_equal(arcs: tuple) -> tuple:
    """Of arcs with the same source, destination and spelling, the one that scores best."""
    src, dst, score, said = arcs
    order = np.lexsort((-score, said, dst, src))
    src, dst, score, said = (column[order] for column in arcs)
    new = np.ones(len(src), dtype=bool)
    new[1:] = (src[1:] != src[:-1]) | (dst[1:] != dst[:-1]) | (said[1:] != said[:-1])
    return src[new], dst[new], score[new], said[new]
