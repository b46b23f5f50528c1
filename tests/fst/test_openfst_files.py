"""Binary OpenFst files are read as kaldifst reads them; the types that it lacks, by definition."""

from __future__ import annotations

import kaldifst
import numpy as np
import pytest

from asr_hlg.errors import GraphError
from asr_hlg.fst import openfst
from asr_hlg.fst.arcs import Arcs
from tests.support import fst_files

COLUMNS = ("src", "dst", "ilabel", "olabel", "score", "final")


def random_arcs(seed, num_states=7, num_arcs=15, num_labels=5):
    random = np.random.default_rng(seed)
    final = np.where(random.random(num_states) < 0.5, -random.random(num_states), -np.inf)
    src = np.sort(random.integers(num_states, size=num_arcs))
    dst = random.integers(num_states, size=num_arcs)
    labels = random.integers(num_labels, size=(2, num_arcs))
    score = -random.random(num_arcs)
    ints = [x.astype(np.int32) for x in (src, dst, *labels)]
    return Arcs(*ints, score.astype(np.float32), final.astype(np.float32))


def assert_same(ours, theirs):
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


@pytest.mark.parametrize("kind", [kaldifst.StdVectorFst, kaldifst.StdConstFst])
def test_vector_and_const_files_of_kaldifst_are_read(tmp_path, kind):
    path = tmp_path / "a.fst"
    for seed in range(20):
        arcs = random_arcs(seed)
        kind(arcs.to_openfst()).write(str(path))
        assert_same(openfst.read(path).arcs, arcs)


def test_kaldifst_reads_what_is_written(tmp_path):
    for seed in range(20):
        arcs = random_arcs(seed)
        openfst.write(tmp_path / "a.fst", arcs)
        theirs = kaldifst.StdConstFst.read(str(tmp_path / "a.fst"))
        assert_same(Arcs.from_openfst(theirs), arcs)
        assert_same(openfst.read(tmp_path / "a.fst").arcs, arcs)


NGRAM = {
    (): {1: 1.0, 2: 2.0, 3: 3.0, 0: 4.0},
    (0,): {1: 0.1, 3: 0.3},
    (1,): {2: 0.2},
    (2,): {3: 0.4, 0: 0.5},
    (2, 1): {3: 0.6},
    (3, 2): {1: 0.7},
    (3,): {1: 0.8},
}


def test_arcs_of_an_ngram_lead_to_the_longest_context(tmp_path):
    offs = {context: 0.01 * len(context) + 0.001 * sum(context) for context in NGRAM}
    names = {0: "<eps>", 1: "a", 2: "b", 3: "c"}
    (tmp_path / "G.fst").write_bytes(fst_files.ngram(NGRAM, offs, names))
    fst = openfst.read(tmp_path / "G.fst")
    assert fst.input_symbols == names
    arcs = fst.arcs
    # The start is the context (0,); every other state has the history that leads to it.
    context_of, waiting = {0: (0,)}, [0]
    while waiting:
        state = waiting.pop()
        context, found = context_of[state], {}
        for arc in range(*arcs.row_splits[state : state + 2]):
            label, longest = int(arcs.ilabel[arc]), context[:-1]
            if label:
                found[label] = -float(arcs.score[arc])
                history = (label, *context)
                longest = next(history[:n] for n in range(9, -1, -1) if history[:n] in NGRAM)
            else:
                assert -arcs.score[arc] == pytest.approx(offs[context])
            target = int(arcs.dst[arc])
            if target not in context_of:
                context_of[target] = longest
                waiting.append(target)
            assert context_of[target] == longest
        expected = {word: cost for word, cost in NGRAM[context].items() if word}
        assert found == pytest.approx(expected)
        assert -arcs.final[state] == pytest.approx(NGRAM[context].get(0, np.inf))
    assert set(context_of.values()) == set(NGRAM)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a binary OpenFst file"),
        (b"0 1 a a 0.5\n", "fstcompile"),
        (fst_files.header("compact_string"), "fstconvert"),
        (fst_files.header("const", num_states=1 << 40), "do not fit"),
        (fst_files.header("vector", num_states=3), "cut off"),
        (fst_files.header("const", start=-1), "has no states"),
        (fst_files.header("const").replace(b"standard", b"lattice4"), "lattice"),
        (fst_files.header("ngram", version=4) + b"\x7f" * 24, "cut off or damaged"),
    ],
)
def test_files_that_cannot_be_read_are_named_with_a_remedy(tmp_path, content, message):
    (tmp_path / "bad.fst").write_bytes(content)
    with pytest.raises(GraphError, match=message) as raised:
        openfst.read(tmp_path / "bad.fst")
    assert "bad.fst" in str(raised.value)
    assert raised.value.remedy
