"""Kaldi's lists of recordings: ``wav.scp``, and data folders with ``segments``.

``reco2file_and_channel`` beside ``wav.scp`` names file and channel of each recording. They are
written to CTM, and the channel (A, B, … or 1, 2, …) is the one that is read from a file of several.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from asr_hlg.audio.entries import clean_id, failed, lines, resolved
from asr_hlg.audio.recording import Recording

_TO_END = -1.0  # in place of a segment's end
_IN_ARCHIVE = re.compile(r"(.+):(\d+)")


def wav_scp(path: Path) -> Iterator[Recording]:
    """Recordings of a ``wav.scp``: ``id path``, or ``id archive:offset``, in each line."""
    for _, recording in _entries(path):
        yield recording


def data_folder(folder: Path) -> Iterator[Recording]:
    """Utterances of a data folder: those of ``segments``, else whole recordings."""
    segments = folder / "segments"
    if not segments.exists():
        yield from wav_scp(folder / "wav.scp")
        return
    by_name = dict(_entries(folder / "wav.scp"))
    for number, line in lines(segments):
        name, *fields = line.split()
        try:
            recording, start, end, channel = _segment(fields)
        except (IndexError, ValueError):
            text = "expected 'id recording start end [channel]', times in seconds"
            yield failed(segments, text, number, name)
            continue
        problem = _problem(start, end)
        if recording not in by_name:
            problem = f"the recording {recording} is not in wav.scp"
        if problem is not None:
            yield failed(segments, problem, number, name)
            continue
        whole = by_name[recording]
        yield dataclasses.replace(
            whole,
            id=clean_id(name),
            offset=start,
            duration=None if end == _TO_END else end - start,
            channel=whole.channel if channel is None else channel,
            name="",  # times count from the start of the segment
        )


def _segment(fields: list[str]) -> tuple[str, float, float, int | None]:
    """Recording, start, end and channel of a line of ``segments``, after its id."""
    channel = int(fields[3]) if len(fields) > 3 else None
    return fields[0], float(fields[1]), float(fields[2]), channel


def _problem(start: float, end: float) -> str | None:
    """Why a segment cannot have these times."""
    if not 0 <= start < math.inf:
        return "a segment begins before 0 s"
    if end != _TO_END and not start < end < math.inf:
        return "a segment ends before it begins"
    return None


def _entries(path: Path) -> Iterator[tuple[str, Recording]]:
    """Recordings of a ``wav.scp`` with their names as they stand there."""
    beside = path.with_name("reco2file_and_channel")
    sides = _files_and_channels(beside) if path.name == "wav.scp" and beside.is_file() else {}
    for number, line in lines(path):
        name, entry, *_ = [*line.split(maxsplit=1), ""]
        if entry.startswith("|") or entry.endswith("|"):
            yield (
                name,
                failed(
                    path,
                    "the entry is a command; lists of recordings may come from others, so "
                    "commands in them are never run",
                    number,
                    name,
                    "run it once and list the file it writes",
                ),
            )
        elif not entry:
            yield name, failed(path, "expected 'id path'", number, name)
        else:
            recording = _recording(name, entry, path)
            file, side = sides.get(name, ("", ""))
            channel = _channel_number(side)
            yield (
                name,
                dataclasses.replace(recording, channel=channel, name=file, channel_name=side),
            )


def _recording(name: str, entry: str, path: Path) -> Recording:
    """Recording of an entry: a file, or a place in an archive."""
    file = resolved(entry, path)
    match = _IN_ARCHIVE.fullmatch(entry)
    if match is None or os.path.exists(file):
        return Recording(clean_id(name), file)
    return Recording(clean_id(name), resolved(match[1], path), first_byte=int(match[2]))


def _files_and_channels(path: Path) -> dict[str, tuple[str, str]]:
    """File and channel of recordings, by their names; lines that lack one are passed over."""
    rows = (line.split() for _, line in lines(path))
    return {row[0]: (clean_id(row[1]), clean_id(row[2])) for row in rows if len(row) == 3}


def _channel_number(side: str) -> int | None:
    """Number, from 0, of a channel ``A``, ``B``, … or ``1``, ``2``, …; None for other names."""
    if len(side) == 1 and "A" <= side.upper() <= "Z":
        return ord(side.upper()) - ord("A")
    return int(side) - 1 if side.isascii() and side.isdigit() and int(side) > 0 else None
