"""Listing of recordings: files, folders, lists of paths, Kaldi's and Lhotse's manifests."""

from __future__ import annotations

import dataclasses
import gzip
import json
import math
import os
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any

import lhotse
from lhotse.cut import Cut
from lhotse.serialization import deserialize_item

from asr_hlg.audio.recording import SAMPLE_RATES, Recording
from asr_hlg.errors import AudioError

# Endings of the files that are taken from a folder; a file named by itself may have any.
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".au", ".sph", ".w64")

_HEAD = 4096  # bytes of a file from which its kind is concluded
_NO_TEXT = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f]")


def recordings(
    inputs: str | Path | Iterable[str | Path | Recording],
) -> Iterator[Recording]:
    """List the recordings that some paths name, in the order of the paths.

    Parameters
    ----------
    inputs : path, Recording or iterable of these
        Each is a recording, which is yielded as it is, or the path of

        - a sound file;
        - a text file with one path a line, of any name that is not a sound file's;
        - a Kaldi ``wav.scp`` (``.scp``), whose entries may not be commands;
        - a Kaldi data folder: ``wav.scp`` and perhaps ``segments``;
        - any other folder: the sound files in it and below, sorted;
        - a Lhotse manifest of recordings or cuts (``.jsonl``, ``.jsonl.gz``, or JSON objects in
          lines).

        Paths in a list are relative to the working folder, or else to the list's folder.

    Yields
    ------
    Recording
        Its id is the one in the list or manifest, or the file's name without its ending.  Ids of
        files of the same name begin with their folders; repeated ids end in a number.
    """
    if isinstance(inputs, (str, Path)):
        inputs = [inputs]
    lists = [iter([x]) if isinstance(x, Recording) else _expand(Path(x)) for x in inputs]
    # Ids of plain files depend on each other, so files are listed first; manifests are streamed.
    files = [path for part in lists if isinstance(part, list) for path in part]
    ids = iter(file_ids(files))
    used: set[str] = set()
    for part in lists:
        if isinstance(part, list):
            part = (Recording(next(ids), path) for path in part)
        for recording in part:
            name, number = recording.id, 1
            while name in used:
                number += 1
                name = f"{recording.id}_{number}"
            used.add(name)
            yield recording if number == 1 else dataclasses.replace(recording, id=name)


def file_ids(paths: list[Path]) -> list[str]:
    """Ids of files: the name without its ending, after the folders if names repeat.

    >>> file_ids([Path("/x/a/one.wav"), Path("/x/b/one.wav"), Path("/x/b/two.wav")])
    ['a/one', 'b/one', 'two']
    """
    ids = [path.stem for path in paths]
    for with_ending in (False, True):
        counts = Counter(ids)
        folders = {
            os.path.abspath(p.parent) for p, i in zip(paths, ids, strict=True) if counts[i] > 1
        }
        if not folders:
            break
        root = os.path.commonpath(folders)
        for k, path in enumerate(paths):
            if counts[ids[k]] > 1:
                relative = PurePath(os.path.relpath(os.path.abspath(path), root))
                ids[k] = str(relative if with_ending else relative.parent / relative.stem)
    return [_clean_id(name) for name in ids]


def _expand(path: Path) -> list[Path] | Iterator[Recording]:
    """Files that an input names, or the recordings of a list with ids."""
    name = path.name.lower()
    if os.path.isdir(path):
        if (path / "wav.scp").exists():
            return _with_errors(_kaldi_folder, path)
        files = sorted(
            p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and os.path.isfile(p)
        )
        # Some operating systems write a hidden file beside every file.
        files = [file for file in files if not file.name.startswith(".")]
        endings = "looked for " + ", ".join(SUFFIXES)
        return files or iter([_failed(path, "no recordings in this folder", remedy=endings)])
    if name.endswith(".scp"):
        return _with_errors(_wav_scp, path)
    if name.endswith((".jsonl", ".jsonl.gz")):
        return _with_errors(_manifest, path)
    is_list = name.endswith((".txt", ".lst", ".list"))
    if not is_list and not name.endswith(SUFFIXES):
        lines = _lines_of_text(path)
        if lines and lines[0].startswith("{"):
            return _with_errors(_manifest, path)
        is_list = any(os.path.exists(_resolved(line, path)) for line in lines)
        if lines and not is_list:
            reason = f"cannot be read: a text, but no list, since {lines[0]!r} is no file"
            return iter([_failed(path, reason, remedy="name sound files, folders or lists")])
    if is_list:
        try:
            return [_resolved(line, path) for _, line in _lines(path)]
        except (OSError, ValueError) as error:
            return iter([_failed(path, _reason(error))])
    return [path]


def _lines_of_text(path: Path) -> list[str]:
    """First lines of a text file that are not blank; none for a file of another kind."""
    if not os.path.isfile(path):
        return []
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return []
    # Every sound file has bytes in its header that no text has, except NIST's SPHERE.
    if _NO_TEXT.search(head) or head.startswith(b"NIST_1A"):
        return []
    if len(head) == _HEAD:
        head = head.rpartition(b"\n")[0] or head
    lines = (line.strip() for line in head.decode("utf-8", "surrogateescape").splitlines())
    return [line for line in lines if line]


def _with_errors(reader: Callable[[Path], Iterator[Recording]], path: Path) -> Iterator[Recording]:
    """Recordings that a reader yields, and one with its error if the list cannot be read."""
    try:
        yield from reader(path)
    except (OSError, EOFError, ValueError) as error:
        yield _failed(path, _reason(error))


def _wav_scp(path: Path) -> Iterator[Recording]:
    """Recordings of a Kaldi ``wav.scp``: ``id path`` in each line."""
    for number, line in _lines(path):
        name, entry, *_ = [*line.split(maxsplit=1), ""]
        if entry.startswith("|") or entry.endswith("|"):
            yield _failed(
                path,
                "the entry is a command; lists of recordings may come from others, so commands in "
                "them are never run",
                number,
                name,
                "run it once and list the file it writes",
            )
        elif not entry:
            yield _failed(path, "expected 'id path'", number, name)
        else:
            yield Recording(_clean_id(name), _resolved(entry, path))


def _kaldi_folder(folder: Path) -> Iterator[Recording]:
    """Utterances of a Kaldi data folder: those of ``segments``, else whole recordings."""
    from_wav_scp = _wav_scp(folder / "wav.scp")
    segments = folder / "segments"
    if not segments.exists():
        yield from from_wav_scp
        return
    by_id = {recording.id: recording for recording in from_wav_scp}
    for number, line in _lines(segments):
        name, *fields = line.split()
        try:
            recording, start, end = by_id[fields[0]], float(fields[1]), float(fields[2])
        except (IndexError, KeyError, ValueError):
            reason = "expected 'id recording start end', of a recording in wav.scp"
            yield _failed(segments, reason, number, name)
            continue
        if not 0 <= start < end < math.inf:
            yield _failed(segments, "a segment ends before it begins", number, name)
            continue
        yield dataclasses.replace(recording, id=_clean_id(name), offset=start, duration=end - start)


def _manifest(path: Path) -> Iterator[Recording]:
    """Entries of a Lhotse manifest of recordings or cuts: a JSON object in each line."""
    for number, line in _lines(path):
        try:
            data = json.loads(line)
            parts = list(_nested_objects(data))
            sources = (source for part in parts for source in part.get("sources", ()))
            problem = next(filter(None, map(_source_problem, sources)), None)
            if problem is not None:
                yield _failed(path, problem, number, str(data.get("id", "")))
                continue
            # Lhotse allocates memory for the rate before it opens the sound file.
            if any(
                part["sampling_rate"] not in SAMPLE_RATES
                for part in parts
                if "sampling_rate" in part
            ):
                raise ValueError("a sampling rate is out of range")
            item = deserialize_item(data)
            if not isinstance(item, (lhotse.Recording, Cut)):
                raise TypeError("expected a recording or a cut")
            recording = _from_manifest(item, path)
        except Exception as error:  # of any kind, depending on the missing or wrong field
            recording = _failed(
                path, f"not an entry of a Lhotse manifest: {_reason(error)}", number
            )
        yield recording


def _from_manifest(item: lhotse.Recording | Cut, path: Path) -> Recording:
    """Recording of a manifest's entry, whose fields' types and ranges Lhotse has not checked."""
    start, rate = getattr(item, "start", 0.0), item.sampling_rate
    if not isinstance(item.id, str) or not isinstance(rate, int):
        raise TypeError("an id is a string, a sampling rate an integer")
    if not all(isinstance(seconds, int | float) for seconds in (start, item.duration)):
        raise TypeError("start and duration are seconds")
    if not (0 <= start < math.inf and 0 < item.duration < math.inf):
        raise ValueError("a start must be at least 0 s, and a duration above 0 s")
    return Recording(_clean_id(item.id), path, start, item.duration, item)


def _nested_objects(data: Any) -> Iterator[dict[str, Any]]:
    """All objects in a manifest's entry, itself included: tracks, recordings, reverberations."""
    if isinstance(data, dict):
        yield data
    values = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    for value in values:
        yield from _nested_objects(value)


def _source_problem(source: dict[str, Any]) -> str | None:
    """Reason not to read a source; manifests may come from others, so nothing is run or fetched."""
    name = str(source["source"])
    if source["type"] != "file" or "://" in name:
        return f"a source of type {source['type']!r} is not read, only files are"
    return unsafe_name_reason(name) or (None if os.path.isfile(name) else f"no such file: {name}")


def unsafe_name_reason(name: str) -> str | None:
    """Reason not to let Lhotse read a file, since it passes some names to a shell."""
    if name.lower().endswith((".opus", ".sph")) and shlex.quote(name) != name:
        return f"Lhotse would pass this name to a shell: {name}"
    return None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers; file names may be in any encoding."""
    if os.path.exists(path) and not os.path.isfile(path):  # opening a pipe could wait for ever
        raise ValueError("not a regular file")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", errors="surrogateescape") as stream:
        for number, line in enumerate(stream, start=1):
            if line := line.strip():
                yield number, line


def _resolved(entry: str, listed_in: Path) -> Path:
    """Path of an entry, relative to the working folder, or else to its list's folder."""
    beside = listed_in.parent / entry
    return beside if not os.path.exists(entry) and os.path.exists(beside) else Path(entry)


def _failed(
    path: Path, reason: str, line: int | None = None, name: str = "", remedy: str | None = None
) -> Recording:
    """Recording whose loading raises this error."""
    name = name or (path.stem if line is None else f"{path.stem}:{line}")
    return Recording(
        _clean_id(name), path, error=AudioError(reason, path=path, line=line, remedy=remedy)
    )


def _clean_id(name: str) -> str:
    """Valid UTF-8 id of a recording: spaces and control characters become underscores."""
    name = "_".join(name.encode("utf-8", errors="replace").decode("utf-8").split())
    return "".join("_" if unicodedata.category(c) == "Cc" else c for c in name) or "_"


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
