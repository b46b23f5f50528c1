r"""Alignment of an hour of speech with texts that differ from it: accuracy, memory and speed.

    .venv/bin/python benchmarks/long_alignment.py ../shared/data/ljspeech/flac \
        ../shared/data/ljspeech/text --hours 1

Sentences are joined to one recording, repeatedly if need be, in a new order each time, with pauses
of 0.1 to 0.8 s. The text is one sentence a line, changed at random but the same for the same seed.
Every word that is spoken is compared with its place in the alignment of its sentence alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from asr_hlg.audio import recordings
from asr_hlg.output.text import read_transcripts

RATE = 16000
TOLERANCE = 0.1  # seconds


@dataclass(frozen=True)
class Sentence:
    """A sentence at a place of the joined recording."""

    id: str
    words: list[str]
    start: float


@dataclass(frozen=True)
class Row:
    """A line of the text: its words, and the sentence and word that each is, or None."""

    words: list[str]
    origins: list[tuple[int, int] | None]


def main() -> None:
    """Build, align, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sounds", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--variant", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for the recording and the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        measure(options, folder)


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Print a row for every variant of the text."""
    texts = {id: text.split() for id, text in read_transcripts(options.text).items()}
    sentences = join(options, texts, folder / "long.wav")
    alone = run([str(options.sounds), "--text", str(options.text)], folder / "alone.json", options)
    of_sentence = {record["id"]: record["words"] for record in alone.records}
    print(f"{alone.duration:,.0f} s in single sentences; {len(sentences)} sentences joined")
    print(
        "| text | lines | words spoken | within 100 ms | unspoken lines marked | "
        "changed words marked | seconds | CPU seconds | × real time | peak MB |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    for variant in options.variant:
        rows = VARIANTS[variant](sentences, texts, random.Random(options.seed))
        path = folder / f"{variant}.txt"
        separator = " " if variant == "one-line" else "\n"
        path.write_text(separator.join(" ".join(row.words) for row in rows) + "\n")
        arguments = [str(folder / "long.wav"), "--text", str(path), "--text-format", "plain"]
        done = run(arguments, folder / f"{variant}.json", options)
        print(report(variant, rows, sentences, of_sentence, done), flush=True)


def join(options: argparse.Namespace, texts: dict[str, list[str]], path: Path) -> list[Sentence]:
    """Write the joined recording; returns its sentences."""
    rng = random.Random(options.seed)
    available = [r for r in recordings(options.sounds) if r.id in texts]
    sentences: list[Sentence] = []
    num_samples = 0
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        while True:
            rng.shuffle(available)
            for recording in available:
                if num_samples >= options.hours * 3600 * RATE:
                    return sentences
                samples = recording.load(RATE)
                pause = np.zeros(int(rng.uniform(0.1, 0.8) * RATE), np.float32)
                sentences.append(Sentence(recording.id, texts[recording.id], num_samples / RATE))
                file.write(np.concatenate([samples, pause]))
                num_samples += len(samples) + len(pause)


Texts = dict[str, list[str]]


def unchanged(sentences: list[Sentence], texts: Texts, rng: random.Random) -> list[Row]:
    """What is spoken."""
    return [row_of(k, sentence) for k, sentence in enumerate(sentences)]


def changed(sentences: list[Sentence], texts: Texts, rng: random.Random) -> list[Row]:
    """5 % of the lines dropped, 5 % added, 2 % of the words changed.

    Half of the lines that are added are other sentences of the same recording, and half are random
    words.
    """
    vocabulary = sorted({word for words in texts.values() for word in words})
    rows = []
    for row in unchanged(sentences, texts, rng):
        if rng.random() < 0.05:
            words = list(rng.choice(sorted(texts.values())))
            if rng.random() < 0.5:
                words = rng.choices(vocabulary, k=len(words))
            rows.append(Row(words, [None] * len(words)))
        if rng.random() < 0.05:
            continue
        words, origins = list(row.words), list(row.origins)
        for k in range(len(words)):
            if rng.random() < 0.02:
                words[k], origins[k] = rng.choice(vocabulary), None
        rows.append(Row(words, origins))
    return rows


def page_missing(sentences: list[Sentence], texts: Texts, rng: random.Random) -> list[Row]:
    """Without 40 consecutive lines, and with 100 lines of front matter that nobody reads."""
    vocabulary = sorted({word for words in texts.values() for word in words})
    front = [rng.choices(vocabulary, k=12) for _ in range(100)]
    rows = unchanged(sentences, texts, rng)
    middle = len(rows) // 2
    before, after = rows[:middle], rows[middle + 40 :]
    return [Row(words, [None] * len(words)) for words in front] + before + after


def swapped(sentences: list[Sentence], texts: Texts, rng: random.Random) -> list[Row]:
    """Two paragraphs of 12 and 8 lines in the wrong order."""
    rows = unchanged(sentences, texts, rng)
    k = len(rows) // 3
    moved = [Row(row.words, [None] * len(row.words)) for row in rows[k + 12 : k + 20]]
    return [*rows[:k], *moved, *rows[k : k + 12], *rows[k + 20 :]]


def repeated(sentences: list[Sentence], texts: Texts, rng: random.Random) -> list[Row]:
    """Every tenth line twice, although it is spoken once."""
    rows = []
    for k, row in enumerate(unchanged(sentences, texts, rng)):
        rows.append(row)
        if k % 10 == 9:
            rows.append(row)
    return rows


VARIANTS = {
    "unchanged": unchanged,
    "changed": changed,
    "page-missing": page_missing,
    "swapped": swapped,
    "repeated": repeated,
    "one-line": changed,
}


def row_of(number: int, sentence: Sentence) -> Row:
    """The line of a sentence."""
    return Row(sentence.words, [(number, k) for k in range(len(sentence.words))])


@dataclass(frozen=True)
class Run:
    """Result of a run of the command line."""

    records: list[dict]
    seconds: float
    cpu_seconds: float
    peak_bytes: int

    @property
    def duration(self) -> float:
        """Seconds of sound."""
        return sum(record["duration"] for record in self.records)


def run(arguments: list[str], output: Path, options: argparse.Namespace) -> Run:
    """Run ``asr-hlg align``; the peak is that of its resident memory."""
    command = [sys.executable, "-m", "asr_hlg.cli", "align", *arguments, "--format", "json"]
    env = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--output", str(output), "--quiet"], env=env, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    messages = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"asr-hlg align failed: {messages}")
    records = [json.loads(line) for line in output.read_text().splitlines()]
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return Run(records, seconds, cpu_seconds, usage.ru_maxrss * 1024)


def report(
    name: str, rows: list[Row], sentences: list[Sentence], alone: dict[str, list], done: Run
) -> str:
    """A row of the table."""
    words = iter(done.records[0]["words"])
    spoken: set[tuple[int, int]] = set()
    close: set[tuple[int, int]] = set()
    lines = marked = changes = marked_changes = 0
    was_marked = False
    for before, row in zip([None, *rows], rows, strict=False):
        is_spoken = []
        for text, origin in zip(row.words, row.origins, strict=True):
            word = next(words)
            assert word["word"] == text, (word, text)
            is_spoken.append("start" in word)
            if origin is None:
                changes += any(row.origins)
                marked_changes += any(row.origins) and not is_spoken[-1]
                continue
            sentence = sentences[origin[0]]
            expected = alone[sentence.id][origin[1]]
            if "start" not in expected:
                continue
            spoken.add(origin)
            if is_spoken[-1] and all(
                abs(word[side] - sentence.start - expected[side]) <= TOLERANCE + 1e-6
                for side in ("start", "end")
            ):
                close.add(origin)
        # Of a line that is there twice, either may be the one that is spoken.
        is_repeated = before is row
        # A line counts as marked if next to nothing of it is aligned.
        is_marked = sum(is_spoken) <= 0.2 * len(is_spoken)
        if is_repeated or not any(row.origins):
            lines += 1
            marked += is_marked or (is_repeated and was_marked)
        was_marked = is_marked
    return (
        f"| {name} | {len(rows):,} | {len(spoken):,} | {len(close) / len(spoken):.2%} | "
        f"{f'{marked} of {lines}' if lines else '–'} | "
        f"{f'{marked_changes} of {changes}' if changes else '–'} | {done.seconds:.1f} | "
        f"{done.cpu_seconds:.1f} | "
        f"{done.duration / done.seconds:.0f} | {done.peak_bytes / 1e6:.0f} |"
    )


if __name__ == "__main__":
    main()
