"""A record of a long transcription from which it goes on after whatever has stopped it.

    with Journal.open("out.jsonl.journal", settings, Mode(resume=True)) as journal:
        for recording in recordings:
            if recording.id not in journal:
                journal.add(transcribe(recording))
        journal.finish()

The file is only ever appended to: one JSON object a line, the settings first. What a kill, a full
disk or a power cut leaves of it is whole lines and perhaps part of another, which is cut off when
the file is opened again. Lines reach the disk within a second or so.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from asr_hlg.errors import AsrHlgError, OptionError
from asr_hlg.output.transcript import Alternative, Transcript, Word

_SYNC_SECONDS = 1.0
_FORMAT = 1


class Journal:
    """Transcripts and failures by recording's id, on disk.

    A later entry for an id takes the place of an earlier one.
    """

    def __init__(self, path: Path, descriptor: int, settings: Any, entries: BinaryIO):
        self.path = path
        self.settings = settings
        self._descriptor, self._entries = descriptor, entries
        self._places: dict[str, int] = {}  # where the transcript of an id begins
        self._failures: dict[str, str] = {}
        self._synced = time.monotonic()
        self._finished = False
        self._size = self._read()

    @staticmethod
    @contextlib.contextmanager
    def open(
        path: str | Path,
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
    ) -> Iterator[Journal]:
        """Begin a journal, or go on with one.

        Parameters
        ----------
        path : str or Path
        settings : mapping
            What the results depend on; anything that JSON can say.
        resume : bool
            Go on with what is there, if it was begun with the same settings.
        overwrite : bool
            Begin anew, even if the journal there is of a transcription that has not come to its
            end.

        Raises
        ------
        OptionError
            If there is an unfinished journal and neither is asked for, it was begun with other
            settings, or another process is using it.
        AsrHlgError
            If the file is no journal, or cannot be written.
        """
        path = Path(path)
        with contextlib.ExitStack() as files:
            with _named(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    _begin(path, settings)
                journal = _opened(path, files)
            worth_keeping = not journal.is_empty and not journal._finished
            if worth_keeping and not resume and not overwrite:
                raise OptionError(
                    "an earlier transcription has not come to its end",
                    path=path,
                    remedy="go on with --resume, or start over with --overwrite",
                )
            if journal.is_empty or not resume:
                with _named(path):
                    _begin(path, settings)
                    journal = _opened(path, files)
            _compare(journal.settings, settings, path)
            yield journal

    def __contains__(self, id: str) -> bool:
        return id in self._places or id in self._failures

    @property
    def is_empty(self) -> bool:
        return not self._places and not self._failures

    @property
    def failures(self) -> Mapping[str, str]:
        """Why recordings failed, by id."""
        return self._failures

    def add(self, transcript: Transcript) -> None:
        """Record a transcript."""
        self._places[transcript.id] = self._append({"transcript": asdict(transcript)})
        self._failures.pop(transcript.id, None)

    def add_failure(self, id: str, reason: str) -> None:
        """Record that a recording cannot be transcribed."""
        self._append({"failure": {"id": id, "reason": reason}})
        self._failures[id] = reason

    def transcript(self, id: str) -> Transcript:
        """What was recorded of one recording."""
        with _named(self.path):
            self._entries.seek(self._places[id])
            line = self._entries.readline()
        with _damage_named(self.path):
            fields = json.loads(line)["transcript"]
            fields["words"] = [Word(**word) for word in fields["words"]]
            fields["alternatives"] = [Alternative(**one) for one in fields["alternatives"]]
            return Transcript(**fields)

    def sync(self) -> None:
        """Make sure that all lines are on the disk."""
        with _named(self.path):
            os.fsync(self._descriptor)
        self._synced = time.monotonic()

    def finish(self) -> None:
        """All is done, and its results are kept elsewhere; failures alone are worth keeping."""
        with _named(self.path):
            os.sync()  # the results, which may be many files
            if self._failures:
                self._append({"finished": True})
                self.sync()
            else:
                self.path.unlink()

    def _append(self, entry: dict[str, Any]) -> int:
        """Write a line; returns where it begins."""
        place, line = self._size, _line(entry)
        with _named(self.path):
            while line:
                written = os.write(self._descriptor, line)
                self._size, line = self._size + written, line[written:]
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self.sync()
        return place

    def _read(self) -> int:
        """Find all entries, and cut off what is none; returns the length of the file."""
        place = self._entries.tell()
        for line in self._entries:
            entry = _parsed(line)
            if entry is None:
                break
            with _damage_named(self.path):
                self._note(entry, place)
            place += len(line)
        os.truncate(self._descriptor, place)
        return place

    def _note(self, entry: dict[str, Any], place: int) -> None:
        self._finished = "finished" in entry
        if "transcript" in entry:
            id = entry["transcript"]["id"]
            self._places[id] = place
            self._failures.pop(id, None)
        elif "failure" in entry:
            self._failures[entry["failure"]["id"]] = entry["failure"]["reason"]


def _opened(path: Path, files: contextlib.ExitStack) -> Journal:
    """A journal that is there; its files are closed with ``files``."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    files.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OptionError("another process is writing it", path=path) from None
    entries = files.enter_context(path.open("rb"))
    header = _parsed(entries.readline())
    settings = None if header is None else header.get("settings")
    if header is None or header.get("journal") != _FORMAT or not isinstance(settings, dict):
        raise AsrHlgError(
            "is not a journal of this version", path=path, remedy="move the file away"
        )
    return Journal(path, descriptor, settings, entries)


def _begin(path: Path, settings: Mapping[str, Any]) -> None:
    """A new file that has its first line from the moment on that it has its name."""
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as file:
        file.write(_line(_header(settings)))
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    folder = os.open(path.parent, os.O_RDONLY)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, folder)
        os.fsync(folder)  # its name, too


def _header(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"journal": _FORMAT, "settings": dict(settings)}


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The object of a line, None for half of one or what a power cut leaves."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _compare(begun_with: dict[str, Any], settings: Mapping[str, Any], path: Path) -> None:
    wanted = json.loads(json.dumps(dict(settings)))
    for name in sorted(begun_with.keys() | wanted.keys()):
        if begun_with.get(name) != wanted.get(name):
            raise OptionError(
                f"was begun with {name} {begun_with.get(name)}, not {wanted.get(name)}",
                path=path,
                remedy="resume with the same options, or start over with --overwrite",
            )


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """What an entry leads to that no journal has."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise AsrHlgError(
            f"has an entry that is damaged: {reason}",
            path=path,
            remedy="start over with --overwrite",
        ) from None


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of the operating system as ours, with the file's name."""
    try:
        yield
    except OSError as error:
        raise AsrHlgError(
            f"cannot be written: {error.strerror or error}",
            path=path,
            remedy="once that is mended, go on with --resume",
        ) from None
