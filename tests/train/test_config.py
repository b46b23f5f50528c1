"""Training configs: what is understood, what is refused and how."""

from __future__ import annotations

import textwrap

import pytest

from asr_hlg.errors import OptionError
from asr_hlg.train import config
from asr_hlg.train.config import TrainingConfig

CONFIG = """
graph = "graphs/digits.toml"
[data]
train = ["a.jsonl.gz", "b.jsonl.gz"]
[augment]
speeds = [0.9, 1, 1.1]
[network]
kind = "tdnn"
fbank = {num_filters = 40}
[loss]
kind = "ctc"
[optimiser]
learning_rate = 1e-2
[training]
epochs = 7
[[test]]
name = "theo"
cuts = ["theo.jsonl.gz"]
"""


def _read(tmp_path, text, changes=()):
    path = tmp_path / "digits.toml"
    path.write_text(text)
    return TrainingConfig.read(path, changes)


def test_a_config_is_understood(tmp_path):
    config = _read(tmp_path, CONFIG)
    assert config.graph == tmp_path / "graphs/digits.toml"
    assert config.data.train == [tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"]
    assert config.data.dev == []
    assert config.augment.speeds == (0.9, 1.0, 1.1)
    assert (config.network.kind, config.network.fields) == ("tdnn", {"fbank": {"num_filters": 40}})
    assert (config.optimiser.learning_rate, config.training.epochs) == (0.01, 7)
    assert config.test[0].cuts == [tmp_path / "theo.jsonl.gz"]
    assert config.test[0].graph is None
    assert config.spec_augment is None
    assert config.task == "digits"


def test_keys_can_be_changed(tmp_path):
    changes = ["training.epochs=3", "network.kind=blstm", "search.acoustic_scale=0.5", "task = x"]
    config = _read(tmp_path, CONFIG, changes)
    assert (config.training.epochs, config.network.kind, config.task) == (3, "blstm", "x")
    assert config.search == {"acoustic_scale": 0.5}


def test_a_trained_network_to_start_from(tmp_path):
    other = CONFIG.replace('kind = "tdnn"\nfbank = {num_filters = 40}', 'init = "old/model.npz"')
    assert _read(tmp_path, other).network.init == str(tmp_path / "old/model.npz")
    hama = _read(tmp_path, other, ["network.init=hama", "loss.regularise=0.2"])
    assert hama.network.init == "hama"
    assert hama.loss.regularise == 0.2


def test_what_must_be_the_same_for_a_checkpoint(tmp_path):
    same = _read(tmp_path, CONFIG).identity()
    for change in ("search.acoustic_scale=2.0", "task=other"):
        assert _read(tmp_path, CONFIG, [change]).identity() == same
    for change in ("network.dim=64", "loader.max_duration=9", "loss.kind=lf_mmi"):
        assert _read(tmp_path, CONFIG, [change]).identity() != same


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 7", "epoch = 7", r"unknown key \[training\] epoch \(did you mean epochs\?\)"),
        ("[augment]", "[augmnt]", r"unknown key augmnt \(did you mean augment\?\)"),
        ("speeds", "sped", r"\[augment\] sped \(did you mean speeds"),
        ("epochs = 7", 'epochs = "7"', r"epochs must be an integer, not '7'"),
        ("epochs = 7", "epochs = true", "epochs must be an integer, not True"),
        ("epochs = 7", "epochs = 0", r"\[training\] epochs must be positive, not 0"),
        ("1e-2", "-1", r"learning_rate must be above 0"),
        ("0.9, 1, 1.1", "9", r"\[augment\] speeds are factors"),
        ("speeds = [0.9, 1, 1.1]", "speeds = 2", "speeds must be a list, every item a number"),
        ('kind = "ctc"', 'kind = "ct"', "kind must be one of 'ctc', 'hmm'"),
        ('kind = "ctc"', 'kind = "ctc"\nprior_scale = 1', "prior_scale belongs to the loss hmm"),
        ('kind = "ctc"', 'kind = "ctc"\nregularise = 1', "regularise must be at least 0"),
        ('kind = "tdnn"', 'init = "hama"', r"\[network\] fbank is determined by init"),
        ('kind = "tdnn"', "", "needs either kind or init"),
        ('graph = "graphs/digits.toml"', "", "graph is missing"),
        ('name = "theo"', "", r"\[test\] name is missing"),
        ('train = ["a.jsonl.gz", "b.jsonl.gz"]', "", r"\[data\] train is missing"),
        ("[loss]", "[loss", "is not a training config"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, message):
    assert old in CONFIG
    with pytest.raises(OptionError, match=message) as error:
        _read(tmp_path, CONFIG.replace(old, new))
    assert error.value.path == str(tmp_path / "digits.toml")


@pytest.mark.parametrize("change", ["training.epochs", "=3", "graph.x=1"])
def test_changes_that_cannot_be_made(tmp_path, change):
    with pytest.raises(OptionError):
        _read(tmp_path, CONFIG, [change])


def test_no_such_config(tmp_path):
    with pytest.raises(OptionError, match="there is no such training config"):
        TrainingConfig.read(tmp_path / "none.toml")


def test_the_configs_of_the_recipes_are_valid(root):
    paths = sorted((root / "scripts").glob("*/*.toml"))
    assert len(paths) >= 6
    for path in paths:
        assert TrainingConfig.read(path).graph.is_file()


def test_the_example_of_the_documentation_is_valid(tmp_path):
    example = textwrap.dedent(
        config.__doc__.partition("\n")[2].replace("Paths are", "    # Paths are")
    )
    # These belong to other losses than that of the example.
    other = ("[pruned_loss]", "prune_range", "[hybrid]", "start", "round", "[tree]", "context")
    lines = [line for line in example.splitlines() if not line.startswith(other)]
    path = tmp_path / "example.toml"
    path.write_text("\n".join(lines))
    example = TrainingConfig.read(path)
    assert (example.task, example.training.epochs, len(example.stages)) == ("digits", 20, 2)
    assert [stage.training.epochs for stage in example.stages] == [20, 5]
    assert example.stages[0].network.trainable == ("norm",)
