"""Alignments against enumeration, on posteriors of known labels, and on speech."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_hlg import cli
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.align import Aligner, NoGuesses, Script, align_recordings
from asr_hlg.align.matching import match
from asr_hlg.audio import recordings
from asr_hlg.errors import AsrHlgError, GraphError, LexiconError
from asr_hlg.graph import DecodingGraph, compile_hlg, topology
from asr_hlg.graph.build import build
from asr_hlg.graph.recipe import Recipe
from tests.support.brute_force import ctc_alignments, hmm_alignments, path_scores
from tests.support.tiny_lexicon import make_lexicon, random_log_probs, readings


def random_posteriors(tokens, num_frames, seed) -> Posteriors:
    log_probs = random_log_probs(num_frames, len(tokens), seed).float()
    return Posteriors(log_probs, torch.tensor([num_frames], dtype=torch.int32), 0.5, tuple(tokens))


def best_reading(words, log_probs, ids, silence):
    """Score, labels and tokens of the best path, by enumeration."""
    best = (-math.inf, None, None)
    for tokens, score in readings(words, silence):
        labels = [ids[name] for name, _ in tokens]
        paths = ctc_alignments(labels, len(log_probs))
        if paths:
            scores = path_scores(log_probs, paths)
            top = int(scores.argmax())
            if score + scores[top] > best[0]:
                best = (score + scores[top], paths[top], tokens)
    return best


def runs(path) -> list[tuple[int, int]]:
    """Frames [start, end) of every token of a CTC path."""
    starts = [t for t, x in enumerate(path) if x and (t == 0 or path[t - 1] != x)]
    return [
        (s, next((t for t in range(s, len(path)) if path[t] != path[s]), len(path))) for s in starts
    ]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("text", ["cat at", "at kit", "at at cat"])
def test_the_best_of_all_pronunciations_is_found(text, seed):
    silence = seed % 2 == 0
    lexicon = make_lexicon("SIL" if silence else None)
    tokens = [lexicon.tokens[i] for i in range(lexicon.num_tokens)]
    posteriors = random_posteriors(tokens, 8, seed)
    log_probs = posteriors.log_probs[0].double().numpy()
    words = text.split()
    score, path, tokens_of_path = best_reading(words, log_probs, lexicon.tokens, silence)

    aligner = Aligner(topology.ctc(len(tokens)), lexicon)
    assert aligner.labels(posteriors, text).tolist() == list(path)
    found = aligner.align("x", posteriors, text)
    assert found.score == pytest.approx(score, abs=1e-4)
    assert (found.id, found.text, found.duration) == ("x", text, 4.0)
    frames = [
        (name, word, span) for (name, word), span in zip(tokens_of_path, runs(path), strict=True)
    ]
    assert [(p.text, p.start, p.end) for p in found.phones] == [
        (name, 0.5 * begin, 0.5 * end) for name, word, (begin, end) in frames if word is not None
    ]
    spans = [[span for _, word, span in frames if word == number] for number in range(len(words))]
    assert [(w.text, w.start, w.end) for w in found.words] == [
        (word, 0.5 * mine[0][0], 0.5 * mine[-1][1]) for word, mine in zip(words, spans, strict=True)
    ]
    # Confidences by their definition: the gaps of the frames between a word's neighbours.
    gap = log_probs.max(axis=1) - log_probs[np.arange(len(path)), path]
    for number, word in enumerate(found.words):
        begin = spans[number - 1][-1][1] if number else 0
        end = spans[number + 1][0][0] if number + 1 < len(words) else len(path)
        by_hand = math.exp(-gap[begin:end].sum() / len(spans[number]))
        assert word.confidence == pytest.approx(by_hand, abs=1e-5)
    for phone, (begin, end) in zip(
        found.phones, (s for _, w, s in frames if w is not None), strict=True
    ):
        assert phone.confidence == pytest.approx(math.exp(-gap[begin:end].sum()), abs=1e-5)


def test_hidden_markov_models():
    """The same H as in decoding, here one with two states a phone."""
    lexicon = make_lexicon(None)
    H = topology.hmm(lexicon.num_tokens - 1, 2)
    columns = topology.column_names(H, [lexicon.tokens[i] for i in range(lexicon.num_tokens)])
    posteriors = random_posteriors(columns, 12, 3)
    log_probs = posteriors.log_probs[0].double().numpy()
    score, pdfs = max(
        (path_scores(log_probs, [pdfs])[0] + 12 * math.log(0.5) + score, pdfs)
        for tokens, score in readings(["cat", "kit"], silence=False)
        for pdfs, _ in hmm_alignments([lexicon.tokens[name] for name, _ in tokens], 12, 2)
    )
    aligner = Aligner(H, lexicon)
    assert aligner.labels(posteriors, "cat kit").tolist() == list(pdfs)
    found = aligner.align("x", posteriors, "cat kit")
    assert found.score == pytest.approx(score, abs=1e-4)
    phones = [(pdf - 1) // 2 for pdf in pdfs]  # none follows itself here
    changes = [0, *(t for t in range(1, 12) if phones[t] != phones[t - 1]), 12]
    assert [p.start for p in found.phones] == [0.5 * t for t in changes[:-1]]
    assert [p.end for p in found.phones] == [0.5 * t for t in changes[1:]]


def test_labels_of_a_hybrid_model_are_those_of_its_likelihoods():
    lexicon = make_lexicon()
    tokens = [lexicon.tokens[i] for i in range(lexicon.num_tokens)]
    columns = topology.column_names(topology.hmm(len(tokens) - 1), tokens)
    aligner = Aligner(topology.hmm(len(tokens) - 1), lexicon)
    posteriors = random_posteriors(columns, 20, 0)
    priors = torch.linspace(0.01, 0.2, len(columns))
    scores, lengths = posteriors.log_probs, posteriors.lengths
    hybrid = Posteriors(scores, lengths, 0.5, posteriors.tokens, priors)
    likelihoods = posteriors.with_scores(scores - priors.log())
    labels = aligner.labels(hybrid, "cat at")
    assert labels.dtype == torch.int64
    assert torch.equal(labels, aligner.labels(likelihoods, "cat at"))
    assert not torch.equal(labels, aligner.labels(posteriors, "cat at"))
    # The order of the model's columns does not matter.
    backwards = list(range(len(columns)))[::-1]
    turned = Posteriors(
        hybrid.log_probs[:, :, backwards],
        hybrid.lengths,
        hybrid.frame_shift,
        tuple(columns[i] for i in backwards),
        priors[backwards],
    )
    assert torch.equal(labels, aligner.labels(turned, "cat at"))
    assert set(aligner.labels(hybrid, "").tolist()) <= {1, 2, 3}  # only silence


def posteriors_of(frames: str, tokens, sure=0.97) -> Posteriors:
    """Posteriors with one nearly certain token a frame, ``.`` for blank."""
    others = math.log((1 - sure) / (len(tokens) - 1))
    log_probs = torch.full((1, len(frames), len(tokens)), others)
    for t, symbol in enumerate(frames):
        log_probs[0, t, 0 if symbol == "." else tokens.index(symbol)] = math.log(sure)
    return Posteriors(log_probs, torch.tensor([len(frames)], dtype=torch.int32), 0.5, tuple(tokens))


def test_words_that_the_recording_lacks_have_low_confidence():
    lexicon = make_lexicon()
    tokens = [lexicon.tokens[i] for i in range(lexicon.num_tokens)]
    aligner = Aligner(topology.ctc(len(tokens)), lexicon)
    posteriors = posteriors_of(".k.t..t..k.i.t.", tokens)

    def confidences(text):
        return [word.confidence for word in aligner.align("x", posteriors, text).words]

    assert confidences("cat at kit") == pytest.approx([1, 1, 1])
    assert [c > 0.5 for c in confidences("cat at cat")] == [True, True, False]  # an i too many
    assert [c > 0.5 for c in confidences("kit at kit")] == [False, True, True]  # an i too few
    # A word that the transcript lacks lowers the confidence of its neighbours.
    assert max(confidences("cat kit")) < 0.5


def test_errors_of_transcripts_that_cannot_be_aligned():
    lexicon = make_lexicon()
    tokens = [lexicon.tokens[i] for i in range(lexicon.num_tokens)]
    aligner = Aligner(topology.ctc(len(tokens)), lexicon)
    with pytest.raises(AsrHlgError, match="3 frames are too few for 2 words of 4 phones or more"):
        aligner.align("x", posteriors_of("k.t", tokens), "cat cat")
    with pytest.raises(LexiconError, match="no pronunciation for dog, cow"):
        aligner.align("x", posteriors_of("k.t", tokens), "dog cat cow dog")
    with pytest.raises(AsrHlgError, match="3 frames are too few for 2 words of 4 phones or more"):
        aligner.labels(posteriors_of("k.t", tokens), "cat cat")
    with pytest.raises(LexiconError, match="no pronunciation for dog"):
        aligner.labels(posteriors_of("k.t", tokens), "dog cat")
    nothing = aligner.align("x", posteriors_of("k.t", tokens), " ")
    assert (nothing.words, nothing.phones, nothing.text, nothing.duration) == ([], [], "", 1.5)
    # Two equal phones need a blank between them, which four frames leave room for.
    assert len(aligner.align("x", posteriors_of("t..t", tokens), "at at").words) == 2


def test_phones_as_words():
    lexicon = make_lexicon()
    tokens = [lexicon.tokens[i] for i in range(lexicon.num_tokens)]
    found = Aligner(topology.ctc(len(tokens)), lexicon).align(
        "x", posteriors_of("k.t.", tokens), "cat"
    )
    phones = found.phone_transcript()
    assert (phones.id, phones.text, phones.duration) == ("x", "k t", 2.0)
    assert phones.words == found.phones


RECIPE = """
[topology]
kind = "ctc"
[lexicon]
files = ["lexicon.txt"]
silence = "SIL"
[lm]
file = "lm.arpa"
"""
ARPA = "\\data\\\nngram 1=3\n\n\\1-grams:\n-9 <s>\n-0.3 </s>\n-0.3 cat\n\n\\end\\\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A graph whose language model has fewer words than its lexicon."""
    path = tmp_path_factory.mktemp("align")
    (path / "lexicon.txt").write_text("cat k t\nkit k i t\ncat k i\n")
    (path / "lm.arpa").write_text(ARPA)
    (path / "mine.toml").write_text(RECIPE)
    return build(Recipe.read(path / "mine.toml"))


class LettersAsPhones:
    """Grapheme-to-phoneme model whose phones are the letters; it refuses digits."""

    def pronounce(self, word: str) -> tuple[str, ...]:
        if word.isdigit():
            raise LexiconError("a number")
        return tuple(word)


def test_pronunciations_come_from_graph_then_recipe_then_guesses(folder):
    words = ["cat", "tik", "kit", "7", "tok", "cat"]
    aligner, guesses = Aligner.from_graph(folder, words, LettersAsPhones())
    assert aligner.lexicon.pronunciations("cat") == [("k", "t"), ("k", "i")]
    assert (
        "kit" not in DecodingGraph.load(folder).words
    )  # the recipe's file has it, the graph does not
    tokens = list(aligner.columns)
    assert aligner.lexicon.pronunciations("kit") == [("k", "i", "t")]
    assert guesses.pronunciations == {"tik": ("t", "i", "k")}
    assert guesses.left_out == {"7": "a number", "tok": "the acoustic model has no 'o'"}
    alignment = aligner.align("x", posteriors_of("t.i.k..k.i", tokens), "tik cat")
    assert [word.confidence > 0.9 for word in alignment.words] == [True, True]
    with pytest.raises(LexiconError, match="no pronunciation for tok"):
        aligner.align("x", posteriors_of("k.t", tokens), "cat tok")

    _, guesses = Aligner.from_graph(folder, words, NoGuesses())
    assert set(guesses.left_out) == {"tik", "7", "tok"}
    nothing, guesses = Aligner.from_graph(folder, ["7"], LettersAsPhones())
    assert set(guesses.left_out) == {"7"}
    with pytest.raises(LexiconError, match="no pronunciation for 7"):
        nothing.align("x", posteriors_of("k.t", tokens), "7")


def test_a_graph_without_a_recipe_has_no_known_topology(tmp_path):
    lexicon = make_lexicon()
    compile_hlg(topology.ctc(lexicon.num_tokens), lexicon, None).save(tmp_path)
    with pytest.raises(GraphError, match="topology is unknown"):
        Aligner.from_graph(tmp_path, ["cat"])


def test_with_another_topology_all_of_a_script_is_spoken():
    lexicon = make_lexicon(None)
    H = topology.hmm(lexicon.num_tokens - 1, 2)
    columns = topology.column_names(H, [lexicon.tokens[i] for i in range(lexicon.num_tokens)])
    posteriors = random_posteriors(columns, 12, 3)
    aligner = Aligner(H, lexicon)
    expected = aligner.align("x", posteriors, "cat kit")
    found = match(aligner, "x", posteriors, Script.of_text("Cat,\nkit."))
    assert (found.words, found.phones, found.score) == (
        expected.words,
        expected.phones,
        expected.score,
    )
    assert [(line.text, line.words) for line in found.lines] == [
        ("Cat,", expected.words[:1]),
        ("kit.", expected.words[1:]),
    ]
    assert [word.text for word in found.written] == ["Cat,", "kit."]


class ByLength:
    """Acoustic model with fixed posteriors for each length of a recording."""

    sample_rate = 16000
    frame_shift = 0.5

    def __init__(self, tokens):
        self.tokens = tokens

    def posteriors(self, waveforms, sample_rate):
        (samples,) = waveforms
        frames = {16000: ".k.t..k.i.", 8000: "k"}[len(samples)]
        return posteriors_of(frames, self.tokens)


@pytest.fixture
def sounds(tmp_path):
    import soundfile

    for name, length in (("two", 16000), ("short", 8000), ("stray", 16000), ("odd", 16000)):
        noise = np.random.default_rng(0).normal(size=length) / 10
        soundfile.write(tmp_path / f"{name}.wav", noise, 16000)
    (tmp_path / "text").write_text("two cat Cat\nshort cat cat\nodd cat 7\nabsent cat\n")
    return tmp_path


def test_recordings_that_fail_do_not_stop_the_others(folder, sounds):
    aligner, _ = Aligner.from_graph(folder, ["cat"], NoGuesses())
    failed = {}
    alignments = align_recordings(
        aligner,
        ByLength(list(aligner.columns)),
        recordings(sorted(sounds.glob("*.wav"))),
        {"two": "cat cat", "short": "cat cat", "odd": "cat 7"},
        on_error=lambda recording, error: failed.update({recording.id: str(error)}),
    )
    (done,) = alignments
    assert (done.id, done.text, done.duration) == ("two", "cat cat", 1.0)
    assert set(failed) == {"short", "odd", "stray"}
    assert "too few" in failed["short"]
    assert "7" in failed["odd"]
    assert "no transcript" in failed["stray"]
    with pytest.raises(LexiconError):
        list(
            align_recordings(
                aligner,
                ByLength(list(aligner.columns)),
                recordings(sounds / "odd.wav"),
                {"odd": "7"},
            )
        )


def test_command_line(folder, sounds, monkeypatch, capsys):
    tokens = list(Aligner.from_graph(folder, ["cat"], NoGuesses())[0].columns)
    monkeypatch.setattr("asr_hlg.acoustic.load", lambda spec, device: ByLength(tokens))
    monkeypatch.setattr("asr_hlg.lexicon.g2p.HamaG2P", LettersAsPhones)
    given = ["align", str(sounds), "--text", str(sounds / "text"), "--graph", str(folder)]
    given += ["--times", "ctc"]
    status = cli.main([*given, "--normalise", "--output", str(sounds / "out.ctm")])
    assert status == 1
    lines = (sounds / "out.ctm").read_text().splitlines()
    assert [line.split()[:5] for line in lines] == [
        ["odd", "1", "0.500", "1.500", "cat"],
        ["two", "1", "0.500", "1.500", "cat"],
        ["two", "1", "3.000", "1.500", "cat"],
    ]
    errors = capsys.readouterr().err
    assert "left out seven  the acoustic model has no 's'" in errors
    assert "odd: 1 of 2 words aligned; not spoken: 1; " in errors
    for name in ("short", "stray"):
        assert f"asr-hlg: {name}: " in errors

    one = ["align", str(sounds / "two.wav"), *given[2:], "--normalise"]
    assert cli.main([*one, "--phones"]) == 0
    assert [line.split()[4] for line in capsys.readouterr().out.splitlines()] == list("ktki")
    assert cli.main([*one, "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [word["word"] for word in record["words"]] == ["cat", "cat"]
    assert len(record["phones"]) == 4
    assert cli.main([*one, "--format", "srt", "--phones"]) == 1
    assert cli.main(["align", str(sounds / "odd.wav"), *given[2:], "--verbatim"]) == 1
    errors = capsys.readouterr().err
    assert "srt has no phones" in errors
    assert "no pronunciation for 7" in errors


@pytest.mark.real
def test_words_of_joined_recordings_are_aligned_within_their_parts(english, root):
    """Three recordings one after the other, with pauses of known length between them."""
    from asr_hlg import acoustic
    from asr_hlg.output import text

    model = acoustic.load("hama")
    said = text.read_transcripts(root / "examples" / "text")
    parts, begins, at = [], [], 0
    for recording in itertools.islice(recordings(root / "examples"), 3):
        samples = recording.load(model.sample_rate, None)
        begins.append((recording.id, at / 16000, (at + len(samples)) / 16000))
        parts += [samples, np.zeros(16000, dtype=np.float32)]
        at += len(samples) + 16000
    posteriors = model.posteriors([np.concatenate(parts)], 16000)
    whole = " ".join(said[name] for name, _, _ in begins)
    aligner, _ = Aligner.from_graph(root / "graphs" / "en", whole.split(), NoGuesses())
    words = iter(aligner.align("joined", posteriors, whole).words)
    for name, begin, end in begins:
        for expected in said[name].split():
            word = next(words)
            assert word.text == expected
            assert begin <= word.start < word.end <= end


@pytest.mark.real
def test_decoding_and_alignment_give_the_same_times(english, root, speech):
    """Of words that are recognised, 95 % start within 60 ms of the forced alignment."""
    import kaldialign

    from asr_hlg import acoustic
    from asr_hlg.output import text
    from asr_hlg.search import decode

    said = text.read_transcripts(speech / "librispeech" / "text")
    model = acoustic.load("hama")
    words = [word for line in said.values() for word in line.split()]
    aligner, _ = Aligner.from_graph(root / "graphs" / "en", words, NoGuesses())
    apart = []
    for recording in recordings(speech / "librispeech"):
        samples = recording.load(model.sample_rate, None)
        posteriors = model.posteriors([samples], model.sample_rate)
        heard = decode(english, posteriors).words()[0]
        known = aligner.align(recording.id, posteriors, said[recording.id]).words
        pairs = kaldialign.align([w.text for w in known], [w.text for w in heard], "*")
        rows = zip(
            np.cumsum([a != "*" for a, _ in pairs]),
            np.cumsum([b != "*" for _, b in pairs]),
            pairs,
            strict=True,
        )
        apart += [abs(known[i - 1].start - heard[j - 1].start) for i, j, (a, b) in rows if a == b]
    assert len(apart) > 20
    assert np.mean(np.array(apart) <= 0.06 + 1e-6) >= 0.95
