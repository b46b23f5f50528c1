"""The grapheme-to-phoneme network in numpy, against hama's own engine; its cache on disk."""

from __future__ import annotations

import multiprocessing
import random
import string

import pytest

from asr_hlg.lexicon import g2p
from asr_hlg.lexicon.g2p_cache import G2PCache
from asr_hlg.lexicon.g2p_network import MAX_SYMBOLS, G2PNetwork

WORDS = [
    "a",
    "it",
    "owl",
    "cats",
    "xylophone",
    "guadalajara",
    "judge",
    "through",
    "zbigniew",
    "rhythm",
    "okonkwo",
    "pneumonoultramicroscopic",
    "nguyen",
    "siobhan",
    "bridgeport",
    "schwarzenegger",
    "tchaikovsky",
]


@pytest.fixture(scope="module")
def network():
    return G2PNetwork.load()


def peer(words):
    hama = pytest.importorskip("hama")
    model = hama.G2PModel()
    return [[item.phoneme for item in model.predict(word).alignments] for word in words]


def test_transcriptions_are_those_of_hama(network):
    letters = random.Random(5)
    random_words = ["".join(letters.choices(string.ascii_lowercase, k=k)) for k in range(1, 12)]
    words = WORDS + random_words + ["antidisestablishment" * 3]
    assert network.transcribe(words) == peer(words)


def test_a_word_does_not_depend_on_the_others(network):
    together = network.transcribe(WORDS * 40)
    assert together == [network.transcribe([word])[0] for word in WORDS] * 40


def test_a_long_transcription_is_cut_off(network):
    (symbols,) = network.transcribe(["antidisestablishment" * 3])
    assert len(symbols) >= MAX_SYMBOLS - 1  # one is a start or padding symbol


def test_progress_adds_up_to_the_number_of_words(network):
    done = []
    network.transcribe(WORDS, done.append)
    assert sum(done) == len(WORDS)
    assert network.transcribe([]) == []


# ---------------------------------------------------------------- the cache


class Refuses:
    """Network in place of the real one, for words that must come from the cache."""

    def transcribe(self, words, on_progress):
        raise AssertionError(f"not in the cache: {words}")


def cached_only(folder):
    cache = G2PCache(folder)
    cache.__dict__["_network"] = Refuses()
    return cache


def test_a_word_is_transcribed_once(tmp_path, network):
    first = G2PCache(tmp_path).transcribe(WORDS)
    again = cached_only(tmp_path).transcribe(WORDS)
    assert {word: list(again[word]) for word in WORDS} == {w: first[w] for w in WORDS}
    assert [list(again[word]) for word in WORDS] == network.transcribe(WORDS)


def test_every_word_counts_as_progress_also_from_the_cache(tmp_path):
    for _ in range(2):
        done = []
        G2PCache(tmp_path).transcribe(WORDS, done.append)
        assert sum(done) == len(WORDS)


@pytest.mark.parametrize("cut", [1, 2, 3, 7])
def test_an_incomplete_line_is_transcribed_again(tmp_path, cut):
    G2PCache(tmp_path).transcribe(["cat", "owl"])
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    expected = peer(["cat", "owl", "judge"])
    words = G2PCache(tmp_path).transcribe(["cat", "owl", "judge"])
    assert [list(words[word]) for word in ("cat", "owl", "judge")] == expected
    words = cached_only(tmp_path).transcribe(["cat", "owl", "judge"])
    assert [list(words[word]) for word in ("cat", "owl", "judge")] == expected


def test_damage_of_the_file_does_no_harm(tmp_path):
    G2PCache(tmp_path).transcribe(["cat"])
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"\xff\xfe\0\n\t\n\ncat\n" * 20)
    assert list(G2PCache(tmp_path).transcribe(["cat"])["cat"]) == ["k", "æ", "t"]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    assert G2PCache(tmp_path / "file" / "x").transcribe(["cat"])["cat"] == ["k", "æ", "t"]


def _fill(folder, words):
    G2PCache(folder).transcribe(words)


def test_processes_write_side_by_side(tmp_path, network):
    context = multiprocessing.get_context("fork")
    parts = [WORDS[k::3] for k in range(3)]
    processes = [context.Process(target=_fill, args=(tmp_path, part)) for part in parts]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    words = cached_only(tmp_path).transcribe(WORDS)
    assert [list(words[word]) for word in WORDS] == network.transcribe(WORDS)


# ---------------------------------------------------------------- many words


def test_many_words_are_pronounced_like_each_of_them():
    model = g2p.HamaG2P()
    words = [*WORDS, "O'Brien", "cat-judge", "Łódź", "1984", "", "wbjxj"]
    together = g2p.guess(words, model)
    alone = [g2p.guess([word], g2p.HamaG2P()) for word in words]
    assert together.pronunciations == {w: p for g in alone for w, p in g.pronunciations.items()}
    assert together.left_out == {w: r for g in alone for w, r in g.left_out.items()}
    assert set(together.left_out) == {*words[-4:]}
