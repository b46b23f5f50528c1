"""Changed graphs that are kept in the cache folder, from which all processes map them.

    graph, guesses = open_graph("graphs/en", hotword_file="names.txt")

With 10,000 new words, changing a graph takes several seconds and mapping the result takes
milliseconds. A changed graph is a graph folder with the file ``change.json``, which has what was
reported while it was made. Its name is a hash of the graph, of the files with the changes and of
the dictionaries in which new words are looked up.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from asr_hlg import errors
from asr_hlg.errors import AsrHlgError, GraphError, OnItemError, stop
from asr_hlg.files import cache_folder, file_hash, write_json
from asr_hlg.graph import metadata, store
from asr_hlg.graph.adapt import runtime
from asr_hlg.graph.adapt.pronounce import source_files
from asr_hlg.graph.decoding_graph import DecodingGraph
from asr_hlg.lexicon.g2p import Guesses, OnProgress
from asr_hlg.lexicon.g2p_cache import model_hash

_FORMAT = 1
_FOLDER = "changed-graphs"
_REPORT = "change.json"
_MAX_BYTES = 2_000_000_000
"""Size of all changed graphs together, beyond which those that were used least recently go."""

_ABANDONED_SECONDS = 3600.0
_LOG = logging.getLogger("asr_hlg.graph")


def open_graph(
    folder: str | Path,
    device: str = "cpu",
    *,
    grammar_file: str | Path | None = None,
    hotword_file: str | Path | None = None,
    on_error: OnItemError = stop,
    on_progress: OnProgress = lambda _: None,
) -> tuple[DecodingGraph, Guesses]:
    """Open a graph with changes as :func:`asr_hlg.graph.adapt.runtime.open_graph` does.

    The changed graph is kept, and opened the next time, when ``on_error`` receives the same errors.
    Of several processes that ask for the same one at the same time, one makes it and the others
    wait. Where the cache folder cannot be written, it is made in memory.
    """
    folder = Path(folder)
    if grammar_file is None and hotword_file is None:
        return DecodingGraph.load(folder, device), Guesses({}, {})
    kept = _kept_folder(folder, grammar_file, hotword_file)
    made: list[_Changed] = []

    def make() -> _Changed:
        if not made:
            faults: list[AsrHlgError] = []
            graph, guesses = runtime.open_graph(
                folder,
                grammar_file=grammar_file,
                hotword_file=hotword_file,
                on_error=faults.append,
                on_progress=on_progress,
            )
            made.append(_Changed(graph, guesses, faults))
        return made[0]

    try:
        changed = _kept_or_made(kept, make)
    except OSError as error:
        _LOG.warning("%s: the changed graph cannot be kept: %s", kept.parent, error.strerror)
        changed = make()
    for fault in changed.faults:
        on_error(fault)
    return replace(changed.graph, folder=folder).to(device), changed.guesses


class _Changed(NamedTuple):
    """A changed graph, the guessed pronunciations, and the errors of items that were left out."""

    graph: DecodingGraph
    guesses: Guesses
    faults: list[AsrHlgError]


def _kept_or_made(kept: Path, make: Callable[[], _Changed]) -> _Changed:
    """Open a kept graph, or make and keep it; an OSError if it cannot be kept."""
    changed = _opened(kept)
    if changed is not None:
        return changed
    with _locked(kept):
        changed = _opened(kept)  # another process may have made it meanwhile
        if changed is None:
            _keep(make(), kept)
            changed = _opened(kept)
    return changed or make()


def _kept_folder(
    folder: Path, grammar_file: str | Path | None, hotword_file: str | Path | None
) -> Path:
    """Folder in the cache for a graph with changes."""
    meta = metadata.read(folder)
    key: dict[str, Any] = {"format": _FORMAT, "graph": store.content_hash(meta)}
    for name, path, kind in (
        ("grammar", grammar_file, errors.GrammarError),
        ("hotwords", hotword_file, errors.HotwordError),
    ):
        if path is not None:
            try:
                key[name] = str(path), file_hash(Path(path))
            except OSError as error:
                raise kind(f"cannot be read: {error.strerror}", path=path) from None
    key["sources"] = [_stamp(path) for path in source_files(meta, folder)]
    key["g2p"] = model_hash()
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode("utf-8", "surrogateescape"))
    return cache_folder() / _FOLDER / digest.hexdigest()[:32]


def _stamp(path: Path) -> tuple[str, int, int]:
    """Name, size and time of change of a file; zeros if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), status.st_size, status.st_mtime_ns


def _opened(kept: Path) -> _Changed | None:
    """A kept graph with its report; None if there is none, or it is damaged."""
    try:
        report = json.loads((kept / _REPORT).read_text(encoding="utf-8"))
        guesses = Guesses({w: tuple(p) for w, p in report["guesses"].items()}, {})
        faults = [_error(*fault) for fault in report["faults"]]
        graph = DecodingGraph.load(kept)
        with suppress(OSError):  # a cache that others own
            os.utime(kept)
    except (OSError, GraphError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return _Changed(graph, guesses, faults)


def _error(
    kind: str, message: str, path: str | None, line: int | None, remedy: str | None
) -> AsrHlgError:
    """Error of an item as it was reported."""
    cls = getattr(errors, kind)
    error: AsrHlgError = cls(message, path=path, line=line, remedy=remedy)
    return error


def _keep(changed: _Changed, kept: Path) -> None:
    """Write a changed graph into the cache; it gets its name when it is complete."""
    part = kept.with_name(f"{kept.name}.{os.getpid()}.part")
    try:
        changed.graph.packed  # noqa: B018 - is kept with the graph
        changed.graph.save(part)
        rows = [[type(f).__name__, f.message, f.path, f.line, f.remedy] for f in changed.faults]
        report = {"guesses": dict(changed.guesses.pronunciations), "faults": rows}
        write_json(part / _REPORT, report)
        shutil.rmtree(kept, ignore_errors=True)  # a damaged one
        part.rename(kept)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _remove_old(kept)


def _remove_old(newest: Path) -> None:
    """Remove graphs that were not used lately, so that the cache stays within its size."""
    entries = [path for path in newest.parent.iterdir() if path.is_dir() and path != newest]
    ages = {path: time.time() - path.stat().st_mtime for path in entries}
    total = _size(newest)
    for path in sorted(entries, key=ages.__getitem__):
        is_part = path.suffix == ".part"
        if not is_part:
            total += _size(path)
        if ages[path] > _ABANDONED_SECONDS if is_part else total > _MAX_BYTES:
            shutil.rmtree(path, ignore_errors=True)
            path.with_suffix(".lock").unlink(missing_ok=True)


def _size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def _locked(kept: Path) -> Iterator[None]:
    """Exclusive lock on a changed graph, which ends with the process at the latest."""
    kept.parent.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(kept.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
