"""Lattices on disk: read back equal, and read by OpenFst's own code as what they should be."""

from __future__ import annotations

import kaldifst
import numpy as np
import pytest
import torch

from asr_hlg import grammar
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import LatticeError, OptionError
from asr_hlg.graph import compile_hlg, topology
from asr_hlg.lattice import io
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


def target(tmp_path, format):
    return tmp_path / ("folder" if format == "openfst" else "lattices.ark")


@pytest.mark.parametrize("format", io.FORMATS)
def test_reading_back_gives_the_same_paths_and_scores(lattice, format, tmp_path):
    io.write(lattice, IDS, target(tmp_path, format), format)
    found = list(io.read(target(tmp_path, format)))
    assert [item.id.replace("_", "/") for item in found] == ["one", "two/b"]
    for item, row in zip(found, (0, 2), strict=True):
        before = lattice.nbest(20)[row]
        after = item.nbest(20, lattice.graph.word_names)
        assert len(before) > 5
        assert [path.words for path in after] == [path.words for path in before]
        assert [p.score for p in after] == pytest.approx([p.score for p in before], abs=1e-4)
        if format != "openfst":  # which keeps one cost only
            shares = [(p.graph_score, p.acoustic_score) for p in before]
            assert [(p.graph_score, p.acoustic_score) for p in after] == [
                pytest.approx(pair, abs=1e-4) for pair in shares
            ]
        best = item.best_path(lattice.graph.word_names)
        assert best.text == lattice.best_path()[row].text
        assert best.score == pytest.approx(lattice.best_path()[row].score, abs=1e-4)
        assert len(item.src) == lattice.utterances[row].word_lattice.src.size


def test_every_path_takes_one_label_a_frame(lattice, tmp_path):
    io.write(lattice, IDS, tmp_path / "a.ark")
    item = next(io.read(tmp_path / "a.ark"))
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
    io.write(lattice, IDS, tmp_path / "a.ark")
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


def test_text_is_what_openfst_prints(lattice, tmp_path):
    """The text archive has the lines that OpenFst's printer makes of the binary one."""
    io.write(lattice, IDS, tmp_path / "a.ark")
    io.write(lattice, IDS, tmp_path / "a.txt", "kaldi-text")
    printed = kaldi_lattice((tmp_path / "a.ark").read_bytes(), "one", tmp_path).to_str()
    text = (tmp_path / "a.txt").read_text()
    key, body = text.split("\n\n")[0].split("\n", 1)
    assert key == "one"
    assert text.endswith("\n\n")

    def values(line: str) -> list[float]:
        fields = line.replace(",", " ").split()
        # OpenFst leaves out weights that are One.
        return [float(x) for x in fields] + [0.0] * (6 - len(fields) if len(fields) > 2 else 0)

    ours, theirs = ([values(x) for x in t.splitlines() if x.strip()] for t in (body, printed))
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other, rel=1e-4, abs=1e-5)


def test_openfst_compiles_the_text(lattice, tmp_path):
    io.write(lattice, IDS, tmp_path, "openfst")
    fst = kaldifst.compile((tmp_path / "one.fst.txt").read_text())
    ok, _, words, weight = kaldifst.get_linear_symbol_sequence(kaldifst.shortest_path(fst))
    best = lattice.best_path()[0]
    table = kaldifst.SymbolTable.read_text(str(tmp_path / "words.txt"))
    assert ok
    assert [table.find(i) for i in words] == list(best.words)
    assert weight.value == pytest.approx(-best.score, abs=1e-3)
    columns = kaldifst.SymbolTable.read_text(str(tmp_path / "columns.txt"))
    assert [columns.find(i + 1) for i in range(len(lattice.graph.columns))] == list(
        lattice.graph.columns
    )


def test_batches_are_appended(lattice, tmp_path):
    for format in ("kaldi", "kaldi-text"):
        path = tmp_path / format
        io.write(lattice, IDS, path, format)
        io.write(lattice, ["x", "y", "z"], path, format, append=True)
        assert [item.id for item in io.read(path)] == ["one", "two/b", "x", "z"]
        io.write(lattice, ["x", "y", "z"], path, format)
        assert [item.id for item in io.read(path)] == ["x", "z"]


def test_lattices_of_others(tmp_path):
    """Several final states with weights, weights left out, Kaldi's blanks before the newline."""
    (tmp_path / "a.txt").write_text(
        "utt \n0 1 5 7 1,2\n0 2 6 8\n1 2 5 0 0.5,0.25\n1 0.125,0\n2\n\nnext\n0\n\n"
    )
    utt, empty = io.read(tmp_path / "a.txt")
    names = [str(i) for i in range(9)]
    assert (utt.id, empty.id) == ("utt", "next")
    assert [(p.text, p.graph_score, p.acoustic_score) for p in utt.nbest(5, names)] == [
        ("8", 0.0, 0.0),
        ("7", -1.125, -2.0),
    ]
    assert empty.best_path(names).words == ()


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("utt\n0 1 5 7 1,2\n1 2 3\n\n", 3, "CompactLattice"),
        ("utt\n0 1 5 1,2,4_4\n1\n\n", 2, "CompactLattice"),
        ("utt\n0 1 5 7 cheap\n\n", 2, "expected"),
        ("utt\n0 1 5 7 1,2\n\n", None, "utt is empty"),
        ("utt\n\n", None, "utt is empty"),
        ("utt\n1 0 5 7 1,2\n0\n\n", None, "topological order"),
        ("utt\n0 2 5 7 1,2\n2 1 5 7 1,2\n1\n\n", None, "topological order"),
    ],
)
def test_damaged_text_is_located(tmp_path, text, line, message):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(LatticeError, match=message) as caught:
        list(io.read(tmp_path / "a.txt"))
    assert caught.value.line == line
    assert caught.value.path == str(tmp_path / "a.txt")


def test_damaged_archives_are_refused(lattice, tmp_path):
    path = tmp_path / "a.ark"
    io.write(lattice, IDS, path)
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 40):
        path.write_bytes(whole[:length])
        with pytest.raises(LatticeError, match="ends in the middle"):
            list(io.read(path))
    path.write_bytes(whole + b"junk")
    with pytest.raises(LatticeError, match="does not begin a lattice"):
        list(io.read(path))
    path.write_bytes(whole.replace(b"lattice4", b"standard"))
    with pytest.raises(LatticeError, match="does not begin a lattice"):
        list(io.read(path))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LatticeError, match="not an archive"):
        list(io.read(path))
    with pytest.raises(LatticeError, match="cannot be read"):
        list(io.read(tmp_path / "absent"))


def test_what_cannot_be_written_is_refused(lattice, tmp_path):
    with pytest.raises(OptionError, match="must be one word"):
        io.write(lattice, ["a b", "c", "d"], tmp_path / "x")
    with pytest.raises(OptionError, match="3 lattices, but 1 ids"):
        io.write(lattice, ["a"], tmp_path / "x")
    with pytest.raises(OptionError, match="unknown format"):
        io.write(lattice, IDS, tmp_path / "x", "slf")
    with pytest.raises(OptionError, match="cannot be written"):
        io.write(lattice, IDS, tmp_path / "no" / "x")
    assert not (tmp_path / "x").exists()
