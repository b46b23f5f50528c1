"""Transducers through `asr-hlg train`: new, on a trained encoder, and in stages."""

from __future__ import annotations

import pytest
import torch

from asr_hlg.cli import main
from asr_hlg.errors import DataError, OptionError
from asr_hlg.graph.recipe import Recipe
from asr_hlg.train.config import TrainingConfig
from asr_hlg.train.prepare import make_network, prepare
from asr_hlg.train.result import Result
from asr_hlg.train.run import train
from asr_hlg.transducer import Transducer
from tests.support.corpora import write_tones
from tests.support.tone_training import CONFIG, RECIPE, write_corpus

NETWORK = """
[network]
kind = "transducer"
encoder = "cnn"
encoder_fields = {sample_rate = 8000, fbank = {num_filters = 20, high_freq = 3800.0}, \
channels = 4, dim = 64, dropout = 0.0}
stack = 2
prediction_dim = 32
joiner_dim = 64
dropout = 0.0
[pruned_loss]
prune_range = 3
warm_up = 10
[spec_augment]
time_masks = 1
frequency_width = 2
"""


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transducer")
    write_corpus(folder, 60)
    (folder / "ctc.toml").write_text(RECIPE)
    (folder / "tones.toml").write_text(
        RECIPE.replace('"ctc"', '"transducer"') + "[search]\ngraph_scale = 0.0\n"
    )
    head, _, tail = CONFIG.replace('"ctc"', '"transducer"').partition("[network]")
    config = head + NETWORK + tail[tail.index("[loss]") :]
    (folder / "config.toml").write_text(config)
    stages = """
    [[stage]]
    network.trainable = ["joiner", "prediction", "simple", "output"]
    training.epochs = 1
    [[stage]]
    training.epochs = 2
    pruned_loss.warm_up = 0
    """
    (folder / "stages.toml").write_text(config + stages)
    return folder


def _config(tones, *changes, name="config"):
    return TrainingConfig.read(tones / f"{name}.toml", changes)


def _quiet(line):
    pass


def test_from_recordings_to_words(tones, tmp_path, capsys):
    changes = ["training.epochs=12", "optimiser.learning_rate=5e-3", "loader.max_duration=2"]
    arguments = [word for change in changes for word in ("--set", change)]
    arguments += ["--output", str(tmp_path)]
    assert main(["train", str(tones / "config.toml"), *arguments]) == 0
    result = Result.read(tmp_path / "result.json")
    assert (result.network, result.loss) == ("transducer", "transducer")
    # The same tone twice is hard to tell from a long one.
    assert result.tests["other"].rate < 0.4
    assert result.tests["other"] == result.tests["dev"]
    network = Transducer.load(tmp_path / "model.npz")
    assert network.config.tokens == ("<blk>", "F", "H", "L")
    assert float(network.encoder.std.std()) > 0  # features are normalised

    capsys.readouterr()
    model = ["--graph", str(tones / "tones"), "--model", str(tmp_path / "model.npz")]
    assert main(["transcribe", str(tones / "dev"), *model, "--quiet"]) == 0
    recognised = dict(line.partition(" ")[::2] for line in capsys.readouterr().out.splitlines())
    lines = (tones / "dev" / "text").read_text().splitlines()
    references = dict(line.split(" ", 1) for line in lines)
    wrong = sum(recognised[id].split() != text.split() for id, text in references.items())
    assert wrong <= result.tests["dev"].total


def test_stages_continue_from_each_other(tones, tmp_path):
    config = _config(tones, name="stages")
    assert [stage.training.epochs for stage in config.stages] == [1, 2]
    assert [stage.pruned_loss.warm_up for stage in config.stages] == [10, 0]
    result = train(config, tmp_path, report=_quiet)
    assert (result.epochs, result.model, result.task) == (3, tmp_path.name, "stages")
    torch.manual_seed(config.training.seed)
    start, _, _ = make_network(config, Recipe.read(config.graph))
    first, second = (Transducer.load(tmp_path / f"stage-{n}" / "model.npz") for n in (1, 2))
    assert (tmp_path / "model.npz").read_bytes() == (
        tmp_path / "stage-2" / "model.npz"
    ).read_bytes()
    for name, weight in first.named_parameters():
        unchanged = torch.equal(weight, start.get_parameter(name))
        assert unchanged == name.startswith("encoder."), name
        assert not torch.equal(weight, second.get_parameter(name)), name
    before = (tmp_path / "model.npz").stat().st_mtime_ns
    parts = [(tmp_path / f"stage-{n}" / "model.npz").stat().st_mtime_ns for n in (1, 2)]
    assert train(config, tmp_path, report=_quiet) == result
    assert parts == [(tmp_path / f"stage-{n}" / "model.npz").stat().st_mtime_ns for n in (1, 2)]
    assert (tmp_path / "model.npz").stat().st_mtime_ns >= before


def test_an_encoder_to_start_from(tones, tmp_path):
    network, _, _ = make_network(_config(tones), Recipe.read(tones / "tones.toml"))
    network.save(tmp_path / "old.npz")
    again = TrainingConfig.read(tones / "config.toml").starting_from(tmp_path / "old.npz")
    loaded, _, _ = make_network(again, Recipe.read(tones / "tones.toml"))
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, loaded.state_dict()[name])
    changes = ["network={kind='transducer', init='hama', stack=2}"]
    conformer, _, _ = make_network(_config(tones, *changes), Recipe.read(tones / "tones.toml"))
    assert (conformer.config.encoder, conformer.config.stack) == ("conformer", 2)
    assert conformer.config.tokens == ("<blk>", "F", "H", "L")


def test_utterances_too_short_for_their_tokens(tones, tmp_path):
    write_tones(tmp_path / "odd", 3, 7)
    text = (tmp_path / "odd" / "text").read_text().splitlines()
    (tmp_path / "odd" / "text").write_text("\n".join([*text[:2], "7-2 " + "low " * 60]) + "\n")
    source = f'data.train=["{tmp_path / "odd"}"]'
    with pytest.raises(DataError, match=r"7-2: \d+ frames, .* needs 60 \(leave these"):
        prepare(_config(tones, source), _quiet)
    lines = []
    parts = prepare(_config(tones, source, "data.drop_short=true"), lines.append)
    assert "left out 1 utterances too short for their transcript: 7-2" in lines
    assert parts.summary["utterances"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["graph=ctc.toml"], "the loss transducer does not fit the topology"),
        (["network={kind='cnn'}"], "the loss transducer does not fit the network cnn"),
        (["network.kind=cnn", "network.init=hama"], "needs either kind or init, not both"),
        (["loss.regularise=0.5"], "regularise is for losses of frames"),
        (["loss.kind=ctc"], r"\[pruned_loss\] is for the loss transducer"),
        (["pruned_loss.prune_range=1"], "prune_range must be at least 2"),
    ],
)
def test_what_does_not_go_together(tones, changes, message):
    with pytest.raises(OptionError, match=message):
        prepare(_config(tones, *changes), _quiet)


def test_stages_and_rounds_exclude_each_other(tones):
    content = (tones / "stages.toml").read_text()
    start, end = content.index("[pruned_loss]"), content.index("[spec_augment]")
    content = content[:start] + "[hybrid]\nrounds = [1]\n" + content[end:]
    (tones / "both.toml").write_text(content.replace("pruned_loss.warm_up = 0", ""))
    with pytest.raises(OptionError, match="has both"):
        _config(tones, "loss.kind=cross_entropy", name="both")
    (tones / "number.toml").write_text("stage = 1\n" + (tones / "config.toml").read_text())
    with pytest.raises(OptionError, match=r"\[\[stage\]\] must be a list of tables"):
        _config(tones, name="number")
