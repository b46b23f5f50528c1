"""Writers: transcripts as text, trn, CTM, JSON, subtitles, TextGrid and Lhotse supervisions.

Example
-------
>>> with writer("text", sys.stdout) as out:
...     for transcript in transcripts:
...         out.write(transcript)
cat_hat the cat and the hat

Every format writes and flushes a transcript as soon as it has it. A target that is a folder gets
one file a recording, which is there whole or not at all; any other target holds them all, except
that subtitles and TextGrids, whose times can belong to one recording only, refuse a second one.
A Parquet file, which is not text, is written by :mod:`asr_hlg.output.parquet`, in one piece.
"""

from __future__ import annotations

import html
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from asr_hlg.errors import AsrHlgError, OptionError
from asr_hlg.output import parquet
from asr_hlg.output.subtitles import cues
from asr_hlg.output.transcript import Transcript, Word


@dataclass(frozen=True)
class Format:
    """How one transcript looks in a file.

    ``header`` opens every file; ``single`` says that a file can hold one recording only.
    """

    render: Callable[[Transcript], str]
    suffix: str
    header: str = ""
    single: bool = False


class Writer(Protocol):
    """What takes transcripts, one at a time."""

    def write(self, transcript: Transcript) -> None:
        """Append one transcript and flush it."""


@contextmanager
def writer(
    format: str, target: str | Path | TextIO, count: int | None = None, whole: bool = False
) -> Iterator[Writer]:
    """Open a writer of transcripts.

    Parameters
    ----------
    format : str
        One of ``NAMES``.
    target : str, Path or TextIO
        An open stream, a file, or a folder: a path that exists as one, ends in ``/``, or has no
        suffix while the format allows only one recording a file. In a folder every recording has
        its own file, named after its id. A stream stays open at the end.
    count : int, optional
        How many recordings will come, where that is known: a target that cannot hold them is then
        refused before the first is decoded.
    whole : bool
        Let a file appear at the end, or not at all if there is an error before.

    Raises
    ------
    OptionError
        For an unknown format, a target that cannot be written, or more than one recording for a
        file that can hold one.
    """
    check(format, target, count)
    if format == "parquet":
        with parquet.writer(str(target)) as table:
            yield table
        return
    kind = FORMATS[format]
    if not isinstance(target, str | Path):
        yield _StreamWriter(kind, target)
    elif is_folder(format, target):
        yield _FolderWriter(kind, Path(target))
    else:
        with _new_file(Path(target), whole) as stream:
            yield _StreamWriter(kind, stream)


def check(format: str, target: str | Path | TextIO, count: int | None) -> None:
    """Refuse a format or a target that :func:`writer` would refuse."""
    if format not in NAMES:
        raise OptionError(f"unknown format {format!r}", remedy=f"choose from {', '.join(NAMES)}")
    if format == "parquet":
        if not isinstance(target, str | Path) or is_folder(format, target):
            raise OptionError("a Parquet file has all recordings", remedy="name it as --output")
    elif not (isinstance(target, str | Path) and is_folder(format, target)):
        _check_count(FORMATS[format], count)


def is_folder(format: str, target: str | Path) -> bool:
    """Whether a target is taken for a folder, which gets one file a recording."""
    path = Path(target)
    single = format in FORMATS and FORMATS[format].single and not path.suffix
    return path.is_dir() or str(target).endswith("/") or single


class _StreamWriter:
    def __init__(self, kind: Format, stream: TextIO):
        self._kind, self._stream, self._count = kind, stream, 0
        stream.write(kind.header)

    def write(self, transcript: Transcript) -> None:
        self._count += 1
        _check_count(self._kind, self._count)
        self._stream.write(self._kind.render(transcript))
        self._stream.flush()


def file_name(id: str) -> str:
    """An id as the name of a file."""
    return id.replace("/", "_")


class _FolderWriter:
    def __init__(self, kind: Format, folder: Path):
        self._kind, self._folder = kind, folder

    def write(self, transcript: Transcript) -> None:
        name = file_name(transcript.id) + self._kind.suffix
        text = self._kind.header + self._kind.render(transcript)
        with _new_file(self._folder / name, whole=True) as stream:
            stream.write(text)


def _check_count(kind: Format, count: int | None) -> None:
    if kind.single and count is not None and count > 1:
        raise OptionError(
            f"a {kind.suffix} file holds one recording, and there are more",
            remedy="name a folder for the output, to get one file for each",
        )


@contextmanager
def _new_file(path: Path, whole: bool) -> Iterator[TextIO]:
    """A file to write to, which has its name at once or, if ``whole``, at the end."""
    part = path.with_name(path.name + ".part") if whole else path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "w", encoding="utf-8", newline="\n") as stream:
            yield stream
        os.replace(part, path)
    except OSError as error:
        raise OptionError(f"cannot be written: {error.strerror}", path=path) from None
    finally:
        if whole:
            part.unlink(missing_ok=True)


def _text(transcript: Transcript) -> str:
    return f"{_one_field(transcript.id)} {transcript.text}".rstrip() + "\n"


def _trn(transcript: Transcript) -> str:
    return f"{transcript.text} ({transcript.id})".lstrip() + "\n"


def _ctm(transcript: Transcript) -> str:
    """NIST's conversation time marks: file, channel, start, duration, word, confidence."""
    lines = []
    for word in _timed_words(transcript):
        # the difference of rounded times, so that words which touch still do
        duration = round(word.end, 3) - round(word.start, 3)
        lines.append(
            f"{_one_field(transcript.id)} 1 {word.start:.3f} {duration:.3f} "
            f"{word.text} {word.confidence:.4f}\n"
        )
    return "".join(lines)


def _json(transcript: Transcript) -> str:
    record = asdict(transcript)
    for tier in ("words", *_phones(transcript)):
        name = tier.removesuffix("s")
        record[tier] = [{name: item.pop("text"), **item} for item in record[tier]]
    for name in ("alternatives", "notes"):
        if not record[name]:
            del record[name]
    return json.dumps(_rounded(record), ensure_ascii=False, allow_nan=False) + "\n"


def _rounded(value: Any) -> Any:
    """Floats to four decimals all the way down; what JSON cannot say (inf, nan) becomes null."""
    if isinstance(value, float):
        return round(value, 4) if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


def _srt(transcript: Transcript) -> str:
    blocks = []
    for number, cue in enumerate(cues(_timed_words(transcript), transcript.duration), start=1):
        lines = "\n".join(" ".join(word.text for word in line) for line in cue.lines)
        start, end = _clock(cue.start, ","), _clock(cue.end, ",")
        blocks.append(f"{number}\n{start} --> {end}\n{lines}\n\n")
    return "".join(blocks)


def _vtt(transcript: Transcript) -> str:
    """WebVTT cues in which a time stamp precedes every word but a cue's first.

    The stamps let a page highlight words as they are spoken; players without such a style ignore
    them. Words less likely than not are in class ``unsure``, for a style sheet.
    """
    blocks = []
    for cue in cues(_timed_words(transcript), transcript.duration):
        lines = "\n".join(
            " ".join(_vtt_word(word, cue.start) for word in line) for line in cue.lines
        )
        blocks.append(f"{_clock(cue.start)} --> {_clock(cue.end)}\n{lines}\n\n")
    return "".join(blocks)


def _vtt_word(word: Word, cue_start: float) -> str:
    text = html.escape(word.text, quote=False)
    if word.confidence < 0.5:
        text = f"<c.unsure>{text}</c>"
    return text if word.start <= cue_start else f"<{_clock(word.start)}>{text}"


def _clock(seconds: float, decimal_mark: str = ".") -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{hours:02}:{minutes:02}:{seconds:02}{decimal_mark}{milliseconds:03}"


def _textgrid(transcript: Transcript) -> str:
    try:
        from praatio.data_classes.interval_tier import IntervalTier
        from praatio.data_classes.textgrid import Textgrid
    except ImportError:
        raise AsrHlgError(
            "TextGrids need praatio", remedy="pip install 'asr-hlg[textgrid]'"
        ) from None
    tiers = {"words": _timed_words(transcript), **_phones(transcript)}
    # The last frame may reach a little past the last sample.
    end = max([transcript.duration, *(item.end for tier in tiers.values() for item in tier)])
    grid = Textgrid(0.0, end)
    for name, tier in tiers.items():
        intervals = [(item.start, item.end, item.text) for item in tier]
        grid.addTier(IntervalTier(name, intervals, 0.0, end))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid"  # praatio writes to files only
        grid.save(str(path), "long_textgrid", includeBlankSpaces=True, minimumIntervalLength=None)
        return path.read_text(encoding="utf-8")


def _lhotse(transcript: Transcript) -> str:
    from lhotse.supervision import AlignmentItem, SupervisionSegment  # brings torch along

    alignment = {
        name.removesuffix("s"): [
            AlignmentItem(item.text, item.start, round(item.end - item.start, 4), item.confidence)
            for item in tier
        ]
        for name, tier in {"words": transcript.words, **_phones(transcript)}.items()
    }
    segment = SupervisionSegment(
        id=transcript.id,
        recording_id=transcript.id,
        start=0.0,
        duration=transcript.duration,
        text=transcript.text,
        alignment=alignment,
    )
    return json.dumps(_rounded(segment.to_dict()), ensure_ascii=False) + "\n"


def _timed_words(transcript: Transcript) -> list[Word]:
    if transcript.text and not transcript.words:
        raise AsrHlgError(
            f"{transcript.id} has no word times", remedy="write it as text, trn or json"
        )
    return transcript.words


def _phones(transcript: Transcript) -> dict[str, list[Word]]:
    """The phones of an alignment under that name; nothing for a transcript without them."""
    phones = getattr(transcript, "phones", [])
    return {"phones": phones} if phones else {}


def _one_field(name: str) -> str:
    """An id that stays one field where blanks separate fields."""
    return "_".join(name.split())


FORMATS = {
    "text": Format(_text, ".txt"),
    "trn": Format(_trn, ".trn"),
    "ctm": Format(_ctm, ".ctm"),
    "json": Format(_json, ".jsonl"),
    "srt": Format(_srt, ".srt", single=True),
    "vtt": Format(_vtt, ".vtt", header="WEBVTT\n\n", single=True),
    "textgrid": Format(_textgrid, ".TextGrid", single=True),
    "lhotse": Format(_lhotse, ".jsonl"),
}
"""The formats by name; a folder's files take their suffix."""

NAMES = (*FORMATS, "parquet")
"""All formats."""
