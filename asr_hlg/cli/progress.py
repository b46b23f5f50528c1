"""What standard error shows of a long transcription: a bar, failures, and a summary."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

from asr_hlg.output.scoring import score
from asr_hlg.output.transcript import Transcript


class Progress:
    """A bar with the speed, and a line for whatever needs one."""

    def __init__(self, total: int, quiet: bool):
        self.failures = 0
        self._quiet = quiet
        self._seconds, self._done = 0.0, 0
        self._begin = self._end = time.monotonic()
        self._bar: Any = tqdm(
            total=total,
            unit="file",
            disable=quiet or not sys.stderr.isatty(),
            file=sys.stderr,
            dynamic_ncols=True,
        )

    def done(self, transcript: Transcript) -> None:
        self._end = time.monotonic()
        self._done += 1
        self._seconds += transcript.duration
        for note in transcript.notes:
            self._say(f"{transcript.id}: {note}")
        self._bar.set_postfix_str(f"{self._seconds / self._wall():.0f} × real time", refresh=False)
        self._bar.update()

    def failed(self, id: str, reason: str) -> None:
        self.failures += 1
        self._bar.update()
        self._say(f"{id}: {reason}")

    def summary(self) -> None:
        """Close the bar, and sum up."""
        self._bar.close()
        if self._quiet:
            return
        line = f"{self._done} recordings, {self.failures} failed"
        if self._seconds:
            line += (
                f"; {self._seconds:.1f} s of audio in {self._wall():.1f} s after loading, "
                f"real-time factor {self._wall() / self._seconds:.4f} "
                f"({self._seconds / self._wall():.1f} × real time)"
            )
        print(line, file=sys.stderr)

    def _wall(self) -> float:
        """Seconds from the start to the last result."""
        return max(self._end - self._begin, 1e-9)

    def _say(self, line: str) -> None:
        tqdm.write(f"asr-hlg: {line}", file=sys.stderr)


class Results:
    """Transcripts for the score against references; nothing is kept without these."""

    def __init__(self, references: dict[str, str] | None):
        self._references = references
        self._hypotheses: dict[str, str] = {}
        self._alternatives: dict[str, list[str]] = {}

    def add(self, transcript: Transcript) -> None:
        if self._references is None:
            return
        self._hypotheses[transcript.id] = transcript.text
        if transcript.alternatives:
            self._alternatives[transcript.id] = [a.text for a in transcript.alternatives]

    def report(self) -> None:
        """Print the error rates."""
        if self._references is None:
            return
        heard = {n: self._references[n] for n in self._hypotheses if n in self._references}
        result = score(heard, self._hypotheses, alternatives=self._alternatives or None)
        print(result.report(confusions=0), file=sys.stderr)
