"""Journal of a long transcription, from which it is resumed after an interruption of any kind.

    with Journal.open("out.jsonl.journal", settings, resume=True) as journal:
        for recording in recordings:
            if recording.id not in journal:
                journal.add(transcribe(recording))
        journal.finish()

One JSON object a line is appended to the file, the settings first. A kill, a full disk or a power
cut leaves whole lines and perhaps part of another, which is cut off when the file is opened again.
Lines are on the disk within about a second.
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
from asr_hlg.files import parse_json, replaced
from asr_hlg.output.transcript import Alternative, Transcript, Word

_SYNC_SECONDS = 1.0
_FORMAT = 1


class Journal:
    """Transcripts and failures by the id of the recording, on disk.

    A later entry for an id replaces an earlier one. :meth:`open` makes journals.
    """

    def __init__(self, path: Path, descriptor: int, settings: Any, entries: BinaryIO):
        self.path = path
        self.settings = settings
        self._descriptor, self._entries = descriptor, entries
        self._offsets: dict[str, int] = {}  # of the line with the transcript of an id
        self._failures: dict[str, str] = {}
        self._synced = time.monotonic()
        self._is_finished = False
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
        """Start a journal, or continue one.

        Parameters
        ----------
        path : str or Path
        settings : mapping
            All that the results depend on, as values that JSON can hold.
        resume : bool
            Continue the journal that exists, if it was begun with the same settings.
        overwrite : bool
            Start over, even if the journal that exists is of an unfinished transcription.

        Raises
        ------
        OptionError
            If there is an unfinished journal and neither is True, it was begun with other
            settings, or another process is using it.
        AsrHlgError
            If the file is not a journal, or cannot be written.
        """
        path = Path(path)
        with contextlib.ExitStack() as files:
            with _write_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    _begin(path, settings)
                journal = _opened(path, files)
            is_unfinished = not journal.is_empty and not journal._is_finished
            if is_unfinished and not resume and not overwrite:
                raise OptionError(
                    "an earlier transcription has not come to its end",
                    path=path,
                    remedy="go on with --resume, or start over with --overwrite",
                )
            if journal.is_empty or not resume:
                with _write_errors(path):
                    _begin(path, settings)
                    journal = _opened(path, files)
            _compare(journal.settings, settings, path)
            yield journal

    def __contains__(self, id: str) -> bool:
        return id in self._offsets or id in self._failures

    @property
    def is_empty(self) -> bool:
        """Whether it has neither transcripts nor failures."""
        return not self._offsets and not self._failures

    @property
    def failures(self) -> Mapping[str, str]:
        """Reasons of failed recordings by id."""
        return self._failures

    def add(self, transcript: Transcript) -> None:
        """Append a transcript."""
        self._offsets[transcript.id] = self._append({"transcript": asdict(transcript)})
        self._failures.pop(transcript.id, None)

    def add_failure(self, id: str, reason: str) -> None:
        """Append the reason why a recording cannot be transcribed."""
        self._append({"failure": {"id": id, "reason": reason}})
        self._failures[id] = reason

    def transcript(self, id: str) -> Transcript:
        """Transcript of a recording, read from the file."""
        with _write_errors(self.path):
            self._entries.seek(self._offsets[id])
            line = self._entries.readline()
        with _entry_errors(self.path):
            fields = parse_json(line)["transcript"]
            for tier in ("words", "written", "phones"):
                fields[tier] = [Word(**word) for word in fields.get(tier, ())]
            fields["alternatives"] = [Alternative(**one) for one in fields["alternatives"]]
            return Transcript(**fields)

    def sync(self) -> None:
        """Flush all lines to the disk."""
        with _write_errors(self.path):
            os.fsync(self._descriptor)
        self._synced = time.monotonic()

    def finish(self) -> None:
        """Mark the transcription as finished; delete the file unless recordings have failed."""
        with _write_errors(self.path):
            os.sync()  # the results, which may be many files
            if self._failures:
                self._append({"finished": True})
                self.sync()
            else:
                self.path.unlink()

    def _append(self, entry: dict[str, Any]) -> int:
        """Write a line; returns its offset in the file."""
        offset, line = self._size, _line(entry)
        with _write_errors(self.path):
            while line:
                written = os.write(self._descriptor, line)
                self._size, line = self._size + written, line[written:]
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self.sync()
        return offset

    def _read(self) -> int:
        """Index all entries, and cut off an incomplete line; returns the size of the file."""
        offset = self._entries.tell()
        for line in self._entries:
            entry = _parsed(line)
            if entry is None:
                break
            with _entry_errors(self.path):
                self._index(entry, offset)
            offset += len(line)
        os.truncate(self._descriptor, offset)
        return offset

    def _index(self, entry: dict[str, Any], offset: int) -> None:
        """Add an entry that was read to the index."""
        self._is_finished = "finished" in entry
        if "transcript" in entry:
            id = entry["transcript"]["id"]
            self._offsets[id] = offset
            self._failures.pop(id, None)
        elif "failure" in entry:
            self._failures[entry["failure"]["id"]] = entry["failure"]["reason"]


def _opened(path: Path, files: contextlib.ExitStack) -> Journal:
    """Open an existing journal, whose files ``files`` closes."""
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
    """Create a journal atomically, with the settings in its first line."""
    with replaced(path, durable=True) as part:
        part.write_bytes(_line({"journal": _FORMAT, "settings": dict(settings)}))


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Object of a line; None if the line is incomplete or damaged."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = parse_json(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _compare(earlier: dict[str, Any], settings: Mapping[str, Any], path: Path) -> None:
    """Refuse to continue a journal that was begun with other settings."""
    present = json.loads(json.dumps(dict(settings)))
    for name in sorted(earlier.keys() | present.keys()):
        if earlier.get(name) != present.get(name):
            raise OptionError(
                f"was begun with {name} {earlier.get(name)}, not {present.get(name)}",
                path=path,
                remedy="resume with the same options, or start over with --overwrite",
            )


@contextlib.contextmanager
def _entry_errors(path: Path) -> Iterator[None]:
    """Raise errors from a damaged entry as AsrHlgError with the path."""
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
def _write_errors(path: Path) -> Iterator[None]:
    """Raise errors of the operating system as AsrHlgError with the path."""
    try:
        yield
    except OSError as error:
        raise AsrHlgError(
            f"cannot be written: {error.strerror or error}",
            path=path,
            remedy="once that is repaired, go on with --resume",
        ) from None
