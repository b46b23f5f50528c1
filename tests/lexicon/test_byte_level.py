"""Words in byte-level pieces, against sentencepiece with the table of icefall's byte_utils.py."""

from __future__ import annotations

import io
from itertools import chain

import pytest

from asr_hlg.lexicon.byte_level import encode, is_byte_level
from asr_hlg.lexicon.subwords import Speller, derive

# Characters of the bytes 0 to 255, as icefall lists them.
TABLE = [
    *map(
        chr,
        chain(
            range(256, 288),
            range(32, 127),
            range(288, 306),
            range(308, 319),
            range(321, 329),
            range(330, 383),
            range(384, 423),
        ),
    )
]
LINES = ["你 好 世 界", "世 界 你 好", "naïve café déjà vu", "über straße über café"] * 20


def byte_encode(text: str) -> str:
    return "".join(TABLE[byte] for byte in text.encode("utf-8"))


def test_every_byte_has_its_character():
    for text in ("hello", "déjà", "你好", "\x00\x7f\u07ff\U0010ffff"):
        assert encode(text) == byte_encode(text)


@pytest.mark.parametrize("uses_model", [False, True])
def test_words_are_split_as_sentencepiece_splits_their_bytes(tmp_path, uses_model):
    sentencepiece = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([byte_encode(line) for line in LINES]),
        model_writer=model,
        vocab_size=60,
        model_type="bpe",
        character_coverage=1.0,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (tmp_path / "bbpe.model").write_bytes(model.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [processor.id_to_piece(k) for k in range(processor.get_piece_size())]
    speller = Speller(pieces, bpe=tmp_path / "bbpe.model" if uses_model else None, case="lower")
    for word, text in (("Café", "café"), ("über", "über"), ("你好", "你 好"), ("世界", "世 界")):
        (found,) = speller.spellings(word)
        expected = processor.encode(byte_encode(text), out_type=str)
        assert "".join(found) == "".join(expected)
        if uses_model:
            assert list(found) == expected
    _, unspelled = derive(["vü", "ж"], speller)
    assert unspelled.words == ["ж"]
    assert list(unspelled.characters) == ["ж"]
    assert Speller(pieces).fits_in_case(["CAFÉ", "VU"]) == "lower"


def test_letters_beyond_ascii_are_no_bytes():
    assert is_byte_level(["▁c", "a", "f", *byte_encode("é")])
    assert not is_byte_level(["▁", "a", "č", "ř", "ů", "ť"])  # Czech
    assert not is_byte_level(["▁", "a", "ą", "ł", "ż", "ś"])  # Polish
    assert not is_byte_level(["▁", "a", "ŵ", "ŷ", "â"])  # Welsh
    assert not is_byte_level(["▁", "a", "你"])
