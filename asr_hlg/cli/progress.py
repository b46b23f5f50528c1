"""Messages of a transcription on standard error: a progress bar, failures, and a summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asr_hlg.errors import listed, on_one_line
from asr_hlg.output.transcript import Transcript


class Progress:
    """Shows the events of a transcription, and scores it if there are references.

    Implements :class:`asr_hlg.transcribe.run.Reporter`.

    Parameters
    ----------
    quiet : bool
        Show failures and warnings only.
    references : dict, optional
        Reference text of each utterance id.
    normalise : callable, optional
        Applied to references and transcripts before they are compared.
    """

    def __init__(
        self,
        quiet: bool,
        references: dict[str, str] | None = None,
        normalise: Callable[[str], str] | None = None,
    ):
        self._quiet, self._references, self._normalise = quiet, references, normalise
        self._hypotheses: dict[str, str] = {}
        self._alternatives: dict[str, list[str]] = {}
        self._num_done, self._num_failed, self._audio_seconds = 0, 0, 0.0
        self._begin = self._end = 0.0
        self._bar: Any = None
        self._skipped: list[Path] = []
        self._num_pronounced = 0

    def skipped(self, path: Path) -> None:
        """Count a file of a folder that looks like sound and is not read."""
        self._skipped.append(path)

    def pronounced(self, number: int) -> None:
        """Show the number of words that have been pronounced for hotwords or a grammar."""
        before, self._num_pronounced = self._num_pronounced, self._num_pronounced + number
        thousand = self._num_pronounced // 1000 > before // 1000
        if thousand and not self._quiet:
            end = "\r" if sys.stderr.isatty() else "\n"
            line = f"{self._num_pronounced:,} new words pronounced"
            print(line, end=end, file=sys.stderr, flush=True)

    def begin(self, total: int) -> None:
        """Start the clock and the bar."""
        self._begin = self._end = time.monotonic()
        if total > 1 and not self._quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="file", file=sys.stderr, dynamic_ncols=True)

    def done(self, transcript: Transcript) -> None:
        """Advance the bar by a transcribed recording, and show its notes."""
        self._end = time.monotonic()
        self._num_done += 1
        self._audio_seconds += transcript.duration
        for note in transcript.notes:
            self._write_line(f"{transcript.id}: {note}")
        if self._bar is not None:
            speed = self._audio_seconds / self._wall_seconds()
            self._bar.set_postfix_str(f"{speed:.0f} × real time", refresh=False)
            self._bar.update()

    def failed(self, id: str, reason: str) -> None:
        """Advance the bar by a recording that failed, and show the reason."""
        self._num_failed += 1
        if self._bar is not None:
            self._bar.update()
        self._write_line(f"{id}: {reason}")

    def end(self) -> None:
        """Close the bar and show a summary."""
        if self._bar is not None:
            self._bar.close()
        line = f"{self._num_done} transcribed, {self._num_failed} failed"
        if self._skipped:
            names = listed([on_one_line(path.name) for path in self._skipped], 3, "files")
            line += f", {len(self._skipped)} files that look like sound skipped ({names})"
        if self._audio_seconds:
            audio, wall = self._audio_seconds, self._wall_seconds()
            line += (
                f"; {audio:.1f} s of audio in {wall:.1f} s after loading, "
                f"real-time factor {wall / audio:.4f} ({audio / wall:.1f} × real time)"
            )
        self.info(line)

    def written(self, transcript: Transcript) -> None:
        """Keep a transcript for scoring."""
        if self._references is None:
            return
        self._hypotheses[transcript.id] = transcript.text
        if transcript.alternatives:
            self._alternatives[transcript.id] = [a.text for a in transcript.alternatives]

    def info(self, line: str) -> None:
        """Show a message, unless quiet."""
        if not self._quiet:
            print(line, file=sys.stderr)

    def warning(self, line: str) -> None:
        """Show a message."""
        print(f"asr-hlg: {line}", file=sys.stderr)

    def show_scores(self) -> None:
        """Show the error rates of the recordings that have references."""
        if self._references is None:
            return
        from asr_hlg.output.scoring import score

        references = {n: self._references[n] for n in self._hypotheses if n in self._references}
        result = score(
            references,
            self._hypotheses,
            alternatives=self._alternatives or None,
            normalise=self._normalise,
        )
        print(result.report(confusions=0), file=sys.stderr)

    def _wall_seconds(self) -> float:
        """Seconds from the start to the last result."""
        return max(self._end - self._begin, 1e-9)

    def _write_line(self, line: str) -> None:
        if self._bar is None:
            self.warning(line)
        else:
            self._bar.write(f"asr-hlg: {line}", file=sys.stderr)
