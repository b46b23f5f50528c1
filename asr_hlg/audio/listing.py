"""Finding recordings: files, folders, lists, Kaldi's and Lhotse's manifests."""

from __future__ import annotations

import dataclasses
import gzip
import json
import math
import os
import shlex
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any

import lhotse
from lhotse.cut import Cut
from lhotse.serialization import deserialize_item

from asr_hlg.audio.recording import RATES, Recording
from asr_hlg.errors import AudioError

# What a folder is searched for; a file named by itself may end as it likes.
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".au", ".sph", ".w64")


def recordings(
    inputs: str | Path | Iterable[str | Path | Recording],
) -> Iterator[Recording]:
    """Find recordings, in the order given.

    Parameters
    ----------
    inputs : path or iterable of paths
        Each is a recording, which is passed on, or one of

        - a sound file;
        - a text file with one path a line (``.txt``, ``.lst``, ``.list``);
        - a Kaldi ``wav.scp`` (``.scp``), whose entries may not be commands;
        - a Kaldi data folder: ``wav.scp`` and perhaps ``segments``;
        - any other folder: the sound files in it and below, sorted;
        - a Lhotse manifest of recordings or cuts (``.jsonl``, ``.jsonl.gz``).

        Paths in a list count from the working folder, or else from the list's own.

    Yields
    ------
    Recording
        Its id is the one in the list or manifest, or the file's name without its ending.  Files
        of the same name are told apart by the folders they lie in, repeated ids by a number.
    """
    if isinstance(inputs, (str, Path)):
        inputs = [inputs]
    found = [iter([g]) if isinstance(g, Recording) else _expand(Path(g)) for g in inputs]
    # Ids of plain files depend on each other, so these are listed first; manifests stream.
    files = [path for part in found if isinstance(part, list) for path in part]
    ids = iter(file_ids(files))
    seen: set[str] = set()
    for part in found:
        if isinstance(part, list):
            part = (Recording(next(ids), path) for path in part)
        for recording in part:
            name, number = recording.id, 1
            while name in seen:
                number += 1
                name = f"{recording.id}_{number}"
            seen.add(name)
            yield recording if number == 1 else dataclasses.replace(recording, id=name)


def file_ids(paths: list[Path]) -> list[str]:
    """An id for each file: its name without the ending, and folders where names repeat.

    >>> file_ids([Path("/x/a/one.wav"), Path("/x/b/one.wav"), Path("/x/b/two.wav")])
    ['a/one', 'b/one', 'two']
    """
    ids = [path.stem for path in paths]
    for whole in (False, True):
        counts = Counter(ids)
        clashing = {
            os.path.abspath(p.parent) for p, i in zip(paths, ids, strict=True) if counts[i] > 1
        }
        if not clashing:
            break
        root = os.path.commonpath(clashing)
        for k, path in enumerate(paths):
            if counts[ids[k]] > 1:
                relative = PurePath(os.path.relpath(os.path.abspath(path), root))
                ids[k] = str(relative if whole else relative.parent / relative.stem)
    return [_clean(name) for name in ids]


def _expand(given: Path) -> list[Path] | Iterator[Recording]:
    """The files that an input names, or the recordings of one that gives them ids."""
    name = given.name.lower()
    if os.path.isdir(given):
        if (given / "wav.scp").exists():
            return _guarded(_kaldi_folder, given)
        files = sorted(
            p for p in given.rglob("*") if p.suffix.lower() in SUFFIXES and os.path.isfile(p)
        )
        # Some systems leave a hidden companion beside every file.
        files = [path for path in files if not path.name.startswith(".")]
        return files or iter([_broken(given, "no recordings in this folder")])
    if name.endswith(".scp"):
        return _guarded(_wav_scp, given)
    if name.endswith((".jsonl", ".jsonl.gz")):
        return _guarded(_manifest, given)
    if name.endswith((".txt", ".lst", ".list")):
        try:
            return [_located(line, given) for _, line in _lines(given)]
        except (OSError, ValueError) as error:
            return iter([_broken(given, _reason(error))])
    return [given]


def _guarded(reader: Callable[[Path], Iterator[Recording]], path: Path) -> Iterator[Recording]:
    """What a reader yields, and a broken recording where it has to stop."""
    try:
        yield from reader(path)
    except (OSError, EOFError, ValueError) as error:
        yield _broken(path, _reason(error))


def _wav_scp(path: Path) -> Iterator[Recording]:
    """The recordings of a Kaldi ``wav.scp``: ``id path`` a line."""
    for number, line in _lines(path):
        name, entry, *_ = [*line.split(maxsplit=1), ""]
        if entry.startswith("|") or entry.endswith("|"):
            yield _broken(
                path,
                "the entry is a command; a list of recordings may come from anywhere, so commands "
                "in it are never run",
                number,
                name,
                "run it once and list the file it writes",
            )
        elif not entry:
            yield _broken(path, "expected 'id path'", number, name)
        else:
            yield Recording(_clean(name), _located(entry, path))


def _kaldi_folder(folder: Path) -> Iterator[Recording]:
    """The utterances of a Kaldi data folder: those of ``segments``, else whole recordings."""
    whole = _wav_scp(folder / "wav.scp")
    segments = folder / "segments"
    if not segments.exists():
        yield from whole
        return
    by_id = {recording.id: recording for recording in whole}
    for number, line in _lines(segments):
        fields = line.split()
        try:
            name, source, start, end = (
                fields[0],
                by_id[fields[1]],
                float(fields[2]),
                float(fields[3]),
            )
        except (IndexError, KeyError, ValueError):
            reason = "expected 'id recording start end', of a recording in wav.scp"
            yield _broken(segments, reason, number, fields[0])
            continue
        if not 0 <= start < end < math.inf:
            yield _broken(segments, "a segment ends before it begins", number, name)
            continue
        yield dataclasses.replace(source, id=_clean(name), offset=start, duration=end - start)


def _manifest(path: Path) -> Iterator[Recording]:
    """The entries of a Lhotse manifest of recordings or cuts, one JSON object a line."""
    for number, line in _lines(path):
        try:
            data = json.loads(line)
            parts = list(_parts(data))
            sources = (source for part in parts for source in part.get("sources", ()))
            refusal = next(filter(None, map(_refusal, sources)), None)
            if refusal is not None:
                yield _broken(path, refusal, number, str(data.get("id", "")))
                continue
            # Lhotse makes room for what a rate says before it looks at the sound.
            if any(part["sampling_rate"] not in RATES for part in parts if "sampling_rate" in part):
                raise ValueError("a sampling rate is not one of sound")
            item = deserialize_item(data)
            if not isinstance(item, (lhotse.Recording, Cut)):
                raise TypeError("expected a recording or a cut")
            recording = _described(item, path)
        except Exception as error:  # Lhotse raises whatever a missing or wrong field leads to
            recording = _broken(
                path, f"not an entry of a Lhotse manifest: {_reason(error)}", number
            )
        yield recording


def _described(item: lhotse.Recording | Cut, path: Path) -> Recording:
    """An entry of a manifest, if its fields are what Lhotse takes them for without a look."""
    start, rate = getattr(item, "start", 0.0), item.sampling_rate
    if not isinstance(item.id, str) or not isinstance(rate, int):
        raise TypeError("an id is a string, a sampling rate an integer")
    if not all(isinstance(seconds, int | float) for seconds in (start, item.duration)):
        raise TypeError("start and duration are seconds")
    if not (0 <= start < math.inf and 0 < item.duration < math.inf):
        raise ValueError("a start is not below 0 s, and a duration is above")
    return Recording(_clean(item.id), path, start, item.duration, item)


def _parts(data: Any) -> Iterator[dict[str, Any]]:
    """A manifest's entry and all objects in it: tracks, recordings, reverberations."""
    if isinstance(data, list):
        for value in data:
            yield from _parts(value)
    elif isinstance(data, dict):
        yield data
        for value in data.values():
            yield from _parts(value)


def _refusal(source: dict[str, Any]) -> str | None:
    """Why a source is not read: manifests may come from anywhere, so nothing is run or fetched."""
    place = str(source["source"])
    if source["type"] != "file" or "://" in place:
        return f"a source of type {source['type']!r} is not read, only files are"
    return unsafe_name_reason(place) or (
        None if os.path.isfile(place) else f"no such file: {place}"
    )


def unsafe_name_reason(place: str) -> str | None:
    """Why Lhotse may not be given the name of a file to read: it gives some to a shell."""
    if place.lower().endswith((".opus", ".sph")) and shlex.quote(place) != place:
        return f"Lhotse would hand this name to a shell: {place}"
    return None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers; file names in any encoding survive."""
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe may never say a word
        raise ValueError("not a regular file")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", errors="surrogateescape") as stream:
        for number, line in enumerate(stream, start=1):
            if line := line.strip():
                yield number, line


def _located(entry: str, listed_in: Path) -> Path:
    beside = listed_in.parent / entry
    return beside if not os.path.exists(entry) and os.path.exists(beside) else Path(entry)


def _broken(
    path: Path, reason: str, line: int | None = None, name: str = "", remedy: str | None = None
) -> Recording:
    name = name or (path.stem if line is None else f"{path.stem}:{line}")
    return Recording(
        _clean(name), path, error=AudioError(reason, path=path, line=line, remedy=remedy)
    )


def _clean(name: str) -> str:
    """A name that can stand in a line of UTF-8 text, without spaces and control characters."""
    name = "_".join(name.encode("utf-8", errors="replace").decode("utf-8").split())
    return "".join("_" if unicodedata.category(c) == "Cc" else c for c in name) or "_"


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
