"""Lattices on disk: Kaldi's binary archives, written and read.

    write(lattice, ["utt1", "utt2"], "lattices.ark")
    for stored in read("lattices.ark"):
        print(stored.id, stored.best_path(graph.word_names).text)

An archive, ``ark:FILE`` in Kaldi, contains OpenFst files of arc type ``lattice4``, Kaldi's
``Lattice``: one arc per frame, its input label the posterior column plus one (Kaldi has
transition-ids there; 0 is ε), its output label the word. All Kaldi tools that take lattices take
these, since they convert ``Lattice`` to ``CompactLattice``. Acoustic costs are scaled as in the
search, so that the tools need ``--acoustic-scale=1``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path as FilePath

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import LatticeError, OptionError
from asr_hlg.lattice import kernels
from asr_hlg.lattice.arrays import FrameArcs, WordLattice
from asr_hlg.lattice.lattice import Lattice
from asr_hlg.lattice.path import Path

_MAGIC = struct.pack("<i", 2125659606)
_HEADER = _MAGIC + struct.pack("<i6si8si", 6, b"vector", 8, b"lattice4", 2)


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
        float64 natural logs.
    """

    id: str
    num_states: int
    src: npt.NDArray[np.int32]
    dst: npt.NDArray[np.int32]
    label: npt.NDArray[np.int32]
    word: npt.NDArray[np.int32]
    graph_score: npt.NDArray[np.float64]
    acoustic_score: npt.NDArray[np.float64]

    @staticmethod
    def of(id: str, arcs: FrameArcs) -> StoredLattice:
        """One utterance's lattice in stored form; an arc with several words becomes several."""
        lattice = arcs.word_lattice
        has_frame = lattice.arc >= 0
        label = np.where(has_frame, arcs.label[lattice.arc] + 1, 0)
        graph = np.where(has_frame, arcs.graph_score[lattice.arc], 0.0)
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
        """The lattice for n-best lists and confusion networks."""
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
            indices, _, _ = kernels.closest_path(*arrays, ids)
            graph = float(self.graph_score[indices].sum())
            if len(ids) and not 0 <= ids.min() <= ids.max() < len(words):
                raise LatticeError(
                    f"lattice {self.id} has word id {ids.max()}, but there are {len(words)} words",
                    remedy="use the words.txt of the graph that it came from",
                )
            text = tuple(words[i] for i in ids.tolist())
            paths.append(Path(text, score, graph, score - graph))
        return paths


def write(lattice: Lattice, ids: Sequence[str], path: str | FilePath, append: bool = False) -> None:
    """Write the lattices of a batch to a Kaldi archive.

    Parameters
    ----------
    lattice : Lattice
    ids : sequence of str
        One for every utterance, without blanks. Utterances with empty lattices are left out, as
        by Kaldi's decoders.
    path : str or Path
    append : bool
        Append to an existing file instead of replacing it.

    Raises
    ------
    OptionError
        For an id that cannot be a key, or a path that cannot be written.
    """
    if len(ids) != len(lattice):
        raise OptionError(f"{len(lattice)} lattices, but {len(ids)} ids")
    for name in ids:
        if len(name.split()) != 1 or name != name.strip():
            raise OptionError(f"id {name!r} must be one word", remedy="leave out blanks")
    try:
        with FilePath(path).open("ab" if append else "wb") as file:
            for id, arcs in zip(ids, lattice.utterances, strict=True):
                if arcs is not None:
                    file.write(_binary(StoredLattice.of(id, arcs)))
    except OSError as error:
        raise OptionError(f"cannot be written: {error.strerror}", path=path) from None


def read(path: str | FilePath) -> Iterator[StoredLattice]:
    """Read a binary Kaldi archive of lattices, from :func:`write` or from Kaldi.

    Raises
    ------
    LatticeError
        If the file is damaged, is no such archive, or contains a lattice whose states are not in
        topological order.
    """
    path = FilePath(path)
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise LatticeError(f"cannot be read: {error.strerror}", path=path) from None
    at = 0
    while at < len(content):
        key = content[at : at + 4096].tobytes().partition(b" ")[0]
        at += len(key) + 1
        if content[at : at + len(_HEADER)].tobytes() != _HEADER:
            raise LatticeError(
                f"no lattice begins at byte {at}",
                path=path,
                remedy="convert to a binary archive of Lattices with lattice-copy",
            )
        at += len(_HEADER)
        fixed = content[at : at + 36].tobytes()
        if len(fixed) < 36:
            raise LatticeError("ends in the middle of a lattice", path=path)
        _, _, start, num_states, _ = struct.unpack("<iQqqq", fixed)
        at += 36
        arcs, final, at = _read_states(content, at, num_states, path)
        yield _assemble(key.decode("utf-8", "replace"), start, arcs, final, path)


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


def _read_states(
    content: npt.NDArray[np.uint8], at: int, num_states: int, path: FilePath
) -> tuple[npt.NDArray[np.float64], list[tuple[int, float, float]], int]:
    """The arcs of all states as rows (src, ilabel, olabel, graph, acoustic, dst), and finals."""
    rows, final = [], []
    for state in range(num_states):
        header = content[at : at + 16]
        if len(header) < 16:
            raise LatticeError("ends in the middle of a lattice", path=path)
        graph, acoustic = header[:8].view("<f4").tolist()
        count = int(header[8:].view("<i8")[0])
        if graph < np.inf:
            final.append((state, -graph, -acoustic))
        at += 16
        records = content[at : at + 20 * count]
        if count < 0 or len(records) < 20 * count:
            raise LatticeError("ends in the middle of a lattice", path=path)
        row = np.empty((count, 6))
        numbers = records.view("<i4").reshape(count, 5)
        row[:, 0] = state
        row[:, [1, 2, 5]] = numbers[:, [0, 1, 4]]
        row[:, 3:5] = -records.view("<f4").reshape(count, 5)[:, 2:4]
        rows.append(row)
        at += 20 * count
    return np.concatenate([np.empty((0, 6)), *rows]), final, at


def _assemble(
    key: str,
    start: int,
    arcs: npt.NDArray[np.float64],
    final: list[tuple[int, float, float]],
    path: FilePath,
) -> StoredLattice:
    """Check the order of states, and make the last state the only final one."""
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
    columns = arcs[:, [0, 1, 2, 5]]
    if not np.isfinite(arcs).all() or (columns < 0).any() or (columns >= 1 << 31).any():
        raise LatticeError(f"lattice {key} has labels, states or costs out of range", path=path)
    arcs = arcs[np.argsort(arcs[:, 0], kind="stable")]
    src, label, word, _, _, dst = arcs.T.astype(np.int32)
    graph, acoustic = arcs.T[3:5].copy()
    return StoredLattice(key, num_states, src, dst, label, word, graph, acoustic)
