"""Store distorted recordings, and what hama-whisper returns for the undistorted ones.

Writes, for every source NAME of features.py (spoken, prompts, digits, accented):

    NAME.i16      samples of the distorted recordings at 16 kHz, int16, one after the other
    NAME.f16      log-probabilities of the undistorted recordings, float16, frame after frame
    NAME.jsonl    a line per recording: id, samples and frames

Real recordings come two or three times, at different speeds and with different distortions. A
margin of silence, as in recognition, is on both sides of each.

    .venv/bin/python scripts/whisper_head/sounds.py .work/whisper_head --data ../shared/data
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable
from pathlib import Path

import distort
import features
import numpy as np
from features import LONGEST, MARGIN, RATE, SAMPLES_PER_FRAME, Item
from tqdm import tqdm

from asr_hlg import acoustic

TAKES = {"spoken": 1, "prompts": 3, "digits": 2, "accented": 3}
SPEEDS = (0.85, 0.92, 1.0, 1.0, 1.1, 1.18)
UNDISTORTED = 0.2  # share of the recordings


def main() -> None:
    """Store all sources that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="texts.tsv and spoken/ are there")
    parser.add_argument("--data", type=Path, required=True, help="speechocean and fsdd are there")
    options = parser.parse_args()
    spoken = list(features.spoken(options.folder))
    sources = {
        "accented": features.accented(options.data / "speechocean"),
        "prompts": features.prompts(),
        "digits": features.digits(options.data / "fsdd" / "wav"),
        "spoken": spoken,
    }
    voices = [features.load(item.paths[0]) for item in spoken[:400]]
    music = [features.load(path) for path in sorted(features.MUSIC.rglob("*.wav"))] or voices
    output: Path = options.folder / "sounds"
    output.mkdir(exist_ok=True)
    for name, items in sources.items():
        store(output / name, items, TAKES[name], voices, music)


def store(
    target: Path,
    items: Iterable[Item],
    takes: int,
    voices: list[distort.Samples],
    music: list[distort.Samples],
) -> None:
    """Write the three files of a source."""
    teacher = acoustic.load("hama-whisper")
    with (
        target.with_suffix(".i16").open("wb") as sounds,
        target.with_suffix(".f16").open("wb") as scores,
        target.with_suffix(".jsonl").open("w", encoding="utf-8") as lines,
    ):
        for item in tqdm(items, desc=target.name):
            for take in range(takes):
                rng = random.Random(f"{item.id}-{take}")
                samples = item.samples(rng)
                if take or target.name == "digits":
                    samples = features.changed_speed(samples, rng.choice(SPEEDS))
                if not 0.3 <= len(samples) / RATE <= LONGEST:
                    continue
                samples = np.pad(samples.astype(np.float32), MARGIN * SAMPLES_PER_FRAME)
                log_probs = np.asarray(teacher.posteriors([samples], RATE).array[0])
                if rng.random() >= UNDISTORTED:
                    samples = distort.distort(samples, rng, voices, music)
                sounds.write((np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes())
                scores.write(log_probs.astype(np.float16).tobytes())
                line = {"id": item.id, "samples": len(samples), "frames": len(log_probs)}
                print(json.dumps(line), file=lines)


if __name__ == "__main__":
    main()
