"""Import of CTC graphs in OpenFst files: H, HL, HLG, TLG and LG, of k2, icefall, Kaldi or EESEN.

Toolkits number input labels in three ways, since label 0 is ε in OpenFst:

=========  ===========================================  =========================================
labels     an arc's label                               of
=========  ===========================================  =========================================
shifted    id in tokens.txt + 1; 0 is ε                 icefall, sherpa-onnx, kaldi-decoder
kaldi      id in tokens.txt, in which 0 is ``<eps>``    EESEN, Kaldi's recipes for CTC
           and the blank another; column is id - 1
k2         id in tokens.txt, 0 the blank; no ε          k2, saved without changing its labels
=========  ===========================================  =========================================

Which of them a file has follows from its blanks: in a CTC graph, no label is on more self-loops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import GraphError
from asr_hlg.fst import openfst, symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.symbols import BLANK, EPS, SymbolTable
from asr_hlg.graph import hlg, imported, topology_arcs
from asr_hlg.graph.meter import Meter
from asr_hlg.graph.packed_fst import EPSILON, PackedFst
from asr_hlg.lexicon import Lexicon, Pronunciation

Ints = npt.NDArray[np.integer[Any]]

LABELS = ("shifted", "kaldi", "k2")
BLANK_NAMES = (BLANK, "<blank>", "<b>", "<pad>", "[PAD]", "<ctc_blank>", "blank", "_")


@dataclass(frozen=True)
class ImportOptions:
    """How a graph in a file is understood.

    Attributes
    ----------
    tokens : Path
        ``tokens.txt``: the model's tokens with their ids.
    words : Path or None
        ``words.txt``; without it, and without a table in the graph itself, the output labels are
        ids of tokens.
    labels : str or None
        One of `LABELS`; found out by default.
    blank : str or None
        Name of the blank in ``tokens``; by default one of `BLANK_NAMES`, or the token with id 0.
    lexicon : Path or None
        Pronunciations, for exact times of words.
    silence : str or None
        Token that belongs to no word.
    acoustic_model : str or None
        Model to decode with by default.
    """

    tokens: Path
    words: Path | None = None
    labels: str | None = None
    blank: str | None = None
    lexicon: Path | None = None
    silence: str | None = None
    acoustic_model: str | None = None


@dataclass(frozen=True)
class _Tokens:
    """The model's tokens: their table as it is in the file, the blank's id, the columns' names."""

    path: Path
    table: SymbolTable
    number: int
    blank: int

    @property
    def has_eps(self) -> bool:
        """Whether id 0 is ε, and the blank another token."""
        return self.blank > 0 and self.table[0] in (EPS, "<epsilon>")

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the posteriors; the blank has our name for it."""
        names = symbols.names(self.table)[: self.number]
        names[self.blank] = BLANK
        return tuple(names[1:] if self.has_eps else names)


def import_graph(
    path: Path,
    output: Path,
    options: ImportOptions,
    meter: Meter | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Path:
    """Make a graph folder of an OpenFst file.

    Parameters
    ----------
    path : Path
        The OpenFst file. A graph without any blank is L∘G, which the CTC topology is composed with.
    output : Path
        The graph folder to write.
    options : ImportOptions
    meter : Meter, optional
        Limits memory and reports stages.
    note : callable
        Receives how labels and words have been understood.

    Raises
    ------
    GraphError
        If the file is damaged, does not fit its tables, or its labels cannot be understood.
    """
    meter = meter or Meter()
    with meter.stage("graph read") as size:
        fst = openfst.read(path)
        size.set(fst.arcs.num_states, fst.arcs.num_arcs)
    tokens = _read_tokens(options)
    words, words_path = _read_words(path, fst, options, tokens, note)
    arcs = _without_disambig(fst.arcs, words)
    labels = options.labels or _detect(path, arcs, tokens, note)
    if labels == "lg":
        packed = _composed_with_ctc(path, arcs, tokens, meter)
    else:
        packed = _packed(path, arcs, tokens, labels, meter)
    largest = int(packed.spellings.max(initial=0))
    if largest >= len(words):
        raise GraphError(
            f"has {len(words)} ids, but the graph writes the id {largest}",
            path=words_path,
            remedy="name the graph's own table with --words words.txt",
        )
    tables = imported.Tables(
        tokens.columns,
        SymbolTable([BLANK, *(name for name in tokens.columns if name != BLANK)]),
        words,
        _pronunciations(options, words),
        silence=options.silence,
    )
    origin = imported.Origin(
        "ctc",
        tuple(p for p in (path, options.tokens, options.words, options.lexicon) if p is not None),
        options.acoustic_model,
        {"floor": 0.0},
        {"labels": labels},
    )
    imported.write(output, packed, tables, origin, meter)
    return output


def _read_tokens(options: ImportOptions) -> _Tokens:
    table = symbols.read(options.tokens)
    number = symbols.first_disambig(table)
    names = symbols.names(table)[:number]
    if options.blank is not None:
        if options.blank not in names:
            raise GraphError(
                f"has no token {options.blank!r}",
                path=options.tokens,
                remedy="name its blank with --blank",
            )
        return _Tokens(options.tokens, table, number, names.index(options.blank))
    known = [names.index(name) for name in BLANK_NAMES if name in names]
    return _Tokens(options.tokens, table, number, known[0] if known else 0)


def _read_words(
    path: Path,
    fst: openfst.OpenFst,
    options: ImportOptions,
    tokens: _Tokens,
    note: Callable[[str], None],
) -> tuple[SymbolTable, Path]:
    """The table of output labels, and the file that it is from."""
    if options.words is not None:
        names = dict(enumerate(symbols.names(symbols.read(options.words))))
        return imported.symbol_table(names, options.words), options.words
    if fst.output_symbols is not None:
        note("words: from the symbol table in the graph")
        return imported.symbol_table(fst.output_symbols, path), path
    note("words: none are named, so the output labels are ids of tokens")
    names = dict(enumerate(symbols.names(tokens.table)))
    names[0] = EPS
    return imported.symbol_table(names, options.tokens), options.tokens


def _without_disambig(arcs: Arcs, words: SymbolTable) -> Arcs:
    """Arcs whose disambiguation symbols on the output side are ε."""
    known = np.minimum(arcs.olabel, len(words) - 1)
    is_disambig = np.array([symbols.is_disambig(name) for name in symbols.names(words)])
    inside = arcs.olabel < len(words)
    olabel = np.where(is_disambig[known] & inside, 0, arcs.olabel).astype(np.int32)
    return Arcs(arcs.src, arcs.dst, arcs.ilabel, olabel, arcs.score, arcs.final)


def _detect(path: Path, arcs: Arcs, tokens: _Tokens, note: Callable[[str], None]) -> str:
    """How the input labels are numbered; ``lg`` for L∘G, which has no blanks.

    Raises
    ------
    GraphError
        If several numberings are possible.
    """
    looped = arcs.ilabel[arcs.src == arcs.dst]
    largest = int(arcs.ilabel.max(initial=0))
    blank_of = {"shifted": tokens.blank + 1}
    if tokens.has_eps:
        blank_of = {"kaldi": tokens.blank}
    elif tokens.blank == 0:
        blank_of["k2"] = 0
    limit = {"shifted": tokens.number, "kaldi": tokens.number - 1, "k2": tokens.number - 1}
    counts = {name: int((looped == label).sum()) for name, label in blank_of.items()}
    fitting = [name for name in blank_of if largest <= limit[name] and counts[name] > 0]
    best = max(fitting, key=lambda name: counts[name], default=None)
    if best is None and not len(looped) and largest < len(tokens.table):
        note("labels: no blank is read, so this is L∘G; the CTC topology is composed with it")
        return "lg"
    rivals = [name for name in fitting if name != best and 2 * counts[name] > counts[best or ""]]
    if best is None or rivals:
        raise GraphError(
            f"has labels up to {largest} and its blanks cannot be told from other tokens of "
            f"{tokens.path}, which has {tokens.number}",
            path=path,
            remedy="say how labels are numbered, --labels shifted, kaldi or k2; "
            "and name the blank with --blank",
        )
    note(f"labels: {best} (the blank is label {blank_of[best]}); --labels overrides this")
    return best


def _packed(path: Path, arcs: Arcs, tokens: _Tokens, labels: str, meter: Meter) -> PackedFst:
    """Packed automaton whose labels are columns."""
    column = arcs.ilabel.astype(np.int64) - (0 if labels == "k2" else 1)
    if labels == "kaldi":
        ids = symbols.names(tokens.table)
        disambig = np.array([False, *(symbols.is_disambig(name) for name in ids[1:])])
        known = np.minimum(arcs.ilabel, len(ids) - 1)
        column = np.where(disambig[known], EPSILON, column)
    if len(column) and column.max() >= len(tokens.columns):
        raise GraphError(
            f"has the input label {arcs.ilabel[column.argmax()]}, but {tokens.path.name} has "
            f"{len(tokens.columns)} tokens",
            path=path,
            remedy="name the model's own tokens.txt, or another numbering with --labels",
        )
    blank = tokens.columns.index(BLANK)
    # A token begins wherever an arc reads it, except where a self-loop repeats it.
    begins = (column >= 0) & (column != blank) & (arcs.src != arcs.dst)
    order = np.full(len(tokens.columns), 0)
    order[np.arange(len(order)) != blank] = np.arange(1, len(order))
    phone = np.where(begins, order[np.maximum(column, 0)], 0)
    with meter.stage("graph pack") as size:
        label = np.where(column < 0, EPSILON, column)
        score, final = arcs.score, arcs.final
        packed = PackedFst.pack(arcs.src, arcs.dst, label, arcs.olabel, score, final, phone)
        size.set(packed.num_states, len(packed.arcs) + len(packed.eps_arcs))
    return packed


def _composed_with_ctc(path: Path, lg: Arcs, tokens: _Tokens, meter: Meter) -> PackedFst:
    """H∘L∘G of an L∘G whose labels are ids in tokens.txt, 0 for ε."""
    ids = symbols.names(tokens.table)
    column = np.zeros(len(ids), np.int32)
    blank = tokens.columns.index(BLANK)
    if blank != 0:
        raise GraphError(
            f"is L∘G, and the blank is column {blank} of the model",
            path=path,
            remedy="import HLG.fst, which contains H",
        )
    shift = 1 if tokens.has_eps else 0
    for index, name in enumerate(ids):
        is_column = not symbols.is_disambig(name) and index != tokens.blank
        column[index] = max(index - shift, 0) if is_column else 0
    arcs = Arcs(lg.src, lg.dst, column[lg.ilabel], lg.olabel, lg.score, lg.final)
    with meter.stage("H∘(L∘G) compose") as size:
        packed = hlg.compose_packed(topology_arcs.ctc(len(tokens.columns)), arcs)
        size.set(packed.num_states, len(packed.arcs) + len(packed.eps_arcs))
    return packed


def _pronunciations(options: ImportOptions, words: SymbolTable) -> tuple[Pronunciation, ...]:
    if options.lexicon is None:
        return ()
    entries = Lexicon.read(options.lexicon).entries
    return tuple(entry for entry in entries if entry.word in words)
