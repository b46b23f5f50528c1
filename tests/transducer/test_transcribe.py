"""Transducers in `Transcriber` and the command line, from recordings to transcripts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asr_hlg import Transcriber, acoustic
from asr_hlg.acoustic import NetworkModel, nets
from asr_hlg.acoustic.features import fbank
from asr_hlg.audio import recordings
from asr_hlg.cli import main
from asr_hlg.errors import GraphError, ModelError
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.build import build
from asr_hlg.graph.recipe import Recipe
from asr_hlg.lattice import io as lattice_io
from asr_hlg.output.scoring import score
from asr_hlg.rescore.passes import PassOptions
from asr_hlg.transcribe import Job, TranscribeOptions, Workers
from asr_hlg.transcribe.pieces import cut
from asr_hlg.transducer import (
    GraphOptions,
    Recogniser,
    Transducer,
    TransducerConfig,
    TransducerOptions,
    make_decoder,
    transcripts,
)
from asr_hlg.transducer.graph_search import GraphSearch

RATE = 16000
TOKENS = ("<blk>", "h", "ae", "k", "t", "n", "d")
SCALE = 0.7
ARPA = """\\data\\
ngram 1=5
ngram 2=2

\\1-grams:
-99 <s> 0
-0.5 </s>
{0}

\\2-grams:
-0.2 cat hat
-0.4 <s> and

\\end\\
"""
UNIGRAMS = {
    "first": "-0.6 cat -0.3\n-0.4 and 0\n-1.1 hat 0",
    "second": "-1.3 cat -0.1\n-0.9 and 0\n-0.3 hat 0",
}


def network_of(prediction="stateless", tokens=TOKENS) -> Transducer:
    """An untrained transducer with low-entropy outputs and a context of 9 filter-bank frames."""
    torch.manual_seed(3)
    encoder = {"dim": 16, "dilations": [1], "fbank": {"num_filters": 8}, "dropout": 0.0}
    shape = {"stack": 2, "prediction_dim": 8, "joiner_dim": 16, "prediction": prediction}
    network = Transducer(TransducerConfig(tokens, "tdnn", encoder, **shape)).eval()
    network.encoder.normalise_with(torch.full((8,), -6.0), torch.full((8,), 3.0))
    with torch.no_grad():
        network.output.weight *= 5
        network.encoder_joiner.weight *= 3
    return network


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    """Tones of changing frequency and level, with silences."""
    random = np.random.default_rng(seed)
    size = int(0.06 * RATE)
    time = np.arange(size) / RATE
    parts = [
        random.choice([0.0, 0.05, 0.4]) * np.sin(2 * np.pi * random.uniform(100, 7000) * time)
        for _ in range(round(seconds / 0.06))
    ]
    return (np.concatenate(parts) + 1e-4 * random.normal(size=size * len(parts))).astype("float32")


def recipe(folder: Path, name: str, kind: str, *more: str, order: str = "first") -> Path:
    """Compile a graph of three words."""
    (folder / "lexicon.txt").write_text("cat k ae t\nand ae n d\nhat h ae t\n")
    (folder / f"{order}.arpa").write_text(ARPA.format(UNIGRAMS[order]))
    path = folder / f"{name}.toml"
    lines = ["[topology]", f'kind = "{kind}"', "[lexicon]", 'files = ["lexicon.txt"]']
    lines += ["[lm]", f'file = "{order}.arpa"', "[search]", *more]
    path.write_text("\n".join(['acoustic_model = "models/model.npz"', *lines]) + "\n")
    return build(Recipe.read(path))


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    """A graph for transducers whose recipe names a model in a folder next to it."""
    folder = tmp_path_factory.mktemp("graphs")
    (folder / "models").mkdir()
    network_of().save(folder / "models" / "model.npz")
    return recipe(folder, "cats", "transducer", f"graph_scale = {SCALE}", "search_beam = 15.0")


@pytest.fixture(scope="module")
def wavs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wavs")
    for number, seconds in enumerate((2.4, 0.6, 4.2)):
        soundfile.write(folder / f"{number}.wav", sound(seconds, number), RATE)
    return folder


def by_definition(graph: Path, samples: np.ndarray):
    """The lattice of a recording, encoded and searched as a whole."""
    network = network_of()
    [inputs] = fbank([torch.from_numpy(samples)], RATE, network.config.fbank)
    options = TransducerOptions("graph", graph_scale=SCALE, search_beam=15.0)
    decoder = make_decoder(network, DecodingGraph.load(graph), options)
    features = network.encode(inputs[None], torch.tensor([len(inputs)]))
    return decoder.decode(network.posteriors(*features))


@pytest.mark.parametrize("search", ["viterbi", "forward"])
def test_a_recording_gives_what_the_decoder_gives(graph, wavs, tmp_path, search, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the model is found from the recipe
    options = TranscribeOptions(search, nbest=4, lattices=str(tmp_path))
    machine = Transcriber.from_graph(graph, options=options)
    for found in machine.transcribe([wavs]):
        samples, _ = soundfile.read(wavs / f"{found.id}.wav", dtype="float32")
        lattice = by_definition(graph, samples)
        forward = search == "forward"
        [expected] = transcripts(lattice, [found.id], [len(samples) / RATE], forward=forward)
        assert found.text == expected.text != ""
        assert found.score == pytest.approx(expected.score, abs=1e-3)
        assert found.duration == expected.duration
        for ours, theirs in zip(found.words, expected.words, strict=True):
            assert (ours.text, ours.start, ours.end) == (theirs.text, theirs.start, theirs.end)
            # Which of the weakest hypotheses are pruned depends on how the encoder's sums round.
            assert ours.confidence == pytest.approx(theirs.confidence, abs=0.03)
            assert 0 <= ours.start < ours.end <= found.duration + 0.06
        ranked = lattice.nbest(4, forward)[0]
        assert [a.text for a in found.alternatives] == [path.text for path in ranked]
        [stored] = lattice_io.read(tmp_path / f"{found.id}.ark")
        best = stored.best_path(machine.graph.word_names)
        assert best.text == lattice.best_path()[0].text
        assert best.score == pytest.approx(lattice.best_path()[0].score, abs=1e-2)


def test_recordings_in_a_batch_are_as_alone(graph, wavs):
    machine = Transcriber.from_graph(graph)
    found = list(recordings([wavs]))
    for together, alone in zip(
        machine.transcribe_together(found), map(machine.transcribe_one, found), strict=True
    ):
        assert (together.id, together.text) == (alone.id, alone.text)
        assert [w.start for w in together.words] == [w.start for w in alone.words]
        assert together.score == pytest.approx(alone.score, abs=1e-3)


def test_posteriors_are_those_before_anything_was_said():
    network = network_of()
    samples = torch.from_numpy(sound(1.0))
    [inputs] = fbank([samples], RATE, network.config.fbank)
    posteriors = Recogniser(network).posteriors([samples], RATE)
    with torch.no_grad():
        features, lengths = network.encode(inputs[None], torch.tensor([len(inputs)]))
        nothing = network.predicted(torch.zeros(1, 0, dtype=torch.int64))
        table = network.join(network.encoded(features), nothing)
    assert posteriors.lengths.tolist() == lengths.tolist()
    torch.testing.assert_close(posteriors.log_probs, table[:, :, 0].log_softmax(-1))
    torch.testing.assert_close(posteriors.features, features)


def test_a_long_recording_is_cut_and_its_words_go_on(graph, tmp_path, monkeypatch):
    """Windows of the encoder fit together, and each piece is searched as if it stood alone."""
    samples = sound(75.0)
    soundfile.write(tmp_path / "long.wav", samples, RATE, subtype="FLOAT")
    machine = Transcriber.from_graph(graph)
    pieces = []

    def spied(frames):
        for piece in cut(frames):
            pieces.append(piece)
            yield piece

    monkeypatch.setattr("asr_hlg.transcribe.pipeline.cut", spied)
    [found] = machine.transcribe([tmp_path / "long.wav"])
    network = network_of()
    [inputs] = fbank([torch.from_numpy(samples)], RATE, network.config.fbank)
    features, lengths = network.encode(inputs[None], torch.tensor([len(inputs)]))
    assert len(pieces) > 2
    heard = torch.cat([piece.posteriors.features for piece in pieces], 1)
    torch.testing.assert_close(heard, features, atol=1e-3, rtol=0)
    options = TransducerOptions("graph", graph_scale=SCALE, search_beam=15.0)
    decoder = make_decoder(network, machine.graph, options)
    words = []
    for piece in pieces:
        end = piece.begin + int(piece.posteriors.lengths[0])
        part = features[:, piece.begin : end]
        posteriors = network.posteriors(part, torch.tensor([part.shape[1]]))
        for word in decoder.decode(posteriors).words()[0]:
            words.append((word.text, word.start + piece.begin * 0.06))
    assert end == lengths[0]
    assert [word.text for word in found.words] == [word for word, _ in words]
    assert [word.start for word in found.words] == pytest.approx([start for _, start in words])
    assert found.words[-1].start > 70


def test_the_command_resumes_and_names_the_model(graph, wavs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    expected = {t.id: t.text for t in Transcriber.from_graph(graph).transcribe([wavs])}
    Path("broken.wav").touch()  # so that the journal stays
    command = ["transcribe", str(wavs), "broken.wav", "--graph", str(graph), "--format", "json"]
    command += ["--output", "out.jsonl", "--workers", "2"]
    assert main(command) == 1
    written = Path("out.jsonl").read_bytes()
    found = map(json.loads, written.splitlines())
    assert {entry["id"]: entry["text"] for entry in found} == expected
    lines = Path("out.jsonl.journal").read_bytes().splitlines(keepends=True)
    Path("out.jsonl.journal").write_bytes(b"".join(lines[:2]))
    Path("out.jsonl").unlink()
    # Another model by the same name would end in a mixture.
    model = graph.parent / "models" / "model.npz"
    content = model.read_bytes()
    network_of("lstm").save(model)
    assert main([*command, "--resume"]) == 1
    assert "begun with model" in capsys.readouterr().err
    assert len(Path("out.jsonl.journal").read_bytes().splitlines()) == 2
    model.write_bytes(content)
    assert main([*command, "--resume"]) == 1
    assert Path("out.jsonl").read_bytes() == written


def test_options_of_the_command_reach_the_search(graph, wavs, capsys):
    command = ["transcribe", str(wavs / "2.wav"), "--graph", str(graph), "--workers", "1"]
    counts = []
    for penalty in ("-6", "6"):
        assert main([*command, "--blank-penalty", penalty]) == 0
        counts.append(len(capsys.readouterr().out.split()))
    assert counts[0] < counts[1]
    changed = Transcriber.from_graph(graph, max_active=9, graph_scale=0.0).decoder.options
    assert changed == GraphOptions(graph_scale=0.0, search_beam=15.0, max_active=9)
    assert main([*command, "--output-beam", "3"]) == 1
    assert "unknown key [search] output_beam" in capsys.readouterr().err


def test_beams_narrow_until_the_memory_suffices(graph, wavs, monkeypatch):
    machine = Transcriber.from_graph(graph)
    tried: list[GraphOptions] = []
    search = GraphSearch.decode

    def decode(self, posteriors):
        tried.append(self.options)
        if len(tried) < 3:
            raise MemoryError
        return search(self, posteriors)

    monkeypatch.setattr(GraphSearch, "decode", decode)
    found = machine.transcribe_one(*recordings([wavs / "0.wav"]))
    assert [options.search_beam for options in tried] == pytest.approx([15.0, 12.0, 9.6])
    assert [options.max_active for options in tried] == [64, 32, 16]
    assert [options.max_contexts for options in tried] == [16, 8, 4]
    assert {options.graph_scale for options in tried} == {SCALE}
    assert "beam 9.6 and max_active 16" in found.notes[0]


def test_graph_and_model_must_fit(graph, tmp_path):
    model = graph.parent / "models" / "model.npz"
    ctc = recipe(tmp_path, "ctc", "ctc", "acoustic_scale = 0.8")
    hmm = recipe(tmp_path, "hmm", "hmm")
    for other in (ctc, hmm):
        with pytest.raises(GraphError, match=r'use one with \[topology\] kind = "transducer"'):
            Transcriber.from_graph(other, model=model)
        bare = DecodingGraph.load(other)
        bare.meta.pop("recipe")
        with pytest.raises(GraphError, match="several frames a token"):
            Transcriber(bare, Recogniser.load(model))
    framewise = nets.create("tdnn", TOKENS, dim=8, dilations=[1])
    framewise.save(tmp_path / "ctc.npz")
    with pytest.raises(GraphError, match="name a transducer with --model"):
        Transcriber.from_graph(graph, model=tmp_path / "ctc.npz")
    assert isinstance(Transcriber.from_graph(ctc, model=tmp_path / "ctc.npz").model, NetworkModel)
    with pytest.raises(ModelError, match="use it with asr-hlg transcribe"):
        acoustic.load(model)
    with pytest.raises(ModelError, match="holds no network for CTC or hybrid decoding"):
        nets.load(model)


def test_networks_that_a_graph_cannot_be_searched_with(graph, tmp_path):
    """A worker reports the error before it takes a recording."""
    network_of("lstm").save(tmp_path / "lstm.npz")
    network_of(tokens=TOKENS[:-1]).save(tmp_path / "short.npz")
    reasons = {"lstm": "use a stateless", "short": "lacks tokens of the graph: d"}
    for name, message in reasons.items():
        with pytest.raises(ModelError, match=message):
            Workers(Job(str(graph), str(tmp_path / f"{name}.npz")), 1)


@pytest.mark.parametrize("wrong", ["acoustic_scale = 1.0", "beam_size = 3", "graph_scale = -1.0"])
def test_the_recipe_is_checked(graph, tmp_path, wrong):
    folder = recipe(tmp_path, "wrong", "transducer", wrong)
    with pytest.raises(GraphError, match=rf"\[search\] {wrong.split()[0]}"):
        Transcriber.from_graph(folder, model=graph.parent / "models" / "model.npz")


@pytest.mark.parametrize("scale", [0.0, SCALE])
def test_rescoring_is_searching_with_the_other_ngram(graph, wavs, tmp_path, scale):
    """Nothing is pruned here, so both find the same paths with the same scores."""
    (tmp_path / "models").mkdir()
    other = recipe(tmp_path, "other", "transducer", order="second")
    wide = {"search_beam": 1000.0, "max_active": 10_000, "max_contexts": 1000}
    model = graph.parent / "models" / "model.npz"
    options = TranscribeOptions(nbest=5)
    passes = PassOptions(lm=str(tmp_path / "second.arpa"), lm_scale=SCALE)
    rescored = Transcriber.from_graph(
        graph, "cpu", model, TranscribeOptions(nbest=5, passes=passes), graph_scale=scale, **wide
    )
    searched = Transcriber.from_graph(other, "cpu", model, options, graph_scale=SCALE, **wide)
    [ours], [theirs] = (list(m.transcribe([wavs / "1.wav"])) for m in (rescored, searched))
    first = Transcriber.from_graph(graph, "cpu", model, options, graph_scale=scale, **wide)
    assert [a.text for a in ours.alternatives] == [a.text for a in theirs.alternatives]
    for a, b in zip(ours.alternatives, theirs.alternatives, strict=True):
        assert a.score == pytest.approx(b.score, abs=5e-3)
        assert a.graph_score == pytest.approx(b.graph_score, abs=5e-3)
    [before] = first.transcribe([wavs / "1.wav"])
    assert before.score != pytest.approx(ours.score, abs=0.1)


# ---------------------------------------------------------------- real speech


@pytest.fixture(scope="module")
def theo(root, tmp_path_factory):
    """A trained transducer, and sixty strings of digits by a speaker outside its training data."""
    model = root / ".work" / "digits" / "transducer" / "model.npz"
    manifest = root / ".work" / "fsdd" / "dev-strings.jsonl.gz"
    if not (model.is_file() and manifest.is_file()):
        pytest.skip("no trained transducer: make digits-transducer")
    recipe = Recipe.read(root / "graphs" / "digit-loop-transducer.toml")
    folder = build(recipe, tmp_path_factory.mktemp("digits"))
    machine = Transcriber.from_graph(folder, model=model)
    found = list(recordings([manifest]))[:60]
    return machine, found


@pytest.mark.real
def test_strings_of_digits_one_by_one_and_joined(theo, tmp_path):
    """Three minutes are cut in pauses: the words are those of the strings by themselves."""
    machine, found = theo
    alone = [machine.transcribe_one(recording) for recording in found]
    references = {
        recording.id: recording.manifest_entry.supervisions[0].text for recording in found
    }
    errors = score(references, {t.id: t.text for t in alone}).words
    assert errors.length > 250
    assert errors.rate < 0.02
    gap = torch.zeros(int(0.3 * RATE))
    samples = torch.cat([part for r in found for part in (r.load(RATE), gap)])
    soundfile.write(tmp_path / "joined.wav", samples.numpy(), RATE)
    [joined] = machine.transcribe([tmp_path / "joined.wav"])
    assert joined.duration > 180
    difference = score({"": " ".join(t.text for t in alone)}, {"": joined.text}).words
    assert difference.rate < 0.01
    before = sum(transcript.duration + 0.3 for transcript in alone[:-1])
    last = before + alone[-1].words[-1].start
    assert joined.words[-1].start == pytest.approx(last, abs=0.2)
