"""Listing of recordings: files, folders, lists of paths, Kaldi's and Lhotse's manifests."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from asr_hlg.audio import formats, kaldi
from asr_hlg.audio.entries import (
    clean_id,
    encoding_of,
    failed,
    lines,
    reason,
    resolved,
    with_errors,
)
from asr_hlg.audio.recording import Recording

_HEAD = 4096  # bytes of a file from which its kind is concluded
_NO_TEXT = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f]")
_LISTS = (".txt", ".lst", ".list")

OnSkip = Callable[[Path], None]
"""Called with each file of a folder that looks like sound or video and is not read."""


def recordings(
    inputs: str | Path | Iterable[str | Path | Recording],
    all_channels: bool = False,
    on_skip: OnSkip = lambda _: None,
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
        - any other folder: the files of sound and video in it and below, sorted;
        - a Lhotse manifest of recordings or cuts (``.jsonl``, ``.jsonl.gz``, or JSON objects in
          lines).

        Paths in a list are relative to the working folder, or else to the list's folder.
    all_channels : bool
        List each channel of a recording of several by itself, with ``-1``, ``-2``, … after its id.
    on_skip : callable
        Called with each file of a folder that looks like sound or video and is not read.

    Yields
    ------
    Recording
        Its id is the one in the list or manifest, or the file's name without its ending.  Ids of
        files of the same name begin with their folders; repeated ids end in a number, also those
        that differ only in slashes and underscores, since they name files of the output.
    """
    if isinstance(inputs, (str, Path)):
        inputs = [inputs]
    lists = [iter([x]) if isinstance(x, Recording) else _expand(Path(x), on_skip) for x in inputs]
    # Ids of plain files depend on each other, so files are listed first; manifests are streamed.
    files = [path for part in lists if isinstance(part, list) for path in part]
    ids = iter(file_ids(files))
    unique_names, unique_channels = _Unique(), _Unique()
    for part in lists:
        if isinstance(part, list):
            part = (Recording(next(ids), path) for path in part)
        for recording in map(unique_names, part):
            for one in _channels(recording) if all_channels else [recording]:
                yield unique_channels(one)


class _Unique:
    """Gives recordings whose ids would name the same file of the output other ids."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def __call__(self, recording: Recording) -> Recording:
        name, number = recording.id, 1
        while name.replace("/", "_") in self._used:
            number += 1
            name = f"{recording.id}_{number}"
        self._used.add(name.replace("/", "_"))
        return recording if number == 1 else dataclasses.replace(recording, id=name)


def _channels(recording: Recording) -> Iterator[Recording]:
    """The channels of a recording as recordings; a recording of one channel as it is."""
    number = recording.num_channels() if recording.channel is None else 1
    if number == 1:
        yield recording
        return
    for channel in range(number):
        yield dataclasses.replace(
            recording,
            id=f"{recording.id}-{channel + 1}",
            channel=channel,
            name=recording.id,
            channel_name=str(channel + 1),
            notes=[],
        )


def file_ids(paths: list[Path]) -> list[str]:
    """Ids of files: the name without its ending, after the folders if names repeat.

    >>> file_ids([Path("/x/a/one.wav"), Path("/x/b/one.wav"), Path("/x/b/two.wav")])
    ['a/one', 'b/one', 'two']
    """
    files = [Path(os.path.abspath(path)) for path in paths]
    ids = {file: file.stem for file in files}  # a file that is given twice repeats no name
    for with_ending in (False, True):
        counts = Counter(ids.values())
        repeated = [file for file, name in ids.items() if counts[name] > 1]
        if not repeated:
            break
        root = os.path.commonpath([file.parent for file in repeated])
        for file in repeated:
            relative = file.relative_to(root)
            ids[file] = str(relative if with_ending else relative.parent / relative.stem)
    return [clean_id(ids[file]) for file in files]


def _expand(path: Path, on_skip: OnSkip) -> list[Path] | Iterator[Recording]:
    """Files that an input names, or the recordings of a list with ids."""
    name = path.name.lower()
    if os.path.isdir(path):
        if (path / "wav.scp").exists():
            return with_errors(kaldi.data_folder, path)
        return _files_of_folder(path, on_skip)
    if name.endswith(".scp"):
        return with_errors(kaldi.wav_scp, path)
    if name.endswith((".jsonl", ".jsonl.gz")):
        return with_errors(_manifest, path)
    is_list = name.endswith(_LISTS)
    if not is_list and path.suffix.lower() not in formats.SUFFIXES:
        first = _lines_of_text(path)
        if first and first[0].startswith("{"):
            return with_errors(_manifest, path)
        is_list = any(os.path.exists(resolved(line, path)) for line in first)
        if first and not is_list:
            text = f"cannot be read: a text, but no list, since {first[0]!r} is no file"
            return iter([failed(path, text, remedy="name sound files, folders or lists")])
    if is_list:
        try:
            return [resolved(line, path) for line in _paths(path)]
        except (OSError, ValueError) as error:
            return iter([failed(path, reason(error))])
    return [path]


def _manifest(path: Path) -> Iterator[Recording]:
    from asr_hlg.audio.manifest import manifest  # imports lhotse, and with it torch

    return manifest(path)


def _files_of_folder(folder: Path, on_skip: OnSkip) -> list[Path] | Iterator[Recording]:
    """Files of sound and video in a folder and below, sorted, or an error if there are none."""
    files, skipped = [], []
    for path in sorted(folder.rglob("*")):
        # Some operating systems write a hidden file beside every file.
        if path.name.startswith(".") or not os.path.isfile(path):
            continue
        if formats.is_listed(path):
            files.append(path)
        elif formats.is_skipped(path):
            skipped.append(path)
            on_skip(path)
    if files:
        return files
    text, remedy = "no recordings in this folder", "looked for files of sound and video"
    if skipped:
        text += f"; {len(skipped)} that look like sound are not read, such as {skipped[0].name}"
        remedy = "name one of them to see why"
    return iter([failed(folder, text, remedy=remedy)])


def _paths(path: Path) -> Iterator[str]:
    """Lines of a list of paths; in a playlist, those that are no comments."""
    is_playlist = path.suffix.lower() in (".m3u", ".m3u8")
    return (line for _, line in lines(path) if not (is_playlist and line.startswith("#")))


def _lines_of_text(path: Path) -> list[str]:
    """First lines of a text file that are not blank; none for a file of another kind."""
    if not os.path.isfile(path):
        return []
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return []
    encoding = encoding_of(head)
    # Every sound file has bytes in its header that no text has, except NIST's SPHERE.
    if encoding == "utf-16":
        head = head[: len(head) // 2 * 2]
    elif _NO_TEXT.search(head) or head.startswith(b"NIST_1A"):
        return []
    text = head.decode(encoding, "replace" if encoding == "utf-16" else "surrogateescape")
    if len(head) == _HEAD:
        text = text.rpartition("\n")[0] or text
    return [line.strip() for line in text.splitlines() if line.strip()]
