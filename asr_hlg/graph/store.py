"""Graph folders: flat arrays, text tables, and one JSON file that vouches for them all.

graph.json      recipe, sources with hashes, stages, versions, a hash of every file below, and one
                of all this
lg/             L∘G, as asr_hlg.graph.build keeps it
packed-*.npy    L∘G for token passing, see asr_hlg.graph.packed; only with the CTC topology
words.txt, tokens.txt, lexiconp.txt

H∘L∘G for k2, which a folder gets when it is first asked for (see asr_hlg.graph.hlg):

arcs.npy        int32 (num_arcs, 4): source, destination, column, score (float32 bits)
phones.npy      int32 (num_arcs,): the lexicon's token that begins on the arc, 0 for none
words.npy, word_splits.npy      word ids of arc i: words[word_splits[i]:word_splits[i + 1]]
slot.npz        where new words may stand (see :mod:`asr_hlg.graph.slot`)
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import k2
import numpy as np
import torch

from asr_hlg.errors import GraphError
from asr_hlg.files import file_hash, save_array, write_json
from asr_hlg.fst import symbols
from asr_hlg.graph import checks, hlg
from asr_hlg.graph.packed import PackedLg
from asr_hlg.graph.recipe import TopologySection
from asr_hlg.graph.slot import Slot
from asr_hlg.lexicon import Lexicon, Pronunciation
from asr_hlg.settings import section

if TYPE_CHECKING:
    from asr_hlg.graph import DecodingGraph

FORMAT = 3
SLOT = "slot.npz"
HLG = ("arcs.npy", "phones.npy", "words.npy", "word_splits.npy")
PACKED = "packed-"
LEXICON_OPTIONS = ("silence", "silence_prob", "position_dependent")
_OWN_HASH = "sha256"


def save(graph: DecodingGraph, folder: Path, with_hlg: bool = True) -> None:
    """Write all files; ``graph.json`` comes last, so that a folder with it is whole.

    Without H∘L∘G the folder must have L∘G and a recipe, from which it is composed later.
    """
    composed = (graph.fsa.to("cpu"), graph.slot) if with_hlg else None  # mapped from here, perhaps
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "graph.json").unlink(missing_ok=True)
    for path in [*folder.glob(f"{PACKED}*"), *(folder / name for name in (SLOT, *HLG))]:
        path.unlink(missing_ok=True)
    meta = dict(graph.meta)
    if composed is not None:
        meta |= save_hlg(folder, *composed)
    symbols.write(graph.words, folder / "words.txt")
    symbols.write(graph.tokens, folder / "tokens.txt")
    graph.lexicon.write(folder / "lexiconp.txt")
    for name, array in {} if graph.packed is None else graph.packed.arrays.items():
        save_array(folder / f"{PACKED}{name}.npy", array)
    meta |= {
        "format": FORMAT,
        "columns": list(graph.columns),
        "lexicon": {name: getattr(graph.lexicon, name) for name in LEXICON_OPTIONS},
    }
    write_manifest(folder, meta)


def save_hlg(folder: Path, fsa: k2.Fsa, slot: Slot | None) -> dict[str, Any]:
    """Write H∘L∘G; returns what ``graph.json`` says of it."""
    aux = fsa.aux_labels
    if isinstance(aux, torch.Tensor):
        aux = k2.RaggedTensor(aux.unsqueeze(1))
    arrays = fsa.arcs.values(), fsa.phones, aux.values, aux.shape.row_splits(1)
    for name, array in zip(HLG, arrays, strict=True):
        save_array(folder / name, array.numpy())
    if slot is not None:
        slot.save(folder / SLOT)
    return {"hlg": hlg.size(fsa)}


def write_manifest(folder: Path, meta: dict[str, Any]) -> None:
    """Write ``graph.json``, which vouches for every file that is there now."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "graph.json"]
    files = {
        str(path.relative_to(folder)): {"sha256": file_hash(path), "bytes": path.stat().st_size}
        for path in sorted(paths)
    }
    write_meta(folder, {**meta, "files": files})


def load(folder: Path) -> DecodingGraph:
    """Map a folder's arrays, each checked against its hash in ``graph.json`` before its use."""
    from asr_hlg.graph import DecodingGraph

    meta = read_meta(folder)
    later = {name for name in meta["files"] if name in HLG or name.startswith("lg/")}
    check_files(folder, meta, meta["files"].keys() - later)
    tokens = symbols.read(folder / "tokens.txt")
    graph = DecodingGraph(
        lambda: _read_hlg(folder, meta),
        tokens,
        symbols.read(folder / "words.txt"),
        tuple(meta["columns"]),
        lambda: read_lexicon(folder, meta),
        _Spellings(folder / "lexiconp.txt", meta["lexicon"]),
        meta["lexicon"]["silence"],
        {key: value for key, value in meta.items() if key not in ("files", "columns")},
        lambda: _read_slot(folder, meta),
        folder,
    )
    if any(name.startswith(PACKED) for name in meta["files"]):
        with checks.damage_named(folder):
            graph.packed = PackedLg.load(folder, PACKED)
            # Columns are tokens here, so the smaller number is what labels may name.
            num_labels = min(len(graph.columns), len(graph.tokens))
            checks.check_packed(graph.packed, num_labels, len(graph.words), folder)
    return graph


def read_lexicon(folder: Path, meta: dict[str, Any]) -> Lexicon:
    """The lexicon over the tokens of the graph."""
    tokens = symbols.read(folder / "tokens.txt")
    plain = symbols.names(tokens)[: symbols.first_disambig(tokens)]
    return Lexicon.read(folder / "lexiconp.txt", tokens=plain, **meta["lexicon"])


def has_hlg(meta: dict[str, Any]) -> bool:
    """Whether H∘L∘G is among a folder's files."""
    return HLG[0] in meta["files"]


def _read_slot(folder: Path, meta: dict[str, Any]) -> Slot | None:
    """Where new words go, checked when the folder was opened unless it is made now."""
    if not has_hlg(meta):
        hlg.complete(folder, meta)
    if SLOT not in meta["files"]:
        return None
    with checks.damage_named(folder / SLOT):
        slot = Slot.load(folder / SLOT)
        num_words = len(symbols.read(folder / "words.txt"))
        num_states, num_columns = int(meta["hlg"]["states"]), len(meta["columns"])
        checks.check_slot(slot, num_states, num_columns, num_words, folder / SLOT)
        return slot


def _read_hlg(folder: Path, meta: dict[str, Any]) -> k2.Fsa:
    """H∘L∘G, mapped into memory; composed first if need be."""
    if not has_hlg(meta):
        hlg.complete(folder, meta)
    check_files(folder, meta, HLG)
    with checks.damage_named(folder):
        arrays = [np.load(folder / name, mmap_mode="c", allow_pickle=False) for name in HLG]
        sizes = [len(meta["columns"])]
        sizes += [len(symbols.read(folder / name)) for name in ("tokens.txt", "words.txt")]
        checks.check_hlg([np.asarray(array) for array in arrays], sizes, folder)
    arcs, phones, word_ids, splits = map(torch.from_numpy, arrays)
    shape = k2.ragged.create_ragged_shape2(splits, None, len(word_ids))
    fsa = k2.Fsa(arcs, aux_labels=k2.RaggedTensor(shape, word_ids))
    fsa.phones = phones
    fsa.graph_scores = fsa.scores.clone()
    return fsa


class _Spellings:
    """Pronunciations of single words, found in the lexicon's text.

    A transcript needs the pronunciations of its own words; building a Lexicon of 80,000 first
    would take longer than decoding a sentence.
    """

    def __init__(self, path: Path, options: dict[str, Any]):
        self._path, self._options = path, options
        self._found: dict[str, list[tuple[str, ...]]] = {}

    @cached_property
    def _lines(self) -> dict[str, list[str]]:
        return _lines_by_word(self._path)

    def __call__(self, word: str) -> list[tuple[str, ...]]:
        if word not in self._found:
            with checks.damage_named(self._path):
                entries = [_entry(line) for line in self._lines.get(word, ())]
                self._found[word] = Lexicon(entries, **self._options).spellings(word)
        return self._found[word]


def read_entries(folder: Path, words: Iterable[str]) -> list[Pronunciation]:
    """What a graph folder's lexicon has for some words, without reading it all."""
    with checks.damage_named(folder / "lexiconp.txt"):
        lines = _lines_by_word(folder / "lexiconp.txt")
        return [_entry(line) for word in words for line in lines.get(word, ())]


def _lines_by_word(path: Path) -> dict[str, list[str]]:
    lines = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        lines[line.partition(" ")[0]].append(line)
    return lines


def _entry(line: str) -> Pronunciation:
    word, probability, *phones = line.split()
    return Pronunciation(word, tuple(phones), float(probability))


def acoustic_model(folder: Path, meta: Mapping[str, Any]) -> str:
    """The acoustic model that a graph's recipe names; files count from the recipe's folder."""
    name = meta.get("recipe", {}).get("acoustic_model", "hama")
    return name if name == "hama" else str(folder.parent / name)


def check_files(folder: Path, meta: dict[str, Any], names: Iterable[str]) -> None:
    """Refuse files that are not what ``graph.json`` vouches for."""
    for name in names:
        expected = meta["files"].get(name, {}).get("sha256")
        if not (folder / name).is_file() or file_hash(folder / name) != expected:
            raise GraphError(
                "differs from what was compiled",
                path=folder / name,
                remedy="compile the graph again: asr-hlg graph NAME --force",
            )


def read_meta(folder: Path) -> dict[str, Any]:
    """``graph.json`` of a compiled graph, checked."""
    path = folder / "graph.json"
    if not path.is_file():
        raise GraphError(
            "is not a compiled graph: it has no graph.json",
            path=folder,
            remedy="compile one with: asr-hlg graph NAME",
        )
    with checks.damage_named(path):
        meta = json.loads(path.read_text(encoding="utf-8"))
        if meta["format"] != FORMAT:
            raise GraphError(
                f"has format {meta['format']}, this version reads {FORMAT}",
                path=path,
                remedy="compile the graph again",
            )
        if meta.pop(_OWN_HASH, None) != _json_hash(meta):
            raise ValueError("its content is not what was written")
        _check_meta(meta)
    return meta


def write_meta(folder: Path, meta: dict[str, Any]) -> None:
    """Write ``graph.json`` with a hash of all that it says."""
    content = {key: value for key, value in meta.items() if key != _OWN_HASH}
    write_json(folder / "graph.json", {**content, _OWN_HASH: _json_hash(content)})


def _json_hash(content: dict[str, Any]) -> str:
    """Of what JSON keeps of it, whatever the order and the blanks."""
    kept = json.loads(json.dumps(content))
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _check_meta(meta: dict[str, Any]) -> None:
    """Raise a ValueError unless the entries that loading needs are what they should be."""
    columns, lexicon = meta["columns"], meta["lexicon"]
    for name, entry in meta["files"].items():
        part = PurePosixPath(name)
        if part.is_absolute() or ".." in part.parts or not isinstance(entry["sha256"], str):
            raise ValueError(f"{name!r} is no file of this folder")
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise ValueError("columns are names")
    if not set(lexicon) <= set(LEXICON_OPTIONS) or "silence" not in lexicon:
        raise ValueError(f"the lexicon has {', '.join(LEXICON_OPTIONS)}")
    if not isinstance(lexicon["silence"], str | None):
        raise ValueError("silence is a token, or none")
    if not isinstance(meta.get("takes_new_words"), bool):
        raise ValueError("it does not say whether it takes new words")
    recipe = meta.get("recipe", {})
    if not isinstance(recipe, dict) or not isinstance(recipe.get("acoustic_model", ""), str):
        raise ValueError("the recipe is a table, its acoustic model a name")
    for name in ("lexicon", "topology", "search", "rescore", "lm", "grammar"):
        if not isinstance(recipe.get(name, {}), dict | None):
            raise ValueError(f"[{name}] is a table")
    section(TopologySection, recipe.get("topology") or {}, "topology", error=GraphError)
