"""Recipe and training config for the corpora of `corpora.write_tones`."""

from __future__ import annotations

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
