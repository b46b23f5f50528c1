"""Topologies H as arrays of arcs; :mod:`asr_hlg.graph.topology` describes them and gives k2's form.

Compiling and searching a graph of the CTC topology needs no k2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import GraphError, OptionError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph.context import in_context, sorted_arcs
from asr_hlg.graph.recipe import Recipe, TopologySection
from asr_hlg.graph.tied_states import TiedStates
from asr_hlg.lexicon import Lexicon

Floats = npt.NDArray[np.float64]


def ctc(num_tokens: int, modified: bool = False) -> Arcs:
    """CTC topology; see :func:`asr_hlg.graph.topology.ctc`."""
    if num_tokens < 2:
        raise OptionError(f"a CTC topology needs a blank and a token, got num_tokens={num_tokens}")
    tokens = np.arange(num_tokens)
    phones = tokens[1:]
    if modified:
        blank = ([0], [0], [0], [0])
        one_frame = (0 * phones, 0 * phones, phones, phones)  # for one frame only
        enter = (0 * phones, phones, phones, phones)
        self_loops = (phones, phones, phones, 0 * phones)
        leave = (phones, 0 * phones, phones, 0 * phones)
        parts = zip(blank, one_frame, enter, self_loops, leave, strict=True)
        columns = [np.concatenate(part) for part in parts]
        final = np.where(tokens == 0, 0.0, -np.inf)
    else:
        src, dst = (grid.ravel() for grid in np.meshgrid(tokens, tokens, indexing="ij"))
        columns = [src, dst, dst, np.where(src == dst, 0, dst)]
        final = np.zeros(num_tokens)
    return sorted_arcs([*columns, np.zeros(len(columns[0]))], final)


def transducer(num_tokens: int) -> Arcs:
    """Transducer topology; see :func:`asr_hlg.graph.topology.transducer`."""
    if num_tokens < 2:
        raise OptionError(f"a transducer needs ∅ and a token, got num_tokens={num_tokens}")
    tokens = np.arange(num_tokens)
    columns = [0 * tokens, 0 * tokens, tokens, tokens, 0.0 * tokens]
    return sorted_arcs(columns, np.zeros(1))


def hmm(
    num_phones: int,
    num_states: int = 3,
    self_loop: float = 0.5,
    skip: float = 0.0,
    transitions: npt.NDArray[np.float64] | None = None,
) -> Arcs:
    """HMM topology; see :func:`asr_hlg.graph.topology.hmm`."""
    if num_phones < 1 or num_states < 1:
        raise OptionError(
            f"an HMM needs a phone and a state, got num_phones={num_phones} num_states={num_states}"
        )
    if transitions is None:
        transitions = np.tile(left_to_right(num_states, self_loop, skip), (num_phones, 1, 1))
    transitions = np.asarray(transitions, dtype=np.float64)
    _check_transitions(transitions, (num_phones, num_states, num_states + 1))

    return in_context(TiedStates.independent(num_phones, num_states), transitions)


def chain(num_phones: int, self_loop: float = 0.5) -> Arcs:
    """Chain topology; see :func:`asr_hlg.graph.topology.chain`."""
    if num_phones < 1 or not 0 < self_loop < 1:
        raise OptionError(
            f"got num_phones={num_phones} self_loop={self_loop}",
            remedy="give at least one phone and a self_loop between 0 and 1",
        )
    phones = np.arange(1, num_phones + 1)
    self_loops = (phones, phones, 2 * phones, 0 * phones, np.full(num_phones, np.log(self_loop)))
    exit_states = np.arange(num_phones + 1)
    exit_scores = np.where(exit_states == 0, 0.0, np.log1p(-self_loop))
    src, phone = np.repeat(exit_states, num_phones), np.tile(phones, num_phones + 1)
    enter = (src, phone, 2 * phone - 1, phone, np.repeat(exit_scores, num_phones))
    columns = [np.concatenate(part) for part in zip(self_loops, enter, strict=True)]
    return sorted_arcs(columns, exit_scores)


def of_recipe(recipe: Recipe, lexicon: Lexicon) -> tuple[Arcs, tuple[str, ...]]:
    """Topology of a recipe over the tokens of its lexicon, and the names of its columns.

    With ``[topology] tree`` it is H∘C.
    """
    section, tokens = recipe.topology, symbols.names(lexicon.tokens)[: lexicon.num_tokens]
    states = tied_states(recipe, [symbols.EPS, *tokens[1:]])
    if states is None:
        H = of_section(section, lexicon.num_tokens)
        return H, column_names(H, tokens)
    return in_context(states, transitions_of(section, lexicon.num_tokens - 1)), states.pdfs


def tied_states(recipe: Recipe, phones: Sequence[str]) -> TiedStates | None:
    """Pdfs in context by the recipe's tree over phones, ``<eps>`` first; None without a tree."""
    section = recipe.topology
    if section.tree is None:
        return None
    path = recipe.resolve(section.tree)
    return TiedStates.read(path, phones, section.states_per_phone, section.context)


def transitions_of(section: TopologySection, num_phones: int) -> Floats:
    """Transition probabilities of the phones of a section of kind hmm or chain.

    Returns
    -------
    np.ndarray
        float64 ``(num_phones, num_states, num_states + 1)``, see `left_to_right`. The chain
        topology is an HMM of two states, the first for the first frame and the second for others.
    """
    loop = section.self_loop
    if section.kind == "chain":
        matrix = np.array([[0, loop, 1 - loop], [0, loop, 1 - loop]])
    else:
        matrix = left_to_right(section.num_states, loop, section.skip)
    return np.tile(matrix, (num_phones, 1, 1))


def of_section(section: TopologySection, num_tokens: int) -> Arcs:
    """Topology that a recipe's section describes, without a tree, over the tokens of a lexicon.

    ``num_tokens`` is ``Lexicon.num_tokens``: id 0 and the phones.
    """
    phones = num_tokens - 1
    if section.kind == "ctc":
        return ctc(num_tokens)
    if section.kind == "ctc-modified":
        return ctc(num_tokens, modified=True)
    if section.kind == "hmm":
        return hmm(phones, section.num_states, section.self_loop, section.skip)
    if section.kind == "chain":
        return chain(phones, section.self_loop)
    if section.kind == "transducer":
        return transducer(num_tokens)
    raise GraphError(
        f"unknown topology {section.kind!r}",
        remedy="ctc, ctc-modified, hmm, chain and transducer are known",
    )


def is_ctc(H: Arcs) -> bool:
    """Whether a topology has the same arcs as ``ctc(n)`` for some n."""
    num_tokens = H.num_states
    if num_tokens < 2 or H.num_arcs != num_tokens**2 or H.final.any():
        return False
    ours, theirs = (
        np.unique(np.stack([fsa.src, fsa.dst, fsa.ilabel, fsa.olabel, fsa.score]), axis=1)
        for fsa in (H, ctc(num_tokens))
    )
    return np.array_equal(ours, theirs)


def column_names(H: Arcs, tokens: Sequence[str]) -> tuple[str, ...]:
    """Name the posterior columns that H reads; see :func:`asr_hlg.graph.topology.column_names`."""
    written = int(H.olabel.max())
    tokens = tuple(tokens[: written + 1])
    if bool((H.ilabel == 0).any()):
        return tokens
    per_token = int(H.ilabel.max()) // written
    if per_token == 1:
        return (symbols.EPS, *tokens[1:])
    states = (f"{token}_{state}" for token in tokens[1:] for state in range(per_token))
    return (symbols.EPS, *states)


def left_to_right(num_states: int, self_loop: float = 0.5, skip: float = 0.0) -> Floats:
    """Transition probabilities P(s'|s) of one left-to-right HMM.

    Returns
    -------
    np.ndarray
        float64, shape ``(num_states, num_states + 1)``: a state repeats with probability
        ``self_loop``, skips the next one with ``skip`` (except from the last state), and otherwise
        goes to the next. Column ``num_states`` leaves the phone.
    """
    if not (0 <= self_loop < 1 and 0 <= skip < 1 and self_loop + skip < 1):
        raise OptionError(
            f"self_loop={self_loop} and skip={skip} leave no probability for the next state",
            remedy="both are at least 0 and their sum is below 1",
        )
    matrix = np.zeros((num_states, num_states + 1))
    for state in range(num_states):
        skip_prob = skip if state + 2 <= num_states else 0.0
        matrix[state, state] = self_loop
        matrix[state, state + 1] = 1 - self_loop - skip_prob
        if skip_prob:
            matrix[state, state + 2] = skip_prob
    return matrix


def _check_transitions(transitions: Floats, shape: tuple[int, ...]) -> None:
    if transitions.shape != shape:
        raise OptionError(f"transitions have shape {transitions.shape}, expected {shape}")
    sums = transitions.sum(axis=-1)
    if (transitions < 0).any() or not np.allclose(sums, 1, atol=1e-5):
        phone, state = np.unravel_index(np.abs(sums - 1).argmax(), sums.shape)
        raise OptionError(
            f"transitions of phone {phone + 1}, state {state} are {transitions[phone, state]}: "
            "each row must be probabilities that sum to 1"
        )
