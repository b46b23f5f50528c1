"""The parts of a decoding graph and their compositions, by name."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import k2

from asr_hlg.draw.automata import fsa
from asr_hlg.errors import OptionError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import compile_hlg, compile_lg, topology
from asr_hlg.graph.meter import Meter
from asr_hlg.lexicon import Lexicon

KINDS = ("H", "L", "G", "HL", "LG", "HLG", "ctc", "hmm")


def part(
    kind: str,
    path: str | Path,
    lexicon: Lexicon,
    G: k2.Fsa | Arcs | None = None,
    H: k2.Fsa | None = None,
    *,
    disambig: bool = False,
    probabilities: bool = False,
    title: str = "",
    max_arcs: int = 500,
) -> None:
    """Draw one part of a decoding graph, or a composition of parts.

    Parameters
    ----------
    kind : str
        ``H``, ``L``, ``G``, ``HL``, ``LG`` or ``HLG``; ``ctc`` and ``hmm`` draw that topology
        over the lexicon's tokens, whatever ``H`` is.
    path : str or Path
    lexicon : Lexicon
    G : k2.Fsa or Arcs, optional
        Without it ``HLG`` and ``LG`` let any word follow any.
    H : k2.Fsa, optional
        The topology; CTC by default.
    disambig : bool
        Draw ``L`` with its disambiguation symbols.
    probabilities, title, max_arcs
        As for `fsa`.
    """
    if kind not in KINDS:
        raise OptionError(f"cannot draw {kind!r}", remedy=f"known: {', '.join(KINDS)}")
    if kind == "G" and G is None:
        raise OptionError("there is no G to draw: any word may follow any")
    if H is None or kind == "ctc":
        H = topology.ctc(lexicon.num_tokens)
    if kind == "hmm":
        H = topology.hmm(lexicon.num_tokens - 1)
    tokens, words = symbols.names(lexicon.tokens), symbols.names(lexicon.words)
    draw = partial(fsa, path=path, probabilities=probabilities, title=title, max_arcs=max_arcs)
    if kind in ("H", "ctc", "hmm"):
        draw(H, inputs=topology.column_names(H, tokens), outputs=_without_blank(tokens))
    elif kind == "L":
        draw(lexicon.to_fsa(disambig), inputs=_without_blank(tokens), outputs=words)
    elif kind == "G":
        # Back-off arcs read #0 and write nothing; G is drawn as the acceptor that it is.
        acceptor = replace(G, olabel=G.ilabel) if isinstance(G, Arcs) else G
        draw(acceptor, inputs=words, outputs=words)
    elif kind == "LG":
        grammar = G if G is None or isinstance(G, Arcs) else Arcs.from_k2(G)
        draw(
            compile_lg(lexicon, grammar, Meter()).to_k2(),
            inputs=_without_blank(tokens),
            outputs=words,
        )
    else:
        draw(compile_hlg(H, lexicon, G if kind == "HLG" else None))


def _without_blank(tokens: list[str]) -> list[str]:
    """Token names where id 0 means nothing: on the output of H and the input of L."""
    return [symbols.EPS, *tokens[1:]]
