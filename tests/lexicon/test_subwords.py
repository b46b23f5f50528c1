"""Words spelled in the tokens of a model, against all ways to split them."""

from __future__ import annotations

import io
from itertools import product

import pytest

from asr_hlg.errors import LexiconError
from asr_hlg.lexicon.subwords import Speller, derive

PIECES = ["▁c", "▁ca", "▁", "a", "c", "t", "at", "▁t"]


def all_ways(text: str, pieces: set[str]) -> list[tuple[str, ...]]:
    """Every way to split a text into pieces, by all places to cut it."""
    ways = []
    for cuts in product([False, True], repeat=len(text) - 1):
        parts, part = [], text[0]
        for character, cut in zip(text[1:], cuts, strict=True):
            if cut:
                parts, part = [*parts, part], ""
            part += character
        ways.append((*parts, part))
    return [way for way in ways if pieces.issuperset(way)]


@pytest.mark.parametrize("word", ["cat", "tact", "at", "ttttt"])
def test_the_fewest_pieces_of_all_ways(word):
    ways = all_ways("▁" + word, set(PIECES))
    ours = Speller(PIECES, segmentations=100).spellings(word)
    assert sorted(ours) == sorted(ways)
    assert [len(way) for way in ours] == sorted(map(len, ways))
    assert Speller(PIECES).spellings(word) == ours[:1]


def test_characters():
    speller = Speller("abc")
    assert speller.spellings("abba") == [("a", "b", "b", "a")]
    assert speller.spellings("ABBA") == []
    assert Speller("abc", case="lower").spellings("ABBA") == [("a", "b", "b", "a")]
    assert speller.missing("axé") == ["x", "é"]


def test_chinese_words_need_no_mark():
    speller = Speller(["▁he", "llo", "你", "好"])
    assert speller.spellings("你好") == [("你", "好")]
    assert speller.spellings("hello") == [("▁he", "llo")]
    assert speller.spellings("llo") == []


def test_the_case_that_spells_most_words():
    assert Speller("ABC").fits_in_case(["abba", "cab"]) == "upper"
    assert Speller("abc").fits_in_case(["ABBA"]) == "lower"
    assert Speller("abcABC").fits_in_case(["Abba"]) == "keep"


def test_words_that_cannot_be_spelled_are_named():
    entries, unspelled = derive(["ab", "aé", "bé"], Speller("ab"))
    assert [entry.word for entry in entries] == ["ab"]
    assert str(unspelled).startswith(
        "2 words have characters that the model's tokens lack: 'é' (2); for example aé bé"
    )


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def sentencepiece_model(request, tmp_path_factory):
    sentencepiece = pytest.importorskip("sentencepiece")
    path = tmp_path_factory.mktemp("bpe") / "bpe.model"
    model = io.BytesIO()
    lines = ["the cat sat on the mat", "a hat and a bat", "the cats and the hats"] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=26,
        model_type=request.param,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
    return path, sentencepiece.SentencePieceProcessor(model_file=str(path))


def test_words_are_split_as_sentencepiece_splits_them(sentencepiece_model):
    path, processor = sentencepiece_model
    pieces = [processor.id_to_piece(k) for k in range(processor.get_piece_size())]
    speller = Speller(pieces, bpe=path, segmentations=3)
    for word in ("cats", "mat", "bandana", "that"):
        spellings = speller.spellings(word)
        assert spellings[0] == tuple(processor.encode(word, out_type=str))
        assert 1 <= len(spellings) <= 3
        assert all("".join(way) == "▁" + word for way in spellings)
    assert speller.spellings("zebra") == []
    assert "z" in speller.missing("zebra")


def test_a_file_that_is_no_sentencepiece_model_is_refused(tmp_path):
    pytest.importorskip("sentencepiece")
    (tmp_path / "bpe.model").write_text("hello")
    with pytest.raises(LexiconError, match=r"bpe\.model: not a sentencepiece model"):
        Speller(PIECES, bpe=tmp_path / "bpe.model")
