"""A record, in the cache folder, of the checks that a graph folder has passed.

Every file of a graph is compared with its hash, and every index with the size of what it refers to,
before compiled code reads it. For ``en`` that means reading 95 MB. A check that has been passed is
not repeated as long as no file that it read has changed since.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from asr_hlg.files import cache_folder, parse_json, write_json

_SUBFOLDER = "verified-graphs"
_SETTLED_SECONDS = 2.0
"""Age from which a change of a file is certain to differ from a later one in its time stamp."""


def once(folder: Path, check_name: str, names: Iterable[str], check: Callable[[], None]) -> None:
    """Run a check of some files of a folder, unless it has been passed with the same files.

    A file is taken for the same if device, inode, size and the times of its last change of content
    and of attributes are. (A program can set the former time, but not the latter.)

    Parameters
    ----------
    folder : Path
    check_name : str
        Identifies the check. A check that becomes stricter needs another name.
    names : iterable of str
        Files, relative to the folder; ``graph.json`` is always one of them.
    check : callable
        Raises an exception if the files do not pass.
    """
    state = _state(folder, names)
    path = cache_folder() / _SUBFOLDER / f"{_name(folder)}.json"
    passed = _read(path)
    if state is not None and passed.get(check_name) == state:
        return
    check()
    if state is None or not _is_settled(state):
        return
    try:
        path.parent.mkdir(exist_ok=True)
        write_json(path, {**passed, check_name: state})
    except OSError:  # a full disk, for instance: the check is repeated the next time
        pass


def _state(folder: Path, names: Iterable[str]) -> dict[str, list[int]] | None:
    """Identity and times of each file; None if one cannot be read."""
    try:
        found = {name: (folder / name).stat() for name in sorted({*names, "graph.json"})}
    except OSError:
        return None
    return {
        name: [s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns]
        for name, s in found.items()
    }


def _is_settled(state: dict[str, list[int]]) -> bool:
    newest = max(changed for *_, changed in state.values())
    return time.time_ns() - newest > _SETTLED_SECONDS * 1e9


def _name(folder: Path) -> str:
    return hashlib.sha256(bytes(folder.absolute())).hexdigest()[:32]


def _read(path: Path) -> dict[str, Any]:
    """Checks that were passed; none if the record cannot be read."""
    try:
        passed = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return passed if isinstance(passed, dict) else {}
