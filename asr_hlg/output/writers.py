"""Writers of transcripts: text, trn, CTM, JSON, subtitles, TextGrid and Lhotse supervisions.

Example
-------
>>> with writer("text", sys.stdout) as out:
...     for transcript in transcripts:
...         out.write(transcript)
cat_hat the cat and the hat

Every transcript is flushed as soon as it is written. A folder gets one file per recording, each
created when it is complete. Any other target holds all recordings; subtitles and TextGrids, whose
times belong to one recording, refuse a second recording. The writer of Parquet, which is not a text
format, is in :mod:`asr_hlg.output.parquet`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Protocol, TextIO

from asr_hlg.errors import OptionError
from asr_hlg.files import replaced
from asr_hlg.output import parquet
from asr_hlg.output.formats import FORMATS, Format
from asr_hlg.output.names import NAMES
from asr_hlg.output.transcript import Transcript

__all__ = ["FORMATS", "NAMES", "Writer", "check", "file_name", "is_folder", "writer"]

_LONGEST_NAME = 200  # bytes; with a suffix, file systems allow 255


class Writer(Protocol):
    """Object that transcripts are written to."""

    def write(self, transcript: Transcript) -> None:
        """Append one transcript and flush the file."""


@contextmanager
def writer(
    format: str,
    target: str | Path | TextIO,
    count: int | None = None,
    whole: bool = False,
    formats: Mapping[str, Format] = FORMATS,
) -> Iterator[Writer]:
    """Open a writer of transcripts.

    Parameters
    ----------
    format : str
        One of ``NAMES``.
    target : str, Path or TextIO
        An open stream, a file, or a folder (see `is_folder`), in which every recording gets its
        own file, named after its id. A stream stays open at the end.
    count : int, optional
        Number of recordings, if it is known: a target that cannot hold them is then refused
        before the first is decoded.
    whole : bool
        Create the file at the end, and only if there was no error.
    formats : mapping
        The text formats by name; by default those of transcripts.

    Raises
    ------
    OptionError
        For an unknown format, a target that cannot be written, or more than one recording for a
        file that can hold one.
    """
    check(format, target, count, formats)
    if format == "parquet":
        with parquet.writer(str(target)) as table:
            yield table
        return
    text_format = formats[format]
    if not isinstance(target, str | Path):
        yield _StreamWriter(text_format, target)
    elif is_folder(format, target, formats):
        yield _FolderWriter(text_format, Path(target))
    else:
        with _new_file(Path(target), whole) as stream:
            yield _StreamWriter(text_format, stream)


def check(
    format: str,
    target: str | Path | TextIO,
    count: int | None,
    formats: Mapping[str, Format] = FORMATS,
) -> None:
    """Refuse a format or a target that :func:`writer` would refuse."""
    names = NAMES if formats is FORMATS else tuple(formats)
    if format not in names:
        raise OptionError(f"unknown format {format!r}", remedy=f"choose from {', '.join(names)}")
    if format == "parquet":
        if not isinstance(target, str | Path) or is_folder(format, target):
            raise OptionError(
                "Parquet puts all recordings into one file", remedy="name that file with --output"
            )
    elif not (isinstance(target, str | Path) and is_folder(format, target, formats)):
        _check_count(formats[format], count)


def format_of(target: str | None) -> str:
    """Format by the suffix of an output: ``srt`` for ``.srt``; ``text`` for other suffixes."""
    suffix = Path(target or "").suffix.lower()
    named = {f".{name}": name for name in NAMES} | {".jsonl": "json"}
    return named.get(suffix, "text")


def is_folder(format: str, target: str | Path, formats: Mapping[str, Format] = FORMATS) -> bool:
    """Whether a target is a folder, which gets one file per recording.

    A folder is a path that exists as one, ends in ``/``, or has no suffix while a file of the
    format can hold only one recording.
    """
    path = Path(target)
    single = format in formats and formats[format].single and not path.suffix
    return path.is_dir() or str(target).endswith("/") or single


def file_name(id: str) -> str:
    """File name of an utterance, without suffix; a long id is cut, and ends in its hash."""
    name = id.replace("/", "_")
    encoded = name.encode()
    if len(encoded) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    return f"{encoded[:_LONGEST_NAME].decode(errors='ignore')}-{digest}"


class _StreamWriter:
    """Writer of all transcripts to one stream."""

    def __init__(self, format: Format, stream: TextIO):
        self._format, self._stream, self._count = format, stream, 0
        stream.write(format.header)

    def write(self, transcript: Transcript) -> None:
        self._count += 1
        _check_count(self._format, self._count)
        self._stream.write(self._format.render(transcript))
        self._stream.flush()


class _FolderWriter:
    """Writer of one file per transcript."""

    def __init__(self, format: Format, folder: Path):
        self._format, self._folder = format, folder

    def write(self, transcript: Transcript) -> None:
        text = self._format.header + self._format.render(transcript)
        path = self._folder / (file_name(transcript.id) + self._format.suffix)
        with _new_file(path, whole=True) as stream:
            stream.write(text)


def _check_count(format: Format, count: int | None) -> None:
    if format.single and count is not None and count > 1:
        raise OptionError(
            f"a {format.suffix} file holds one recording, and there are more",
            remedy="name a folder for the output, to get one file for each",
        )


@contextmanager
def _new_file(path: Path, whole: bool) -> Iterator[TextIO]:
    """Open a file for writing; with ``whole`` it gets its name when it is complete."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            replaced(path) if whole else nullcontext(path) as part,
            open(part, "w", encoding="utf-8", newline="\n") as stream,
        ):
            yield stream
    except OSError as error:
        raise OptionError(f"cannot be written: {error.strerror}", path=path) from None
