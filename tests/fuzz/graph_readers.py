"""Readers of OpenFst files and of Kaldi's graphs that are fuzzed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import kaldifst
import numpy as np

from asr_hlg.fst import openfst
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.kaldi_graph import Transitions, import_kaldi
from tests.fuzz.reader import Reader, in_file
from tests.support import fst_files

_WORDS = {0: "<eps>", 1: "a", 2: "b"}
_NGRAM = {(): {1: 1.0, 2: 2.0, 0: 3.0}, (0,): {1: 0.1}, (1,): {2: 0.2}, (2,): {}}
_TRANSITIONS = Transitions(
    np.array([-1, 0, 1, 0, 2], np.int32),
    np.array([0, 1, 1, 2, 2], np.int32),
    np.array([False, True, False, True, False]),
)


def _hcl() -> Arcs:
    """Two words of one phone each, with self-loops."""
    src, dst = np.array([0, 0, 1, 1, 2, 2], np.int32), np.array([1, 2, 0, 1, 0, 2], np.int32)
    ilabel = np.array([1, 3, 5, 2, 5, 4], np.int32)
    olabel = np.array([1, 2, 0, 0, 0, 0], np.int32)
    final = np.array([0.0, -np.inf, -np.inf], np.float32)
    return Arcs(src, dst, ilabel, olabel, np.full(6, -0.5, np.float32), final)


def _lookahead(folder: Path) -> bytes:
    openfst.write(folder / "const", _hcl())
    reachable = fst_files.reachable(_hcl(), 3)
    return fst_files.lookahead((folder / "const").read_bytes(), reachable, 3)


def _openfst(folder: Path) -> Sequence[bytes]:
    kaldifst.StdVectorFst(_hcl().to_openfst()).write(str(folder / "vector"))
    offs = dict.fromkeys(_NGRAM, 0.5)
    const = _lookahead(folder)
    return [
        (folder / "vector").read_bytes(),
        (folder / "const").read_bytes(),
        fst_files.ngram(_NGRAM, offs, _WORDS),
        const,
    ]


def _kaldi(folder: Path) -> Sequence[bytes]:
    (folder / "Gr.fst").write_bytes(fst_files.ngram(_NGRAM, dict.fromkeys(_NGRAM, 0.5), _WORDS))
    (folder / "disambig_tid.int").write_text("5\n")
    return [_lookahead(folder)]


def _read_kaldi(path: Path) -> None:
    output = path.parent / "graph"
    shutil.rmtree(output, ignore_errors=True)
    import_kaldi(path.parent, output, _TRANSITIONS)
    DecodingGraph.load(output).packed_fst  # noqa: B018 - is checked


GRAPH_READERS = [
    Reader("openfst", _openfst, in_file("a.fst", openfst.read)),
    Reader("kaldi-graph", _kaldi, in_file("HCLr.fst", _read_kaldi)),
]
