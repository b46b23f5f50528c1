"""Checks that every index in a graph folder's arrays is inside the array that it refers to.

The search is compiled code without bounds checks. Hashes only show that a folder has not changed
since it was written, and it may come from an unknown source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import AsrHlgError, GraphError
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import lookahead_records, packed_fst
from asr_hlg.graph.hlg import HlgArrays
from asr_hlg.graph.lookahead import LookAhead
from asr_hlg.graph.packed import STATE, PackedLg
from asr_hlg.graph.packed_fst import PackedFst

REVISION = 1
"""Raised when a check becomes stricter, so that graphs that have passed it are checked again."""

_Array = npt.NDArray[Any]
_Condition = bool | Callable[[], bool]  # evaluated only if all conditions before it hold


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn any exception that reading a malformed file raises into a GraphError with its path."""
    try:
        yield
    except (AsrHlgError, ModuleNotFoundError):
        raise
    except Exception as error:  # numpy and Python's own readers raise many types
        raise _damaged(path, str(error) or type(error).__name__) from None


def check_packed(packed: PackedLg, num_columns: int, num_words: int, folder: Path) -> None:
    """Raise a GraphError unless all indices in packed L∘G are inside their arrays."""
    arcs, eps = packed.arcs, packed.eps_arcs
    dtypes: dict[str, Any] = {
        "states": [("first", "<u4"), ("eps_first", "<u4"), ("reach", "<f4")],
        "arcs": [("dst", "<u4"), ("score", "<f4"), ("label", _unsigned(arcs, "label"))],
        "words": "<i4",
        "eps_arcs": [("dst", "<u4"), ("score", "<f4"), ("spelling", _unsigned(eps, "spelling"))],
        "final": "<f4",
        "spellings": "<i4",
        "spelling_splits": "<i4",
    }
    for name, dtype in dtypes.items():
        array = getattr(packed, name)
        _require(array.ndim == 1 and array.dtype == np.dtype(dtype), folder, f"type of {name}")
    conditions: dict[str, _Condition] = {
        "number of words": len(packed.words) == len(arcs),
        **_conditions(packed, num_columns, num_words),
        "words of arcs": lambda: _inside(packed.words, num_words),
        "spellings of ε-arcs": lambda: _inside(eps["spelling"], len(packed.spelling_splits) - 1),
    }
    _require_all(conditions, folder)


def check_packed_fst(
    fst: PackedFst, num_columns: int, num_tokens: int, num_words: int, folder: Path
) -> None:
    """Raise a GraphError unless all indices in a packed automaton are inside their arrays."""
    arcs, eps = fst.arcs, fst.eps_arcs
    records = {"states": STATE, "arcs": packed_fst.ARC, "eps_arcs": packed_fst.EPS_ARC}
    for name, array in fst.arrays.items():
        dtype = records.get(name, np.dtype("<f4" if name == "final" else "<i4"))
        _require(array.ndim == 1 and array.dtype == dtype, folder, f"type of {name}")
    num_rows = len(fst.spelling_splits) - 1
    conditions: dict[str, _Condition] = {
        "number of outputs": len(fst.outputs) == len(fst.phones) == len(arcs),
        "number of outputs of ε-arcs": len(fst.eps_outputs) == len(eps),
        **_conditions(fst, num_columns, num_words),
        "phones of arcs": lambda: _inside(fst.phones, num_tokens),
        "outputs of arcs": lambda: _inside(fst.outputs, num_rows),
        "outputs of ε-arcs": lambda: _inside(fst.eps_outputs, num_rows),
    }
    _require_all(conditions, folder)


def check_look_ahead(
    ahead: LookAhead, num_columns: int, num_tokens: int, num_words: int, folder: Path
) -> None:
    """Raise a GraphError unless all indices in HCL and G are inside their arrays."""
    dtypes: dict[str, Any] = {
        "hcl_states": lookahead_records.HCL_STATE,
        "hcl_arcs": lookahead_records.HCL_ARC,
        "intervals": lookahead_records.INTERVAL,
        "labels": lookahead_records.LABEL,
        "g_states": lookahead_records.G_STATE,
        "g_dst": "<i4",
        "g_word": "<i4",
        "g_score": "<f4",
        "g_sum": "<f8",
        "final_label": "<i4",
    }
    for name, dtype in dtypes.items():
        array = getattr(ahead, name)
        _require(array.ndim == 1 and array.dtype == np.dtype(dtype), folder, f"type of {name}")
    hcl, arcs, labels, g = ahead.hcl_states, ahead.hcl_arcs, ahead.labels, ahead.g_states
    column, phone, num_g = labels["column"], labels["phone"], len(ahead.g_word)
    finals = np.concatenate([hcl["final"], g["final"]])
    conditions: dict[str, _Condition] = {
        "number of states": min(len(hcl), len(g)) > 1,
        "number of arcs": len(ahead.g_dst) == len(ahead.g_score) == num_g,
        "final label": len(ahead.final_label) == 1,
        "arcs of states": lambda: _splits_fit(hcl["first"], len(arcs)),
        "arcs of states of G": lambda: _splits_fit(g["first"], num_g),
        "sums of states": lambda: _sums_fit(g, len(ahead.g_sum)),
        "intervals of states": lambda: _splits_fit(hcl["interval"], len(ahead.intervals)),
        "destinations of arcs": lambda: _inside(arcs["dst"], len(hcl) - 1),
        "destinations of arcs of G": lambda: _inside(ahead.g_dst, len(g) - 1),
        "labels of arcs": lambda: _inside(arcs["label"], len(labels)),
        "words of arcs": lambda: _inside(arcs["word"], 1 << 31),
        "words of G": lambda: _inside(ahead.g_word, num_words),
        "columns of labels": lambda: _inside(column + 1, num_columns + 1),
        "phones of labels": lambda: _inside(phone, num_tokens),
        "scores of arcs": lambda: bool(np.isfinite(arcs["score"]).all()),
        "scores of G": lambda: bool(np.isfinite(ahead.g_score).all()),
        "sums of G": lambda: bool(np.isfinite(ahead.g_sum).all()),
        "final scores": lambda: bool((finals < np.inf).all()),
    }
    _require_all(conditions, folder)


def _conditions(
    packed: PackedLg | PackedFst, num_columns: int, num_words: int
) -> dict[str, _Condition]:
    """Conditions for the arrays that both kinds of packed automata have."""
    states, arcs, eps, final = packed.states, packed.arcs, packed.eps_arcs, packed.final
    num_states = len(final)
    return {
        "number of states": 0 < num_states == len(states) - 1,
        "arcs of states": lambda: _splits_fit(states["first"], len(arcs)),
        "ε-arcs of states": lambda: _splits_fit(states["eps_first"], len(eps)),
        "labels of arcs": lambda: _inside(arcs["label"], num_columns),
        "spellings": lambda: _splits_fit(packed.spelling_splits, len(packed.spellings)),
        "words of spellings": lambda: _inside(packed.spellings, num_words),
        "destinations of arcs": lambda: _inside(arcs["dst"], num_states),
        "destinations of ε-arcs": lambda: _inside(eps["dst"], num_states),
        "scores of arcs": lambda: bool(np.isfinite(arcs["score"]).all()),
        "scores of ε-arcs": lambda: bool(np.isfinite(eps["score"]).all()),
        "final scores": lambda: bool((final < np.inf).all() and (final > -np.inf).any()),
        "largest scores": lambda: bool((states["reach"] < np.inf).all()),
    }


def check_hlg(
    hlg: HlgArrays, num_columns: int, num_tokens: int, num_words: int, folder: Path
) -> None:
    """Raise a GraphError unless all indices in H∘L∘G are inside their arrays.

    Arcs to the final state read -1, and may write -1 as k2 does.
    """
    arcs, phones, words, splits = hlg
    integers = all(array.dtype == np.int32 for array in hlg)
    flat = phones.ndim == words.ndim == splits.ndim == 1 and arcs.ndim == 2
    _require(integers and flat and arcs.shape[1] == 4 and len(arcs) > 0, folder, "type of an array")
    src, dst, label = arcs[:, 0], arcs[:, 1], arcs[:, 2]
    score = np.ascontiguousarray(arcs[:, 3]).view(np.float32)
    last = int(dst.max())
    conditions: dict[str, _Condition] = {
        "order of arcs": lambda: _inside(src, last) and bool((np.diff(src) >= 0).all()),
        "destinations of arcs": lambda: _inside(dst, last + 1),
        "final arcs": lambda: bool(((label == -1) == (dst == last)).all()),
        "labels of arcs": lambda: _inside(label + 1, num_columns + 1),
        "scores of arcs": lambda: bool(np.isfinite(score).all()),
        "phones of arcs": lambda: len(phones) == len(arcs) and _inside(phones + 1, num_tokens + 1),
        "words of arcs": lambda: (
            len(splits) == len(arcs) + 1
            and _splits_fit(splits, len(words))
            and _inside(words + 1, num_words + 1)
        ),
    }
    _require_all(conditions, folder)


def check_arcs(arcs: Arcs, num_inputs: int, num_outputs: int, folder: Path) -> None:
    """Raise a GraphError unless the states and labels of a transducer are in range."""
    integers = (arcs.src, arcs.dst, arcs.ilabel, arcs.olabel)
    shape = (len(arcs.src),)
    fits = all(column.dtype == np.int32 for column in integers)
    fits &= all(column.shape == shape for column in (*integers, arcs.score))
    fits &= arcs.score.dtype == arcs.final.dtype == np.float32 and arcs.final.ndim == 1
    _require(bool(fits) and len(arcs.final) > 0, folder, "type of an array")
    conditions: dict[str, _Condition] = {
        "order of arcs": lambda: bool((np.diff(arcs.src) >= 0).all()),
        "sources of arcs": lambda: _inside(arcs.src, len(arcs.final)),
        "destinations of arcs": lambda: _inside(arcs.dst, len(arcs.final)),
        "labels of arcs": lambda: _inside(arcs.ilabel, num_inputs),
        "words of arcs": lambda: _inside(arcs.olabel, num_outputs),
        "scores of arcs": lambda: bool(np.isfinite(arcs.score).all()),
        "final scores": lambda: bool((arcs.final < np.inf).all()),
    }
    _require_all(conditions, folder)


def _require_all(conditions: Mapping[str, _Condition], folder: Path) -> None:
    for name, condition in conditions.items():
        _require(condition() if callable(condition) else condition, folder, name)


def _require(holds: bool, folder: Path, name: str) -> None:
    if not holds:
        raise _damaged(folder, f"invalid {name}")


def _damaged(path: Path, reason: str) -> GraphError:
    reason = (reason.strip().splitlines() or ["unreadable"])[0]
    return GraphError(f"is damaged: {reason}", path=path, remedy="compile the graph again")


def _unsigned(records: _Array, name: str) -> np.dtype[Any] | str:
    """Type of a field that may be one, two or four bytes wide."""
    names = records.dtype.names or ()
    dtype = records.dtype[name] if name in names else np.dtype("u1")
    return dtype if dtype in (np.dtype("u1"), np.dtype("<u2"), np.dtype("<u4")) else "u1"


def _inside(values: _Array, limit: int) -> bool:
    """Whether all values are at least 0 and below the limit."""
    return not len(values) or bool(values.min() >= 0 and values.max() < limit)


def _sums_fit(states: _Array, total: int) -> bool:
    """Whether states of G with many arcs have as many sums, and others none."""
    counts = np.diff(states["first"])
    expected = np.where(counts < lookahead_records.FEW, 0, counts)
    return _splits_fit(states["sum"], total) and bool((np.diff(states["sum"]) == expected).all())


def _splits_fit(splits: _Array, total: int) -> bool:
    """Whether row splits begin at 0, do not fall and end at the total."""
    return bool(
        len(splits) and splits[0] == 0 and splits[-1] == total and (splits[1:] >= splits[:-1]).all()
    )
