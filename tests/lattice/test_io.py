"""Lattices on disk: read back equal, and read by OpenFst's own code as what they should be."""

from __future__ import annotations

import struct

import kaldifst
import numpy as np
import pytest
import torch

from asr_hlg import grammar
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import LatticeError, OptionError
from asr_hlg.graph import compile_hlg, topology
from asr_hlg.lattice import read, write
from asr_hlg.lexicon import Lexicon
from asr_hlg.search import SearchOptions, decode

ENTRIES = [("cat", ("k", "ae", "t")), ("at", ("ae", "t")), ("a", ("ae",)), ("eh", ("ae",), 0.6)]
OPTIONS = SearchOptions(search_beam=50.0, output_beam=6.0, acoustic_scale=0.7)


@pytest.fixture(scope="module")
def lattice():
    """Three utterances, of which the second has no path."""
    lexicon = Lexicon(ENTRIES)
    G = grammar.compile("(cat | at | a | eh)+", lexicon.words)
    graph = compile_hlg(topology.ctc(lexicon.num_tokens), lexicon, G)
    logits = np.random.default_rng(0).normal(size=(3, 12, len(graph.columns)))
    log_probs = torch.from_numpy(2 * logits).log_softmax(dim=2).float()
    lengths = torch.tensor([12, 0, 9], dtype=torch.int32)
    return decode(graph, Posteriors(log_probs, lengths, 0.02, graph.columns), OPTIONS)


IDS = ["one", "none", "two/b"]


def test_reading_back_gives_the_same_paths_and_scores(lattice, tmp_path):
    write(lattice, IDS, tmp_path / "lattices.ark")
    found = list(read(tmp_path / "lattices.ark"))
    assert [item.id for item in found] == ["one", "two/b"]
    for item, row in zip(found, (0, 2), strict=True):
        before = lattice.nbest(20)[row]
        after = item.nbest(20, lattice.graph.word_names)
        assert len(before) > 5
        assert [path.words for path in after] == [path.words for path in before]
        assert [p.score for p in after] == pytest.approx([p.score for p in before], abs=1e-4)
        shares = [(p.graph_score, p.acoustic_score) for p in before]
        assert [(p.graph_score, p.acoustic_score) for p in after] == [
            pytest.approx(pair, abs=1e-4) for pair in shares
        ]
        best = item.best_path(lattice.graph.word_names)
        assert best.text == lattice.best_path()[row].text
        assert best.score == pytest.approx(lattice.best_path()[row].score, abs=1e-4)
        assert len(item.src) == lattice.utterances[row].word_lattice.src.size


def test_every_path_takes_one_label_a_frame(lattice, tmp_path):
    write(lattice, IDS, tmp_path / "a.ark")
    item = next(read(tmp_path / "a.ark"))
    frames = np.full(item.num_states, -1)
    frames[0] = 0
    for src, dst, label in zip(item.src, item.dst, item.label, strict=True):
        expected = frames[src] + (label > 0)
        assert frames[dst] in (-1, expected)
        frames[dst] = expected
    assert frames[-1] == 12
    assert item.label.max() <= len(lattice.graph.columns)


def kaldi_lattice(archive: bytes, key: str, tmp_path) -> kaldifst.Lattice:
    """What Kaldi's table code passes to OpenFst: all that follows the key and a blank."""
    begin = archive.index(key.encode() + b" \xd6\xfd\xb2\x7e") + len(key) + 1
    (tmp_path / "one.lat").write_bytes(archive[begin:])
    return kaldifst.Lattice.read(str(tmp_path / "one.lat"))


def test_kaldis_lattice_type_reads_the_binary_archive(lattice, tmp_path):
    """kaldifst has Kaldi's Lattice: its best path, by its own search, has our costs."""
    write(lattice, IDS, tmp_path / "a.ark")
    archive = (tmp_path / "a.ark").read_bytes()
    assert b"none" not in archive
    for key, row in (("one", 0), ("two/b", 2)):
        fst = kaldi_lattice(archive, key, tmp_path)
        best = lattice.best_path()[row]
        linear = kaldifst.shortest_path(fst)
        ok, labels, words, weight = kaldifst.get_linear_symbol_sequence(linear)
        assert ok
        assert [lattice.graph.word_names[i] for i in words] == list(best.words)
        assert weight.value1 == pytest.approx(-best.graph_score, abs=1e-4)
        assert weight.value2 == pytest.approx(-best.acoustic_score, abs=1e-4)
        assert len(labels) == int(lattice.scores.lengths[row])
        # The labels are the columns of the best path: together they score what it scores.
        scores = lattice.scores.log_probs[row, np.arange(len(labels)), np.array(labels) - 1]
        assert float(scores.sum()) == pytest.approx(best.acoustic_score, abs=1e-4)


def test_batches_are_appended(lattice, tmp_path):
    path = tmp_path / "lattices.ark"
    write(lattice, IDS, path)
    write(lattice, ["x", "y", "z"], path, append=True)
    assert [item.id for item in read(path)] == ["one", "two/b", "x", "z"]
    write(lattice, ["x", "y", "z"], path)
    assert [item.id for item in read(path)] == ["x", "z"]


INF = (float("inf"), float("inf"))


def archive(key: str, *states, start: int = 0) -> bytes:
    """An archive of one lattice; a state is its final costs and (label, word, costs, target)."""
    content = (
        key.encode() + b" " + struct.pack("<ii6si8si", 2125659606, 6, b"vector", 8, b"lattice4", 2)
    )
    content += struct.pack("<iQqqq", 0, 3, start, len(states), 0)
    for final, *arcs in states:
        content += struct.pack("<ffq", *final, len(arcs))
        for label, word, costs, target in arcs:
            content += struct.pack("<iiffi", label, word, *costs, target)
    return content


def test_lattices_of_others(tmp_path):
    """Several final states with weights, and a lattice of one state."""
    (tmp_path / "a.ark").write_bytes(
        archive(
            "utt",
            (INF, (5, 7, (1, 2), 1), (6, 8, (0, 0), 2)),
            ((0.125, 0), (5, 0, (0.5, 0.25), 2)),
            ((0, 0),),
        )
        + archive("next", ((0, 0),))
    )
    utt, empty = read(tmp_path / "a.ark")
    names = [str(i) for i in range(9)]
    assert (utt.id, empty.id) == ("utt", "next")
    assert [(p.text, p.graph_score, p.acoustic_score) for p in utt.nbest(5, names)] == [
        ("8", 0.0, 0.0),
        ("7", -1.125, -2.0),
    ]
    assert empty.best_path(names).words == ()
    with pytest.raises(LatticeError, match=r"words\.txt"):
        utt.best_path(names[:8])


ARC = (5, 7, (1, 2), 1)


@pytest.mark.parametrize(
    ("states", "start", "message"),
    [
        ([(INF, ARC), (INF,)], 0, "utt is empty"),
        ([], -1, "utt is empty"),
        ([((0, 0),), (INF, (5, 7, (1, 2), 0))], 1, "topological order"),
        ([(INF, (5, 7, (1, 2), 2)), ((0, 0),), (INF, ARC)], 0, "topological order"),
        ([(INF, ARC), (INF,), ((0, 0),)], 0, "to which no arc leads"),
        ([(INF, (5, 7, (float("nan"), 2), 1)), ((0, 0),)], 0, "out of range"),
        ([(INF, (-5, 7, (1, 2), 1)), ((0, 0),)], 0, "out of range"),
    ],
)
def test_lattices_that_cannot_be_used(tmp_path, states, start, message):
    (tmp_path / "a.ark").write_bytes(archive("utt", *states, start=start))
    with pytest.raises(LatticeError, match=message) as caught:
        list(read(tmp_path / "a.ark"))
    assert caught.value.path == str(tmp_path / "a.ark")


def test_damaged_archives_are_refused(lattice, tmp_path):
    path = tmp_path / "a.ark"
    write(lattice, IDS, path)
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 40):
        path.write_bytes(whole[:length])
        with pytest.raises(LatticeError, match="ends in the middle"):
            list(read(path))
    path.write_bytes(whole + b"junk")
    with pytest.raises(LatticeError, match="no lattice begins"):
        list(read(path))
    path.write_bytes(whole.replace(b"lattice4", b"standard"))
    with pytest.raises(LatticeError, match="no lattice begins"):
        list(read(path))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LatticeError, match="no lattice begins"):
        list(read(path))
    with pytest.raises(LatticeError, match="cannot be read"):
        list(read(tmp_path / "absent"))


def test_what_cannot_be_written_is_refused(lattice, tmp_path):
    with pytest.raises(OptionError, match="must be one word"):
        write(lattice, ["a b", "c", "d"], tmp_path / "x")
    with pytest.raises(OptionError, match="3 lattices, but 1 ids"):
        write(lattice, ["a"], tmp_path / "x")
    with pytest.raises(OptionError, match="cannot be written"):
        write(lattice, IDS, tmp_path / "no" / "x")
    assert not (tmp_path / "x").exists()
