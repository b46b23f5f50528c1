"""Draw docs/pictures/times.png: a sentence of flite, its words and phones by three systems.

From above: the waveform; the spectrogram; words and phones as they were spoken (truth), as
`asr-hlg align` finds them, and as pocketsphinx does.

    python scripts/draw_times.py
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import times as benchmark  # noqa: E402

COLOURS = ("#1b7837", "#2166ac", "#b2182b")


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voice", default="rms", help="of flite [%(default)s]")
    parser.add_argument("--text", default="the boat sailed past seven green islands")
    parser.add_argument("--graph", default=str(ROOT / "graphs" / "en"))
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "pictures" / "times.png")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spoken = benchmark.Flite(options.voice).say(options.text)
        soundfile.write(folder / "one.wav", spoken.samples, benchmark.RATE)
        (folder / "text").write_text(f"one {options.text}\n")
        texts = {"one": options.text.split()}
        systems = {
            "truth": benchmark.truth_of(spoken, texts["one"]),
            "asr-hlg": benchmark.aligned(folder, texts, options.graph, "hmm")["one"],
            "pocketsphinx": benchmark.by_pocketsphinx(folder, texts)["one"],
        }
    figure, axes = plt.subplots(
        2 + len(systems),
        figsize=(12, 6.5),
        sharex=True,
        gridspec_kw={"height_ratios": [1, 2.5, *[0.9] * len(systems)]},
    )
    seconds = np.arange(len(spoken.samples)) / benchmark.RATE
    axes[0].plot(seconds, spoken.samples, color="black", linewidth=0.3)
    axes[0].set_yticks([])
    axes[1].specgram(
        spoken.samples, NFFT=256, noverlap=192, Fs=benchmark.RATE, cmap="Greys", vmin=-130
    )
    axes[1].set_ylabel("Hz")
    for colour, axis, (name, times) in zip(COLOURS, axes[2:], systems.items(), strict=True):
        draw_tiers(axis, times.words, times.phones, colour)
        axis.set_ylabel(name, rotation=0, ha="right", va="center")
        for _, start, end in filter(None, times.words):
            for above in axes[:2] if name == "truth" else ():
                above.axvline(start, color=colour, linewidth=0.8)
                above.axvline(end, color=colour, linewidth=0.8)
    axes[-1].set_xlabel("seconds")
    axes[-1].set_xlim(0, seconds[-1])
    figure.tight_layout(h_pad=0.2)
    figure.savefig(options.output, dpi=90)


def draw_tiers(axis: Any, words: Sequence[Any], phones: Sequence[Any], colour: str) -> None:
    """Draw a tier of words above one of phones."""
    axis.set_ylim(0, 2)
    axis.set_yticks([])
    for level, spans in ((1, filter(None, words)), (0, (p for row in phones for p in row))):
        for name, start, end in spans:
            if not np.isnan(start):
                axis.plot(
                    [start, start, end, end], [level, level + 1, level + 1, level], color=colour
                )
                axis.text(
                    (start + end) / 2, level + 0.45, name, ha="center", va="center", fontsize=7
                )


if __name__ == "__main__":
    main()
