"""Every network learns from twenty digits with every loss that makes sense for it."""

from __future__ import annotations

import pytest
import soundfile
from lhotse import CutSet, Recording, SupervisionSegment

from asr_hlg import audio
from asr_hlg.train import log
from asr_hlg.train.config import TrainingConfig
from asr_hlg.train.run import train

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NETWORKS = {
    "cnn": "channels = 8\ndim = 64",
    "cnn_lstm": "channels = 8\ndim = 64\nnum_layers = 1",
    "blstm": "hidden = 96\nnum_feed_forward = 1\ndim = 96",
    "tdnn": "dim = 96\nsubsampling = 2",
    "conformer": "dim = 64\nnum_blocks = 1\nffn_dim = 128",
}
LOSSES = {"cross_entropy": "hmm", "ctc": "ctc", "hmm": "hmm", "lf_mmi": "chain"}

CONFIG = """
graph = "{topology}.toml"
[data]
train = ["twenty.jsonl.gz"]
drop_short = true
[network]
kind = "{network}"
dropout = 0.0
{fields}
[loss]
kind = "{loss}"
[loader]
max_duration = 60.0
buckets = 1
[optimiser]
learning_rate = 5e-3
[training]
average = 1
epochs = 30
"""


@pytest.fixture(scope="module")
def twenty(root, speech, tmp_path_factory):
    """Two recordings of every digit as cuts, and recipes for the topologies."""
    folder = tmp_path_factory.mktemp("twenty")
    cuts = []
    for digit, word in enumerate(DIGITS):
        for index in (10, 11):
            name = f"{digit}_jackson_{index}"
            path = speech / "fsdd" / "wav" / f"{name}.wav"
            samples = audio.Recording(name, path).load(16000)
            soundfile.write(folder / f"{name}.flac", samples, 16000)
            cut = Recording.from_file(folder / f"{name}.flac").to_cut().with_id(name)
            cut.supervisions = [SupervisionSegment(name, name, 0.0, cut.duration, text=word)]
            cuts.append(cut)
    CutSet(cuts).to_file(folder / "twenty.jsonl.gz")
    lexicon = root / "lang" / "digits" / "lexicon.txt"
    for kind in set(LOSSES.values()):
        states = "num_states = 1" if kind == "hmm" else ""
        (folder / f"{kind}.toml").write_text(
            f'[topology]\nkind = "{kind}"\n{states}\n[lexicon]\nfiles = ["{lexicon}"]\n'
        )
    return folder


def pairs():
    """All pairs. Networks and losses meet in log-probabilities only: most pairs are slow tests."""
    for network in NETWORKS:
        for loss in LOSSES:
            always = loss == "ctc" or network == "tdnn"
            yield pytest.param(network, loss, marks=() if always else pytest.mark.slow)


@pytest.mark.real
@pytest.mark.parametrize(("network", "loss"), pairs())
def test_the_loss_falls_by_half_in_thirty_steps(twenty, tmp_path, network, loss):
    path = twenty / f"{network}-{loss}.toml"
    path.write_text(
        CONFIG.format(topology=LOSSES[loss], network=network, fields=NETWORKS[network], loss=loss)
        + ("[hybrid]\nrounds = [30]\n" if loss == "cross_entropy" else "")
    )
    train(TrainingConfig.read(path), tmp_path, report=lambda line: None)
    [history] = tmp_path.rglob(log.NAME)
    steps = [entry["loss"] for entry in log.read(history) if entry["kind"] == "step"]
    assert len(steps) == 30
    first, last = steps[0], steps[-1]
    # The full sum is of likelihoods divided by priors, which makes it fall below zero.
    assert last < first - abs(first) / 2
