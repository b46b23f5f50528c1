from __future__ import annotations

import pytest

from asr_hlg.errors import LexiconError
from asr_hlg.lexicon import Lexicon, g2p
from asr_hlg.lexicon.phones import ARPABET, IPA_TO_ARPABET, NEAREST


class Spelling:
    """Pronounces every letter as a phone of its own, except q."""

    def __init__(self):
        self.asked = []

    def pronounce(self, word):
        self.asked.append(word)
        if "q" in word:
            raise LexiconError("q is beyond me")
        return tuple(word.upper())


@pytest.fixture(scope="module")
def hama():
    pytest.importorskip("hama")
    return g2p.HamaG2P()


def test_only_missing_words_are_guessed():
    model = Spelling()
    lexicon = Lexicon([("cat", ("K", "AE", "T"))])
    done, guesses = g2p.complete(lexicon, ["cat", "hat", "hat", "queue"], model)
    assert model.asked == ["hat", "queue"]
    assert done.pronunciations("hat") == [("H", "A", "T")]
    assert done.pronunciations("cat") == [("K", "AE", "T")]
    assert "queue" not in done
    assert "hat" not in lexicon
    assert guesses.report().splitlines() == [
        "guessed  hat    H A T",
        "left out queue  q is beyond me",
    ]


def test_guesses_must_suit_the_acoustic_model():
    lexicon = Lexicon([("at", ("A", "T"))], tokens=["<blk>", "A", "T", "B"])
    done, guesses = g2p.complete(lexicon, ["bat", "hat"], Spelling())
    assert "bat" in done
    assert "hat" not in done
    assert guesses.left_out == {"hat": "the acoustic model has no 'H'"}
    dependent = Lexicon(
        [("at", ("A", "T"))], tokens=["<blk>", "A_B", "T_E", "A_S"], position_dependent=True
    )
    done, guesses = g2p.complete(dependent, ["a", "t"], Spelling())
    assert "a" in done
    assert guesses.left_out == {"t": "the acoustic model has no 'T_S'"}


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("cat", "K AE T"),
        ("judge", "JH AH JH"),
        ("hello", "HH EH L OW"),
        ("thing", "TH IH NG"),
        ("Cat", "K AE T"),
        ("café", "K EY F"),
        ("O'Brien", "OW B R AY AH N"),
        ("cat-judge", "K AE T JH AH JH"),
        ("m", "EH M"),
        ("U.S.", "Y UW EH S"),
        ("kubernetes", "K UW B AH N EY T AH S"),
        ("guadalajara", "G W AE DH AE L AE HH AE R AE"),
    ],
)
def test_hama_pronounces_english(hama, word, phones):
    assert hama.pronounce(word) == tuple(phones.split())


@pytest.mark.parametrize("word", ["мама", "東京", "1984", "k2", "a_b", "", " ", "-", "wbjxj"])
def test_hama_refuses_what_is_not_english(hama, word):
    with pytest.raises(LexiconError):
        hama.pronounce(word)


def test_words_without_an_end_are_pronounced_by_halves(hama):
    """The network repeats phones until its limit for these words."""
    first, second, whole = hama.pronounce_all(["cholangio", "carcinoma", "cholangiocarcinoma"])
    assert whole == (*first, *second)
    with pytest.raises(LexiconError, match="no end"):
        hama.pronounce("wbjxj")


def test_every_ipa_symbol_has_an_english_phone():
    assert len(ARPABET) == 39
    assert set(IPA_TO_ARPABET.values()) == set(ARPABET)
    assert IPA_TO_ARPABET["t͡ʃ"] == "CH"
    assert IPA_TO_ARPABET["ə"] == "AH"
    assert IPA_TO_ARPABET["j"] == "Y"
    assert IPA_TO_ARPABET["b"] == "B"


def test_the_map_speaks_of_symbols_that_hama_has():
    vocabulary = pytest.importorskip("hama").Vocabulary.load().decoder
    assert set(IPA_TO_ARPABET) <= set(vocabulary)
    assert set("".join(NEAREST)) <= set("".join(vocabulary))
    assert set(NEAREST.values()) <= set(ARPABET)
    assert not set(NEAREST) & set(IPA_TO_ARPABET)
