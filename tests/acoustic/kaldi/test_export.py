"""TDNNs written as Kaldi models: read back, decoded again, and decoded by Vosk."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from asr_hlg.acoustic import NetworkModel, nets
from asr_hlg.acoustic.kaldi.export import export_model, nnet3_of, write_folder
from asr_hlg.acoustic.kaldi.model import KaldiModel
from asr_hlg.cli import main
from asr_hlg.errors import ModelError
from asr_hlg.graph.build import build
from asr_hlg.graph.kaldi_export import KaldiGraph
from asr_hlg.graph.recipe import Recipe
from asr_hlg.transcribe import Transcriber
from tests.support.corpora import TONES

RECIPE = """
[topology]
kind = "chain"
[lexicon]
files = ["lexicon.txt"]
silence = "SIL"
[search]
search_beam = 20.0
floor = 0.0
output_beam = 8.0
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    (folder / "lexicon.txt").write_text("low L OW\nhigh H AY\noff AO F\n")
    (folder / "mine.toml").write_text(RECIPE)
    return Recipe.read(folder / "mine.toml")


@pytest.fixture(scope="module")
def graph(recipe):
    return KaldiGraph.compile(recipe)


def network_for(graph, seed=0, scale=4, **fields):
    """A TDNN with random weights, statistics and scales; its outputs differ by ``scale``."""
    torch.manual_seed(seed)
    fields = {"edges": "repeat", "dim": 24, "dilations": (1, 2), **fields}
    fbank = {"num_filters": 23, "high_freq": 3800.0}
    network = nets.create("tdnn", graph.columns, fbank=fbank, **fields)
    network.normalise_with(torch.randn(23) - 5, torch.rand(23) + 1.5)
    with torch.no_grad():
        for layer in network.layers:
            layer.convolution.weight.mul_(6)  # so that some activations are clipped
            layer.norm.weight.uniform_(0.5, 2)
            layer.norm.bias.normal_()
        network.output.weight.mul_(scale)
        # Outputs that are equally large on average, so that words vary.
        [rows] = NetworkModel(network.eval()).log_probs([sound(seed=99)])
        network.output.bias.sub_(torch.as_tensor(np.asarray(rows)).mean(0))
    return network.eval()


def sound(seconds=2.3, seed=4):
    """Tones with pauses of digital silence, in [-1, 1]."""
    random = np.random.default_rng(seed)
    pieces = [np.zeros(1600)]
    for _ in range(int(seconds / 0.4)):
        time = np.arange(4800) / 16000
        tone = 0.3 * np.sin(2 * np.pi * random.choice(list(TONES.values())) * time)
        pieces += [tone + 0.05 * random.normal(size=4800), np.zeros(1600)]
    return (np.round(32768 * np.concatenate(pieces)) / 32768).astype(np.float32)


@pytest.mark.parametrize(
    "fields",
    [
        {"subsampling": 3},
        {"subsampling": 2, "causal_layers": 1},
        {"subsampling": 1, "first_kernel": 3, "dilations": (3,)},
    ],
)
@pytest.mark.parametrize("priors", [False, True])
def test_the_network_computes_what_it_computed(graph, tmp_path, fields, priors):
    network = network_for(graph, **fields)
    if priors:
        network.priors = torch.rand(len(graph.columns)) + 0.1
    write_folder(tmp_path, graph, network, {})
    model = KaldiModel(tmp_path)
    assert model.frame_shift == pytest.approx(network.config.frame_shift)
    samples = sound()
    [found] = model.log_probs([samples])
    [expected] = NetworkModel(network).log_probs([samples])
    expected = np.asarray(expected)[:, 1:]
    if priors:
        expected = expected - np.log(network.priors.numpy()[1:])
    assert found.shape == expected.shape
    # Up to a constant for each frame: the column <eps> is not in Kaldi's softmax.
    found, expected = (rows - rows.mean(1, keepdims=True) for rows in (found, expected))
    assert np.ptp(expected, axis=0).min() > 1
    np.testing.assert_allclose(found, expected, atol=2e-2)
    assert np.median(abs(found - expected)) < 1e-3


def test_activations_are_clipped_in_the_test(graph):
    """The case that needs two rectified linear units occurs."""
    network = network_for(graph, subsampling=3)
    layer = network.layers[0].convolution
    largest = []
    layer.register_forward_hook(lambda module, inputs, output: largest.append(output.max()))
    NetworkModel(network).log_probs([sound()])
    assert max(largest) > 20


def test_the_transition_model_is_read_back(recipe, graph, tmp_path):
    write_folder(tmp_path, graph, network_for(graph), {})
    found = KaldiModel(tmp_path).transitions
    phone, state, pdf, loop_pdf = graph.tuples.T
    assert found.num_ids == 2 * len(graph.tuples)
    assert np.array_equal(found.pdf_of[1:], np.stack([loop_pdf, pdf], 1).ravel())
    assert np.array_equal(found.phone_of[1:], np.repeat(phone, 2))
    assert np.array_equal(found.state_of[1:], np.repeat(state, 2))
    assert found.is_self_loop[1:].tolist() == [True, False] * len(graph.tuples)
    assert found.is_final[1:].tolist() == [False, True] * len(graph.tuples)
    assert found.log_probs == pytest.approx(graph.log_probs, abs=1e-6)


def wav(tmp_path, seed):
    path = tmp_path / f"{seed}.wav"
    soundfile.write(path, sound(seed=seed), 16000)
    return path


VOSK = """
import json, sys, vosk, soundfile
vosk.SetLogLevel(-1)
model = vosk.Model(sys.argv[1])
for path in sys.argv[2:]:
    recogniser = vosk.KaldiRecognizer(model, 16000)
    recogniser.SetWords(True)
    recogniser.AcceptWaveform(soundfile.read(path, dtype="int16")[0].tobytes())
    print(json.dumps(json.loads(recogniser.FinalResult())))
"""


def by_vosk(folder, paths):
    """Results of Vosk, in a process of its own: its library and k2's do not get along in one."""
    if importlib.util.find_spec("vosk") is None:
        pytest.skip("vosk is not installed")
    command = [sys.executable, "-c", VOSK, str(folder), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


CONTEXT = """set loud = OW AY AO
L 0 SIL,<eps> loud L_0a
F 1 *         H,L  F_1a
"""


@pytest.mark.parametrize("kind", ["chain", "hmm", "context"])
def test_the_folder_has_the_words_of_the_model_here_and_in_vosk(recipe, tmp_path, kind):
    new = {"hmm": '"hmm"\nnum_states = 2', "context": '"chain"\ncontext = 3\ntree = "tree.txt"'}
    mine = recipe.path.with_name(f"{kind}.toml")
    mine.write_text(recipe.path.read_text().replace('"chain"', new.get(kind, '"chain"')))
    phones = ["SIL", "L", "OW", "H", "AY", "AO", "F"]
    any_context = [f"{phone} {state} * * {phone}_{state}\n" for phone in phones for state in (0, 1)]
    mine.with_name("tree.txt").write_text(CONTEXT + "".join(any_context))
    # Large differences, for which the best path is also the answer of minimum Bayes risk, Vosk's.
    columns = KaldiGraph.compile(Recipe.read(mine))
    network = network_for(columns, seed=3, scale=12, subsampling=3)
    network.save(tmp_path / "model.npz")
    folder = tmp_path / "vosk"
    arguments = ["graph", "export", str(build(Recipe.read(mine))), "--format", "kaldi"]
    model = str(tmp_path / "model.npz")
    assert main([*arguments, "--model", model, "--output", str(folder)]) == 0
    ours = Transcriber.from_graph(build(Recipe.read(mine)), model=model)
    theirs = Transcriber.from_graph(folder, model=str(folder))
    recordings = [wav(tmp_path, seed) for seed in range(4)]
    expected = [each.text for each in ours.transcribe(recordings)]
    found = list(theirs.transcribe(recordings))
    assert [each.text for each in found] == expected
    assert len(set(expected)) > 1
    for transcript, result in zip(found, by_vosk(folder, recordings), strict=True):
        assert result["text"] == transcript.text
        assert [word["word"] for word in result.get("result", [])] == transcript.text.split()


def test_what_cannot_be_written_is_refused(recipe, graph, tmp_path):
    with pytest.raises(ModelError, match="sees zeros around"):
        nnet3_of(network_for(graph, edges="zero"))
    with pytest.raises(ModelError, match="mean of utterances"):
        nnet3_of(network_for(graph, utterance_mean=True))
    other = nets.create("tdnn", ("<eps>", "a"), edges="repeat")
    with pytest.raises(ModelError, match="other outputs"):
        write_folder(tmp_path, graph, other, {})
    nets.create("blstm", graph.columns, dim=8).save(tmp_path / "blstm.npz")
    with pytest.raises(ModelError, match=r"blstm\.npz.*is not a TDNN"):
        export_model(build(recipe), str(tmp_path / "blstm.npz"), tmp_path / "out")


def test_model_and_format_go_together(capsys):
    assert main(["graph", "export", "cat_hat", "--format", "kaldi"]) == 1
    assert main(["graph", "export", "cat_hat", "--model", "x"]) == 1
    assert capsys.readouterr().err.count("--model and --format kaldi go together") == 2


def test_repeated_edges_do_not_depend_on_the_batch(graph):
    network = network_for(graph, subsampling=3)
    inputs, lengths = torch.randn(3, 37, 23), torch.tensor([37, 20, 1])
    together, frames = network(inputs, lengths)
    assert frames.tolist() == [13, 7, 1]
    for row, length in enumerate(lengths.tolist()):
        alone, count = network(inputs[row : row + 1, :length], lengths[row : row + 1])
        assert torch.allclose(together[row, : int(count)], alone[0], atol=1e-5)
        # By definition: the frames at the edges again and again, and none of zeros.
        left, right = 3 * network.left_context, 3 * network.right_context
        first, last = inputs[row, :1], inputs[row, length - 1 : length]
        long = torch.cat([first.expand(left, -1), inputs[row, :length], last.expand(right, -1)])
        wide, _ = network(long[None], torch.tensor([len(long)]))
        skipped = left // 3
        assert torch.allclose(wide[0, skipped : skipped + int(count)], alone[0], atol=1e-5)
