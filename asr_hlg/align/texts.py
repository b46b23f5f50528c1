"""The texts of recordings: beside them, in a folder, or in one file of several formats.

    for id, script in read_scripts(recordings, Path("talk.txt")).items():
        ...

Plain text has a line for every fragment, as have subtitles, whose times are not read. The others
are Kaldi text, trn, CTM and JSON, with a transcript for every id, and Praat's TextGrid, whose tiers
are speakers and whose intervals are utterances with their times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from asr_hlg.align.script import Script, make_line
from asr_hlg.audio import Recording
from asr_hlg.errors import AsrHlgError
from asr_hlg.files import text_lines
from asr_hlg.output import text as transcripts
from asr_hlg.versions import optional

SUFFIXES = (".txt", ".lab", ".TextGrid", ".textgrid")
"""Of texts beside a recording, or in a folder of texts."""

KINDS = ("auto", "plain", "kaldi")
"""How a text file without a telling suffix is read."""

_SUBTITLES = (".srt", ".vtt")
_MARKUP = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
_BY_ID = (".trn", ".ctm", ".json", ".jsonl")
_FORMATS = "plain text, subtitles, Kaldi text, trn, CTM, JSON lines or a TextGrid"

Clean = Callable[[str], str]
"""Changes a line of text before it is read."""

IsWord = Callable[[str], bool]
"""Whether a lexicon contains a word as it is written."""


def read_scripts(
    recordings: Sequence[Recording],
    source: Path | None,
    kind: str = "auto",
    clean: Clean = str,
    is_word: IsWord = lambda _: False,
) -> dict[str, Script]:
    """Texts of recordings, by id; recordings without a text are left out.

    Parameters
    ----------
    recordings : sequence of Recording
    source : Path, optional
        A file, or a folder of files ``ID.txt``, ``ID.lab`` or ``ID.TextGrid``; by default such
        files lie beside the recordings.
    kind : str
        One of ``KINDS``. ``auto`` takes a file for Kaldi text if its lines begin with the ids of
        recordings.
    clean, is_word : callable

    Raises
    ------
    AsrHlgError
        For a file that cannot be read, or that has one text for several recordings.
    """
    if source is not None and not source.is_dir():
        return _of_file(recordings, source, kind, clean, is_word)
    scripts = {}
    for recording in recordings:
        path = _beside(recording, source)
        if path is not None:
            scripts[recording.id] = _whole(path, clean, is_word)
    return scripts


def missing(recording: Recording, source: Path | None) -> AsrHlgError:
    """The error that a recording has no text, or is not there itself."""
    if recording.error is not None:
        return recording.error
    if not recording.path.exists():
        return AsrHlgError("there is no such file", path=recording.path)
    if source is not None and not source.is_dir():
        return AsrHlgError("there is no transcript with this id", path=source)
    folder = recording.path.parent if source is None else source
    names = ", ".join(recording.path.stem + suffix for suffix in SUFFIXES[:3])
    return AsrHlgError(
        f"there is no text: looked for {names}", path=folder, remedy="name the text with --text"
    )


def _beside(recording: Recording, folder: Path | None) -> Path | None:
    """The text of a recording in a folder, by default its own."""
    stem = recording.path.with_suffix("").name
    names = [stem] if folder is None else [recording.id, recording.id.replace("/", "_"), stem]
    for name in names:
        for suffix in SUFFIXES:
            path = (folder or recording.path.parent) / (name + suffix)
            if path.is_file():
                return path
    return None


def _of_file(
    recordings: Sequence[Recording], path: Path, kind: str, clean: Clean, is_word: IsWord
) -> dict[str, Script]:
    """Texts in one file."""
    suffix = path.suffix.lower()
    ids = [recording.id for recording in recordings]
    if suffix in _BY_ID or kind == "kaldi" or (kind == "auto" and _is_kaldi(path, ids)):
        by_id = transcripts.read_transcripts(path)
        return {id: Script.of_text(clean(text), is_word) for id, text in by_id.items() if id in ids}
    if len(recordings) != 1:
        raise AsrHlgError(
            f"no line begins with the id of a recording, such as {ids[0]!r}, and the text of one "
            f"recording cannot serve {len(ids)}",
            path=path,
            remedy="write lines `id word word …`, or a folder with a text for each recording",
        )
    return {ids[0]: _whole(path, clean, is_word)}


def _is_kaldi(path: Path, ids: Sequence[str]) -> bool:
    """Whether the lines of a file begin with different names, those of recordings among them."""
    if path.suffix.lower() in (".textgrid", *_SUBTITLES):
        return False
    names = [line.split(maxsplit=1)[0] for _, line in text_lines(path)]
    known = set(ids) & set(names)
    return bool(known) and (len(set(names)) == len(names) or len(known) > 1)


def _whole(path: Path, clean: Clean, is_word: IsWord) -> Script:
    """Text of one recording, in a file of its own."""
    if path.suffix.lower() == ".textgrid":
        return _textgrid(path, clean, is_word)
    numbered = dict(text_lines(path))
    lines = [numbered.get(n, "") for n in range(1, max(numbered, default=0) + 1)]
    if path.suffix.lower() in _SUBTITLES:
        lines = cue_texts(lines)
    script = Script.of_text("\n".join(map(clean, lines)), is_word)
    if not script.lines:
        raise AsrHlgError("the text has no words", path=path, remedy=f"expected {_FORMATS}")
    return script


def cue_texts(lines: Sequence[str]) -> list[str]:
    """The texts of subtitles, one a line, without numbers, times, markup and comments."""
    texts: list[str] = []
    is_inside = False
    for line in lines:
        if "-->" in line:
            texts.append("")
            is_inside = True
        elif not line.strip():
            is_inside = False
        elif is_inside:
            texts[-1] = f"{texts[-1]} {_MARKUP.sub('', line)}".strip()
    return texts


def _textgrid(path: Path, clean: Clean, is_word: IsWord) -> Script:
    """Utterances of a TextGrid in the order of their starts; tiers are speakers.

    Tiers of points are left out. The name of a single tier names no speaker.
    """
    lines = sorted(_intervals(path), key=lambda interval: interval[:2])
    speakers = {speaker for *_, speaker in lines}
    made = [
        make_line(clean(text), is_word, speaker if len(speakers) > 1 else "", (start, end), number)
        for number, (start, end, text, speaker) in enumerate(lines, start=1)
    ]
    script = Script(tuple(line for line in made if line.tokens))
    if not script.lines:
        raise AsrHlgError(
            "no interval has a text",
            path=path,
            remedy="write what is said into the intervals of an interval tier",
        )
    return script


def _intervals(path: Path) -> Iterator[tuple[float, float, str, str]]:
    """Start, end, label and tier of all intervals of a TextGrid."""
    praatio = optional(
        "praatio", "praatio.textgrid", purpose="reading TextGrids", extra="textgrid"
    ).textgrid
    try:
        grid = praatio.openTextgrid(
            str(path), includeEmptyIntervals=False, duplicateNamesMode="rename"
        )
    except FileNotFoundError as error:
        raise AsrHlgError("there is no such file", path=path) from error
    except Exception as error:  # praatio passes on whatever its parser meets
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise AsrHlgError(
            f"is no TextGrid that praatio can read: {reason[0]}",
            path=path,
            remedy="save it again in Praat as text file",
        ) from None
    for name in grid.tierNames:
        tier = grid.getTier(name)
        if isinstance(tier, praatio.IntervalTier):
            for start, end, label in tier.entries:
                yield float(start), float(end), str(label), name
