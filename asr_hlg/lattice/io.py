"""Lattices on disk, in formats that Kaldi and OpenFst read.

    io.write(lattice, ["utt1", "utt2"], "lattices.ark")
    for stored in io.read("lattices.ark"):
        print(stored.id, stored.best_path(graph.word_names).text)

What is written is Kaldi's ``Lattice``: one arc a frame, its input label the posterior column
plus one (Kaldi has transition-ids there; 0 is ε), its output label the word. Every Kaldi tool
that takes lattices takes these, ``CompactLattice`` being converted to and from on the way in;
acoustic costs are scaled as the search had them, so tools want ``--acoustic-scale=1``.

=============  ===================================================================================
``kaldi``      an archive, ``ark:FILE``: binary OpenFst files of arc type ``lattice4``
``kaldi-text`` the same as text, ``ark,t:FILE``
``openfst``    a folder with ``ID.fst.txt`` for every utterance and the tables ``words.txt`` and
               ``columns.txt``, for ``fstcompile``; one cost an arc, graph and acoustics together
=============  ===================================================================================
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path as FilePath
from typing import BinaryIO

import numpy as np

from asr_hlg.errors import LatticeError, OptionError
from asr_hlg.fst import symbols
from asr_hlg.lattice import Lattice, Path, kernels
from asr_hlg.lattice.arrays import FrameArcs, WordLattice

FORMATS = ("kaldi", "kaldi-text", "openfst")

_MAGIC = struct.pack("<i", 2125659606)
_HEADER = _MAGIC + struct.pack("<i6si8si", 6, b"vector", 8, b"lattice4", 2)
_SUFFIX = ".fst.txt"
_NUMBER = re.compile(r"[0-9]{1,10}")
_COST = re.compile(r"[^,]+(,[^,]+)?")


@dataclass(frozen=True)
class StoredLattice:
    """One utterance's lattice, without the graph that it came from.

    State 0 is the start, ``num_states - 1`` the only final state; states are in topological
    order and arcs sorted by source. Arrays have shape ``(num_arcs,)``.

    Attributes
    ----------
    id : str
    src, dst : np.ndarray
        int32 states.
    label : np.ndarray
        int32: posterior column plus one; 0 on arcs that take no frame.
    word : np.ndarray
        int32 word id, 0 for none.
    graph_score, acoustic_score : np.ndarray
        float64 natural logs. From OpenFst's text, ``graph_score`` is the sum of both.
    """

    id: str
    num_states: int
    src: np.ndarray
    dst: np.ndarray
    label: np.ndarray
    word: np.ndarray
    graph_score: np.ndarray
    acoustic_score: np.ndarray

    @staticmethod
    def of(id: str, arcs: FrameArcs) -> StoredLattice:
        """What is stored of a lattice; an arc with several words becomes several."""
        lattice = arcs.word_lattice
        real = lattice.arc >= 0
        label = np.where(real, arcs.label[lattice.arc] + 1, 0)
        graph = np.where(real, arcs.graph_score[lattice.arc], 0.0)
        return StoredLattice(
            id,
            lattice.num_states,
            lattice.src,
            lattice.dst,
            label.astype(np.int32),
            lattice.word,
            graph,
            lattice.score - graph,
        )

    @cached_property
    def word_lattice(self) -> WordLattice:
        """For n-best lists and confusion networks."""
        score = self.graph_score + self.acoustic_score
        index = np.arange(len(self.src))
        return WordLattice(self.num_states, self.src, self.dst, self.word, score, index)

    def best_path(self, words: Sequence[str]) -> Path:
        """The path with the largest score; ``words`` are names by id."""
        return self.nbest(1, words)[0]

    def nbest(self, n: int, words: Sequence[str]) -> list[Path]:
        """The n best different word sequences, best first; see :meth:`Lattice.nbest`."""
        lattice = self.word_lattice
        arrays = lattice.src, lattice.dst, lattice.word, lattice.score, lattice.num_states
        paths = []
        for ids, score in lattice.best_sequences(n, log=False):
            chosen, _, _ = kernels.closest_path(*arrays, ids)
            graph = float(self.graph_score[chosen].sum())
            if len(ids) and not 0 <= ids.min() <= ids.max() < len(words):
                raise LatticeError(
                    f"lattice {self.id} has word {ids.max()}, and the table {len(words)} words",
                    remedy="read it with the words.txt of the graph that it came from",
                )
            text = tuple(words[i] for i in ids.tolist())
            paths.append(Path(text, score, graph, score - graph))
        return paths


def write(
    lattice: Lattice,
    ids: Sequence[str],
    path: str | FilePath,
    format: str = "kaldi",
    append: bool = False,
) -> None:
    """Write the lattices of a batch.

    Parameters
    ----------
    lattice : Lattice
    ids : sequence of str
        One for every utterance, without blanks. An utterance with an empty lattice is left out,
        as by Kaldi's decoders.
    path : str or Path
        A file, or a folder for ``openfst``.
    format : str
        One of ``FORMATS``.
    append : bool
        Add to a file that is there instead of replacing it.

    Raises
    ------
    OptionError
        For an unknown format, an id that cannot be a key, or a path that cannot be written.
    """
    if format not in FORMATS:
        raise OptionError(f"unknown format {format!r}", remedy=f"choose from {', '.join(FORMATS)}")
    if len(ids) != len(lattice):
        raise OptionError(f"{len(lattice)} lattices, but {len(ids)} ids")
    for name in ids:
        if len(name.split()) != 1 or name != name.strip():
            raise OptionError(f"id {name!r} must be one word", remedy="leave out blanks")
    stored = [
        StoredLattice.of(id, arcs)
        for id, arcs in zip(ids, lattice.utterances, strict=True)
        if arcs is not None
    ]
    path = FilePath(path)
    try:
        if format == "openfst":
            _write_folder(stored, lattice, path)
            return
        encode = _binary if format == "kaldi" else _archive_text
        with path.open("ab" if append else "wb") as file:
            for item in stored:
                file.write(encode(item))
    except OSError as error:
        raise OptionError(f"cannot be written: {error.strerror}", path=path) from None


def read(path: str | FilePath) -> Iterator[StoredLattice]:
    """Read what :func:`write` wrote, or what other tools wrote in the same format.

    Parameters
    ----------
    path : str or Path
        An archive of lattices, binary or text, or a folder of OpenFst text files.

    Raises
    ------
    LatticeError
        If the file is damaged, holds something else, or a lattice whose states are not in
        topological order.
    """
    path = FilePath(path)
    if path.is_dir():
        for one in sorted(path.glob("*" + _SUFFIX)):
            yield from _read_one_text(one)
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise LatticeError(f"cannot be read: {error.strerror}", path=path) from None
    with file:
        start = file.read(4096)
        file.seek(0)
        key, _, rest = start.partition(b" ")
        if rest.startswith(_MAGIC) and not key.isspace():
            yield from _read_binary(file, path)
        else:
            yield from _read_text(file, path)


def _write_folder(stored: Sequence[StoredLattice], lattice: Lattice, folder: FilePath) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    symbols.write(lattice.graph.words, folder / "words.txt")
    # Column 0 of a blank-free topology is called ε as well, and never on an arc.
    named = [(n, i) for i, n in enumerate(lattice.graph.columns, start=1) if n != symbols.EPS]
    table = "".join(f"{name} {index}\n" for name, index in [(symbols.EPS, 0), *named])
    (folder / "columns.txt").write_text(table, encoding="utf-8")
    for item in stored:
        costs = (f"{cost:.9g}" for cost in (0.0 - item.graph_score - item.acoustic_score).tolist())
        name = item.id.replace("/", "_") + _SUFFIX
        (folder / name).write_text(_text(item, costs), encoding="utf-8")


def _archive_text(item: StoredLattice) -> bytes:
    pairs = zip(
        (0.0 - item.graph_score).tolist(), (0.0 - item.acoustic_score).tolist(), strict=True
    )
    costs = (f"{graph:.9g},{acoustic:.9g}" for graph, acoustic in pairs)
    return f"{item.id}\n{_text(item, costs)}\n".encode()


def _text(item: StoredLattice, costs: Iterator[str]) -> str:
    """OpenFst's text: the arcs, the start state's first, then the final state."""
    columns = (c.tolist() for c in (item.src, item.dst, item.label, item.word))
    rows = zip(*columns, costs, strict=True)
    lines = (f"{src}\t{dst}\t{label}\t{word}\t{cost}\n" for src, dst, label, word, cost in rows)
    return "".join(lines) + f"{item.num_states - 1}\n"


def _binary(item: StoredLattice) -> bytes:
    """A key and OpenFst's ``vector`` file: states with final costs, each followed by its arcs."""
    num_states, num_arcs = item.num_states, len(item.src)
    counts = np.bincount(item.src, minlength=num_states)
    before = np.cumsum(counts) - counts
    words = np.zeros(4 * num_states + 5 * num_arcs, dtype="<i4")
    floats = words.view("<f4")
    state = 4 * np.arange(num_states) + 5 * before
    floats[state[:-1]] = floats[state[:-1] + 1] = np.inf  # not final
    words[state + 2] = counts
    arc = 4 * (item.src.astype(np.int64) + 1) + 5 * np.arange(num_arcs)
    words[arc], words[arc + 1], words[arc + 4] = item.label, item.word, item.dst
    floats[arc + 2] = 0.0 - item.graph_score
    floats[arc + 3] = 0.0 - item.acoustic_score
    header = _HEADER + struct.pack("<iQqqq", 0, 3, 0, num_states, 0)
    return item.id.encode() + b" " + header + words.tobytes()


def _read_binary(file: BinaryIO, path: FilePath) -> Iterator[StoredLattice]:
    content = np.frombuffer(file.read(), dtype=np.uint8)
    at = 0
    while at < len(content):
        key = content[at : at + 4096].tobytes().partition(b" ")[0]
        at += len(key) + 1
        if content[at : at + len(_HEADER)].tobytes() != _HEADER:
            raise LatticeError(
                f"byte {at} does not begin a lattice",
                path=path,
                remedy="only archives of binary or text Lattices are read; use lattice-copy",
            )
        at += len(_HEADER)
        fixed = content[at : at + 36].tobytes()
        if len(fixed) < 36:
            raise LatticeError("ends in the middle of a lattice", path=path)
        _, _, start, num_states, _ = struct.unpack("<iQqqq", fixed)
        at += 36
        arcs, final, at = _read_states(content, at, num_states, path)
        yield _assemble(key.decode("utf-8", "replace"), start, arcs, final, path)


def _read_states(
    content: np.ndarray, at: int, num_states: int, path: FilePath
) -> tuple[np.ndarray, list[tuple[int, float, float]], int]:
    """The arcs of all states as rows (src, ilabel, olabel, graph, acoustic, dst), and finals."""
    rows, final = [], []
    for state in range(num_states):
        head = content[at : at + 16]
        if len(head) < 16:
            raise LatticeError("ends in the middle of a lattice", path=path)
        graph, acoustic = head[:8].view("<f4").tolist()
        count = int(head[8:].view("<i8")[0])
        if graph < np.inf:
            final.append((state, -graph, -acoustic))
        at += 16
        body = content[at : at + 20 * count]
        if count < 0 or len(body) < 20 * count:
            raise LatticeError("ends in the middle of a lattice", path=path)
        row = np.empty((count, 6))
        numbers = body.view("<i4").reshape(count, 5)
        row[:, 0] = state
        row[:, [1, 2, 5]] = numbers[:, [0, 1, 4]]
        row[:, 3:5] = -body.view("<f4").reshape(count, 5)[:, 2:4]
        rows.append(row)
        at += 20 * count
    return np.concatenate([np.empty((0, 6)), *rows]), final, at


def _read_one_text(path: FilePath) -> Iterator[StoredLattice]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LatticeError(f"cannot be read: {error}", path=path) from None
    yield _parse(path.name.removesuffix(_SUFFIX), list(enumerate(lines, start=1)), path)


def _read_text(file: BinaryIO, path: FilePath) -> Iterator[StoredLattice]:
    key, lines = None, []
    for number, raw in enumerate(file, start=1):
        try:
            line = raw.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise LatticeError("is not an archive of lattices", path=path, line=number) from None
        if key is None:
            if line:
                key = line
        elif line:
            lines.append((number, line))
        else:
            yield _parse(key, lines, path)
            key, lines = None, []
    if key is not None:
        yield _parse(key, lines, path)


def _parse(key: str, lines: Sequence[tuple[int, str]], path: FilePath) -> StoredLattice:
    """A lattice from OpenFst's text, its weights one cost or Kaldi's two."""
    rows, final = [], []
    start = -1
    for number, line in lines:
        fields = line.split()
        try:
            if len(fields) not in (1, 2, 4, 5):
                raise ValueError
            graph, acoustic = _scores(fields.pop() if len(fields) in (2, 5) else "0")
            if not all(_NUMBER.fullmatch(field) for field in fields):
                raise ValueError
            numbers = [int(field) for field in fields]
        except ValueError:
            raise LatticeError(
                "expected 'source target input output cost' or 'state cost'",
                path=path,
                line=number,
                remedy="a CompactLattice has to go through lattice-copy --write-compact=false",
            ) from None
        start = numbers[0] if start < 0 else start
        if len(numbers) == 1:
            final.append((numbers[0], graph, acoustic))
        else:
            src, dst, label, word = numbers
            rows.append((src, label, word, graph, acoustic, dst))
    arcs = np.array(rows, dtype=np.float64).reshape(len(rows), 6)
    return _assemble(key, start, arcs, final, path)


def _scores(cost: str) -> tuple[float, float]:
    if not _COST.fullmatch(cost):
        raise ValueError
    graph, _, acoustic = cost.partition(",")
    return -float(graph), -float(acoustic or 0)


def _assemble(
    key: str,
    start: int,
    arcs: np.ndarray,
    final: list[tuple[int, float, float]],
    path: FilePath,
) -> StoredLattice:
    """Check the order of states, and let the last one be the only final one."""
    src, dst = arcs[:, 0], arcs[:, 5]
    if start != 0 or not final or (dst <= src).any():
        raise LatticeError(
            f"lattice {key} is empty, or its states are not in topological order",
            path=path,
            remedy="use lattice-topsort",
        )
    num_states = 1 + int(max(max(state for state, _, _ in final), dst.max(initial=0)))
    if num_states > len(arcs) + 1:
        raise LatticeError(
            f"lattice {key} has states to which no arc leads", path=path, remedy="use fstconnect"
        )
    if final != [(num_states - 1, 0.0, 0.0)]:
        ends = [(state, 0, 0, graph, acoustic, num_states) for state, graph, acoustic in final]
        arcs = np.concatenate([arcs, np.array(ends, dtype=np.float64)])
        num_states += 1
    whole = arcs[:, [0, 1, 2, 5]]
    if not np.isfinite(arcs).all() or (whole < 0).any() or (whole >= 1 << 31).any():
        raise LatticeError(f"lattice {key} has numbers that are none of a lattice's", path=path)
    arcs = arcs[np.argsort(arcs[:, 0], kind="stable")]
    src, label, word, _, _, dst = arcs.T.astype(np.int32)
    graph, acoustic = arcs.T[3:5].copy()
    return StoredLattice(key, num_states, src, dst, label, word, graph, acoustic)
