"""The Sphinx readers against pocketsphinx itself."""

from __future__ import annotations

import random

import numpy as np
import pocketsphinx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg import lm
from asr_hlg.errors import AsrHlgError, LanguageModelError, LexiconError
from asr_hlg.lexicon import phones
from asr_hlg.lm.sphinx import resource
from tests.support.examples import examples


@pytest.fixture(scope="module")
def trigram() -> lm.ArpaModel:
    return lm.read_trie()


def test_sizes(trigram):
    assert trigram.counts == (72_547, 2_051_541, 1_669_625)
    for name in ("pocketsphinx:lm", resource("en-us.lm.bin")):
        assert lm.read(name).counts == trigram.counts
    assert {lm.BOS, lm.EOS, "the"} <= set(trigram.words)


def test_probabilities_equal_pocketsphinx(trigram):
    logmath = pocketsphinx.LogMath(base=1.0001)
    config = pocketsphinx.Config(lm=None, dict=None, hmm=None)
    theirs = pocketsphinx.NGramModel(config, logmath, str(resource("en-us.lm.bin")))
    source = random.Random(0)
    listed = [
        trigram.spell(n, np.array(source.sample(range(num), 200)))
        for n, num in enumerate(trigram.counts, start=1)
    ]
    unlisted = np.array([source.choices(range(len(trigram.words)), k=3) for _ in range(200)])
    for ids in (*listed, unlisted):
        scores = trigram.log_prob(ids) / np.log(10)
        for gram, found in zip(ids, scores, strict=True):
            names = [
                trigram.words[i] for i in reversed(gram)
            ]  # pocketsphinx takes the last word first
            log10 = logmath.log_to_log10(theirs.prob(names))
            assert found == pytest.approx(log10, abs=2e-3), names


def test_histories_add_up_to_one_but_for_quantisation(trigram):
    the = trigram.word_ids["the"]
    words = np.arange(len(trigram.words))
    ngrams = np.column_stack([np.full_like(words, the), words])
    assert np.exp(trigram.log_prob(ngrams)).sum() == pytest.approx(1, abs=0.01)


def test_pruning_the_whole_model_keeps_the_best(trigram):
    pruned = lm.prune(trigram, 3e-7)
    # kaldingram leaves 171,604 trigrams; its bigrams after <s> differ (see asr_hlg.lm.pruning)
    assert pruned.counts[2] == pytest.approx(171_604, rel=1e-3)
    assert 400_000 < pruned.counts[1] < 450_000
    text = ["the cat sat on the mat", "this is a sentence of english words", "what time is it"]
    before, after = lm.perplexity(trigram, text), lm.perplexity(pruned, text)
    assert before.value < after.value < 1.5 * before.value


def test_dictionary():
    entries = lm.read_dict()
    assert len(entries) == 134_860 == len(set(entries))
    assert {phone for _, sounds in entries for phone in sounds} == set(phones.ARPABET)
    assert [sounds for word, sounds in entries if word == "the"] == [
        ("DH", "AH"),
        ("DH", "IY"),
    ]


def test_dictionary_slips(tmp_path):
    path = tmp_path / "words.dict"
    path.write_text("a AH\nb\n")
    with pytest.raises(LexiconError) as caught:
        lm.read_dict(path)
    assert (caught.value.path, caught.value.line) == (str(path), 2)
    with pytest.raises(LexiconError):
        lm.read_dict(tmp_path / "absent.dict")


@pytest.mark.parametrize("content", [b"", b"\\data\\\n", b"Trie Language Model"])
def test_not_a_trie(tmp_path, content):
    (tmp_path / "lm.bin").write_bytes(content)
    with pytest.raises(LanguageModelError):
        lm.read_trie(tmp_path / "lm.bin")
    with pytest.raises(LanguageModelError):
        lm.read_trie(tmp_path / "absent.bin")


# The phone trigram is small; after the weights' tables its header leaves nothing but n-grams.
PHONES = resource("en-us-phone.lm.bin").read_bytes()
TABLES = 19 + 1 + 3 * 4 + 4 + 3 * 65_536 * 4


def test_phone_trigram(tmp_path):
    model = lm.read_trie(resource("en-us-phone.lm.bin"))
    assert model.order == 3
    assert "AH" in model.words


@given(st.data())
@examples(60)
def test_damaged_tries_never_crash(tmp_path_factory, data):
    content = bytearray(PHONES)
    places = st.integers(19, 36) | st.integers(TABLES, len(PHONES) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(PHONES)) | st.just(len(PHONES)))
    path = tmp_path_factory.getbasetemp() / "damaged.bin"
    path.write_bytes(content[:cut])
    caught = None
    try:
        lm.read_trie(path)
    except AsrHlgError as error:
        caught = error
    assert caught is None or caught.path == str(path)
