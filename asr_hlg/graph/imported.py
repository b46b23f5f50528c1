"""Graph folders made of an automaton that another toolkit has compiled.

Such a folder holds the packed automaton (:mod:`asr_hlg.graph.packed_fst`), or two that the search
composes (:mod:`asr_hlg.graph.lookahead`), tables and ``graph.json``, whose entry ``imported`` names
its origin. There is no L∘G, so it is decoded as it is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr_hlg.errors import AsrHlgError, GraphError
from asr_hlg.files import file_hash
from asr_hlg.fst.symbols import EPS, SymbolTable
from asr_hlg.graph import store
from asr_hlg.graph.lookahead import LookAhead
from asr_hlg.graph.meter import Meter
from asr_hlg.graph.packed_fst import PackedFst
from asr_hlg.lexicon import Lexicon, Pronunciation
from asr_hlg.versions import installed


@dataclass(frozen=True)
class Tables:
    """Tables of an imported automaton: posterior columns, tokens, words, pronunciations.

    Attributes
    ----------
    columns : tuple of str
        Columns of the posteriors.
    tokens : SymbolTable
        Tokens or phones, 0 for none.
    words : SymbolTable
        Id 0 is ``<eps>``.
    lexicon : sequence of Pronunciation
        Empty if pronunciations are not known.
    word_positions : mapping, optional
        See :attr:`asr_hlg.graph.DecodingGraph.word_positions`.
    silence : str, optional
        Token that belongs to no word.
    """

    columns: tuple[str, ...]
    tokens: SymbolTable
    words: SymbolTable
    lexicon: tuple[Pronunciation, ...] = ()
    word_positions: Mapping[str, str] | None = None
    silence: str | None = None


@dataclass(frozen=True)
class Origin:
    """Where an imported graph comes from: kind and files, and defaults of its decoding."""

    kind: str
    sources: tuple[Path, ...]
    acoustic_model: str | None = None
    search: Mapping[str, Any] = field(default_factory=dict)
    remarks: Mapping[str, Any] = field(default_factory=dict)


def write(
    folder: Path,
    automaton: PackedFst | LookAhead,
    tables: Tables,
    origin: Origin,
    meter: Meter | None = None,
) -> None:
    """Write an imported graph as a folder, which :meth:`DecodingGraph.load` opens."""
    lexicon = Lexicon(tables.lexicon, silence=tables.silence) if tables.lexicon else None
    recipe: dict[str, Any] = {"search": dict(origin.search)}
    if origin.acoustic_model is not None:
        recipe["acoustic_model"] = origin.acoustic_model
    imported = {
        "kind": origin.kind,
        "has_lexicon": bool(tables.lexicon),
        "states": automaton.num_states,
        "arcs": automaton.num_arcs,
        **origin.remarks,
    }
    if tables.word_positions is not None:
        imported["word_positions"] = dict(tables.word_positions)
    meta = {
        "name": folder.name,
        "compiled": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "recipe": recipe,
        "recipe_folder": str(Path.cwd()),
        "topology": None,
        "columns": list(tables.columns),
        "takes_new_words": False,
        "imported": imported,
        "sources": {str(path): _described(path) for path in origin.sources},
        "stages": [] if meter is None else [vars(stage) for stage in meter.stages],
        "versions": installed(["asr-hlg", "numpy"], missing="unknown"),
    }
    views = {automaton.view: automaton.arrays}
    store.write(folder, meta, None, None, tables.words, tables.tokens, lexicon, views)


def symbol_table(names: Mapping[int, str], path: Path, size: int = 0) -> SymbolTable:
    """Symbol table of names by id; ids without a name get ``<unused-ID>``.

    ``size`` is the smallest number of ids. Raises a GraphError for a name that is given twice, and
    if id 0 is not ε.
    """
    size = max(size, max(names, default=0) + 1)
    if size > 2 * len(names) + 1000:
        raise GraphError(
            f"has the id {size - 1} with only {len(names)} names",
            path=path,
            remedy="name the symbol table that belongs to the graph",
        )
    listed = [names.get(index, f"<unused-{index}>") for index in range(size)]
    if listed[0] not in (EPS, "<epsilon>", "<unused-0>", "-", "ε"):
        raise GraphError(
            f"has {listed[0]!r} as id 0, where ε must be",
            path=path,
            remedy="name the table of words that belongs to the graph",
        )
    listed[0] = EPS
    if any(len(name.split()) != 1 for name in listed):
        raise GraphError("has a name with blanks, or without characters", path=path)
    try:
        return SymbolTable(listed)
    except AsrHlgError as error:
        raise GraphError(error.message, path=path) from None


def _described(path: Path) -> dict[str, Any]:
    return {"sha256": file_hash(path), "bytes": path.stat().st_size}
