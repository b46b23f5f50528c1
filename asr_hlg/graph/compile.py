"""Compilation of a decoding graph: L∘G from a lexicon and G, in stages.

    compose      from prefix trees (asr_hlg.graph.prefix_tree) where G is a back-off acceptor; else
                 by OpenFst (kaldifst), then determinized and minimised, with the disambiguation
                 symbols that make determinization possible
    ε            replaces disambiguation symbols; words on ε-arcs move to the arc before

Determinizing in the log semiring moves every weight as far to the front as the shared prefixes
of words allow, so that the search can prune bad words early (Mohri, Pereira, Riley 2008,
"Speech recognition with weighted finite-state transducers", sections 3.3 and 4.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from asr_hlg.errors import GraphError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.indexing import expand_ranges
from asr_hlg.graph import prefix_tree, topology_arcs
from asr_hlg.graph.adapt.back_off import OptionalSilence, back_off_state
from asr_hlg.graph.decoding_graph import DecodingGraph
from asr_hlg.graph.metadata import LEXICON_OPTIONS
from asr_hlg.graph.meter import Meter, Stage
from asr_hlg.graph.recipe import TopologySection
from asr_hlg.graph.views import LgViews
from asr_hlg.lexicon import Lexicon

if TYPE_CHECKING:
    import k2
    import kaldifst

_EMPTY = "L∘G is empty: no sentence of G consists of words of L"


def compile_hlg(
    H: k2.Fsa | Arcs,
    L: Lexicon | k2.Fsa,
    G: k2.Fsa | Arcs | None = None,
    *,
    columns: tuple[str, ...] | None = None,
    max_memory: float | None = None,
    report: Callable[[Stage], None] | None = None,
) -> DecodingGraph:
    """Compile a decoding graph from H, L and G.

    Parameters
    ----------
    H : k2.Fsa or Arcs
        A topology from :mod:`asr_hlg.graph.topology` over the lexicon's tokens.
    L : Lexicon
        Pronunciations; also accepted is the Fsa of ``Lexicon.to_fsa``, which holds its lexicon.
    G : k2.Fsa or Arcs, optional
        An acceptor of word sequences over ``L.words``, ``#0`` on its back-off arcs. Without it
        all word sequences are equally good.
    columns : tuple of str, optional
        Names of the posterior columns that H reads; by default the lexicon's tokens, or
        ``pdf1, pdf2, …`` for a topology that has several states a token.
    max_memory : float, optional
        Gigabytes; a stage that would need more stops with a :class:`GraphError` that advises
        what to prune.
    report : callable, optional
        Called with every finished :class:`Stage`.

    Returns
    -------
    DecodingGraph
        With the view that searches read first: packed for CTC, else H∘L∘G.
    """
    meter = Meter(max_memory, report)
    lexicon = L if isinstance(L, Lexicon) else getattr(L, "lexicon", None)
    if lexicon is None:
        raise GraphError(
            "L has no pronunciations attached", remedy="pass a Lexicon, or its to_fsa() unchanged"
        )
    grammar = G if G is None or isinstance(G, Arcs) else _g_arcs(G, lexicon.words)
    topology = H if isinstance(H, Arcs) else Arcs.from_k2(H)
    return assemble(topology, lexicon, compile_lg(lexicon, grammar, meter), meter, columns)


def compile_lg(lexicon: Lexicon, G: Arcs | None, meter: Meter) -> Arcs:
    """Compile L∘G, in which words share prefixes and suffixes; ε-arcs where G backs off."""
    if G is not None and prefix_tree.is_back_off_acceptor(G, lexicon.words["#0"]):
        with meter.stage("L∘G compose") as size:
            lg = prefix_tree.compose(lexicon, G)
            size.set(lg.num_states, lg.num_arcs)
        if not lg.num_arcs:
            raise GraphError(_EMPTY)
        return lg
    L = lexicon.arcs(disambig=True)
    if G is None:  # without back-off arcs, L needs no loop on #0
        L = L.take(np.flatnonzero(L.ilabel != lexicon.tokens["#0"]))
    lg = remove_disambig(compose_lg(L, G, meter), symbols.first_disambig(lexicon.tokens))
    return pull_words(lg).sorted()


def assemble(
    H: Arcs,
    lexicon: Lexicon,
    lg: Arcs,
    meter: Meter,
    columns: tuple[str, ...] | None = None,
    description: TopologySection | None = None,
) -> DecodingGraph:
    """Make a decoding graph of L∘G, H and the lexicon, with the view that searches read first.

    Parameters
    ----------
    H : Arcs
    lexicon : Lexicon
    lg : Arcs
        From `compile_lg`.
    meter : Meter
    columns : tuple of str, optional
        As for `compile_hlg`.
    description : TopologySection, optional
        Of H; without it H is compared with CTC, and else kept as arrays.
    """
    longest_epsilon = longest_epsilon_path(lg)
    if description is None and topology_arcs.is_ctc(H):
        description = TopologySection("ctc")
    meta = {
        "topology": None if description is None else description.content(),
        "lexicon": {name: getattr(lexicon, name) for name in LEXICON_OPTIONS},
        "pronunciations": len(lexicon),
        "takes_new_words": back_off_state(lg, OptionalSilence.of(lexicon)) is not None,
        "lg": {
            "states": lg.num_states,
            "arcs": lg.num_arcs,
            "epsilon_share": float((lg.ilabel == 0).mean()),
            "longest_epsilon": longest_epsilon,
        },
    }
    columns = columns or _columns(H, lexicon)
    sizes = len(columns), len(lexicon.tokens), len(lexicon.words)
    graph = DecodingGraph(
        LgViews(lambda: lg, lambda: H, *sizes, meter=meter),
        lexicon.tokens,
        lexicon.words,
        columns,
        lambda: lexicon,
        lexicon.spellings,
        lexicon.silence,
        meta,
    )
    if graph.packed is None:
        graph.fsa  # noqa: B018 - H∘L∘G is composed here, where the meter limits its memory
    graph.meta["stages"] = [vars(stage) for stage in meter.stages]
    return graph


def _columns(H: Arcs, lexicon: Lexicon) -> tuple[str, ...]:
    """Names of the columns that H reads; raises a GraphError if its tokens are not those of L."""
    written = int(H.olabel.max())
    if written != lexicon.num_tokens - 1:
        raise GraphError(
            f"H has {written} tokens besides the blank, the lexicon {lexicon.num_tokens - 1}",
            remedy="build H with Lexicon.num_tokens",
        )
    return topology_arcs.column_names(H, symbols.names(lexicon.tokens))


def _g_arcs(G: k2.Fsa, words: symbols.SymbolTable) -> Arcs:
    """Convert G to arrays, whose back-off arcs read ``#0`` and write ε."""
    arcs = Arcs.from_k2(G)
    return replace(arcs, olabel=np.where(arcs.ilabel == words["#0"], 0, arcs.olabel))


def compose_lg(L: Arcs, G: Arcs | None, meter: Meter) -> Arcs:
    """Compose L and G by OpenFst, determinize and minimise; disambiguation symbols are kept.

    Parameters
    ----------
    L : Arcs
        Tokens to words, with disambiguation symbols, and a ``#0:#0`` loop for G's back-offs.
    G : Arcs or None
        Words, with ``#0`` on back-off arcs; None for L alone.
    """
    import kaldifst

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
        kaldifst.determinize_star(lg, delta=prefix_tree.DELTA, use_log=True)
        size.set(*_size(lg))
    with meter.stage("L∘G minimise") as size:
        kaldifst.minimize_encoded(lg, delta=prefix_tree.DELTA)
        size.set(*_size(lg))
    return Arcs.from_openfst(lg)


def remove_disambig(lg: Arcs, first_disambig: int) -> Arcs:
    """Replace disambiguation symbols on the input side by ε, after determinization."""
    return replace(lg, ilabel=np.where(lg.ilabel >= first_disambig, 0, lg.ilabel))


def longest_epsilon_path(lg: Arcs) -> int:
    """Length of the longest ε-path, in arcs.

    Raises
    ------
    GraphError
        If there is an ε-cycle, in which a search would not end.
    """
    is_eps = lg.ilabel == 0
    src, dst = lg.src[is_eps], lg.dst[is_eps]
    length = 0
    while len(src):
        # Remove, layer by layer, the arcs whose source no other ε-arc enters.
        is_entered = np.isin(src, dst)
        if is_entered.all():
            states = np.unique(src)[:5].tolist()
            raise GraphError(
                f"L∘G has an ε-cycle, near states {states}",
                remedy="look for pronunciations or grammar rules that can be empty",
            )
        src, dst = src[is_entered], dst[is_entered]
        length += 1
    return length


def pull_words(lg: Arcs) -> Arcs:
    """Move words from ε-arcs to the arcs before them.

    The ε-arcs that write words stem from disambiguation symbols, which distinguish homophones after
    their last token. k2's ε-removal ignores output labels: of several ε-paths between two states it
    keeps the best, and so would lose the rarer homophone where G backs off after both. A word stays
    where it is if the arc before it writes another one.
    """
    while True:
        word_on_eps = (lg.ilabel == 0) & (lg.olabel != 0)
        movable = np.zeros(lg.num_states, dtype=bool)
        movable[lg.src[word_on_eps]] = True
        movable[lg.dst[lg.olabel != 0]] = False
        movable[0] = False
        moving = np.flatnonzero(word_on_eps & movable[lg.src])
        if not len(moving):
            return lg
        moving = moving[np.argsort(lg.src[moving], kind="stable")]
        before = np.flatnonzero(movable[lg.dst])
        begin = np.searchsorted(lg.src[moving], lg.dst[before])
        end = np.searchsorted(lg.src[moving], lg.dst[before], side="right")
        index, owner = expand_ranges(begin, end)
        after, before = moving[index], before[owner]
        joined = Arcs(
            lg.src[before],
            lg.dst[after],
            lg.ilabel[before],
            lg.olabel[after],
            lg.score[before] + lg.score[after],
            lg.final,
        )
        lg = lg.take(np.delete(np.arange(lg.num_arcs), moving)).extended(joined)


def _size(fst: kaldifst.StdVectorFst) -> tuple[int, int]:
    return fst.num_states, sum(fst.num_arcs(s) for s in range(fst.num_states))
