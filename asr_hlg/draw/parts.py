"""Pictures of the parts of a decoding graph and of their compositions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from asr_hlg.draw.automata import Style, fsa
from asr_hlg.errors import OptionError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import compile_hlg, compile_lg, topology
from asr_hlg.graph.context import context_transducer
from asr_hlg.graph.meter import Meter
from asr_hlg.lexicon import Lexicon

if TYPE_CHECKING:
    import k2
    from typing_extensions import Unpack

PARTS = ("H", "C", "L", "G", "HL", "LG", "HLG", "ctc", "hmm")


def part(
    name: str,
    path: str | Path,
    lexicon: Lexicon,
    G: k2.Fsa | Arcs | None = None,
    H: k2.Fsa | None = None,
    columns: Sequence[str] | None = None,
    *,
    disambig: bool = False,
    context: int = 2,
    **style: Unpack[Style],
) -> None:
    """Draw one part of a decoding graph, or a composition of parts.

    Parameters
    ----------
    name : str
        ``H``, ``L``, ``G``, ``HL``, ``LG`` or ``HLG``; ``ctc`` and ``hmm`` are those topologies
        over the lexicon's tokens, regardless of ``H``, and ``C`` is the context of its phones.
    path : str or Path
    lexicon : Lexicon
    G : k2.Fsa or Arcs, optional
        Without it, ``HLG`` and ``LG`` allow all word sequences.
    H : k2.Fsa, optional
        The topology; CTC by default.
    columns : sequence of str, optional
        Names of the columns that ``H`` reads, where it is H∘C.
    disambig : bool
        Draw ``L`` with its disambiguation symbols.
    context : int
        2 draws ``C`` for the phone before, 3 for the phones before and after.
    **style
        Arguments ``probabilities``, ``title`` and ``max_arcs`` of `fsa`.
    """
    if name not in PARTS:
        raise OptionError(f"cannot draw {name!r}", remedy=f"known: {', '.join(PARTS)}")
    if name == "G" and G is None:
        raise OptionError("there is no G to draw: the graph allows all word sequences")
    if H is None or name == "ctc":
        H, columns = topology.ctc(lexicon.num_tokens), None
    if name == "hmm":
        H, columns = topology.hmm(lexicon.num_tokens - 1), None
    tokens, words = symbols.names(lexicon.tokens), symbols.names(lexicon.words)
    draw = partial(fsa, path=path, **style)
    if name in ("H", "ctc", "hmm"):
        inputs = columns or topology.column_names(H, tokens)
        draw(H, inputs=inputs, outputs=_without_blank(tokens))
    elif name == "C":
        phones = _without_blank(tokens[: lexicon.num_tokens])
        C, in_context = context_transducer(phones, context)
        draw(C, inputs=in_context, outputs=phones)
    elif name == "L":
        draw(lexicon.to_fsa(disambig), inputs=_without_blank(tokens), outputs=words)
    elif name == "G":
        # Back-off arcs have #0 as input and ε as output; G is drawn as the acceptor of its inputs.
        acceptor = replace(G, olabel=G.ilabel) if isinstance(G, Arcs) else G
        draw(acceptor, inputs=words, outputs=words)
    elif name == "LG":
        grammar = G if G is None or isinstance(G, Arcs) else Arcs.from_k2(G)
        draw(
            compile_lg(lexicon, grammar, Meter()).to_k2(),
            inputs=_without_blank(tokens),
            outputs=words,
        )
    else:
        names = None if columns is None else tuple(columns)
        draw(compile_hlg(H, lexicon, G if name == "HLG" else None, columns=names))


def _without_blank(tokens: list[str]) -> list[str]:
    """Token names with ε for id 0, as on the output of H and the input of L."""
    return [symbols.EPS, *tokens[1:]]
