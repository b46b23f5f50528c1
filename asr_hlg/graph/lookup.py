"""Recipes and compiled graphs by name: in the current folder, in the cache, in the package.

``en`` is, in this order:

1. the compiled graph ``graphs/en/`` of the current folder;
2. the recipe ``graphs/en.toml`` of the current folder, which is compiled beside it;
3. the recipe ``en.toml`` that is installed with the package, which is compiled once into the cache
   folder (:func:`asr_hlg.files.cache_folder`)::

       graphs/0123456789abcdef/en/    a compiled graph; the number is a hash of recipe and sources
       graphs/en.json                 the graphs of this name, and what they were compiled from
       graphs/en.lock                 locked while the graph is compiled
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_hlg.errors import GraphError
from asr_hlg.files import cache_folder, shipped_folder, write_json
from asr_hlg.graph import metadata, store

if TYPE_CHECKING:
    from asr_hlg.graph.build import Report
    from asr_hlg.graph.recipe import Recipe

HERE = Path("graphs")
_MAX_ENTRIES = 8  # graphs of one name that are found without hashing their sources

Say = Callable[[str], None]


def print_line(line: str) -> None:
    """Print a message to standard error."""
    print(f"asr-hlg: {line}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Known:
    """A recipe or graph that has a name.

    Attributes
    ----------
    name : str
    recipe : Path or None
        None for a compiled graph without a recipe beside it.
    compiled : Path or None
        Folder of the compiled graph.
    """

    name: str
    recipe: Path | None
    compiled: Path | None


def known() -> list[Known]:
    """List what can be named, sorted; a name in the current folder hides one of the package."""
    found = {path.stem: path for path in (shipped_folder() / "graphs").glob("*.toml")}
    here = {path.stem: path for path in HERE.glob("*.toml")}
    folders = {path.parent.name: path.parent for path in HERE.glob("*/graph.json")}
    recipes = found | here
    return [
        Known(
            name,
            here.get(name) if name in folders else recipes[name],
            folders.get(name) or (None if name in here else _find_cached(recipes[name])),
        )
        for name in sorted(recipes.keys() | folders.keys())
    ]


def recipe_path(name: str) -> Path:
    """Path of a recipe: the .toml file itself, or the one that a name stands for.

    Raises
    ------
    GraphError
        If there is no recipe of this name.
    """
    if name.endswith(".toml"):
        return Path(name)
    for folder in (HERE, shipped_folder() / "graphs"):
        path = folder / f"{name}.toml"
        if path.is_file():
            return path
    names = ", ".join(each.name for each in known() if each.recipe is not None) or "none"
    raise GraphError(
        f"there is no recipe {HERE / name}.toml",
        remedy=f"recipes here: {names}; or name a .toml file",
    )


def is_here(recipe: Path) -> bool:
    """Whether a recipe is compiled beside itself: it was named, or is of the current folder."""
    shipped = shipped_folder() / "graphs"
    return recipe.parent == HERE or recipe.parent.absolute() != shipped.absolute()


def graph_folder(name: str | Path, say: Say = print_line) -> Path:
    """Folder of a compiled graph; a graph that is known by its name is compiled if need be.

    Parameters
    ----------
    name : str or Path
        A folder, or a name: see the module.
    say : callable
        Receives the messages while a graph is compiled, which takes up to a minute.

    Raises
    ------
    GraphError
        If there is neither a folder nor a recipe of this name, or compilation fails.
    """
    path = Path(name)
    if (path / "graph.json").is_file() or path.is_absolute() or len(path.parts) > 1:
        return path
    name = str(name)
    if (HERE / name / "graph.json").is_file():
        return HERE / name
    try:
        recipe = recipe_path(name)
    except GraphError:
        names = ", ".join(each.name for each in known()) or "none"
        raise GraphError(
            f"there is no graph {name}",
            remedy=f"known are {names}; `asr-hlg graph --list` describes them",
        ) from None
    if is_here(recipe) and os.access(HERE, os.W_OK):
        from asr_hlg.graph.build import build

        say(f"compiling the graph {name} once, into {HERE / name}")
        return build(_read(recipe), report=_report(say))
    return _find_cached(recipe) or compile_cached(recipe, say=say)


def compile_cached(
    recipe: Path,
    *,
    say: Say = print_line,
    report: Report | None = None,
    force: bool = False,
    max_memory: float | None = None,
) -> Path:
    """Compile a recipe into the cache folder, unless the cache has its graph.

    Of several processes, one compiles and the others wait. A graph appears in the cache when it is
    complete.

    Parameters
    ----------
    recipe : Path
    say : callable
        Receives what is compiled, and that another process compiles it.
    report : Report, optional
        Receives stages and remarks; by default they are given to ``say``, too.
    force, max_memory
        As for :func:`asr_hlg.graph.build.build`.
    """
    from asr_hlg.graph.build import build, identity

    content, name = _read(recipe), recipe.stem
    graphs = cache_folder() / "graphs"
    graphs.mkdir(mode=0o700, exist_ok=True)
    shown, report = report, report or _report(say)
    with locked(graphs / f"{name}.lock", lambda: say(f"another process compiles {name}; waiting")):
        parent = graphs / identity(content)[:16]
        if force or not (parent / name / "graph.json").is_file():
            say(f"compiling the graph {name} once, into {parent / name}")
            part = parent.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
            try:
                build(content, part / name, max_memory=max_memory, report=report)
                shutil.rmtree(parent, ignore_errors=True)
                part.rename(parent)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        elif shown is not None:
            shown.note("up to date")
        _remember(graphs / f"{name}.json", content, parent / name)
    return parent / name


def _read(path: Path) -> Recipe:
    from asr_hlg.graph.recipe import Recipe

    return Recipe.read(path)


def _report(say: Say) -> Report:
    from asr_hlg.graph.build import Report

    return Report(stage=lambda stage: say(str(stage)), note=say)


@contextmanager
def locked(path: Path, waits: Callable[[], None]) -> Iterator[None]:
    """Exclusive lock on a file, which ends with the process at the latest."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waits()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _find_cached(recipe: Path) -> Path | None:
    """Graph of a recipe in the cache, if neither the recipe nor its sources have changed since.

    Sources are compared by size and time, since hashing them takes longer than decoding a sentence.
    """
    for entry in _entries(cache_folder() / "graphs" / f"{recipe.stem}.json"):
        folder = Path(entry["folder"])
        if entry["version"] == _version(recipe) and (folder / "graph.json").is_file():
            times = entry["files"].items()
            if all(_size_and_time(Path(path)) == expected for path, expected in times):
                return folder
    return None


def _remember(index: Path, recipe: Recipe, folder: Path) -> None:
    """Add a graph to those that `_find_cached` finds."""
    files = {str(path.absolute()): _size_and_time(path) for path in recipe.source_paths()}
    entry = {"folder": str(folder), "version": _version(recipe.path), "files": files}
    others = [e for e in _entries(index) if e != entry and Path(e["folder"]).is_dir()]
    write_json(index, {"graphs": [entry, *others][:_MAX_ENTRIES]})


def _entries(index: Path) -> list[dict[str, Any]]:
    try:
        entries: list[dict[str, Any]] = json.loads(index.read_text(encoding="utf-8"))["graphs"]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    return entries


def _version(recipe: Path) -> list[str | int]:
    """Hash of a recipe, and the revisions of the program that compiles it."""
    digest = hashlib.sha256(recipe.read_bytes()).hexdigest()
    return [str(recipe.parent.absolute()), digest, metadata.FORMAT, store.REVISION]


def _size_and_time(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]
