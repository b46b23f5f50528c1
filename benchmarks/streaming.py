#!/usr/bin/env python3
"""Streams at real time against whole recordings: errors, latency, words taken back, load, memory.

    benchmarks/streaming.py ../shared/data/ljspeech ../shared/data/librispeech --graph en
    benchmarks/streaming.py FOLDER --hop 0.5 --look-ahead 0.5 --left-context 4 --hour

A set is a folder with recordings below it and their references in the file ``text``. Sound comes in
parts of 0.1 s. The clock is simulated: a part comes when the last of it would have been spoken, or
when the part before it is done, and takes the time that the processor works on it, so that other
programs do not count; use one thread (OMP_NUM_THREADS=1). Latency is counted from
the end of a word, as the finished segment has it, to the first partial result or segment that
contains the word near that place. A word is taken back if a later result of its segment lacks it.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr_hlg import Transcriber, Transcript, Word
from asr_hlg.acoustic.streaming import WindowOptions
from asr_hlg.audio import Recording, recordings
from asr_hlg.output import english
from asr_hlg.output.scoring import score
from asr_hlg.output.text import read_transcripts
from asr_hlg.rescore.passes import PassOptions
from asr_hlg.transcribe import EndpointOptions, Stream, StreamOptions, TranscribeOptions

PART = 0.1
"""Seconds of sound that come at once."""

NEAR = 0.4
"""Seconds by which the middle of a word may be off in a partial result."""

_LIVE_TAIL = 3.0
"""Seconds of silence after each recording: a microphone goes on when a speaker stops."""


@dataclass
class Result:
    """Measurements on one set, over all its recordings."""

    offline: dict[str, str] = field(default_factory=dict)
    streamed: dict[str, str] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    endings: list[float] = field(default_factory=list)  # seconds from the endpoint to its segment
    after_speech: list[float] = field(default_factory=list)  # from the end of the last word
    taken_back: int = 0
    num_words: int = 0
    seconds: float = 0.0
    busy: float = 0.0


def main() -> None:
    """Print a Markdown table for each set."""
    options = _options()
    first_pass = TranscribeOptions(passes=PassOptions())
    transcriber = Transcriber.from_graph(options.graph, model=options.model, options=first_pass)
    transcriber.warm_up()
    stream_options = StreamOptions(
        WindowOptions(**_fields(options, WindowOptions)),
        EndpointOptions(**_fields(options, EndpointOptions)),
    )
    print(f"{stream_options.window}\n{stream_options.endpoints}\n")
    sounds: list[npt.NDArray[np.float32]] = []
    for folder in options.sets:
        result, sounds = _measure(transcriber, folder, stream_options, options.limit)
        _show(folder.name, result, read_transcripts(folder / "text"))
    if options.hour:
        _memory(transcriber, stream_options, np.concatenate(sounds))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", type=Path, nargs="+", metavar="SET")
    parser.add_argument("--graph", default="en")
    parser.add_argument("--model")
    parser.add_argument("--limit", type=int, help="recordings of each set (default: all)")
    parser.add_argument("--hour", action="store_true", help="measure memory over an hour, too")
    for record in (WindowOptions, EndpointOptions):
        for item in dataclasses.fields(record):
            name = "--" + item.name.replace("_", "-")
            parser.add_argument(name, type=float, default=item.default, metavar="SECONDS")
    return parser.parse_args()


def _fields(options: argparse.Namespace, record: type) -> dict[str, float]:
    return {item.name: getattr(options, item.name) for item in dataclasses.fields(record)}


def _measure(
    transcriber: Transcriber, folder: Path, options: StreamOptions, limit: int | None
) -> tuple[Result, list[npt.NDArray[np.float32]]]:
    result, sounds = Result(), []
    rate = transcriber.model.sample_rate
    for recording in sorted(recordings([folder]), key=lambda r: r.id)[:limit]:
        samples = recording.load(rate)
        sounds.append(samples)
        result.offline[recording.id] = transcriber.transcribe_one(recording).text
        silence = np.zeros(round(_LIVE_TAIL * rate), np.float32)
        sound = np.concatenate([samples, silence])
        result.streamed[recording.id] = _feed(transcriber, recording, sound, options, result)
        result.seconds += len(sound) / rate
    return result, sounds


def _feed(
    transcriber: Transcriber,
    recording: Recording,
    samples: npt.NDArray[np.float32],
    options: StreamOptions,
    result: Result,
) -> str:
    """Feed one recording at the simulated clock; returns its words."""
    rate = transcriber.model.sample_rate
    stream = transcriber.stream(rate, dataclasses.replace(options, id=recording.id))
    size = round(PART * rate)
    clock, texts, shown = 0.0, [], [(0.0, Transcript("", ""))]
    for begin in range(0, len(samples), size):
        part = samples[begin : begin + size]
        clock = max(clock, (begin + len(part)) / rate)
        arrived = clock
        started = time.process_time()
        finished = stream.accept(part)
        clock += time.process_time() - started
        for transcript in finished:
            result.endings.append(clock - arrived)
            result.after_speech.append(clock - transcript.words[-1].end)
            texts.append(transcript.text)
            _compare(result, shown, transcript, clock)
            shown = [(clock, Transcript("", ""))]
        started = time.process_time()
        partial = stream.partial()
        clock += time.process_time() - started
        if partial is not shown[-1][1]:
            shown.append((clock, partial))
        result.busy += clock - arrived
    started = time.process_time()
    last = stream.final()
    result.busy += time.process_time() - started
    if last.words:
        _compare(result, shown, last, clock + time.process_time() - started)
        texts.append(last.text)
    return " ".join(texts)


def _compare(
    result: Result, shown: Sequence[tuple[float, Transcript]], final: Transcript, clock: float
) -> None:
    """Count the latencies of a segment's words, and words of partial results that it lacks."""
    results = [*shown, (clock, final)]
    for word in final.words:
        seen = next(at for at, partial in results if any(_same(word, w) for w in partial.words))
        result.latencies.append(seen - word.end)
    for (_, before), (_, after) in pairwise(results):
        a, b = before.text.split(), after.text.split()
        blocks = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
        result.taken_back += len(a) - sum(block.size for block in blocks)
    result.num_words += len(final.words)


def _same(word: Word, other: Word) -> bool:
    middle = (word.start + word.end) / 2
    return word.text == other.text and abs(middle - (other.start + other.end) / 2) < NEAR


def _show(name: str, result: Result, references: dict[str, str]) -> None:
    def rate(texts: dict[str, str]) -> float:
        known = {id: english.normalise(text) for id, text in texts.items() if id in references}
        return score(known, {id: english.normalise(references[id]) for id in known}).words.rate

    offline, streamed = rate(result.offline), rate(result.streamed)
    latency = np.array(result.latencies)
    rows = [
        ("recordings, seconds", f"{len(result.offline)}, {result.seconds:.0f}", ""),
        ("WER of whole recordings", f"{offline:.2%}", ""),
        ("WER of streams", f"{streamed:.2%}", ""),
        ("ratio", f"{streamed / offline if offline else 1.0:.2f}", "≤ 1.15"),
        ("latency of a word, median", f"{np.median(latency):.2f} s", "≤ 0.6 s"),
        ("latency of a word, 95 %", f"{np.quantile(latency, 0.95):.2f} s", "≤ 1.2 s"),
        ("words within 1.0 s", f"{(latency <= 1.0).mean():.1%}", ""),
        ("words taken back", f"{result.taken_back / max(1, result.num_words):.1%}", "≤ 15 %"),
        ("segments that a pause ended", f"{len(result.endings)}", ""),
        ("endpoint to result, largest", f"{max(result.endings, default=0):.2f} s", "≤ 0.3 s"),
        ("last word to result, median", f"{np.median(result.after_speech or [0]):.2f} s", ""),
        ("streams that a core serves", f"{result.seconds / result.busy:.1f}", "≥ 8"),
    ]
    print(f"| {name} | | bar |\n| --- | ---: | ---: |")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def _memory(
    transcriber: Transcriber, options: StreamOptions, samples: npt.NDArray[np.float32]
) -> None:
    """Memory of a stream after a minute and after an hour of these recordings, repeated."""
    rate = transcriber.model.sample_rate
    stream: Stream = transcriber.stream(rate, options)
    size, position, after = round(PART * rate), 0, {}
    for second in range(3600):
        for _ in range(round(1 / PART)):
            part = np.take(samples, range(position, position + size), mode="wrap")
            stream.accept(part)
            stream.partial()
            position = (position + size) % len(samples)
        if second + 1 in (60, 600, 3600):
            after[second + 1] = _resident()
            print(f"memory after {second + 1} s: {after[second + 1]:.0f} MB", flush=True)
    print(f"an hour against a minute: {after[3600] / after[60] - 1:+.1%} (bar: 5 %)")


def _resident() -> float:
    """Megabytes that this process holds now, without pages of files, such as the graph's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1e3


if __name__ == "__main__":
    main()
