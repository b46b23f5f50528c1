"""Distort recordings, and compute what the head is trained on: features and phones.

The phones of a transcript, with the pronunciations and pauses that fit best, come from an alignment
of the undistorted recording by the Conformer. Writes, for every source NAME:

    NAME.f16      features of all frames, float16, frame after frame
    NAME.jsonl    a line per recording: id, first frame, frames, phone of every frame, fit

It reads, all optional: `spoken` (of speak.py), speechocean762's train part without every eighth
speaker, the Free Spoken Digit Dataset without its test part, and Debian's asterisk-core-sounds-en;
music for noise is from Debian's asterisk-moh-opsound-wav.

    .venv/bin/python scripts/whisper_head/features.py .work/whisper_head --data ../shared/data
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
import torch
from distort import RATE, Samples, distort
from scipy.signal import resample_poly
from tqdm import tqdm

from asr_hlg import audio
from asr_hlg.acoustic import hama, whisper_conformer, whisper_onnx
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.acoustic.runtime import OnnxSession
from asr_hlg.align import Aligner

MARGIN = 16  # frames of silence on both sides, as in recognition
SAMPLES_PER_FRAME = 320
LONGEST = 16.0  # seconds
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ASTERISK = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
ASTERISK_TEXT = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
MUSIC = Path("/usr/share/asterisk/moh")


@dataclass(frozen=True)
class Item:
    """Recordings, to be joined with short pauses, and their words."""

    id: str
    paths: tuple[Path, ...]
    text: str

    def samples(self, rng: random.Random) -> Samples:
        """Joined recordings at 16 kHz, the levels of several made equal."""
        sounds = [load(path) for path in self.paths]
        if len(sounds) == 1:
            return sounds[0]
        parts = []
        for sound in sounds:
            parts.append(sound / max(1e-3, np.abs(sound).max()) * 0.6)
            parts.append(np.zeros(int(rng.uniform(0.03, 0.35) * RATE), dtype=np.float32))
        return np.concatenate(parts[:-1])


def load(path: Path) -> Samples:
    """First channel of a file, at 16 kHz."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.asarray(audio.resample(samples[:, 0], rate, RATE))


def spoken(folder: Path) -> Iterator[Item]:
    """Sentences of speak.py."""
    for line in (folder / "texts.tsv").read_text(encoding="utf-8").splitlines():
        number, _, text = line.split("\t")
        path = folder / "spoken" / f"{int(number):05d}.wav"
        if path.exists():
            yield Item(f"spoken-{number}", (path,), text)


def accented(folder: Path) -> Iterator[Item]:
    """speechocean762's train part without every eighth speaker, who are for development."""
    texts = dict(line.split(None, 1) for line in (folder / "text").open(encoding="utf-8"))
    speakers = dict(line.split() for line in (folder / "utt2spk").open(encoding="utf-8"))
    held_out = set(sorted(set(speakers.values()))[::8])
    for id, text in texts.items():
        if speakers[id] not in held_out:
            yield Item(id, (folder / "audio" / f"{id}.opus",), text.strip())


def digits(folder: Path) -> Iterator[Item]:
    """One to seven digits of a speaker; indices 0 to 4 are the data set's test part."""
    rng, of_speaker = random.Random(5), dict[str, list[tuple[str, Path]]]()
    for path in sorted(folder.glob("*.wav")):
        digit, speaker, index = path.stem.split("_")
        if int(index) >= 5:
            of_speaker.setdefault(speaker, []).append((DIGITS[int(digit)], path))
    for speaker, pairs in of_speaker.items():
        rng.shuffle(pairs)
        while pairs:
            size = rng.randint(1, 7)
            words, paths = zip(*pairs[:size], strict=True)
            yield Item(f"{speaker}-{len(pairs)}", paths, " ".join(words))
            del pairs[:size]


def prompts() -> Iterator[Item]:
    """Asterisk's telephone prompts, without those that are spelled with digits or signs."""
    if not ASTERISK_TEXT.exists():
        return
    for line in gzip.decompress(ASTERISK_TEXT.read_bytes()).decode("utf-8").splitlines():
        name, _, text = line.partition(":")
        path = ASTERISK / f"{name.strip()}.wav"
        if path.exists() and not re.search(r"[\d\[]", text):
            yield Item(name.strip(), (path,), " ".join(re.findall(r"[a-z']+", text.lower())))


class Extractor:
    """Features and alignments of recordings."""

    def __init__(self, graph: Path, words: set[str]):
        content = whisper_onnx.feature_bytes(hama.config(), whisper_conformer.weights())
        self._session = OnnxSession(content)
        self._aligner, self._guesses = Aligner.from_graph(graph, sorted(words))

    def features(self, samples: Samples) -> np.ndarray:
        """float32 ``(frames, n)``."""
        padded = np.pad(samples, MARGIN * SAMPLES_PER_FRAME)[None]
        features, _ = self._session(padded, np.array([padded.shape[1]]))
        return np.asarray(features[0][MARGIN:-MARGIN])

    def phones(self, features: np.ndarray, text: str) -> tuple[list[int], float]:
        """Phone of every frame, and the nats that a phone loses against the best path."""
        tokens = hama.TOKENS
        log_probs = np.array(features[None, :, -len(tokens) :])
        shift = SAMPLES_PER_FRAME / RATE
        length = np.array([log_probs.shape[1]], dtype=np.int32)
        posteriors = Posteriors(
            torch.from_numpy(log_probs), torch.from_numpy(length), shift, tokens
        )
        labels = np.asarray(self._aligner.labels(posteriors, text))
        rows = log_probs[0]
        loss = (rows.max(1) - rows[np.arange(len(rows)), labels]).sum()
        return labels.tolist(), float(loss) / max(1, len(phone_sequence(labels.tolist())))


def phone_sequence(labels: list[int]) -> list[int]:
    """Phones of the labels of all frames: without repetitions, then without blanks."""
    pairs = zip(labels, [-1, *labels[:-1]], strict=True)
    return [label for label, before in pairs if label != before and label != 0]


def changed_speed(samples: Samples, factor: float) -> Samples:
    """A recording played faster, and higher, by a factor."""
    ratio = Fraction(1 / factor).limit_denominator(50)
    return np.asarray(resample_poly(samples, ratio.numerator, ratio.denominator), dtype=np.float32)


def main() -> None:
    """Extract the features of all sources that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="speechocean and fsdd are there")
    parser.add_argument("--graph", type=Path, default=Path("graphs/en"), help="compiled graph")
    options = parser.parse_args()
    sources = {
        "spoken": list(spoken(options.folder)),
        "prompts": list(prompts()),
        "digits": list(digits(options.data / "fsdd" / "wav")),
        "accented": list(accented(options.data / "speechocean")),
    }
    words = {word for items in sources.values() for item in items for word in item.text.split()}
    extractor = Extractor(options.graph, words)
    voices = [load(item.paths[0]) for item in sources["spoken"][:500]]
    music = [load(path) for path in sorted(MUSIC.rglob("*.wav"))] or voices
    for name, items in sources.items():
        # Real recordings twice: as they are (accents), and distorted.
        for take in ("",) if name == "spoken" else ("", "-again"):
            with (
                (options.folder / f"{name}{take}.f16").open("wb") as features_file,
                (options.folder / f"{name}{take}.jsonl").open("w", encoding="utf-8") as lines,
            ):
                first = 0
                for item in tqdm(items, desc=name + take):
                    rng = random.Random(item.id + take)
                    samples = item.samples(rng)
                    if name == "digits" or (take and name == "accented"):
                        factor = rng.choice((0.85, 0.92, 1.0, 1.0, 1.0, 1.1, 1.18))
                        samples = changed_speed(samples, factor)
                    if not 0.2 <= len(samples) / RATE <= LONGEST:
                        continue
                    features = extractor.features(samples)
                    labels, loss = extractor.phones(features, item.text)
                    plain = name == "accented" and not take
                    if not plain and rng.random() < 0.8:
                        features = extractor.features(distort(samples, rng, voices, music))
                    features_file.write(features.astype(np.float16).tobytes())
                    line = {"id": item.id, "first": first, "labels": labels, "loss": loss}
                    print(json.dumps(line), file=lines)
                    first += len(features)


if __name__ == "__main__":
    main()
