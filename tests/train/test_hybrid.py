"""Hybrid training in rounds: from transcripts alone to alignments, priors and words."""

from __future__ import annotations

import math
from itertools import groupby

import numpy as np
import pytest
import soundfile
from kaldialign import edit_distance

from asr_hlg import data
from asr_hlg.acoustic import likelihoods, nets
from asr_hlg.errors import DataError, OptionError
from asr_hlg.train.config import TrainingConfig
from asr_hlg.train.result import Result
from asr_hlg.train.run import train
from asr_hlg.transcribe import Transcriber
from tests.support.corpora import TONE_RATE
from tests.support.tone_training import CONFIG, write_corpus

RECIPE = """
[topology]
kind = "hmm"
num_states = 2
[lexicon]
files = ["lexicon.txt"]
silence = "SIL"
"""


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hybrid")
    write_corpus(folder, 40)
    (folder / "tones.toml").write_text(RECIPE)
    (folder / "ctc.toml").write_text(RECIPE.replace('"hmm"\nnum_states = 2', '"ctc"'))
    (folder / "config.toml").write_text(
        CONFIG.replace('kind = "ctc"', 'kind = "cross_entropy"') + "[hybrid]\nrounds = [3, 8]\n"
    )
    return folder


def _config(tones, *changes):
    return TrainingConfig.read(tones / "config.toml", changes)


def test_rounds_of_alignment_and_training(tones, tmp_path):
    result = train(_config(tones), tmp_path / "run", report=lambda line: None)
    assert (result.epochs, result.model, result.loss) == (11, "run", "cross_entropy")
    # The same tone twice is hard to tell from a long one.
    assert result.tests["other"].rate < 0.2
    cuts = [data.cuts(tmp_path / "run" / f"round-{n}" / "aligned.jsonl.gz") for n in (1, 2)]
    network = nets.load(tmp_path / "run" / "model.npz")
    columns = {name: k for k, name in enumerate(network.config.tokens)}

    def labels(cut):
        frames = math.ceil(round(cut.duration / 0.01) / network.config.subsampling)
        return data.frame_labels(cut, columns, network.config.frame_shift, frames).tolist()

    # What the recipe's model divides by is what the last alignment counted.
    counted = likelihoods.count_priors([labels(cut) for cut in cuts[1]], len(columns))
    np.testing.assert_allclose(network.priors, counted, rtol=1e-5)
    # A tone lasts a quarter of a second: alignment must find where the words change. The middle
    # of every tone belongs to its word, which evenly divided silence at the ends does not give.
    right = [0, 0]
    for which in (0, 1):
        for cut in cuts[which]:
            found = labels(cut)
            for place, word in enumerate(data.text_of(cut).split()):
                middle = round((place + 0.5) * 0.25 / network.config.frame_shift)
                phone = {"low": "L", "high": "H", "off": "F"}[word]
                name = network.config.tokens[found[min(middle, len(found) - 1)]]
                right[which] += name.startswith(phone)
    words = sum(len(data.text_of(cut).split()) for cut in cuts[0])
    assert right[1] > 0.8 * words  # where one tone follows itself, the border is anywhere
    assert right[1] >= right[0]


def test_a_finished_round_is_not_done_again(tones, tmp_path):
    config = _config(tones, "hybrid.rounds=[1,1]")
    train(config, tmp_path / "run", report=lambda line: None)
    first = tmp_path / "run" / "round-1" / "model.npz"
    before, time = first.read_bytes(), first.stat().st_mtime_ns
    whole = (tmp_path / "run" / "model.npz").read_bytes()
    for path in (tmp_path / "run" / "round-2").glob("*.*"):
        path.unlink()
    train(config, tmp_path / "run", report=lambda line: None)
    assert (first.read_bytes(), first.stat().st_mtime_ns) == (before, time)
    assert (tmp_path / "run" / "model.npz").read_bytes() == whole


def test_a_start_without_alignments(tones, tmp_path):
    config = _config(tones, "hybrid.start=full_sum", "hybrid.rounds=[8,4]")
    result = train(config, tmp_path / "run", report=lambda line: None)
    assert result.tests["other"].rate < 0.2
    first = Result.read(tmp_path / "run" / "round-1" / "result.json")
    assert (first.loss, result.loss) == ("hmm", "cross_entropy")
    assert not (tmp_path / "run" / "round-1" / "aligned.jsonl.gz").exists()


def test_what_does_not_go_together(tones, tmp_path):
    with pytest.raises(OptionError, match="topology of CTC"):
        train(_config(tones, "graph=ctc.toml"), tmp_path / "a")
    with pytest.raises(OptionError, match="cross_entropy"):
        _config(tones, "loss.kind=hmm")
    with pytest.raises(OptionError, match="rounds"):
        _config(tones, "hybrid.rounds=[0]")


def test_utterances_too_short_for_their_states_are_named(tones, tmp_path):
    short = tmp_path / "short"
    short.mkdir()
    soundfile.write(short / "brief.wav", 0.1 * np.ones(TONE_RATE // 20), TONE_RATE)
    (short / "text").write_text("brief low high off\n")
    changes = [f'data.train=["train", "{short}"]', "hybrid.rounds=[1]"]
    with pytest.raises(DataError, match=r"brief: \d+ frames"):
        train(_config(tones, *changes), tmp_path / "a", report=lambda line: None)
    lines: list[str] = []
    config = _config(tones, *changes, "data.drop_short=true")
    train(config, tmp_path / "b", report=lines.append)
    assert any("brief" in line and "left out 1" in line for line in lines)


def test_a_tree_is_grown_and_its_leaves_are_trained(tones, tmp_path):
    (tones / "questions.txt").write_text("set tone = L H\n")
    config = _config(
        tones,
        "hybrid.rounds=[3,8,2,2]",
        "tree.round=3",
        "tree.questions=questions.txt",
        "tree.min_frames=20",
        "tree.min_gain=5",
        "tree.max_leaves=20",
    )
    lines: list[str] = []
    result = train(config, tmp_path / "run", report=lines.append)
    assert any("pdfs in context" in line for line in lines)
    assert result.tests["other"].length == 24
    network = nets.load(tmp_path / "run" / "model.npz")
    table = (tmp_path / "run" / "tree.txt").read_text()
    rows = [line.split() for line in table.splitlines() if line[0] not in "#s"]
    assert set(network.config.tokens) == {"<eps>", *(row[4] for row in rows)}
    assert 9 < len(network.config.tokens) <= 21
    assert len([row for row in rows if row[0] == "SIL"]) == 2  # silence depends on nothing
    # Later rounds align with the tree; a user decodes with the graph that was compiled with it.
    cuts = data.cuts(tmp_path / "run" / "round-4" / "aligned.jsonl.gz")
    names = {item.symbol for cut in cuts for item in cut.supervisions[0].alignment["pdf"]}
    assert names <= set(network.config.tokens)
    assert any("." in name for name in names)
    transcriber = Transcriber.from_graph(
        tmp_path / "run" / "graphs" / "tones", model=tmp_path / "run" / "model.npz"
    )
    # Whether a long tone is the same word twice is chance; which tones there are is not.
    spoken = {cut.id: _without_repeats(data.text_of(cut)) for cut in data.cuts(tones / "dev")}
    found = transcriber.transcribe(sorted((tones / "dev").glob("*.wav")))
    pairs = [(spoken[each.id], _without_repeats(each.text)) for each in found]
    wrong = sum(edit_distance(*pair)["total"] for pair in pairs)
    assert wrong < 0.2 * sum(map(len, spoken.values()))


def _without_repeats(text: str) -> list[str]:
    return [word for word, _ in groupby(text.split())]


def test_what_a_tree_needs(tones):
    with pytest.raises(OptionError, match="round is at least 2"):
        _config(tones, "tree.round=1")
    with pytest.raises(OptionError, match="context is 2 or 3"):
        _config(tones, "tree.context=1")
    text = (tones / "config.toml").read_text()
    (tones / "without.toml").write_text(text.split("[hybrid]")[0] + "[tree]\n")
    with pytest.raises(OptionError, match="needs the rounds"):
        TrainingConfig.read(tones / "without.toml")
