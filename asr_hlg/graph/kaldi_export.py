"""Our graphs as Kaldi has them: HCLG with transition-ids, tuples, and the tree of pdfs.

A transition-id of Kaldi is a transition of a state of a phone with certain pdfs. Our H reads a pdf;
here every state is two states instead, one for its first frame and one for the others, which read
the transition-ids of the step onwards and of the self-loop (``reorder`` in Kaldi). Phones are
marked with their position in the word, from which Kaldi finds where words begin and end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import GraphError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import hlg, metadata
from asr_hlg.graph.build import read_parts
from asr_hlg.graph.compile import compile_lg
from asr_hlg.graph.context import in_context
from asr_hlg.graph.export import openfst_arcs
from asr_hlg.graph.meter import Meter
from asr_hlg.graph.recipe import Recipe, TopologySection
from asr_hlg.graph.tied_states import TiedStates
from asr_hlg.graph.topology_arcs import column_names, of_section, tied_states, transitions_of

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

_POSITIONS = {"B": "begin", "E": "end", "I": "internal", "S": "singleton"}


@dataclass(frozen=True)
class KaldiGraph:
    """A compiled graph in Kaldi's terms; pdf 0 is the first posterior column after ``<eps>``.

    Attributes
    ----------
    hclg : Arcs
        Input labels are transition-ids, output labels words.
    phones, words : tuple of str
        By id, ``<eps>`` first.
    columns : tuple of str
        Posterior columns of the network: ``<eps>``, then the pdfs.
    boundaries : tuple of str
        Position in a word of every phone but ``<eps>``: ``nonword``, ``begin``, ``internal``, …
    silence : int or None
        Its phone.
    classes : tuple of (int, int)
        Pdf classes of each state of a phone: of its first frame, and of its self-loop.
    transitions : np.ndarray
        float64 ``(num_states, 2)``: probabilities of the self-loop and of the step onwards.
    tuples : np.ndarray
        int32 ``(num_tuples, 4)``: phone, state, pdf and pdf of the self-loop. Tuple t has the
        transition-ids 2t + 1, the self-loop, and 2t + 2.
    tree : str
        Content of Kaldi's file ``tree``.
    """

    hclg: Arcs
    phones: tuple[str, ...]
    words: tuple[str, ...]
    columns: tuple[str, ...]
    boundaries: tuple[str, ...]
    silence: int | None
    classes: tuple[tuple[int, int], ...]
    transitions: Floats
    tuples: Ints
    tree: str

    @classmethod
    def compile(cls, recipe: Recipe, meter: Meter | None = None) -> KaldiGraph:
        """Compile a recipe with a topology of kind hmm or chain.

        Raises
        ------
        GraphError
            If the recipe has another topology, or states can be skipped.
        """
        section = recipe.topology
        if section.kind not in ("hmm", "chain") or section.skip > 0:
            raise GraphError(
                "Kaldi's format has HMMs whose states follow each other",
                path=recipe.path,
                remedy='use [topology] kind = "hmm" or "chain", without skip',
            )
        meter = meter or Meter()
        plain, _ = read_parts(recipe)
        marked = replace(recipe, lexicon=replace(recipe.lexicon, position_dependent=True))
        lexicon, G = read_parts(marked, meter)
        lg = compile_lg(lexicon, G, meter)
        bases = [symbols.EPS, *symbols.names(plain.tokens)[1 : plain.num_tokens]]
        phones = [symbols.EPS, *symbols.names(lexicon.tokens)[1 : lexicon.num_tokens]]
        silence = lexicon.silence
        base = list(phones)
        if not recipe.lexicon.position_dependent:
            unmarked = (symbols.EPS, silence)
            base = [name if name in unmarked else name.rpartition("_")[0] for name in phones]
        states = _states(recipe, bases)
        states = TiedStates(states.pdfs, _over(states.table, [bases.index(name) for name in base]))
        matrix = transitions_of(section, 1)[0]
        if section.kind == "chain":
            classes = [(0, 1)]
            probabilities = matrix[:1, 1:]
        else:
            classes = [(state, state) for state in range(section.num_states)]
            steps = np.arange(section.num_states)
            probabilities = np.stack([matrix[steps, steps], matrix[steps, steps + 1]], axis=1)
        tuples, ids = _tuples(states.table, classes)
        H = in_context(ids, _split(probabilities, len(phones) - 1))
        packed = hlg.compose_packed(H, lg)
        return cls(
            hclg=openfst_arcs(packed, first=0),
            phones=tuple(phones),
            words=tuple(symbols.names(lexicon.words)),
            columns=states.pdfs,
            boundaries=tuple(
                "nonword" if name == silence else _POSITIONS[name.rpartition("_")[2]]
                for name in phones[1:]
            ),
            silence=None if silence is None else phones.index(silence),
            classes=tuple(classes),
            transitions=probabilities,
            tuples=tuples,
            tree=_tree(states.table),
        )

    @property
    def log_probs(self) -> Floats:
        """Log-probability of every transition-id, float64 ``(num_ids + 1,)``; 0 at index 0."""
        each = np.log(np.maximum(self.transitions[self.tuples[:, 1]], 1e-30)).ravel()
        return np.append(0.0, each)


def recipe_of(folder: Path) -> Recipe:
    """Recipe that a graph folder was compiled from, with the topology it was compiled with.

    Raises
    ------
    GraphError
        If the graph was not compiled from a recipe, or the recipe is gone.
    """
    meta = metadata.read(folder)
    if "recipe" not in meta or meta["topology"] is None:
        raise GraphError(
            "was not compiled from a recipe", path=folder, remedy="name a recipe's graph"
        )
    recipe = Recipe.read(metadata.recipe_folder(folder, meta) / meta["recipe"]["path"])
    return replace(recipe, topology=TopologySection(**meta["topology"]))


def _states(recipe: Recipe, phones: Sequence[str]) -> TiedStates:
    """Pdfs of a recipe over its phones, in context or not."""
    states = tied_states(recipe, phones)
    if states is not None:
        return states
    names = column_names(of_section(recipe.topology, len(phones)), phones)
    number = recipe.topology.states_per_phone
    return TiedStates(names, TiedStates.independent(len(phones) - 1, number).table)


def _over(table: Ints, base: Sequence[int]) -> Ints:
    """Table of marked phones, each of which has the pdfs and is the context of its phone."""
    left, right = (base if size > 1 else [0] for size in table.shape[2:])
    marked: Ints = table[np.ix_(base, range(table.shape[1]), left, right)]
    return marked


def _tuples(table: Ints, classes: Sequence[tuple[int, int]]) -> tuple[Ints, TiedStates]:
    """All tuples, sorted, and the transition-ids of the states of H in place of pdfs."""
    rows = {
        (phone, state, int(pair[0]), int(pair[1]))
        for phone in range(1, len(table))
        for state, (first, loop) in enumerate(classes)
        for pair in _pairs(table[phone, first], table[phone, loop])
    }
    tuples = np.array(sorted(rows), np.int32)
    number = {row: index for index, row in enumerate(map(tuple, tuples.tolist()))}
    ids = np.zeros((len(table), 2 * len(classes), *table.shape[2:]), np.int32)
    for phone in range(1, len(table)):
        for state, (first, loop) in enumerate(classes):
            for around in np.ndindex(table.shape[2:]):
                pdfs = table[phone, first][around], table[phone, loop][around]
                index = number[phone, state, int(pdfs[0]), int(pdfs[1])]
                ids[phone, 2 * state][around] = 2 * index + 2
                ids[phone, 2 * state + 1][around] = 2 * index + 1
    tuples[:, 2:] -= 1  # pdfs count from 0, columns from 1
    return tuples, TiedStates(tuple(map(str, range(2 * len(tuples) + 1))), ids)


def _pairs(first: Ints, loop: Ints) -> Ints:
    """Distinct pairs of the pdfs of a state's first frame and of its self-loop."""
    pairs: Ints = np.unique(np.stack([first.ravel(), loop.ravel()], axis=1), axis=0)
    return pairs


def _split(probabilities: Floats, num_phones: int) -> Floats:
    """Transitions of phones whose states are two, for the first frame and for the others."""
    count = 2 * len(probabilities)
    matrix = np.zeros((count, count + 1))
    for state, (loop, step) in enumerate(probabilities):
        for half in (2 * state, 2 * state + 1):
            matrix[half, 2 * state + 1] = loop
            matrix[half, 2 * state + 2] = step
    return np.tile(matrix, (num_phones, 1, 1))


def _tree(table: Ints) -> str:
    """Kaldi's file ``tree`` as text; ``tree/context-dep.h`` and ``tree/event-map.h``."""
    context = 1 + (table.shape[2] > 1) + (table.shape[3] > 1)
    center = min(1, context - 1)
    phones = ["NULL"]
    for pdfs in table[1:] - 1:
        classes = " ".join(_map_of(each, center) for each in pdfs)
        phones.append(f"TE -1 {len(pdfs)} ( {classes} )")
    body = "\n".join(phones)
    return (
        f"ContextDependency {context} {center} ToPdf TE {center} {len(phones)} (\n{body}\n)\n"
        "EndContextDependency\n"
    )


def _map_of(pdfs: Ints, center: int) -> str:
    """Map from the left and right context to a pdf: constants, and divisions by sets of phones."""
    if (pdfs == pdfs[0, 0]).all():
        return f"CE {pdfs[0, 0]}"
    # Position 0 is on the left, position 2 on the right of the phone at position 1.
    position, rows = (0, pdfs) if (pdfs != pdfs[:1]).any() else (center + 1, pdfs.T)
    kinds, kind = np.unique(rows, axis=0, return_inverse=True)
    maps = [_map_of(r[None] if position == 0 else r[:, None], center) for r in kinds]
    text = maps[-1]
    for number in range(len(kinds) - 2, -1, -1):
        inside = " ".join(map(str, np.flatnonzero(kind.reshape(-1) == number)))
        text = f"SE {position} [ {inside} ]\n{{ {maps[number]} {text} }}"
    return text
