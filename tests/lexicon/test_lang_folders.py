"""Lang folders of icefall and Kaldi, and dictionaries of MFA."""

from __future__ import annotations

import pytest

from asr_hlg.errors import LexiconError
from asr_hlg.lexicon import Lexicon
from asr_hlg.lexicon.lang_folder import lexicon_file, optional_silence, read_entries


def test_a_lang_folder_of_icefall(tmp_path):
    (tmp_path / "lexicon.txt").write_text("<UNK> <unk>\ncat ▁c at\nhat ▁h at\n")
    (tmp_path / "L.pt").write_bytes(b"")
    entries = read_entries(lexicon_file(tmp_path))
    assert [(e.word, e.phones) for e in entries][1:] == [
        ("cat", ("▁c", "at")),
        ("hat", ("▁h", "at")),
    ]


def test_a_lang_folder_of_kaldi(tmp_path):
    (tmp_path / "phones").mkdir()
    (tmp_path / "phones/align_lexicon.txt").write_text(
        "<eps> <eps> SIL\ncat cat K_B AE_I T_E\ncat cat K_B AE_I T_E\na a AH_S\n"
    )
    (tmp_path / "phones/optional_silence.txt").write_text("SIL\n")
    entries = read_entries(lexicon_file(tmp_path))
    assert [(e.word, e.phones) for e in entries] == [
        ("cat", ("K_B", "AE_I", "T_E")),
        ("a", ("AH_S",)),
    ]
    assert optional_silence(tmp_path) == "SIL"


@pytest.mark.parametrize(
    ("content", "message"), [(b"\x9fSIL\n", "is not UTF-8"), (b"SIL\nSPN\n", "expected one phone")]
)
def test_faulty_phones_of_silence_are_refused(tmp_path, content, message):
    (tmp_path / "optional_silence.txt").write_bytes(content)
    with pytest.raises(LexiconError, match=rf"optional_silence\.txt.*{message}"):
        optional_silence(tmp_path)


def test_pickled_lexica_are_refused(tmp_path):
    (tmp_path / "L.pt").write_bytes(b"")
    with pytest.raises(LexiconError, match=r"only L\.pt, pickled by torch.*lexicon\.txt"):
        lexicon_file(tmp_path)
    with pytest.raises(LexiconError, match=r"L\.pt: is a compiled lexicon.*lexicon\.txt"):
        read_entries(tmp_path / "L.pt")


def test_four_probabilities_of_mfa(tmp_path):
    path = tmp_path / "english_us_arpa.dict"
    path.write_text("cat\t0.99\t0.14\t1.0\t1.0\tK AE1 T\ncat\t0.01\t0.2\t1.2\t0.9\tK AH0 T\n")
    lexicon = Lexicon.read(path)
    assert lexicon.pronunciations("cat") == [("K", "AE1", "T"), ("K", "AH0", "T")]
    assert [entry.probability for entry in lexicon.entries] == [0.99, 0.01]
    (tmp_path / "lexiconp_silprob.txt").write_text("cat 0.5 0.14 1.0 1.0 K AE T\n")
    assert Lexicon.read(tmp_path / "lexiconp_silprob.txt").entries[0].probability == 0.5


def test_probabilities_in_a_file_of_any_name(tmp_path):
    (tmp_path / "words.dict").write_text("cat 1.0 K AE T\nand 0.5 AE N D\nand .5 AH N\na 7\n")
    lexicon = Lexicon.read(tmp_path / "words.dict")
    assert [entry.probability for entry in lexicon.entries] == [1, 0.5, 0.5, 1]
    assert lexicon.pronunciations("and") == [("AE", "N", "D"), ("AH", "N")]
    assert lexicon.pronunciations("a") == [("7",)]
