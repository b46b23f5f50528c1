"""``graph.json`` of a graph folder: reading, writing, and checks of its entries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from asr_hlg.errors import GraphError
from asr_hlg.files import parse_json, write_json
from asr_hlg.graph import checks, verified
from asr_hlg.graph.recipe import TopologySection
from asr_hlg.settings import section

FORMAT = 4
LEXICON_OPTIONS = ("silence", "silence_prob", "position_dependent")
_OWN_HASH = "sha256"

Meta = dict[str, Any]


def read(folder: Path) -> Meta:
    """Read and check the ``graph.json`` of a compiled graph."""
    path = folder / "graph.json"
    if not path.is_file():
        raise GraphError(
            "is not a compiled graph: it has no graph.json",
            path=folder,
            remedy="compile one with: asr-hlg graph NAME",
        )
    with checks.damage_named(path):
        meta: Meta = parse_json(path.read_text(encoding="utf-8"))
        if meta["format"] != FORMAT:
            raise GraphError(
                f"has format {meta['format']}, this version reads {FORMAT}",
                path=path,
                remedy=f"compile the graph again: asr-hlg graph {folder.name}",
            )
        if meta.pop(_OWN_HASH, None) != json_hash(meta):
            raise ValueError("its content has changed since it was written")
        verified.once(folder, f"entries {checks.REVISION}", (), lambda: _check(meta))
    return meta


def write(folder: Path, meta: Mapping[str, Any]) -> None:
    """Write ``graph.json`` with a hash of its content."""
    content = {key: value for key, value in meta.items() if key != _OWN_HASH}
    write_json(folder / "graph.json", {**content, _OWN_HASH: json_hash(content)})


def recipe_folder(folder: Path, meta: Mapping[str, Any]) -> Path:
    """Folder of a graph's recipe: the one around the graph's, unless ``graph.json`` names another.

    It names another if the graph is in the cache folder or was compiled with ``--output``.
    """
    return Path(meta.get("recipe_folder", folder.absolute().parent))


def json_hash(content: Mapping[str, Any]) -> str:
    """Hash of a JSON value that does not depend on the order of keys or on white space."""
    stored = json.loads(json.dumps(content))
    return hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()


def _check(meta: Meta) -> None:
    """Raise a ValueError unless the entries that loading needs have the right types."""
    for name, entry in meta["files"].items():
        part = PurePosixPath(name)
        if part.is_absolute() or ".." in part.parts or not isinstance(entry["sha256"], str):
            raise ValueError(f"{name!r} is not a file of this folder")
    columns, lexicon, recipe = meta["columns"], meta["lexicon"], meta.get("recipe", {})
    _check_entry(isinstance(columns, list), "columns must be a list")
    _check_entry(all(isinstance(name, str) for name in columns), "columns must be names")
    fits = set(lexicon) <= set(LEXICON_OPTIONS) and "silence" in lexicon
    _check_entry(fits, f"the lexicon must have {', '.join(LEXICON_OPTIONS)}")
    _check_entry(isinstance(lexicon["silence"], str | None), "silence must be a token or null")
    _check_entry(isinstance(meta["takes_new_words"], bool), "takes_new_words must be true or false")
    _check_entry(isinstance(meta["views"], dict), "views must be a table")
    _check_entry(isinstance(recipe, dict), "the recipe must be a table")
    _check_entry(isinstance(meta.get("recipe_folder", ""), str), "recipe_folder must be a path")
    _check_entry(isinstance(recipe.get("acoustic_model", ""), str), "acoustic_model must be a name")
    for name in ("lexicon", "topology", "search", "rescore", "lm", "grammar"):
        _check_entry(isinstance(recipe.get(name, {}), dict | None), f"[{name}] must be a table")
    for topology in (recipe.get("topology"), meta["topology"]):
        section(TopologySection, topology or {}, "topology", error=GraphError)


def _check_entry(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)
