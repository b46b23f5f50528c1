"""A corpus of tones, with lexicon, recipe and training config, for tests of training."""

from __future__ import annotations

from pathlib import Path

from tests.support.corpora import write_tones

RECIPE = """
[topology]
kind = "ctc"
[lexicon]
files = ["lexicon.txt"]
"""

CONFIG = """
graph = "tones.toml"
[data]
train = ["train"]
dev = ["dev"]
[network]
kind = "cnn"
sample_rate = 8000
fbank = {num_filters = 20, high_freq = 3800.0}
channels = 4
dim = 64
dropout = 0.0
[loss]
kind = "ctc"
[loader]
max_duration = 4.0
[optimiser]
learning_rate = 3e-3
[training]
epochs = 6
average = 2
[[test]]
name = "other"
cuts = ["dev"]
"""


def write_corpus(folder: Path, num_train: int) -> None:
    """Write training and dev recordings of tones, and their lexicon."""
    write_tones(folder / "train", num_train, 1)
    write_tones(folder / "dev", 10, 2)
    (folder / "lexicon.txt").write_text("low L\nhigh H\noff F\n")
