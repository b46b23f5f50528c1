"""Times of words and phones against synthesisers, which know them, beside pocketsphinx.

    python benchmarks/times.py --data ../shared/data

The 200 sentences of benchmarks/sentences.txt, none of which the alignment model was trained on, are
spoken by four voices of flite and two of espeak-ng in turn, or by each with `--each`. The truth is
what the engines say of their segments, see scripts/voices.py. Compared are `asr-hlg align`,
`asr-hlg transcribe` (words that are right), both also with `--times ctc`, and pocketsphinx's
`set_align_text`; aligners on the sentences that all of them can align.

A phone of the truth is compared with the phone that is aligned with it in the best alignment of
both pronunciations of its word; phones that an engine names together with their neighbour have no
start of their own. espeak-ng joins some function words to one: these are left out. With `--data`
then follows how often both aligners agree on real speech: LJ Speech and wild-dev.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import kaldialign
import numpy as np
import soundfile

from asr_hlg.audio import recordings
from asr_hlg.cli import main as asr_hlg
from asr_hlg.output.text import normalise, read_transcripts

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from pocketsphinx_times import Pocketsphinx, Span
from prepare_times import training_texts
from voices import RATE, Espeak, Flite, Spoken

SENTENCES = Path(__file__).with_name("sentences.txt")
FLITE = ("slt", "rms", "awb", "kal16")
ESPEAK = ("en-us", "en")
TOLERANCE, AGREEMENT = 0.02, 0.03  # seconds


@dataclass
class Times:
    """Words of a recording in their order, None where one is missing, and the phones of each."""

    words: list[Span | None]
    phones: list[list[Span]] = field(default_factory=list)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with ljspeech and wild-dev")
    parser.add_argument("--graph", default="graphs/en", help="[%(default)s]")
    parser.add_argument("--each", action="store_true", help="each sentence in each voice")
    parser.add_argument("--count", type=int, default=200, help="of sentences [%(default)s]")
    parser.add_argument("--keep", type=Path, help="folder for the recordings and all times")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        sentences = SENTENCES.read_text(encoding="utf-8").splitlines()[: options.count]
        truth = speak(sentences, folder, options.each)
        texts = {id: [word[0] for word in times.words if word] for id, times in truth.items()}
        texts = {id: (folder / f"{id}.txt").read_text().split() for id in texts}
        systems: dict[str, dict[str, Times]] = {}
        for times in ("hmm", "ctc"):
            systems[f"align --times {times}"] = aligned(folder, texts, options.graph, times)
        for times in ("hmm", "ctc"):
            name = f"transcribe --fast --times {times}"
            systems[name], seconds = transcribed(folder, texts, options.graph, times)
            print(f"{name}: {seconds:.1f} s", flush=True)
        systems["pocketsphinx"] = by_pocketsphinx(folder, texts)
        show(truth, systems)
        for name in ("ljspeech", "wild-dev") if options.data else ():
            agreement(options.data / name, folder / name, options.graph)


def speak(texts: Sequence[str], folder: Path, each: bool) -> dict[str, Times]:
    """Write recordings and texts to a folder; the truth by id."""
    voices: list[Flite | Espeak] = [*map(Flite, FLITE), *map(Espeak, ESPEAK)]
    truth: dict[str, Times] = {}
    for number, text in enumerate(texts):
        for voice in voices if each else [voices[number % len(voices)]]:
            id = f"{voice.name}-{number:03d}"
            spoken = voice.say(text)
            soundfile.write(folder / f"{id}.wav", spoken.samples, RATE)
            (folder / f"{id}.txt").write_text(text)
            truth[id] = truth_of(spoken, text.split())
    (folder / "text").write_text(
        "".join(f"{id} {(folder / f'{id}.txt').read_text()}\n" for id in truth)
    )
    return truth


def truth_of(spoken: Spoken, texts: Sequence[str]) -> Times:
    """Times of the words; None for those that an engine joined with their neighbour."""
    spans, words, phones = spoken.words(), [], []
    for number, text in enumerate(texts):
        is_alone = number in spans and (number + 1 in spans or number + 1 == len(texts))
        words.append((text, *spans[number]) if is_alone else None)
        phones.append([])
        for segment in spoken.segments:
            if segment.word == number:
                first, *others = segment.phones
                phones[-1].append((first, segment.start, segment.end))
                phones[-1] += [(other, np.nan, segment.end) for other in others]
    return Times(words, phones)


def aligned(
    folder: Path, texts: Mapping[str, Sequence[str]], graph: str, times: str
) -> dict[str, Times]:
    """Times of `asr-hlg align`."""
    path = folder / f"align-{times}.jsonl"
    options = ["--text", folder / "text", "--graph", graph, "--times", times, "--format", "json"]
    _run("align", *_recordings(folder, texts), *options, "--quiet", "--output", path)
    return {
        record["id"]: Times(*_words_and_phones(record))
        for record in map(json.loads, path.read_text().splitlines())
    }


def _words_and_phones(record: Mapping) -> tuple[list[Span | None], list[list[Span]]]:
    words = [(word["word"], word["start"], word["end"]) for word in record["words"]]
    phones: list[list[Span]] = [[] for _ in words]
    number = 0
    for phone in record["phones"]:
        while number + 1 < len(words) and phone["start"] >= words[number + 1][1] - 1e-4:
            number += 1
        phones[number].append((phone["phone"], phone["start"], phone["end"]))
    return list(words), phones


def transcribed(
    folder: Path, texts: Mapping[str, Sequence[str]], graph: str, times: str
) -> tuple[dict[str, Times], float]:
    """Times of the words that `asr-hlg transcribe` has right, and the seconds that it took."""
    path = folder / f"transcribe-{times}.jsonl"
    path.unlink(missing_ok=True)
    begin = time.monotonic()
    options = ["--graph", graph, "--times", times, "--fast", "--no-written", "--quiet"]
    _run("transcribe", *_recordings(folder, texts), *options, "--output", path, "--overwrite")
    seconds = time.monotonic() - begin
    found = {}
    for record in map(json.loads, path.read_text().splitlines()):
        spans = [(word["word"], word["start"], word["end"]) for word in record["words"]]
        matched: list[Span | None] = [None] * len(texts[record["id"]])
        for i, j in pairs(texts[record["id"]], [span[0] for span in spans]):
            if texts[record["id"]][i] == spans[j][0]:
                matched[i] = spans[j]
        found[record["id"]] = Times(matched)
    return found, seconds


def _recordings(folder: Path, texts: Mapping[str, Sequence[str]]) -> list[Path]:
    return [folder / f"{id}.wav" for id in texts]


def _run(*arguments: str | Path) -> None:
    if asr_hlg(list(map(str, arguments))):
        sys.exit(1)


def by_pocketsphinx(folder: Path, texts: Mapping[str, Sequence[str]]) -> dict[str, Times]:
    """Times of pocketsphinx, without the sentences that it cannot align."""
    aligner, found = Pocketsphinx(), {}
    for id, words in texts.items():
        samples, _ = soundfile.read(folder / f"{id}.wav", dtype="float32")
        times = aligner.align(samples, words)
        if times is not None:
            found[id] = Times(list(times[0]), times[1])
    return found


def agreement(source: Path, folder: Path, graph: str) -> None:
    """Print how often two aligners agree on read speech, and write where they do not."""
    texts = {id: normalise(text).split() for id, text in read_transcripts(source / "text").items()}
    folder.mkdir(parents=True, exist_ok=True)
    for recording in recordings([source]):
        if recording.id in texts:
            soundfile.write(folder / f"{recording.id}.wav", recording.load(RATE), RATE)
    texts = {id: words for id, words in texts.items() if (folder / f"{id}.wav").exists()}
    lines = (f"{id} {' '.join(words)}\n" for id, words in texts.items())
    (folder / "text").write_text("".join(lines))
    ours, theirs = aligned(folder, texts, graph, "hmm"), by_pocketsphinx(folder, texts)
    trained = training_texts(source.parent)
    for name, is_in in (("in the training data", True), ("not in it", False)):
        both = [id for id in ours if id in theirs and (id in trained) == is_in]
        rows = [
            (id, a[0], a[1], b[1], a[1] - b[1], a[2] - b[2])
            for id in both
            for a, b in zip(ours[id].words, theirs[id].words, strict=True)
            if a and b
        ]
        if not rows:
            continue
        starts, ends = (np.array([row[k] for row in rows]) for k in (4, 5))
        print(
            f"{source.name}, {name}: {len(both)} recordings, {len(rows)} words, within 30 ms of "
            f"pocketsphinx: starts {share(starts, AGREEMENT)}, ends {share(ends, AGREEMENT)}"
        )
        apart = [row for row in rows if abs(row[4]) > AGREEMENT + 1e-6]
        lines = ("{} {} {:.2f} {:.2f}\n".format(*row[:4]) for row in apart)
        (folder / f"apart-{is_in:d}.txt").write_text("".join(lines))


def pairs(left: Sequence[str], right: Sequence[str]) -> list[tuple[int, int]]:
    """Positions that stand opposite each other in the best alignment of two sequences."""
    i = j = -1
    found = []
    for a, b in kaldialign.align(list(left), list(right), ""):
        i, j = i + (a != ""), j + (b != "")
        if a and b:
            found.append((i, j))
    return found


def show(truth: Mapping[str, Times], systems: Mapping[str, Mapping[str, Times]]) -> None:
    """Print a table of every voice, and of all."""
    voices = list(dict.fromkeys(id.rsplit("-", 1)[0] for id in truth))
    aligners = [name for name in systems if not name.startswith("transcribe")]
    for voice in ("", *voices):
        ids = [id for id in truth if voice in ("", id.rsplit("-", 1)[0])]
        # The aligners are compared on the recordings that all of them could align.
        common = [id for id in ids if all(id in systems[name] for name in aligners)]
        print(f"\n{voice or 'all voices'}: {len(ids)} sentences, {len(common)} that all align\n")
        print("| | words | starts | median | ends | median | phones |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        for name, found in systems.items():
            print(row(name, truth, found, common if name in aligners else ids))
        if len(common) < len(ids):
            print(row("align, all of them", truth, systems[aligners[0]], ids))


def row(
    name: str, truth: Mapping[str, Times], found: Mapping[str, Times], ids: Iterable[str]
) -> str:
    """A row of the table: shares within 20 ms, and medians."""
    starts, ends, phones = [], [], []
    for id in ids:
        if id not in found:
            continue
        for number, word in enumerate(truth[id].words):
            ours = found[id].words[number]
            if word is None or ours is None:
                continue
            starts.append(ours[1] - word[1])
            ends.append(ours[2] - word[2])
            if found[id].phones:
                phones += phone_errors(truth[id].phones[number], found[id].phones[number])
    cells = [name, str(len(starts)), share(starts), median(starts), share(ends), median(ends)]
    return f"| {' | '.join([*cells, share(phones)])} |"


def share(errors: Sequence[float], tolerance: float = TOLERANCE) -> str:
    """Share of errors within a tolerance."""
    return f"{np.mean(np.abs(errors) <= tolerance + 1e-6):.1%}" if len(errors) else ""


def median(errors: Sequence[float]) -> str:
    """Median error in milliseconds."""
    return f"{1000 * np.median(errors):+.0f} ms" if len(errors) else ""


def phone_errors(truth: Sequence[Span], ours: Sequence[Span]) -> list[float]:
    """Errors of the starts of the phones of a word."""
    found = pairs([phone[0] for phone in truth], [phone[0] for phone in ours])
    errors = [ours[j][1] - truth[i][1] for i, j in found]
    return [error for error in errors if not np.isnan(error)]


if __name__ == "__main__":
    main()
