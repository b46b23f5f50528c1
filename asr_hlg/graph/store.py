"""Graph folders: L∘G and the views made from it as arrays, tables as text, and one JSON file.

graph.json      recipe, sources with hashes, stages, versions, a hash of every file below, and one
                of the JSON itself
lg/*.npy        L∘G, the columns of :class:`asr_hlg.fst.arcs.Arcs`
h/*.npy         H likewise, or H∘C; only where its description in graph.json does not suffice
words.txt, tokens.txt, lexiconp.txt
packed/*.npy    L∘G for token passing, see :mod:`asr_hlg.graph.packed`
hlg/*.npy       H∘L∘G for k2, see :mod:`asr_hlg.graph.hlg`
look_ahead/*.npy  HCL and G in place of L∘G, see :mod:`asr_hlg.graph.lookahead`

``packed`` and ``hlg`` are caches of arrays that can be derived from L∘G and H. For each,
``graph.json`` has the hashes of the L∘G and H that it was derived from; a missing one is derived
again.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import GraphError
from asr_hlg.files import file_hash, save_array
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.symbols import SymbolTable
from asr_hlg.graph import checks, metadata, verified
from asr_hlg.graph.metadata import Meta
from asr_hlg.graph.recipe import TopologySection
from asr_hlg.graph.topology_arcs import of_section
from asr_hlg.lexicon import Lexicon, Pronunciation
from asr_hlg.lexicon.line_index import LineIndex

REVISION = 3  # raised when the same sources compile to another graph than before
_VIEW_REVISIONS = {"packed_fst": 1}  # raised when a view of the same L∘G is another than before
PRETRAINED_MODELS = ("hama", "hama-distilled", "hama-whisper")  # names, not paths
_ARRAYS = ("lg", "h", "packed", "packed_fst", "hlg", "look_ahead")
_TABLES = ("words.txt", "tokens.txt", "lexiconp.txt")
_FORMAT_3 = ("packed-*.npy", "arcs.npy", "phones.npy", "words.npy", "word_splits.npy", "slot.npz")
_COMPILE = "compile the graph again: asr-hlg graph NAME --force"
_LOG = logging.getLogger("asr_hlg.graph")

Arrays = Mapping[str, npt.NDArray[Any]]


def write(
    folder: Path,
    meta: Mapping[str, Any],
    lg: Arcs | None,
    H: Arcs | None,
    words: SymbolTable,
    tokens: SymbolTable,
    lexicon: Lexicon | None,
    views: Mapping[str, Arrays],
) -> None:
    """Write a graph folder; ``graph.json`` comes last, so that a folder with it is complete.

    Parameters
    ----------
    folder : Path
        Old files of a graph that are there are removed.
    meta : mapping
        Entries of ``graph.json``; H is stored as arrays if ``topology`` is None or has a tree.
    lg, H : Arcs or None
        None for an imported graph, which consists of a view alone.
    lexicon : Lexicon or None
        None if pronunciations are unknown.
    views : mapping
        The arrays of the views, as far as they have been derived.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "graph.json").unlink(missing_ok=True)
    for pattern in (*_FORMAT_3, "lg/key", *(f"{name}/*.npy" for name in _ARRAYS)):
        for path in folder.glob(pattern):
            path.unlink()
    symbols.write(words, folder / "words.txt")
    symbols.write(tokens, folder / "tokens.txt")
    if lexicon is None:
        (folder / "lexiconp.txt").write_bytes(b"")
    else:
        lexicon.write(folder / "lexiconp.txt")
    if lg is not None:
        _save_arrays(folder / "lg", _columns(lg))
    if H is not None and not _is_described(meta):
        _save_arrays(folder / "h", _columns(H))
    for name, arrays in views.items():
        _save_arrays(folder / name, arrays)
    options = {name: getattr(lexicon, name, None) for name in metadata.LEXICON_OPTIONS}
    content = {**meta, "format": metadata.FORMAT, "lexicon": options, "files": _hashes(folder)}
    metadata.write(folder, {**content, "views": {name: _view_key(name, content) for name in views}})


class GraphFolder:
    """A graph folder opened for reading; every file is checked against its hash before its use.

    Attributes
    ----------
    path : Path
    meta : dict
        The content of ``graph.json``.
    tokens : SymbolTable
    token_names : list of str
        Without disambiguation symbols.
    """

    def __init__(self, path: Path):
        self.path = path
        self.meta = metadata.read(path)
        _check_files_once(path, self.meta, _TABLES)
        self.tokens = symbols.read(path / "tokens.txt")
        self.token_names = symbols.names(self.tokens)[: symbols.first_disambig(self.tokens)]
        self._spellings: dict[str, list[tuple[str, ...]]] = {}

    @cached_property
    def words(self) -> SymbolTable:
        """Word table."""
        return symbols.read(self.path / "words.txt")

    def lg(self) -> Arcs:
        """Map L∘G into memory."""
        return self._arcs("lg", len(self.token_names), len(self.words))

    def topology(self) -> Arcs:
        """H, from its description or its arrays."""
        if _is_described(self.meta):
            return of_section(TopologySection(**self.meta["topology"]), len(self.token_names))
        return self._arcs("h", len(self.meta["columns"]), len(self.token_names))

    def recipe_topology(self) -> Arcs:
        """H of a graph that was compiled from a recipe; raises a GraphError for other graphs."""
        if "recipe" not in self.meta:
            reason = "was not compiled from a recipe, so its topology is unknown"
            raise GraphError(reason, path=self.path)
        return self.topology()

    def lexicon(self) -> Lexicon:
        """Read the lexicon over the tokens of the graph."""
        path = self.path / "lexiconp.txt"
        return Lexicon.read(path, tokens=self.token_names, **self.meta["lexicon"])

    def spellings(self, word: str) -> list[tuple[str, ...]]:
        """Pronunciations of one word as tokens of L.

        A transcript needs the pronunciations of its own words only, and making a Lexicon of
        80,000 words would take longer than decoding a sentence.
        """
        if word not in self._spellings:
            with checks.damage_named(self.path / "lexiconp.txt"):
                lexicon = Lexicon(self.pronunciations([word]), **self.meta["lexicon"])
                self._spellings[word] = lexicon.spellings(word)
        return self._spellings[word]

    def pronunciations(self, words: Iterable[str]) -> list[Pronunciation]:
        """Find pronunciations of some words in the text of the lexicon."""
        with checks.damage_named(self.path / "lexiconp.txt"):
            return [_entry(line) for word in words for line in self._lines.of(word)]

    @cached_property
    def _lines(self) -> LineIndex:
        return LineIndex((self.path / "lexiconp.txt").read_bytes())

    def _arcs(self, name: str, num_inputs: int, num_outputs: int) -> Arcs:
        if self.meta.get("imported") is not None and not (self.path / name).is_dir():
            raise GraphError(
                "was imported, and has no L∘G: hotwords, new words, grammars, k2 and explanations "
                "need one",
                path=self.path,
                remedy="compile a graph for the model from a recipe, asr-hlg graph NAME; "
                "or import LG.fst",
            )
        with checks.damage_named(self.path / name):
            columns = [field.name for field in fields(Arcs)]
            arcs = Arcs(**_map_arrays(self.path, self.meta, name, columns))
            checks.check_arcs(arcs, num_inputs, num_outputs, self.path / name)
        return arcs


def _is_described(meta: Mapping[str, Any]) -> bool:
    """Whether H can be made from its description alone."""
    return meta["topology"] is not None and meta["topology"].get("tree") is None


class ViewCache:
    """Views of L∘G that a graph folder keeps.

    Parameters
    ----------
    folder : Path
    meta : dict
        The content of its ``graph.json``, which is updated when a view is added.
    """

    def __init__(self, folder: Path, meta: Meta):
        self.folder = folder
        self._meta = meta

    def get(
        self, name: str, arrays: Sequence[str], derive: Callable[[], tuple[Arrays, Meta]]
    ) -> Arrays:
        """Map the arrays of a view into memory; derive and store them first if they are missing.

        Several processes may do so at the same time: one derives the view, the others wait.

        Parameters
        ----------
        name : str
            ``packed`` or ``hlg``.
        arrays : sequence of str
            The names of its arrays.
        derive : callable
            Returns the arrays, and entries to add to ``graph.json``; lists are appended.
        """
        if not self._is_stored(name):
            with lock(self.folder):
                self._meta.update(metadata.read(self.folder))
                if not self._is_stored(name):
                    derived, new_entries = derive()
                    try:
                        self._store(name, derived, new_entries)
                    except OSError as error:
                        text = "%s: %s cannot be stored, so it is derived at every start: %s"
                        _LOG.warning(text, self.folder, name, error.strerror)
                        return derived
        return _map_arrays(self.folder, self._meta, name, arrays)

    def imported(self, name: str, arrays: Sequence[str]) -> Arrays | None:
        """Map a view that the graph was imported as; None if it was not."""
        if name not in self._meta["views"]:
            return None
        return _map_arrays(self.folder, self._meta, name, arrays)

    def _is_stored(self, name: str) -> bool:
        key = self._meta["views"].get(name)
        return key == _view_key(name, self._meta) and (self.folder / name).is_dir()

    def _store(self, name: str, arrays: Arrays, new_entries: Meta) -> None:
        _save_arrays(self.folder / name, arrays)
        meta = self._meta
        for key, value in new_entries.items():
            meta[key] = meta[key] + value if isinstance(value, list) else value
        meta["files"] |= _hashes(self.folder, f"{name}/*.npy")
        meta["views"][name] = _view_key(name, meta)
        metadata.write(self.folder, meta)


def content_hash(meta: Mapping[str, Any]) -> str:
    """Hash of what a graph is: its L∘G, H, tables and recipe, but not the views of it."""
    files = meta["files"].items()
    views = ("packed/", "packed_fst/", "hlg/")
    kept = {n: entry["sha256"] for n, entry in files if not n.startswith(views)}
    named = ("columns", "topology", "lexicon", "recipe", "takes_new_words", "imported")
    return metadata.json_hash({"files": kept, **{name: meta.get(name) for name in named}})


def _view_key(name: str, meta: Mapping[str, Any]) -> str:
    """Hash of what a view is made of: the files of L∘G and of H, or the description of H."""
    files = meta["files"].items()
    parts = ("lg/", "h/", "look_ahead/")
    sources = {name: entry["sha256"] for name, entry in files if name.startswith(parts)}
    key = metadata.json_hash({"files": sources, "topology": meta["topology"]})
    revision = None if meta.get("imported") else _VIEW_REVISIONS.get(name)
    return key if revision is None else f"{key} {revision}"


def _columns(arcs: Arcs) -> Arrays:
    return {field.name: getattr(arcs, field.name) for field in fields(arcs)}


def _save_arrays(folder: Path, arrays: Arrays) -> None:
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        save_array(folder / f"{name}.npy", array)


def _map_arrays(folder: Path, meta: Meta, part: str, names: Sequence[str]) -> Arrays:
    """Map arrays of a part of the folder into memory; changing them changes no file."""
    _check_files_once(folder, meta, [f"{part}/{name}.npy" for name in names])
    # k2 needs writable arrays. Other arrays are shared between processes.
    mode: Any = "c" if part == "hlg" else "r"
    with checks.damage_named(folder / part):
        paths = {name: folder / part / f"{name}.npy" for name in names}
        return {
            name: np.asarray(np.load(path, mmap_mode=mode, allow_pickle=False))
            for name, path in paths.items()
        }


def _hashes(folder: Path, pattern: str = "**/*") -> dict[str, dict[str, Any]]:
    """SHA-256 and size of files in the folder, ``graph.json`` excepted."""
    paths = [path for path in folder.glob(pattern) if path.is_file() and path.name != "graph.json"]
    return {
        str(path.relative_to(folder)): {"sha256": file_hash(path), "bytes": path.stat().st_size}
        for path in sorted(paths)
    }


def _entry(line: str) -> Pronunciation:
    word, probability, *phones = line.split()
    return Pronunciation(word, tuple(phones), float(probability))


def acoustic_model(folder: Path, meta: Mapping[str, Any]) -> str:
    """Acoustic model that the recipe names; its path is relative to the recipe's folder."""
    name: str = meta.get("recipe", {}).get("acoustic_model", "hama")
    return name if name in PRETRAINED_MODELS else str(metadata.recipe_folder(folder, meta) / name)


def check_files(folder: Path, meta: Meta, names: Iterable[str]) -> None:
    """Raise a GraphError for files whose hash differs from the one in ``graph.json``."""
    for name in names:
        expected = meta["files"].get(name, {}).get("sha256")
        if not (folder / name).is_file() or file_hash(folder / name) != expected:
            raise GraphError(
                "has changed since it was written", path=folder / name, remedy=_COMPILE
            )


def _check_files_once(folder: Path, meta: Meta, names: Sequence[str]) -> None:
    part = PurePosixPath(names[0]).parent
    verified.once(folder, f"hashes of {part}", names, lambda: check_files(folder, meta, names))


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Exclusive lock on a file or folder, which ends with the process at the latest."""
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
