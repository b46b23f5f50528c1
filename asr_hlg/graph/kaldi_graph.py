"""Graphs of Kaldi's hybrid models: ``HCLG.fst``, or ``HCLr.fst`` with ``Gr.fst``.

Their input labels are transition-ids. Transition-ids with the same pdf read the same column of the
posteriors; the others of their properties are stored with the arcs, so that phones and words can be
found in a lattice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import GraphError
from asr_hlg.files import text_lines
from asr_hlg.fst import openfst, symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.openfst import OpenFst
from asr_hlg.fst.symbols import SymbolTable
from asr_hlg.graph import imported, phrase_list
from asr_hlg.graph.lookahead import LookAhead
from asr_hlg.graph.lookahead_records import LABEL
from asr_hlg.graph.meter import Meter
from asr_hlg.graph.packed_fst import EPSILON, PackedFst

Ints = npt.NDArray[np.integer[Any]]

POSITIONS = ("nonword", "begin", "end", "internal", "singleton")
_SEARCH = {
    "beam": "search_beam",
    "lattice-beam": "output_beam",
    "max-active": "max_active",
    "min-active": "min_active",
    "acoustic-scale": "acoustic_scale",
}
_DEFAULTS = {
    "search_beam": 13.0,
    "output_beam": 6.0,
    "max_active": 7000,
    "min_active": 200,
    "acoustic_scale": 1.0,
}


@dataclass(frozen=True)
class KaldiFiles:
    """Files of a Kaldi model folder that a graph is made of; None for those that are absent.

    Either ``hclg`` is there, or ``hcl`` and ``g``.
    """

    folder: Path
    hclg: Path | None
    hcl: Path | None
    g: Path | None
    words: Path | None
    phones: Path | None
    disambig: Path | None
    word_boundary: Path | None
    conf: Path | None

    @staticmethod
    def find(folder: Path) -> KaldiFiles:
        """Look for the files in a folder, and in its folders ``graph`` and ``conf``.

        Raises
        ------
        GraphError
            If there is neither ``HCLG.fst`` nor ``HCLr.fst`` with ``Gr.fst``.
        """

        def first(*names: str) -> Path | None:
            places = (folder / part / name for name in names for part in ("graph", ".", "conf"))
            return next((path for path in places if path.is_file()), None)

        files = KaldiFiles(
            folder,
            first("HCLG.fst"),
            first("HCLr.fst"),
            first("Gr.fst"),
            first("words.txt"),
            first("phones.txt"),
            first("disambig_tid.int"),
            first("phones/word_boundary.int", "word_boundary.int"),
            first("model.conf"),
        )
        if files.hclg is None and (files.hcl is None or files.g is None):
            raise GraphError(
                "has neither HCLG.fst nor HCLr.fst and Gr.fst",
                path=folder,
                remedy="name the folder of a Kaldi model; these files are in it, or in its folder "
                "graph",
            )
        return files

    @property
    def sources(self) -> tuple[Path, ...]:
        """Files that determine the graph."""
        automata = [self.hclg] if self.hclg else [self.hcl, self.g, self.disambig]
        others = [self.words, self.phones, self.word_boundary, self.conf]
        return tuple(path for path in (*automata, *others) if path is not None)


@dataclass(frozen=True)
class Transitions:
    """Properties of transition-ids; index 0 of every array is unused.

    Attributes
    ----------
    pdf_of, phone_of : np.ndarray
        int32 ``(num_ids + 1,)``.
    begins_phone : np.ndarray
        bool ``(num_ids + 1,)``: whether a phone begins in a frame that reads the id. In Kaldi's
        graphs the self-loop of a state comes after a transition out of it, so it is such a
        transition of the phone's first state.
    acoustic_scale : float
        Weight of the log-likelihoods where ``model.conf`` gives none.
    """

    pdf_of: Ints
    phone_of: Ints
    begins_phone: npt.NDArray[np.bool_]
    acoustic_scale: float = 1.0

    @property
    def num_pdfs(self) -> int:
        """Number of columns of the posteriors."""
        return int(self.pdf_of.max()) + 1


def import_kaldi(
    folder: Path,
    output: Path,
    transitions: Transitions,
    acoustic_model: str | None = None,
    meter: Meter | None = None,
    note: Callable[[str], None] = lambda text: None,
    phrases: Sequence[str] = (),
) -> Path:
    """Make a graph folder of the graph in a Kaldi model folder.

    Parameters
    ----------
    folder : Path
        Kaldi's folder, as Vosk's models are laid out, or with all files in one place.
    output : Path
        The graph folder to write.
    transitions : Transitions
        From the same folder's ``final.mdl``.
    acoustic_model : str, optional
        What the graph names as its acoustic model.
    meter : Meter, optional
        Limits memory and reports stages.
    note : callable
        Receives remarks on what was found.
    phrases : sequence of str
        If there are any, a language model of these takes the place of ``Gr.fst``. Words that the
        model does not have are left out.

    Raises
    ------
    GraphError
        If files are missing or damaged, do not fit together, or memory does not suffice.
    """
    meter = meter or Meter()
    files = KaldiFiles.find(folder)
    phones = _phones(files, transitions, note)
    if files.hclg is not None and phrases:
        raise GraphError(
            "is compiled, so that it cannot have other phrases",
            path=files.hclg,
            remedy="take a model with HCLr.fst and Gr.fst",
        )
    automaton: PackedFst | LookAhead
    if files.hclg is not None:
        automaton, names, words_path = _static(files, transitions, meter)
    else:
        automaton, names, words_path = _look_ahead(files, transitions, meter, phrases, note)
    words = _words(files, names, words_path, automaton.largest_word)
    search = search_options(files.conf, transitions.acoustic_scale)
    tables = imported.Tables(
        symbols.pdf_names(transitions.num_pdfs),
        phones,
        words,
        word_positions=_word_positions(files, phones, note),
    )
    origin = imported.Origin("kaldi", files.sources, acoustic_model, search)
    imported.write(output, automaton, tables, origin, meter)
    return output


def search_options(conf: Path | None, acoustic_scale: float = 1.0) -> dict[str, float | int]:
    """Options of the search that ``model.conf`` gives; Kaldi's usual ones where it is silent."""
    options: dict[str, float | int] = {**_DEFAULTS, "floor": 0.0}
    options["acoustic_scale"] = acoustic_scale
    for line, text in () if conf is None else text_lines(conf):
        name, _, value = text.strip().removeprefix("--").partition("=")
        if name in _SEARCH:
            kind = type(_DEFAULTS[_SEARCH[name]])
            try:
                options[_SEARCH[name]] = kind(value)
            except ValueError:
                raise GraphError(
                    f"{name} must be a number, not {value!r}", path=conf, line=line
                ) from None
    options["min_active"] = min(options["min_active"], options["max_active"])
    return options


def _static(
    files: KaldiFiles, transitions: Transitions, meter: Meter
) -> tuple[PackedFst, Mapping[int, str] | None, Path]:
    """HCLG, packed, with the names of its words if it contains them."""
    assert files.hclg is not None
    with meter.stage("HCLG read") as size:
        fst = openfst.read(files.hclg)
        size.set(fst.arcs.num_states, fst.arcs.num_arcs)
    labels = _labels(fst.arcs, (), transitions, files.hclg)
    with meter.stage("HCLG pack") as size:
        arcs = fst.arcs
        column, phone = labels["column"][arcs.ilabel], labels["phone"][arcs.ilabel]
        label = np.where(column < 0, EPSILON, column)
        packed = PackedFst.pack(
            arcs.src, arcs.dst, label, arcs.olabel, arcs.score, arcs.final, phone
        )
        size.set(packed.num_states, packed.num_arcs)
    return packed, fst.output_symbols, files.hclg


def _look_ahead(
    files: KaldiFiles,
    transitions: Transitions,
    meter: Meter,
    phrases: Sequence[str],
    note: Callable[[str], None],
) -> tuple[PackedFst | LookAhead, Mapping[int, str] | None, Path]:
    """HCLr and Gr, or HCLr∘G of phrases, which is small; and names of words if Gr has them."""
    assert files.hcl is not None
    assert files.g is not None
    with meter.stage("HCLr read") as size:
        hcl = openfst.read(files.hcl)
        size.set(hcl.arcs.num_states, hcl.arcs.num_arcs)
    if hcl.reach is None:
        raise GraphError(
            "has no look-ahead",
            path=files.hcl,
            remedy="convert it with: fstconvert --fst_type=olabel_lookahead",
        )
    with meter.stage("Gr read") as size:
        g = openfst.read(files.g)
        size.set(g.arcs.num_states, g.arcs.num_arcs)
    labels = _labels(hcl.arcs, _disambig(files), transitions, files.hcl)
    arcs = g.arcs if not phrases else _phrase_arcs(files, phrases, _symbols(g), note)
    ahead = LookAhead.of(hcl.arcs, hcl.reach, arcs, labels)
    if not ahead.accepts_anything():
        raise GraphError(
            f"accepts no sentence of {files.g.name}",
            path=files.hcl,
            remedy="the two files must be of one model: Gr.fst has HCLr.fst's labels",
        )
    return ahead.packed() if phrases else ahead, _symbols(g), files.g


def _phrase_arcs(
    files: KaldiFiles,
    phrases: Sequence[str],
    names: Mapping[int, str] | None,
    note: Callable[[str], None],
) -> Arcs:
    """G of some phrases, whose labels are those of Gr."""
    if names is None and files.words is not None:
        names = dict(enumerate(symbols.names(symbols.read(files.words))))
    known = {name: id for id, name in (names or {}).items() if id > 0}
    ids, unknown = phrase_list.ids_of(phrases, known)
    if unknown:
        note(f"words that the model does not have are left out: {' '.join(unknown)}")
    if not any(ids):
        raise GraphError("has none of the words of the phrases", path=files.folder)
    return phrase_list.bigrams(ids)


def _symbols(fst: OpenFst) -> Mapping[int, str] | None:
    return fst.output_symbols or fst.input_symbols


def _labels(
    hcl: Arcs, disambig: tuple[int, ...], transitions: Transitions, path: Path
) -> npt.NDArray[np.void]:
    """Column and phone of every input label as `LABEL` records; disambiguation symbols are ε."""
    known = len(transitions.pdf_of)
    foreign = np.setdiff1d(np.unique(hcl.ilabel), np.append(0, disambig))
    foreign = foreign[foreign >= known]
    if len(foreign):
        raise GraphError(
            f"has the input label {foreign[0]}, but the model has {known - 1} transition-ids",
            path=path,
            remedy="name the final.mdl that the graph was made for"
            + ("" if disambig else "; or disambig_tid.int is missing"),
        )
    labels = np.zeros(max(known, *disambig, 1) + 1, LABEL)
    labels["column"] = -1
    labels["column"][1:known] = transitions.pdf_of[1:]
    phones = np.where(transitions.begins_phone, transitions.phone_of, 0)
    labels["phone"][1:known] = phones[1:]
    labels[list(disambig)] = -1, 0
    return labels


def _disambig(files: KaldiFiles) -> tuple[int, ...]:
    if files.disambig is None:
        return ()
    lines = list(text_lines(files.disambig))
    try:
        ids = tuple(int(text) for _, line in lines for text in line.split())
    except ValueError:
        ids = (-1,)
    if not all(0 < id < 1 << 24 for id in ids):
        raise GraphError("must hold one positive number a line", path=files.disambig)
    return ids


def _phones(
    files: KaldiFiles, transitions: Transitions, note: Callable[[str], None]
) -> SymbolTable:
    """Names of phones, ``phone_N`` where there is no table that fits the model."""
    num_phones = int(transitions.phone_of.max()) + 1
    if files.phones is not None:
        table = symbols.read(files.phones)
        named = symbols.first_disambig(table)
        if named >= num_phones:
            return table
        note(
            f"{files.phones} names {named - 1} phones, but the model has {num_phones - 1}; "
            "phones are called phone_1, phone_2, …"
        )
    return SymbolTable([symbols.EPS, *(f"phone_{i}" for i in range(1, num_phones))])


def _words(
    files: KaldiFiles, names: Mapping[int, str] | None, path: Path, largest: int
) -> SymbolTable:
    if names is None:
        if files.words is None:
            raise GraphError(
                "has neither words.txt nor a symbol table in its graph",
                path=files.folder,
                remedy="copy words.txt beside the graph",
            )
        path, table = files.words, symbols.read(files.words)
        names = dict(enumerate(symbols.names(table)))
    if largest > max(names, default=0):
        raise GraphError(
            f"has {max(names, default=0) + 1} words, but the graph writes the id {largest}",
            path=path,
            remedy="take words.txt of the same graph",
        )
    return imported.symbol_table(names, path)


def _word_positions(
    files: KaldiFiles, phones: SymbolTable, note: Callable[[str], None]
) -> dict[str, str] | None:
    """Where in a word each phone stands, by its name."""
    path = files.word_boundary
    if path is None:
        note(f"{files.folder} has no word_boundary.int, so times of words are approximate")
        return None
    positions = {}
    for line, text in text_lines(path):
        fields = text.split()
        known = len(fields) == 2 and fields[0].isdigit() and fields[1] in POSITIONS
        if not known or int(fields[0]) not in phones:
            raise GraphError(
                f"expected a phone's id and one of {', '.join(POSITIONS)}", path=path, line=line
            )
        positions[phones[int(fields[0])]] = fields[1]
    return positions
