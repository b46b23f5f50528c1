"""From H, L and G to H ∘ L ∘ G, stage by stage.

    L ∘ G        from prefix trees (asr_hlg.graph.prefix_tree) where G is an n-gram model; else
                 composed, determinized and minimised by OpenFst (kaldifst), with the
                 disambiguation symbols that make determinization possible
    ε-removal    back-offs, and what were disambiguation symbols, go
    H ∘ (L ∘ G)  composed by k2

Determinizing in the log semiring moves every weight as far to the front as the shared prefixes
of words allow, which is what lets the search drop bad words early (Mohri, Pereira, Riley 2008,
"Speech recognition with weighted finite-state transducers", sections 3.3 and 4.3).
"""

from __future__ import annotations

from dataclasses import replace

import k2
import kaldifst
import numpy as np

from asr_hlg.errors import GraphError
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import prefix_tree as tree
from asr_hlg.graph.flat import expand
from asr_hlg.graph.meter import Meter
from asr_hlg.lexicon import Lexicon

_EMPTY = "L∘G is empty: no sentence of G consists of words of L"


def compose_trees(lexicon: Lexicon, G: Arcs, meter: Meter) -> Arcs:
    """L∘G for a G that backs off; nothing is left to determinize or minimise."""
    with meter.stage("L∘G compose") as size:
        lg = tree.compose(lexicon, G)
        size.set(lg.num_states, lg.num_arcs)
    if not lg.num_arcs:
        raise GraphError(_EMPTY)
    return lg


def compose_lg(L: Arcs, G: Arcs | None, meter: Meter) -> Arcs:
    """L∘G, determinized and minimised; disambiguation symbols are still in it.

    Parameters
    ----------
    L : Arcs
        Tokens to words, with disambiguation symbols, and a ``#0:#0`` loop for G's back-offs.
    G : Arcs or None
        Words, with ``#0`` on back-off arcs; None takes L alone, every word as good as another.
    """
    if G is None:
        lg = L.to_openfst()
    else:
        with meter.stage("L∘G compose") as size:
            left, right = L.to_openfst(), G.to_openfst()
            kaldifst.arcsort(left, "olabel")
            kaldifst.arcsort(right, "ilabel")
            lg = kaldifst.compose(left, right)
            del left, right
            size.set(*_size(lg))
        if not lg.num_states:
            raise GraphError(_EMPTY)
    with meter.stage("L∘G determinize") as size:
        kaldifst.determinize_star(lg, delta=tree.DELTA, use_log=True)
        size.set(*_size(lg))
    with meter.stage("L∘G minimise") as size:
        kaldifst.minimize_encoded(lg, delta=tree.DELTA)
        size.set(*_size(lg))
    return Arcs.from_openfst(lg)


def remove_disambig(lg: Arcs, first_disambig: int) -> Arcs:
    """Turn disambiguation symbols on the input side into ε; they have done their work."""
    return replace(lg, ilabel=np.where(lg.ilabel >= first_disambig, 0, lg.ilabel))


def longest_epsilon_path(lg: Arcs) -> int:
    """The number of arcs on the longest path that reads nothing.

    Raises
    ------
    GraphError
        If there is a cycle of such arcs: search would turn in it for ever.
    """
    reads_nothing = lg.ilabel == 0
    src, dst = lg.src[reads_nothing], lg.dst[reads_nothing]
    length = 0
    while len(src):
        # Arcs whose source no ε-arc enters are first on their path; take them away in layers.
        later = np.isin(src, dst)
        if later.all():
            states = np.unique(src)[:5].tolist()
            raise GraphError(
                f"L∘G has a cycle that reads nothing, near states {states}",
                remedy="look for pronunciations or grammar rules that can be empty",
            )
        src, dst = src[later], dst[later]
        length += 1
    return length


def pull_words(lg: Arcs) -> Arcs:
    """Move words from arcs that read nothing to the arcs before them.

    Such are the words of homophones, which L∘G tells apart behind their last token. k2's
    ε-removal does not look at words: of several ways that read the same from one state to
    another it keeps the best, and so would lose the rarer homophone where G backs off after both.
    A word stays where it is if the arc before it has one already.
    """
    while True:
        silent = (lg.ilabel == 0) & (lg.olabel != 0)
        undecided = np.zeros(lg.num_states, dtype=bool)
        undecided[lg.src[silent]] = True
        undecided[lg.dst[lg.olabel != 0]] = False
        undecided[0] = False
        moving = np.flatnonzero(silent & undecided[lg.src])
        if not len(moving):
            return lg
        moving = moving[np.argsort(lg.src[moving], kind="stable")]
        before = np.flatnonzero(undecided[lg.dst])
        first = np.searchsorted(lg.src[moving], lg.dst[before])
        last = np.searchsorted(lg.src[moving], lg.dst[before], side="right")
        which, owner = expand(first, last)
        which, before = moving[which], before[owner]
        rest = lg.take(np.delete(np.arange(lg.num_arcs), moving))
        lg = Arcs(
            np.concatenate([rest.src, lg.src[before]]),
            np.concatenate([rest.dst, lg.dst[which]]),
            np.concatenate([rest.ilabel, lg.ilabel[before]]),
            np.concatenate([rest.olabel, lg.olabel[which]]),
            np.concatenate([rest.score, lg.score[before] + lg.score[which]]),
            lg.final,
        ).sorted()


def remove_epsilons(lg: Arcs, meter: Meter) -> k2.Fsa:
    """An equivalent (tropical) k2 automaton without input-ε, which search cannot read.

    Words on ε-arcs move to an arc before or behind, so ``aux_labels`` become ragged.
    """
    with meter.stage("L∘G ε-removal") as size:
        fsa = k2.connect(k2.remove_epsilon(pull_words(lg).to_k2()))
        size.set(fsa.shape[0], fsa.num_arcs)
    return fsa


def compose_hlg(H: k2.Fsa, lg: k2.Fsa, meter: Meter) -> k2.Fsa:
    """H∘(L∘G) with words on ``aux_labels`` and the lexicon's tokens on ``phones``."""
    with meter.stage("H∘(L∘G) compose") as size:
        hlg = k2.compose(k2.arc_sort(H), k2.arc_sort(lg), inner_labels="phones")
        hlg = k2.arc_sort(k2.connect(hlg))
        size.set(hlg.shape[0], hlg.num_arcs)
    return hlg


def _size(fst: kaldifst.StdVectorFst) -> tuple[int, int]:
    return fst.num_states, sum(fst.num_arcs(s) for s in range(fst.num_states))
