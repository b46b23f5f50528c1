"""Our graphs for other decoders: OpenFst files for Kaldi's, ``HLG.pt`` for k2 and icefall."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from asr_hlg.errors import GraphError, OptionError
from asr_hlg.fst import openfst, symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.symbols import SymbolTable
from asr_hlg.graph.decoding_graph import DecodingGraph
from asr_hlg.graph.packed_fst import PackedFst

FORMATS = ("openfst", "k2", "icefall")


def export(graph: DecodingGraph, folder: Path, kind: str) -> list[Path]:
    """Write a graph for another decoder.

    Parameters
    ----------
    graph : DecodingGraph
    folder : Path
        Made if need be. It gets ``tokens.txt`` and ``words.txt``, and

        - openfst: ``HLG.fst``, const, costs; input labels are columns + 1, as sherpa-onnx and
          kaldi-decoder read them;
        - k2: ``HLG.pt``, a dictionary that ``k2.Fsa.from_dict`` reads; labels are columns;
        - icefall: the same, and ``lexicon.txt``.
    kind : str
        One of `FORMATS`.

    Returns
    -------
    list of Path
        The files written.
    """
    if kind not in FORMATS:
        raise OptionError(f"unknown format {kind!r}", remedy=f"choose {', '.join(FORMATS)}")
    folder.mkdir(parents=True, exist_ok=True)
    tokens, words = folder / "tokens.txt", folder / "words.txt"
    written = [tokens, words]
    if kind == "openfst":
        openfst.write(folder / "HLG.fst", arcs_of(graph))
        written.insert(0, folder / "HLG.fst")
    else:
        _save_k2(graph, folder / "HLG.pt")
        written.insert(0, folder / "HLG.pt")
    if kind == "icefall":
        _write_lexicon(graph, folder / "lexicon.txt")
        written.append(folder / "lexicon.txt")
    symbols.write(SymbolTable(graph.columns), tokens)
    symbols.write(graph.words, words)
    return written


def arcs_of(graph: DecodingGraph) -> Arcs:
    """H∘L∘G as one transducer: input labels are columns + 1, output labels words, 0 is ε."""
    return openfst_arcs(graph.packed_fst, path=graph.folder)


def openfst_arcs(packed: PackedFst, first: int = 1, path: Path | None = None) -> Arcs:
    """Packed H∘L∘G as one transducer: input labels are columns + ``first``, 0 is ε."""
    states = packed.states
    src = np.repeat(np.arange(packed.num_states), np.diff(states["first"].astype(np.int64)))
    eps_src = np.repeat(np.arange(packed.num_states), np.diff(states["eps_first"].astype(np.int64)))
    lengths = np.diff(packed.spelling_splits)
    if lengths.max(initial=0) > 1:
        raise GraphError("writes several words on one arc", path=path)
    word = np.zeros(len(lengths), np.int32)
    word[lengths > 0] = packed.spellings
    arcs, eps = packed.arcs, packed.eps_arcs
    return Arcs(
        np.concatenate([src, eps_src]).astype(np.int32),
        np.concatenate([arcs["dst"], eps["dst"]]).astype(np.int32),
        np.concatenate([arcs["label"] + first, np.zeros(len(eps))]).astype(np.int32),
        np.concatenate([word[packed.outputs], word[packed.eps_outputs]]),
        np.concatenate([arcs["score"], eps["score"]]),
        np.asarray(packed.final),
    ).sorted()


def _save_k2(graph: DecodingGraph, path: Path) -> None:
    import torch

    torch.save(graph.fsa.to("cpu").as_dict(), path)


def _write_lexicon(graph: DecodingGraph, path: Path) -> None:
    if not graph.has_lexicon:
        raise GraphError(
            "has no lexicon, which icefall's format contains",
            path=graph.folder,
            remedy="choose --format k2 or openfst",
        )
    lines = [f"{entry.word} {' '.join(entry.phones)}\n" for entry in graph.lexicon.entries]
    path.write_text("".join(lines), encoding="utf-8")
