from __future__ import annotations

import itertools
import math
import time
from collections import defaultdict
from pathlib import Path

import k2
import kaldifst
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.errors import AsrHlgError, LexiconError, OptionError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.lexicon import Lexicon, Pronunciation
from tests.support.brute_force import transductions
from tests.support.examples import examples

CAT_HAT = Path(__file__).resolve().parents[2] / "lang/cat_hat/lexicon.txt"


def lexicon_of(text, tmp_path, name="lexicon.txt", **options):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return Lexicon.read(path, **options)


def ids(table, text):
    return tuple(table[symbol] for symbol in text.split())


def readings(lexicon, tokens, disambig=False):
    """What L makes of tokens, in words: {words: [probability of each path]}."""
    found = transductions(lexicon.arcs(disambig), ids(lexicon.tokens, tokens), epsilon=0)
    return {
        " ".join(lexicon.words[word] for word in words): [math.exp(score) for score in scores]
        for words, scores in found.items()
    }


def test_cat_and_hat():
    lexicon = Lexicon.read(CAT_HAT)
    assert symbols.names(lexicon.tokens) == ["<blk>", "ae", "d", "h", "k", "n", "t", "#0"]
    assert symbols.names(lexicon.words) == ["<eps>", "and", "cat", "hat", "#0"]
    assert lexicon.num_tokens == 7
    assert lexicon.pronunciations("cat") == [("k", "ae", "t")]
    assert readings(lexicon, "k ae t ae n d h ae t") == {"cat and hat": [1]}
    assert readings(lexicon, "") == {"": [1]}
    assert readings(lexicon, "k ae") == {}


def test_homophones_prefixes_and_several_pronunciations(tmp_path):
    text = "a x\nb x\nab x y\nabc x y z\nb y x\n"
    lexicon = lexicon_of(text, tmp_path)
    assert lexicon.pronunciations("b") == [("x",), ("y", "x")]
    assert readings(lexicon, "x") == {"a": [1], "b": [1]}
    assert readings(lexicon, "x y x") == {"a b": [1], "b b": [1], "ab a": [1], "ab b": [1]}


def test_disambiguation_by_kaldis_rule(tmp_path):
    """Homophones count up from #1; a prefix of another pronunciation is marked too."""
    text = "a x\nb x\nab x y\nabc x y z\nz z\nb y x\nyx y x\n"
    lexicon = lexicon_of(text, tmp_path)
    assert symbols.names(lexicon.tokens) == ["<blk>", "x", "y", "z", "#0", "#1", "#2"]
    for tokens, word in [
        ("x #1", "a"),
        ("x #2", "b"),
        ("x y #1", "ab"),
        ("x y z", "abc"),
        ("z", "z"),
        ("y x #1", "b"),
        ("y x #2", "yx"),
        ("x #2 #0 z", "b #0 z"),
    ]:
        assert readings(lexicon, tokens, disambig=True) == {word: [1]}
    assert readings(lexicon, "x", disambig=True) == {}


entries = st.lists(
    st.tuples(
        st.sampled_from("uvwxyz"),
        st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(tuple),
    ),
    min_size=1,
    max_size=10,
    unique=True,
)


@examples(60)
@given(entries)
def test_disambiguated_lexicon_reads_each_token_string_one_way(entries):
    lexicon = Lexicon(entries)
    arcs = lexicon.arcs(disambig=True)
    number = lexicon._disambig
    for length in (1, 2):
        for choice in itertools.product(range(len(entries)), repeat=length):
            tokens, words = [], []
            for index in choice:
                word, phones = entries[index]
                mark = [f"#{number[index]}"] if number[index] else []
                tokens += [lexicon.tokens[name] for name in (*phones, *mark)]
                words.append(lexicon.words[word])
            assert transductions(arcs, tokens, epsilon=0) == {tuple(words): [0.0]}


@examples(60)
@given(entries, st.lists(st.sampled_from("abc"), max_size=6))
def test_lexicon_reads_what_its_entries_spell(entries, phones):
    lexicon = Lexicon(entries, tokens=["<blk>", "a", "b", "c"])

    def spellings(rest):
        if not rest:
            return [()]
        return [
            (word, *more)
            for word, pronunciation in entries
            if tuple(rest[: len(pronunciation)]) == pronunciation
            for more in spellings(rest[len(pronunciation) :])
        ]

    expected = defaultdict(list)
    for words in spellings(phones):
        expected[" ".join(words)].append(1.0)
    assert readings(lexicon, " ".join(phones)) == expected


@examples(25)
@given(entries, st.booleans())
def test_openfst_can_determinize_the_disambiguated_lexicon(entries, with_silence):
    lexicon = Lexicon(entries, silence="SIL" if with_silence else None)
    fst = lexicon.arcs(disambig=True).to_openfst()
    stopped_early = kaldifst.determinize_star(fst, max_states=10_000)
    assert not stopped_early
    arcs = Arcs.from_openfst(fst)
    ways_on = list(zip(arcs.src.tolist(), arcs.ilabel.tolist(), strict=True))
    assert len(ways_on) == len(set(ways_on))


def test_without_the_symbols_determinization_would_not_end():
    fst = Lexicon([("a", ("x",)), ("b", ("x",))]).arcs(disambig=False).to_openfst()
    with pytest.raises(RuntimeError):
        kaldifst.determinize_star(fst, max_states=1000)


def test_pronunciation_probabilities(tmp_path):
    text = "a 1.0 x\na 0.25 x y\nb 0.5 z\n"
    lexicon = lexicon_of(text, tmp_path, "lexiconp.txt")
    assert readings(lexicon, "x y z") == {"a b": [pytest.approx(0.125)]}
    assert readings(lexicon, "x z") == {"a b": [pytest.approx(0.5)]}
    same = lexicon_of(text, tmp_path, "other.txt", probabilities=True)
    assert [e[:3] for e in same.entries] == [e[:3] for e in lexicon.entries]


def test_optional_silence():
    """Kaldi's make_lexicon_fst: each place is silent with probability 0.2, spoken through 0.8."""
    lexicon = Lexicon([("a", ("x",)), ("b", ("y", "z"), 0.5)], silence="SIL", silence_prob=0.2)
    assert symbols.names(lexicon.tokens)[:2] == ["<blk>", "SIL"]
    for tokens, words, probability in [
        ("x", "a", 0.8**2),
        ("SIL x", "a", 0.2 * 0.8),
        ("SIL x SIL", "a", 0.2**2),
        ("x SIL y z", "a b", 0.8 * 0.2 * 0.8 * 0.5),
        ("", "", 0.8),
        ("SIL", "", 0.2),
    ]:
        assert readings(lexicon, tokens) == {words: [pytest.approx(probability, rel=1e-6)]}
    assert readings(lexicon, "SIL SIL x") == {}


def test_silence_is_closed_by_a_symbol_of_its_own():
    lexicon = Lexicon([("a", ("x",)), ("b", ("x",))], silence="SIL", silence_prob=0.5)
    assert symbols.names(lexicon.tokens)[-4:] == ["#0", "#1", "#2", "#3"]
    got = readings(lexicon, "SIL #3 x #2 SIL #3 #0 x #1", disambig=True)
    assert got == {"b #0 a": [pytest.approx(0.125)]}
    assert readings(lexicon, "SIL x #2", disambig=True) == {}


def test_word_position_dependent_phones():
    lexicon = Lexicon(
        [("a", ("x",)), ("bed", ("b", "e", "e", "d")), ("no", ("n", "o")), ("<sil>", ("SIL",))],
        silence="SIL",
        position_dependent=True,
    )
    assert lexicon.pronunciations("a") == [("x",)]
    names = symbols.names(lexicon.tokens)
    assert names[: lexicon.num_tokens] == [
        *["<blk>", "SIL", "b_B", "d_E", "e_I", "n_B", "o_E", "x_S"]
    ]
    assert set(readings(lexicon, "x_S b_B e_I e_I d_E n_B o_E")) == {"a bed no"}


def test_the_acoustic_models_token_order():
    tokens = ("<blk>", "SIL", "y", "x", "unused")
    lexicon = Lexicon([("a", ("x", "y"))], tokens=tokens)
    assert symbols.names(lexicon.tokens) == [*tokens, "#0"]
    assert lexicon.num_tokens == 5
    assert lexicon.arcs().ilabel.tolist() == [3, 2]


def test_a_phone_that_the_acoustic_model_lacks(tmp_path):
    with pytest.raises(LexiconError, match=r"lexicon.txt:2: phone 'q' of word 'b'") as caught:
        lexicon_of("a x\nb x q\n", tmp_path, tokens=["<blk>", "x"])
    assert caught.value.remedy
    lexicon = lexicon_of("a x\nb x q\n", tmp_path)
    with pytest.raises(LexiconError, match=r"lexicon.txt:2: phone 'q'"):
        lexicon.with_tokens(["<blk>", "x"])
    with pytest.raises(LexiconError, match="silence 'SIL'"):
        Lexicon([("a", ("x",))], tokens=["<blk>", "x"], silence="SIL")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("lexicon.txt", "a x\nb\n", r":2: word 'b' has no pronunciation"),
        (
            "lexicon.txt",
            "a x\n\na  x\n",
            r":3: 'a' has the pronunciation 'x' twice, first on line 1",
        ),
        ("lexicon.txt", "#1 x\n", r":1: '#1' is a reserved symbol and cannot be a word"),
        ("lexicon.txt", "<eps> x\n", r":1: '<eps>' is a reserved symbol"),
        ("lexicon.txt", "a x\n<s> x\n", r":2: '<s>' is a reserved symbol"),
        ("lexicon.txt", "a x #0\n", r":1: '#0' is a reserved symbol and cannot be a phone of 'a'"),
        ("lexicon.txt", "b x\na <blk>\n", r":2: '<blk>' is a reserved symbol"),
        ("lexicon.txt", "", "at least one word"),
        ("lexiconp.txt", "a x y\n", r":1: expected a probability after the word 'a'"),
        ("lexiconp.txt", "a\n", r":1: expected a probability"),
        ("lexiconp.txt", "a 0.5\n", r":1: word 'a' has no pronunciation"),
        ("lexiconp.txt", "a 0 x\n", r":1: probability 0.0 of word 'a' is not in \(0, 1\]"),
        ("lexiconp.txt", "a 1.5 x\n", r":1: probability 1.5"),
        ("lexiconp.txt", "a nan x\n", r":1: probability nan"),
    ],
)
def test_malformed_lexicons_name_file_and_line(name, text, message, tmp_path):
    with pytest.raises(LexiconError, match=message) as caught:
        lexicon_of(text, tmp_path, name)
    if message.startswith(":"):
        assert caught.value.path == str(tmp_path / name)


def test_unreadable_lexicons(tmp_path):
    with pytest.raises(LexiconError, match=r"missing.txt: cannot be read"):
        Lexicon.read(tmp_path / "missing.txt")
    path = tmp_path / "latin1.txt"
    path.write_bytes("a x\nné n e\n".encode("latin-1"))
    with pytest.raises(LexiconError, match=r"latin1.txt:2: is not UTF-8"):
        Lexicon.read(path)


def test_windows_line_ends_and_tabs(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_bytes("\ufeffa\tx  y\r\nnaïve n\r\n".encode())
    assert Lexicon.read(path).pronunciations("a") == [("x", "y")]
    assert "naïve" in Lexicon.read(path)


@pytest.mark.parametrize(
    ("line", "word", "phones", "probability"),
    [
        ("place(2) P L EY S # place, danish", "place", "P L EY S", 1.0),
        ("a 0.5 x y", "a", "x y", 0.5),
        ("a\t1e-05\tx", "a", "x", 1e-5),
        ("a\t0.9\t0.15\t1.0\t1.0\tx y", "a", "x y", 0.9),
        ("a\t1\t0.15\t1\t1.0\tx", "a", "x", 1.0),
        ("a 1 2 3 4", "a", "1 2 3 4", 1.0),
        ("a 0.5 1 2 3 4", "a", "1 2 3 4", 0.5),
    ],
)
def test_lines_of_other_toolkits(line, word, phones, probability, tmp_path):
    lexicon = lexicon_of(f";;; a comment\n{line}\nother z\n", tmp_path)
    (entry,) = (entry for entry in lexicon.entries if entry.word == word)
    assert (entry.phones, entry.probability) == (tuple(phones.split()), probability)


def test_output_symbols_of_htk_are_refused(tmp_path):
    with pytest.raises(LexiconError, match=r":1: \[cat\] after the word .*remove this column"):
        lexicon_of("CAT [cat] k ae t\n", tmp_path)


@examples(25)
@given(entries, st.floats(0.001, 1))
def test_write_and_read(tmp_path_factory, entries, probability):
    folder = tmp_path_factory.mktemp("lexicon")
    plain = Lexicon(entries)
    plain.write(folder / "lexicon.txt")
    read = Lexicon.read(folder / "lexicon.txt")
    assert [entry[:2] for entry in read.entries] == [tuple(entry) for entry in entries]
    weighted = Lexicon([(*entry, probability) for entry in entries])
    weighted.write(folder / "lexiconp.txt")
    back = Lexicon.read(folder / "lexiconp.txt")
    assert [entry.probability for entry in back.entries] == pytest.approx(
        [probability] * len(entries)
    )


def test_probabilities_are_not_lost_in_writing(tmp_path):
    with pytest.raises(LexiconError, match="lose the pronunciation probabilities"):
        Lexicon([("a", ("x",), 0.5)]).write(tmp_path / "lexicon.txt")


def test_words_can_be_left_out_and_added():
    lexicon = Lexicon([("a", ("x",)), ("b", ("y",)), ("b", ("z",))], silence="SIL")
    only = lexicon.restrict(["b", "unknown"])
    assert "a" not in only
    assert len(only) == 2
    assert only.silence == "SIL"
    more = only.extend([("b", ("y",), 0.1), ("c", ("w",))])
    assert [entry.phones for entry in more.entries] == [("y",), ("z",), ("w",)]
    assert more.entries[0].probability == 1
    with pytest.raises(LexiconError, match="'unknown' is not in the lexicon"):
        lexicon.pronunciations("unknown")


def test_impossible_options():
    with pytest.raises(OptionError, match="silence_prob"):
        Lexicon([("a", ("x",))], silence="SIL", silence_prob=1.0)
    with pytest.raises(AsrHlgError, match="twice"):
        Lexicon([("a", ("x",))], tokens=["<blk>", "x", "x"])


def test_to_fsa_is_the_arrays_with_symbols():
    lexicon = Lexicon.read(CAT_HAT)
    for disambig in (False, True):
        fsa, arcs = lexicon.to_fsa(disambig), lexicon.arcs(disambig)
        assert fsa.labels_sym is lexicon.tokens
        assert fsa.aux_labels_sym is lexicon.words
        back = Arcs.from_k2(fsa)
        for name in ("src", "dst", "ilabel", "olabel", "score", "final"):
            assert np.array_equal(getattr(back, name), getattr(arcs, name))
    hat = k2.connect(k2.compose(lexicon.to_fsa(), k2.linear_fsa([lexicon.words["hat"]])))
    assert hat.labels.tolist() == [*ids(lexicon.tokens, "h ae t"), -1]


def test_characters():
    lexicon = Lexicon.from_characters(["to", "too", "to"], boundary="|")
    assert lexicon.pronunciations("too") == [("t", "o", "o", "|")]
    assert readings(lexicon, "t o | t o o |") == {"to too": [1]}
    assert len(Lexicon.from_characters(["to", "too"])) == 2


def test_time_grows_with_the_number_of_words_not_its_square(tmp_path):
    random = np.random.default_rng(3)
    phones = np.array([f"p{i}" for i in range(40)])
    lines = [
        f"w{i} {' '.join(phones[random.integers(0, 40, random.integers(2, 12))])}\n"
        for i in range(100_000)
    ]
    path = tmp_path / "lexicon.txt"

    def seconds(num_words: int) -> float:
        path.write_text("".join(lines[:num_words]))
        begin = time.process_time()
        fsa = Lexicon.read(path, silence="SIL").to_fsa(disambig=True)
        assert fsa.num_arcs > 5 * num_words
        return time.process_time() - begin

    # a quadratic algorithm would need 100 times as long, on any machine
    assert seconds(100_000) < 40 * min(seconds(10_000) for _ in range(3))


def test_entries_remember_where_they_stand(tmp_path):
    lexicon = lexicon_of("a x\n\nb y\n", tmp_path)
    path = str(tmp_path / "lexicon.txt")
    assert lexicon.entries[1] == Pronunciation("b", ("y",), 1.0, path, 3)
