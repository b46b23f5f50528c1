"""What a graph folder's arrays must keep to, so that searching them stays inside them.

The search is compiled code that trusts its indices. A hash says only that a folder is as somebody
wrote it, and that somebody may be a stranger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from asr_hlg.errors import AsrHlgError, GraphError
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph.packed import PackedLg
from asr_hlg.graph.slot import Slot


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Whatever a malformed file leads to while it is read, as one error with its name."""
    try:
        yield
    except AsrHlgError:
        raise
    except Exception as error:  # numpy, zipfile and Python's own readers raise what they like
        raise _damaged(path, str(error) or type(error).__name__) from None


def check_packed(packed: PackedLg, num_columns: int, num_words: int, folder: Path) -> None:
    """Raise a GraphError unless every index in packed L∘G leads somewhere in it."""
    states, arcs, eps, final = packed.states, packed.arcs, packed.eps_arcs, packed.final
    spellings, splits = packed.spellings, packed.spelling_splits
    kinds: dict[str, Any] = {
        "states": [("first", "<u4"), ("eps_first", "<u4"), ("reach", "<f4")],
        "arcs": [("dst", "<u4"), ("score", "<f4"), ("label", _unsigned(arcs, "label"))],
        "words": "<i4",
        "eps_arcs": [("dst", "<u4"), ("score", "<f4"), ("spelling", _unsigned(eps, "spelling"))],
        "final": "<f4",
        "spellings": "<i4",
        "spelling_splits": "<i4",
    }
    for name, kind in kinds.items():
        array = getattr(packed, name)
        _require(array.ndim == 1 and array.dtype == np.dtype(kind), folder, f"the type of {name}")
    num_states = len(final)
    holds: dict[str, bool | Callable[[], bool]] = {
        "the number of states": 0 < num_states == len(states) - 1,
        "the number of words": len(packed.words) == len(arcs),
        "the arcs of states": lambda: _splits_fit(states["first"], len(arcs)),
        "the ε-arcs of states": lambda: _splits_fit(states["eps_first"], len(eps)),
        "the labels of arcs": lambda: _inside(arcs["label"], num_columns),
        "the words of arcs": lambda: _inside(packed.words, num_words),
        "the spellings": lambda: _splits_fit(splits, len(spellings)),
        "the words of spellings": lambda: _inside(spellings, num_words),
        "the spellings of ε-arcs": lambda: _inside(eps["spelling"], len(splits) - 1),
        "where arcs lead": lambda: _inside(arcs["dst"], num_states),
        "where ε-arcs lead": lambda: _inside(eps["dst"], num_states),
        "the scores of arcs": lambda: bool(np.isfinite(arcs["score"]).all()),
        "the scores of ε-arcs": lambda: bool(np.isfinite(eps["score"]).all()),
        "the final scores": lambda: bool((final < np.inf).all() and (final > -np.inf).any()),
        "the largest scores": lambda: bool((states["reach"] < np.inf).all()),
    }
    _require_all(holds, folder)


def check_hlg(arrays: Sequence[np.ndarray], sizes: Sequence[int], folder: Path) -> None:
    """The same for H∘L∘G as k2 has it.

    ``arrays`` are arcs, phones, words and their splits, ``sizes`` those of columns, tokens and
    words.

    Arcs to the final state read -1, and write -1 where k2 says so.
    """
    arcs, phones, words, splits = arrays
    num_columns, num_tokens, num_words = sizes
    whole = all(array.dtype == np.int32 for array in arrays)
    flat = phones.ndim == words.ndim == splits.ndim == 1 and arcs.ndim == 2
    _require(whole and flat and arcs.shape[1] == 4 and len(arcs) > 0, folder, "an array's type")
    src, dst, label = arcs[:, 0], arcs[:, 1], arcs[:, 2]
    score = np.ascontiguousarray(arcs[:, 3]).view(np.float32)
    last = int(dst.max())
    holds: dict[str, bool | Callable[[], bool]] = {
        "the order of arcs": lambda: _inside(src, last) and bool((np.diff(src) >= 0).all()),
        "where arcs lead": lambda: _inside(dst, last + 1),
        "which arcs are final": lambda: bool(((label == -1) == (dst == last)).all()),
        "the labels of arcs": lambda: _inside(label + 1, num_columns + 1),
        "the scores of arcs": lambda: bool(np.isfinite(score).all()),
        "the phones of arcs": lambda: (
            len(phones) == len(arcs) and _inside(phones + 1, num_tokens + 1)
        ),
        "the words of arcs": lambda: (
            len(splits) == len(arcs) + 1
            and _splits_fit(splits, len(words))
            and _inside(words + 1, num_words + 1)
        ),
    }
    _require_all(holds, folder)


def check_slot(slot: Slot, num_states: int, num_columns: int, num_words: int, path: Path) -> None:
    """The same for where new words go; ``num_states`` are those of H∘L∘G."""
    kinds = {"score": np.float32, "topology_score": np.float32, "topology": np.int32}
    for name, array in vars(slot).items():
        fits = array.dtype == kinds.get(name, np.int32)
        _require(fits and array.ndim == 1 + (name == "topology"), path, f"the type of {name}")
    _require(slot.topology.shape[1] == 4 and len(slot.topology) > 0, path, "the topology")
    src, dst, column, token = slot.topology.T
    last, num_entries = int(dst.max()), len(slot.state)
    holds: dict[str, bool | Callable[[], bool]] = {
        "the number of entries": num_entries == len(slot.h_state) == len(slot.score),
        "the words that are due": lambda: (
            len(slot.word_splits) == num_entries + 1
            and _splits_fit(slot.word_splits, len(slot.words))
            and _inside(slot.words + 1, num_words + 1)
        ),
        "the states": lambda: _inside(slot.state, num_states) and _inside(slot.behind, num_states),
        "the state behind": len(slot.behind) == 1,
        "the scores": lambda: bool(np.isfinite(slot.score).all()),
        "the topology": lambda: (
            len(slot.topology_score) == len(src)
            and bool(np.isfinite(slot.topology_score).all() and (np.diff(src) >= 0).all())
            and _inside(src, last)
            and _inside(dst, last + 1)
            and bool(((column == -1) == (dst == last)).all())
            and _inside(column + 1, num_columns + 1)
            and _inside(token + 1, 1 << 24)
        ),
        "the topology's states": lambda: (
            _inside(slot.h_state, last + 1) and _inside(slot.h_behind, last + 1)
        ),
    }
    _require_all(holds, path)


def check_lg(lg: Arcs, num_tokens: int, num_words: int, folder: Path) -> None:
    """The same for L∘G from which H∘L∘G is composed; ``num_tokens`` without ``#0 #1 …``."""
    whole = all(column.dtype == np.int32 for column in (lg.src, lg.dst, lg.ilabel, lg.olabel))
    columns = (lg.src, lg.dst, lg.ilabel, lg.olabel, lg.score)
    shape = (len(lg.src),)
    same = all(column.shape == shape for column in columns) and lg.final.ndim == 1
    floats = lg.score.dtype == lg.final.dtype == np.float32
    _require(whole and same and floats and len(lg.final) > 0, folder, "an array's type")
    holds: dict[str, bool | Callable[[], bool]] = {
        "the order of arcs": lambda: bool((np.diff(lg.src) >= 0).all()),
        "where arcs begin": lambda: _inside(lg.src, len(lg.final)),
        "where arcs lead": lambda: _inside(lg.dst, len(lg.final)),
        "the labels of arcs": lambda: _inside(lg.ilabel, num_tokens),
        "the words of arcs": lambda: _inside(lg.olabel, num_words),
        "the scores of arcs": lambda: bool(np.isfinite(lg.score).all()),
        "the final scores": lambda: bool((lg.final < np.inf).all()),
    }
    _require_all(holds, folder)


def _require_all(holds: dict[str, bool | Callable[[], bool]], folder: Path) -> None:
    for what, value in holds.items():
        _require(value() if callable(value) else value, folder, what)


def _require(holds: bool, folder: Path, what: str) -> None:
    if not holds:
        raise _damaged(folder, f"{what} cannot be right")


def _damaged(path: Path, reason: str) -> GraphError:
    reason = (reason.strip().splitlines() or ["unreadable"])[0]
    return GraphError(f"is damaged: {reason}", path=path, remedy="compile the graph again")


def _unsigned(records: np.ndarray, name: str) -> np.dtype | str:
    """The type of a field that may be one, two or four bytes wide."""
    names = records.dtype.names or ()
    kind = records.dtype[name] if name in names else np.dtype("u1")
    return kind if kind in (np.dtype("u1"), np.dtype("<u2"), np.dtype("<u4")) else "u1"


def _inside(values: np.ndarray, limit: int) -> bool:
    """Whether all values lie between 0 and the limit, below it."""
    return not len(values) or bool(values.min() >= 0 and values.max() < limit)


def _splits_fit(splits: np.ndarray, total: int) -> bool:
    """Whether consecutive splits are spans of so many things in all."""
    return bool(
        len(splits) and splits[0] == 0 and splits[-1] == total and (splits[1:] >= splits[:-1]).all()
    )
