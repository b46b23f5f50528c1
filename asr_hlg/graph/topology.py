"""Topologies H: transducers from frame labels (posterior columns) to tokens.

Every topology here reads one label per frame (``labels``; there are no input epsilons, so every arc
has an acoustic score) and writes a token (``aux_labels``, 0 = nothing) on the frame in which the
token begins. ``k2.compose(H, LG)`` then counts frames for a whole graph.

>>> from asr_hlg import topology
>>> H = topology.ctc(num_tokens=4)           # <blk> and three phones
>>> H = topology.hmm(num_phones=3)           # three states a phone, pdfs 1..9
>>> H.num_tokens                             # posterior columns that it reads
10

A blank-free topology numbers its pdfs from 1, since id 0 is ``<eps>``: column 0 of the posteriors
is never read. ``H.num_tokens`` includes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import topology_arcs
from asr_hlg.graph.context import in_context
from asr_hlg.graph.recipe import Recipe
from asr_hlg.graph.tied_states import TiedStates
from asr_hlg.graph.topology_arcs import left_to_right
from asr_hlg.lexicon import Lexicon

if TYPE_CHECKING:
    import k2

__all__ = [
    "chain",
    "column_names",
    "context_dependent",
    "ctc",
    "hmm",
    "is_ctc",
    "left_to_right",
    "make_topology",
    "transducer",
]


def ctc(num_tokens: int, modified: bool = False) -> k2.Fsa:
    """CTC topology: optional blanks, repeated labels read as one token.

    Parameters
    ----------
    num_tokens : int
        Posterior columns, ids 0 to ``num_tokens - 1``; 0 is the blank.
    modified : bool
        Do not require a blank between two equal tokens, which makes the number of arcs linear
        instead of quadratic in ``num_tokens``; useful for BPE units, which are rarely doubled.
        ``t t`` is then read as one token or as two, and each reading is a path.

    Returns
    -------
    k2.Fsa
        Equal as a weighted language to ``k2.ctc_topo(num_tokens - 1, modified)``; all scores 0.
        State 0 has just read a blank (or nothing); state i has read token i, or, in the modified
        topology, is about to read it once more.
    """
    return _fsa(topology_arcs.ctc(num_tokens, modified), num_tokens)


def transducer(num_tokens: int) -> k2.Fsa:
    """Transducer topology: every frame emits one token or none; repeated labels are not merged.

    Parameters
    ----------
    num_tokens : int
        Tokens of the transducer, ids 0 to ``num_tokens - 1``; 0 is ∅.

    Returns
    -------
    k2.Fsa
        One state, a loop for every token.
    """
    return _fsa(topology_arcs.transducer(num_tokens), num_tokens)


def hmm(
    num_phones: int,
    num_states: int = 3,
    self_loop: float = 0.5,
    skip: float = 0.0,
    transitions: npt.NDArray[np.float64] | None = None,
) -> k2.Fsa:
    """HMM topology: a left-to-right hidden Markov model for every phone, in a loop.

    State s of phone p reads pdf ``1 + (p - 1) * num_states + s``, with phones counted from 1 and
    states from 0. An arc carries log P(s'|s) and reads the pdf of s'.

    Parameters
    ----------
    num_phones, num_states : int
        ``num_states=1`` gives the one-state HMM.
    self_loop, skip : float
        The same transition probabilities for every phone; see `left_to_right`.
    transitions : np.ndarray, optional
        Shape ``(num_phones, num_states, num_states + 1)``: P(s'|s) for every phone, instead of
        ``self_loop`` and ``skip``. Column ``num_states`` leaves the phone. Rows sum to 1.

    Returns
    -------
    k2.Fsa
        State 0 precedes the first frame and is final, so that no frames are read as no phones.
    """
    H = topology_arcs.hmm(num_phones, num_states, self_loop, skip, transitions)
    return _fsa(H, num_phones * num_states + 1)


def chain(num_phones: int, self_loop: float = 0.5) -> k2.Fsa:
    """Chain topology of lattice-free MMI: two pdfs a phone, of at least one frame.

    The first frame of phone p reads pdf ``2p - 1`` and every later frame pdf ``2p`` (phones from
    1), so that the network marks where a phone begins; Povey et al. 2016, "Purely
    sequence-trained neural networks for ASR based on lattice-free MMI". State p is
    "in phone p".
    """
    return _fsa(topology_arcs.chain(num_phones, self_loop), 2 * num_phones + 1)


def context_dependent(
    states: TiedStates, transitions: npt.NDArray[np.float64] | None = None
) -> k2.Fsa:
    """H∘C: HMM topology whose pdfs depend on the phones before and after.

    Parameters
    ----------
    states : TiedStates
        Pdfs of all phones in context.
    transitions : np.ndarray, optional
        As for `hmm`; by default states repeat with probability 0.5.

    Returns
    -------
    k2.Fsa
        As of `hmm`, with more states: see :mod:`asr_hlg.graph.context`.
    """
    if transitions is None:
        transitions = np.tile(left_to_right(states.num_states), (states.num_phones, 1, 1))
    return _fsa(in_context(states, transitions), len(states.pdfs))


def make_topology(recipe: Recipe, lexicon: Lexicon) -> tuple[k2.Fsa, tuple[str, ...]]:
    """Build the topology of a recipe over the tokens of its lexicon, and name its columns."""
    H, columns = topology_arcs.of_recipe(recipe, lexicon)
    return _fsa(H, len(columns)), columns


def is_ctc(H: k2.Fsa | Arcs) -> bool:
    """Whether a topology has the same arcs as ``ctc(n)`` for some n."""
    return topology_arcs.is_ctc(H if isinstance(H, Arcs) else Arcs.from_k2(H))


def column_names(H: k2.Fsa | Arcs, tokens: Sequence[str]) -> tuple[str, ...]:
    """Name the posterior columns that a topology reads.

    Parameters
    ----------
    H : k2.Fsa or Arcs
        A topology of this module.
    tokens : sequence of str
        Names of its output labels, id 0 first.

    Returns
    -------
    tuple of str
        ``tokens`` themselves for CTC; else ``<eps>`` and, where a token has several pdfs,
        ``t_0 t_1 …`` for token t.
    """
    return topology_arcs.column_names(H if isinstance(H, Arcs) else Arcs.from_k2(H), tokens)


def _fsa(H: Arcs, num_tokens: int) -> k2.Fsa:
    """A topology as k2's automaton, which reads so many posterior columns."""
    fsa = H.to_k2()
    fsa.num_tokens = num_tokens
    return fsa
