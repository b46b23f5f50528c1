"""Transcription of an example that comes with the package, to check an installation."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from asr_hlg.files import shipped_folder
from asr_hlg.transcribe.transcriber import Transcriber


@dataclass(frozen=True)
class Example:
    """An example as it was transcribed.

    Attributes
    ----------
    path : Path
        The recording.
    expected, recognised : str
        What is said in it, and the transcript.
    seconds : float
        Time for loading graph and network, and for transcribing.
    """

    path: Path
    expected: str
    recognised: str
    seconds: float


def transcribe_example(graph: str | Path) -> Example:
    """Transcribe the first example with a graph, which is compiled already."""
    folder = shipped_folder() / "examples"
    first_line = (folder / "text").read_text(encoding="utf-8").splitlines()[0]
    name, _, expected = first_line.partition(" ")
    path = folder / f"{name}.wav"
    start = time.monotonic()
    [transcript] = Transcriber.from_graph(graph).transcribe([path])
    return Example(path, expected, transcript.text, time.monotonic() - start)
