"""Binary OpenFst files, read with numpy: types vector, const, ngram and olabel_lookahead.

read("HLG.fst").arcs            # an :class:`asr_hlg.fst.arcs.Arcs`
read("Gr.fst").output_symbols   # {id: word}, of a file that contains its symbol table

kaldifst lacks the types ngram and olabel_lookahead, which Vosk's models use, and ends the process
when a file is damaged. Here every count is checked against the length of the file before anything
is allocated.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from asr_hlg.errors import GraphError
from asr_hlg.files import replaced
from asr_hlg.fst import ngram_file
from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.file_bytes import FileBytes, Malformed

FST_MAGIC = 2125659606
SYMBOLS_MAGIC = 2125658996
ADD_ON_MAGIC = 446681434
ARC = np.dtype([("ilabel", "<i4"), ("olabel", "<i4"), ("weight", "<f4"), ("next", "<i4")])
CONST_STATE = np.dtype(
    [("final", "<f4"), ("pos", "<u4"), ("num_arcs", "<u4"), ("ieps", "<u4"), ("oeps", "<u4")]
)
_TYPES = ("vector", "const", "ngram", "olabel_lookahead")
_HAS_INPUT_SYMBOLS, _HAS_OUTPUT_SYMBOLS, _IS_ALIGNED = 1, 2, 4
_ALIGNMENT = 16
_EXPANDED = 1  # a property: the number of states is known

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Reach:
    """Output labels that a state of an olabel_lookahead automaton can reach, as intervals.

    Attributes
    ----------
    splits : np.ndarray
        int64 ``(num_states + 1,)``: state s has the intervals ``splits[s]`` to
        ``splits[s + 1] - 1``.
    begin, end : np.ndarray
        int32: labels ``begin[i]`` to ``end[i] - 1``.
    final_label : int
        The label that stands for reaching a final state without another label.
    """

    splits: npt.NDArray[np.int64]
    begin: Ints
    end: Ints
    final_label: int


@dataclass(frozen=True)
class OpenFst:
    """An automaton as a file has it; the start state is numbered 0.

    Attributes
    ----------
    arcs : Arcs
        Scores are negated costs. Arcs of infinite cost are left out.
    input_symbols, output_symbols : mapping or None
        Names by label, where the file contains them.
    reach : Reach or None
        Of the type olabel_lookahead.
    """

    arcs: Arcs
    input_symbols: Mapping[int, str] | None = None
    output_symbols: Mapping[int, str] | None = None
    reach: Reach | None = None


@dataclass(frozen=True)
class _Header:
    type: str
    version: int
    flags: int
    start: int
    num_states: int
    num_arcs: int
    input_symbols: Mapping[int, str] | None
    output_symbols: Mapping[int, str] | None


def read(path: str | Path) -> OpenFst:
    """Read an automaton.

    Raises
    ------
    GraphError
        If the file is no OpenFst file, is damaged or cut off, or has another type of automaton
        or of weights than those that are read.
    """
    path = Path(path)
    try:
        data = FileBytes(path.read_bytes())
    except OSError as error:
        raise GraphError(f"cannot be read: {error.strerror}", path=path) from None
    try:
        return _read(data)
    except Malformed as error:
        raise GraphError(str(error), path=path, remedy=error.remedy) from None


def write(path: Path, arcs: Arcs) -> None:
    """Write an automaton as a const file, whose weights are costs."""
    arcs = arcs.sorted()
    counts = np.diff(arcs.row_splits)
    states = np.zeros(arcs.num_states, CONST_STATE)
    states["final"], states["num_arcs"], states["pos"] = -arcs.final, counts, arcs.row_splits[:-1]
    for name, labels in (("ieps", arcs.ilabel), ("oeps", arcs.olabel)):
        states[name] = np.bincount(arcs.src[labels == 0], minlength=arcs.num_states)
    records = np.empty(arcs.num_arcs, ARC)
    records["ilabel"], records["olabel"] = arcs.ilabel, arcs.olabel
    records["weight"], records["next"] = -arcs.score, arcs.dst
    names = b"".join(struct.pack("<i", len(name)) + name for name in (b"const", b"standard"))
    start = 0 if arcs.num_states else -1
    numbers = struct.pack("<iiQqqq", 2, 0, _EXPANDED, start, arcs.num_states, arcs.num_arcs)
    with replaced(path) as part, part.open("wb") as file:
        file.write(struct.pack("<i", FST_MAGIC) + names + numbers)
        states.tofile(file)
        records.tofile(file)


def _read(data: FileBytes) -> OpenFst:
    header = _header(data)
    if header.type != "olabel_lookahead":
        return _body(header, data)
    if data.unpack("<i")[0] != ADD_ON_MAGIC:
        raise Malformed("is damaged: its look-ahead part does not begin where it should")
    inner = _header(data)
    if inner.type not in ("const", "vector"):
        raise Malformed(f"has look-ahead on the type {inner.type}, which is not read")
    result = _body(inner, data)
    if inner.start > 0:
        raise Malformed("has a look-ahead automaton that does not start in state 0")
    return OpenFst(
        result.arcs,
        header.input_symbols or inner.input_symbols,
        header.output_symbols or inner.output_symbols,
        _reach(data, result.arcs.num_states),
    )


def _header(data: FileBytes) -> _Header:
    if len(data) < 4 or data.unpack("<i")[0] != FST_MAGIC:
        raise Malformed("is not a binary OpenFst file", "convert a text automaton with: fstcompile")
    kind, arc_type = data.string(64), data.string(64)
    version, flags, _, start, num_states, num_arcs = data.unpack("<iiQqqq")
    if kind not in _TYPES:
        raise Malformed(
            f"has the automaton type {kind!r}; read are {', '.join(_TYPES)}",
            "convert it with: fstconvert --fst_type=const",
        )
    if arc_type not in ("standard", "log"):
        raise Malformed(
            f"has the arc type {arc_type!r}; read are standard and log",
            "a decoding graph has one float as the weight of an arc; is this a lattice?",
        )
    tables = [
        _symbols(data) if flags & bit else None for bit in (_HAS_INPUT_SYMBOLS, _HAS_OUTPUT_SYMBOLS)
    ]
    return _Header(kind, version, flags, start, num_states, num_arcs, *tables)


def _symbols(data: FileBytes) -> dict[int, str]:
    """Symbol table within a file: names by label."""
    if data.unpack("<i")[0] != SYMBOLS_MAGIC:
        raise Malformed("is damaged: a symbol table does not begin where it should")
    data.string(4096)
    _, count = data.unpack("<qq")
    if not 0 <= count <= data.remaining // 12:
        raise Malformed(f"is damaged: a symbol table of {count} symbols")
    names: dict[int, str] = {}
    for _ in range(count):
        name = data.string(65536)
        names[data.unpack("<q")[0]] = name
    return names


def _body(header: _Header, data: FileBytes) -> OpenFst:
    if header.type == "ngram":
        arcs, start = ngram_file.read_arcs(data)
    elif header.type == "const":
        arcs, start = _const(header, data), header.start
    else:
        arcs, start = _vector(header, data), header.start
    if not 0 <= start < arcs.num_states:
        raise Malformed("has no states" if not arcs.num_states else f"starts in state {start}")
    return OpenFst(arcs.starting_at(start), header.input_symbols, header.output_symbols)


def _const(header: _Header, data: FileBytes) -> Arcs:
    aligned = header.version == 1 or header.flags & _IS_ALIGNED
    if aligned:
        data.align(_ALIGNMENT)
    states = data.array(CONST_STATE, header.num_states)
    if aligned:
        data.align(_ALIGNMENT)
    arcs = data.array(ARC, header.num_arcs)
    counts = states["num_arcs"].astype(np.int64)
    first = np.cumsum(counts) - counts
    if counts.sum() != len(arcs) or (states["pos"][counts > 0] != first[counts > 0]).any():
        raise Malformed("is damaged: the arcs of its states do not follow one another")
    return _arcs(counts, arcs, states["final"])


def _vector(header: _Header, data: FileBytes) -> Arcs:
    words = data.rest("<i4")
    limit = header.num_states if header.num_states >= 0 else len(words) // 3
    if limit > len(words) // 3:
        raise Malformed(f"is cut off: {header.num_states} states do not fit")
    first = _state_offsets(words, limit)
    if len(first) < limit + 1 and header.num_states >= 0:
        raise Malformed("is cut off or damaged: it ends within a state's arcs")
    begin = first[:-1].astype(np.int64)
    counts = (np.diff(first) - 3) // 4
    is_arc = np.ones(int(first[-1]), dtype=bool)
    is_arc[(begin[:, None] + np.arange(3)).ravel()] = False
    arcs = words[: first[-1]][is_arc].view(ARC)
    data.skip(4 * int(first[-1]))
    return _arcs(counts, arcs, words[begin].view("<f4"))


@njit(cache=True)
def _state_offsets(words: Ints, limit: int) -> npt.NDArray[np.int64]:
    """Offsets of the states of a vector automaton, and the end of the last; fewer if cut off.

    A state is a float (final cost), an int64 (number of arcs), and four words an arc.
    """
    offsets = np.empty(limit + 1, dtype=np.int64)
    at: Any = 0
    for state in range(limit):
        offsets[state] = at
        if at + 3 > len(words):
            return offsets[: state + 1]
        low, high = np.int64(words[at + 1]) & 0xFFFFFFFF, np.int64(words[at + 2])
        count = (high << 32) | low
        if count < 0 or count > (len(words) - at - 3) // 4:
            return offsets[: state + 1]
        at += 3 + 4 * count
    offsets[limit] = at
    return offsets


def _arcs(counts: npt.NDArray[np.int64], arcs: npt.NDArray[Any], final: npt.NDArray[Any]) -> Arcs:
    """Arcs of states in order, checked."""
    num_states = len(counts)
    src = np.repeat(np.arange(num_states, dtype=np.int32), counts)
    if len(arcs) and not (arcs["next"].min() >= 0 and arcs["next"].max() < num_states):
        raise Malformed("is damaged: an arc leads to a state that does not exist")
    if len(arcs) and min(arcs["ilabel"].min(), arcs["olabel"].min()) < 0:
        raise Malformed("has a negative label")
    costs, ends = arcs["weight"], np.asarray(final, np.float32)
    if (
        np.isnan(costs).any()
        or np.isnan(ends).any()
        or min(costs.min(initial=np.inf), ends.min(initial=np.inf)) == -np.inf
    ):
        raise Malformed("is damaged: a weight is not a number or minus infinity")
    result = Arcs(
        src,
        arcs["next"].astype(np.int32),
        arcs["ilabel"].astype(np.int32),
        arcs["olabel"].astype(np.int32),
        -costs.astype(np.float32),
        -ends,
    )
    finite = np.isfinite(result.score)
    return result if finite.all() else result.take(np.flatnonzero(finite))


def _reach(data: FileBytes, num_states: int) -> Reach:
    """Intervals of reachable labels, which follow an olabel_lookahead automaton."""
    present, has_input, has_output = struct.unpack("<BBB", data.take(3))
    if (present, has_input, has_output) != (1, 0, 1):
        raise Malformed("has no look-ahead on output labels")
    reach_input, keeps_labels = struct.unpack("<BB", data.take(2))
    if reach_input:
        raise Malformed("has look-ahead on input labels, output labels are needed")
    if keeps_labels:
        (count,) = data.unpack("<q")
        data.array(np.dtype("<i4"), 2 * count if count >= 0 else -1)
    final_label, count = data.unpack("<iq")
    if count != num_states:
        raise Malformed(f"is damaged: look-ahead of {count} states, but {num_states} states")
    words = data.rest("<i4")
    splits, ends_at = _interval_splits(words, num_states)
    if ends_at < 0:
        raise Malformed("is cut off or damaged in its look-ahead part")
    # An interval set is an int64 (how many), begin and end of each, and the number of labels.
    owner = np.repeat(np.arange(num_states), np.diff(splits))
    at = 2 * np.arange(splits[-1]) + 3 * owner + 2
    return Reach(splits, words[at].copy(), words[at + 1].copy(), final_label)


@njit(cache=True)
def _interval_splits(words: Ints, num_states: int) -> tuple[npt.NDArray[np.int64], int]:
    """Row splits of the interval sets, and where the last one ends; -1 if they do not fit."""
    splits = np.zeros(num_states + 1, dtype=np.int64)
    at: Any = 0
    for state in range(num_states):
        if at + 3 > len(words):
            return splits, -1
        low, high = np.int64(words[at]) & 0xFFFFFFFF, np.int64(words[at + 1])
        count = (high << 32) | low
        if count < 0 or count > (len(words) - at - 3) // 2:
            return splits, -1
        splits[state + 1] = splits[state] + count
        at += 3 + 2 * count
    return splits, at
