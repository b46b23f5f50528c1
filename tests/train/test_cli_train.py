"""`asr-hlg train`: from recordings and a config to a model that transcribes."""

from __future__ import annotations

import importlib
import json
import sys

import numpy as np
import pytest
import torch
from lhotse import CutSet

from asr_hlg import acoustic, data
from asr_hlg.acoustic import likelihoods, nets
from asr_hlg.cli import main
from asr_hlg.errors import AsrHlgError, DataError, LexiconError, OptionError, TrainingError
from asr_hlg.losses import CrossEntropy
from asr_hlg.output.scoring import Errors
from asr_hlg.train import FrameObjective, checks
from asr_hlg.train.config import TrainingConfig
from asr_hlg.train.prepare import prepare
from asr_hlg.train.result import Result
from asr_hlg.train.run import train
from tests.support.corpora import write_tones
from tests.support.tone_training import CONFIG, RECIPE, write_corpus


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """A folder with a corpus, a recipe and a config; tests write only below new names."""
    folder = tmp_path_factory.mktemp("tones")
    write_corpus(folder, 60)
    (folder / "tones.toml").write_text(RECIPE)
    (folder / "config.toml").write_text(CONFIG)
    return folder


def _config(tones, *changes):
    return TrainingConfig.read(tones / "config.toml", changes)


def test_from_recordings_to_words(tones, tmp_path, capsys):
    output = tmp_path / "out"
    arguments = ["train", str(tones / "config.toml"), "--output", str(output)]
    assert main([*arguments, "--set", "training.epochs=12"]) == 0
    shown = capsys.readouterr().err
    assert "cnn: " in shown
    assert " parameters, 4 tokens, a frame every 20 ms" in shown
    assert "training data: 60 utterances" in shown
    assert f"the model is {output / 'model.npz'}" in shown

    result = Result.read(output / "result.json")
    assert result.tests["dev"].rate < 0.1
    assert result.tests["other"] == result.tests["dev"]
    assert (result.network, result.loss, result.task) == ("cnn", "ctc", "config")
    assert result.parameters == nets.load(output / "model.npz").num_parameters
    assert json.loads((output / "config.json").read_text())["training"]["epochs"] == 12

    model = acoustic.load(output)
    assert model.tokens == ("<blk>", "F", "H", "L")
    dev = [str(tones / "dev"), "--graph", str(tones / "tones"), "--model", str(output)]
    assert main(["transcribe", *dev, "--ref", str(tones / "dev" / "text"), "--quiet"]) == 0
    recognised = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    references = dict(
        line.split(" ", 1) for line in (tones / "dev" / "text").read_text().splitlines()
    )
    errors = sum(recognised[id].split() != text.split() for id, text in references.items())
    assert errors <= result.tests["dev"].total

    # Once more: nothing is left to train, and the same comes out.
    before = (output / "model.npz").read_bytes()
    assert main([*arguments, "--set", "training.epochs=12"]) == 0
    assert "continuing from checkpoint" in capsys.readouterr().err
    assert (output / "model.npz").read_bytes() == before
    assert main([*arguments, "--set", "network.dim=16"]) == 1
    assert "was trained with network.dim = 64, now it is 16" in capsys.readouterr().err


def test_the_same_config_gives_the_same_bytes(tones, tmp_path):
    changes = ["training.epochs=2", "augment.speeds=[0.9, 1.0, 1.1]", "augment.noise=0.5"]
    files = []
    for name in ("a", "b"):
        train(_config(tones, *changes), tmp_path / name, report=lambda line: None)
        files.append((tmp_path / name / "model.npz").read_bytes())
    assert files[0] == files[1]


def _objective(tones, *changes):
    return prepare(_config(tones, *changes), lambda line: None).objective


@pytest.mark.parametrize(
    ("changes", "loss"),
    [
        (["loss.kind=lf_mmi"], "LfMmi"),
        (["graph=hmm.toml", "loss.kind=hmm", "loss.prior_momentum=0.9"], "HmmFullSum"),
        (["graph=hmm.toml", "loss.kind=lf_mmi"], "LfMmi"),
    ],
)
def test_losses(tones, tmp_path, changes, loss):
    recipe = RECIPE.replace('"ctc"', '"hmm"\nnum_states = 2')
    (tones / "hmm.toml").write_text(recipe)
    assert type(_objective(tones, *changes).loss).__name__ == loss
    result = train(_config(tones, *changes, "training.epochs=2"), tmp_path, report=lambda _: None)
    losses = [
        entry["loss"]
        for entry in map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
        if entry["kind"] == "epoch"
    ]
    assert losses[1] < losses[0]
    assert result.tests["dev"].length > 0
    if loss == "HmmFullSum":  # what the loss learnt goes into the model, for decoding
        priors = acoustic.load(tmp_path).priors
        assert priors is not None
        assert float(priors.std()) > 0


def test_in_bfloat16_the_loss_falls_as_in_float32(tones, tmp_path):
    losses = {}
    for precision in ("float32", "bfloat16"):
        config = _config(tones, "training.epochs=2", f"training.precision={precision}")
        train(config, tmp_path / precision, report=lambda _: None)
        lines = (tmp_path / precision / "log.jsonl").read_text().splitlines()
        epochs = [entry for entry in map(json.loads, lines) if entry["kind"] == "epoch"]
        losses[precision] = [entry["loss"] for entry in epochs]
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"][1] < losses["bfloat16"][0]
    tolerance = 0.2 * losses["float32"][0]
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0, atol=tolerance)


def test_cross_entropy_needs_alignments_and_counts_priors(tones, tmp_path):
    changes = ["loss.kind=cross_entropy"]
    with pytest.raises(DataError, match="has no alignment"):
        _objective(tones, *changes)
    network = _objective(tones).network
    names = network.config.tokens
    cuts = []
    for cut in data.cuts(tones / "train"):
        letters = [word[0].upper() if word != "off" else "F" for word in data.text_of(cut).split()]
        labels = np.repeat([names.index(letter) for letter in letters], 12)
        cuts.append(data.with_alignment(cut, labels, names, 0.02))
    CutSet(cuts).to_file(tmp_path / "cuts.jsonl.gz")
    source = f'data.train=["{tmp_path / "cuts.jsonl.gz"}"]'
    parts = prepare(_config(tones, *changes, source), lambda line: None)
    assert isinstance(parts.objective.loss, CrossEntropy)
    expected = likelihoods.count_priors(
        [row.tolist() for row in checks.alignments(parts.objective.network, CutSet(cuts))], 4
    )
    np.testing.assert_allclose(parts.objective.network.priors, expected, rtol=1e-6)
    config = _config(tones, *changes, source, "training.epochs=2")
    train(config, tmp_path / "out", report=lambda line: None)
    np.testing.assert_allclose(acoustic.load(tmp_path / "out").priors, expected, rtol=1e-6)


def test_features_are_normalised_over_the_training_data(tones):
    parts = prepare(_config(tones), lambda line: None)
    parts.batches.set_epoch(0)
    rows = [
        row[:length]
        for batch in parts.batches
        for row, length in zip(batch.inputs, batch.lengths.tolist(), strict=True)
    ]
    together = torch.cat(rows)
    network = parts.objective.network
    torch.testing.assert_close(network.mean, together.mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network.std, together.std(0), rtol=1e-4, atol=1e-4)


# ---- adaptation


def test_adaptation_goes_on_from_a_model_and_keeps_its_tokens(tones, tmp_path):
    config = _config(tones, "training.epochs=2")
    train(config, tmp_path / "first", report=lambda line: None)
    changed = (tones / "config.toml").read_text()
    head, rest = changed.split("[network]")
    rest = rest[rest.index("[loss]") :]
    path = tones / "adapt.toml"
    path.write_text(f'{head}[network]\ninit = "{tmp_path / "first" / "model.npz"}"\n{rest}')
    adapted = TrainingConfig.read(path, ["training.epochs=1", "loss.regularise=0.5"])
    parts = prepare(adapted, lambda line: None)
    old = nets.load(tmp_path / "first" / "model.npz")
    for name, tensor in parts.objective.network.state_dict().items():
        torch.testing.assert_close(tensor, old.state_dict()[name])
    train(adapted, tmp_path / "second", report=lambda line: None)
    assert acoustic.load(tmp_path / "second").tokens == acoustic.load(tmp_path / "first").tokens


def test_regularisation_is_the_divergence_from_the_older_network(tones):
    parts = prepare(_config(tones), lambda line: None)
    network, loss = parts.objective.network, parts.objective.loss
    objective = FrameObjective(network, loss, regularise=0.3).train()
    assert objective.network.training
    assert not objective.original.training
    parts.batches.set_epoch(0)
    batch = next(iter(parts.batches))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        network.eval()
        new, lengths = network(batch.inputs, batch.lengths)
        old, _ = objective.original(batch.inputs, batch.lengths)
        losses = objective(batch)
        plain = loss(new, lengths, batch.texts)
    for index, length in enumerate(lengths.tolist()):
        divergence = torch.distributions.kl_divergence(
            torch.distributions.Categorical(logits=old[index, :length]),
            torch.distributions.Categorical(logits=new[index, :length]),
        ).sum()
        assert divergence > 0
        assert float(losses[index]) == pytest.approx(
            0.7 * float(plain[index]) + 0.3 * float(divergence), rel=1e-4
        )
    assert all(not p.requires_grad for p in objective.original.parameters())


# ---- what is wrong is found before training


def test_words_that_the_lexicon_lacks(tones, tmp_path):
    write_tones(tmp_path / "odd", 3, 7)
    text = (tmp_path / "odd" / "text").read_text().splitlines()
    (tmp_path / "odd" / "text").write_text("\n".join([*text[:2], "7-2 low loud"]) + "\n")
    with pytest.raises(LexiconError, match=r"7-2: .*loud.*add the words to the lexicon"):
        _objective(tones, f'data.train=["{tmp_path / "odd"}"]')


def test_utterances_too_short_for_their_transcript(tones, tmp_path):
    write_tones(tmp_path / "odd", 3, 7)
    text = (tmp_path / "odd" / "text").read_text().splitlines()
    (tmp_path / "odd" / "text").write_text("\n".join([*text[:2], "7-2 " + "low " * 60]) + "\n")
    source = f'data.train=["{tmp_path / "odd"}"]'
    with pytest.raises(AsrHlgError, match=r"7-2: \d+ frames, .* needs 119 \(leave these"):
        _objective(tones, source)
    lines = []
    parts = prepare(_config(tones, source, "data.drop_short=true"), lines.append)
    assert "left out 1 utterances too short for their transcript: 7-2" in lines
    assert parts.summary["utterances"] == 2


def test_speed_perturbation_counts_against_short_utterances(tones):
    network = _objective(tones).network
    cuts = data.cuts(tones / "train")
    plain = list(checks.frames(network, cuts))
    fast = list(checks.frames(network, cuts, fastest=1.25))
    for before, after, cut in zip(plain, fast, cuts, strict=True):
        assert before == int(network.output_lengths(torch.tensor([round(cut.duration * 100)]))[0])
        assert after == pytest.approx(before / 1.25, abs=1)


def test_frames_are_counted_as_they_come(tones):
    parts = prepare(_config(tones), lambda line: None)
    network = parts.objective.network
    cuts = {cut.id: cut for cut in data.cuts(tones / "train")}
    parts.batches.set_epoch(0)
    for batch in parts.batches:
        _, lengths = network(batch.inputs, batch.lengths)
        for id, length in zip(batch.ids, lengths.tolist(), strict=True):
            assert next(checks.frames(network, [cuts[id]])) == length


def test_an_empty_set_and_ids_that_occur_twice(tones, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(AsrHlgError, match="none"):
        _objective(tones, f'data.train=["{tmp_path / "none"}"]')
    with pytest.raises(DataError, match=r"'1-\d+' is listed twice"):
        _objective(tones, 'data.train=["train", "train"]')
    with pytest.raises(DataError, match="no cuts"):
        _objective(tones, "data.train=[]")


def test_losses_and_topologies_that_do_not_go_together(tones):
    with pytest.raises(OptionError, match="the loss hmm does not fit the topology"):
        _objective(tones, "loss.kind=hmm")


def test_a_network_without_the_lexicons_tokens(tones, tmp_path):
    nets.create("cnn", ("<blk>", "L", "H"), channels=4, dim=8).save(tmp_path / "other.npz")
    text = (tones / "config.toml").read_text()
    head, rest = text.split("[network]")
    path = tones / "tokens.toml"
    path.write_text(
        f'{head}[network]\ninit = "{tmp_path / "other.npz"}"\n{rest[rest.index("[loss]") :]}'
    )
    with pytest.raises(LexiconError, match="phone 'F' of word 'off' is not among the tokens"):
        prepare(TrainingConfig.read(path), lambda line: None)


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = capsys.readouterr().out
    for word in ("--set", "torchrun", "[optimiser]", "continues from the last checkpoint"):
        assert word in shown


def test_errors_are_one_line(tones, tmp_path, capsys):
    arguments = ["train", str(tones / "config.toml"), "--output", str(tmp_path)]
    assert main([*arguments, "--set", "training.epoch=2"]) == 1
    error = capsys.readouterr().err
    assert "did you mean epochs?" in error
    assert error.count("\n") == 1


# ---- results


def _result(**fields):
    return Result(
        **{
            "task": "digits",
            "model": "blstm",
            "network": "blstm",
            "loss": "ctc",
            "parameters": 1234567,
            "tests": {"dev": Errors(1, 2, 3, 120)},
            "epochs": 3,
            "wall_seconds": 90.0,
            "cpu_seconds": 170.0,
            "threads": 2,
            **fields,
        }
    )


def test_results_are_read_as_they_were_written(tmp_path):
    result = _result()
    assert Result.read(result.write(tmp_path)) == result
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["tests"]["dev"]["wer"] == pytest.approx(0.05)
    assert written["versions"]["torch"] == torch.__version__.split("+")[0]
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(TrainingError, match="is not a result"):
        Result.read(tmp_path / "result.json")


def test_tables_are_written_from_results(root, tmp_path, monkeypatch, capsys):
    _result().write(tmp_path / "runs" / "a")
    tests = {"seen": Errors(0, 0, 1, 200), "strings": Errors(0, 0, 0, 10)}
    other = _result(model="another", tests=tests, device="H100", processes=2)
    other.write(tmp_path / "runs" / "deep" / "b")
    _result(task="something else").write(tmp_path / "runs" / "c")
    page = tmp_path / "page.md"
    before = "# Title\n<!-- results:digits -->\nold\n<!-- /results:digits -->\nrest\n"
    page.write_text(before)

    monkeypatch.syspath_prepend(str(root / "scripts"))
    results = importlib.import_module("results")

    def script(*more):
        arguments = ["digits", "--file", str(page), "--runs", str(tmp_path / "runs"), *more]
        monkeypatch.setattr(sys, "argv", ["results.py", *arguments])
        return results.main()

    assert script("--check") == 1
    assert page.read_text() == before
    assert script() == 0
    assert page.read_text().splitlines() == [
        "# Title",
        "<!-- results:digits -->",
        "| model | network | loss | parameters | seen | strings | CPU time | training |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| another | blstm | ctc | 1,234,567 | 0.5 % (1 of 200) | 0.0 % (0 of 10) "
        "| 2.8 min | 1.5 min on 2 H100 |",
        "| blstm | blstm | ctc | 1,234,567 |  |  | 2.8 min | 1.5 min on 2 CPU threads |",
        "<!-- /results:digits -->",
        "rest",
    ]
    assert script("--check") == 0
    page.write_text("no markers")
    assert script() == 1
    assert "lacks the lines <!-- results:digits -->" in capsys.readouterr().err


def test_only_the_named_weights_change(tones, tmp_path):
    changes = ['network.trainable=["norm"]', "training.epochs=1"]
    objective = prepare(_config(tones, *changes), lambda line: None).objective
    before = {name: weight.detach().clone() for name, weight in objective.named_parameters()}
    train(_config(tones, *changes), tmp_path, report=lambda line: None)
    after = dict(nets.load(tmp_path / "model.npz").named_parameters())
    changed = {name for name in after if not torch.equal(before[f"network.{name}"], after[name])}
    assert changed == {name for name in after if "norm" in name}
    with pytest.raises(OptionError, match="no weight's name contains nom"):
        prepare(_config(tones, 'network.trainable=["nom"]'), lambda line: None)
