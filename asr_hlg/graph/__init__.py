"""Decoding graphs: H∘L∘G compiled once, saved, loaded by memory map.

graph = compile_hlg(topology.ctc(lexicon.num_tokens), lexicon, G)
graph.save("graphs/mine")
graph = DecodingGraph.load("graphs/mine")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import k2
import numpy as np
import torch

from asr_hlg.errors import GraphError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import compile as stages
from asr_hlg.graph import hlg, store, topology
from asr_hlg.graph import prefix_tree as tree
from asr_hlg.graph import slot as slots
from asr_hlg.graph.meter import Meter, Stage
from asr_hlg.graph.packed import PackedLg
from asr_hlg.graph.slot import Slot
from asr_hlg.lexicon import Lexicon
from asr_hlg.settings import section

if TYPE_CHECKING:
    from asr_hlg.search import SearchOptions

__all__ = ["DecodingGraph", "Stage", "compile_hlg"]

Options = TypeVar("Options")


class DecodingGraph:
    """What search reads: H∘L∘G, and the names behind its labels.

    Attributes
    ----------
    fsa : k2.Fsa
        ``labels`` are posterior columns (no ε), ``aux_labels`` words (ragged: an arc may carry
        several), ``phones`` the lexicon's token that begins on an arc (0 for none), and
        ``graph_scores`` a copy of the scores, which survives search beside the total. Token
        passing does without it, so it is read from the folder, or even composed, when first
        asked for; see :mod:`asr_hlg.graph.hlg`.
    packed : PackedLg or None
        L∘G for token passing, where H is the CTC topology.
    tokens, words : k2.SymbolTable
        The lexicon's tokens and words.
    columns : tuple of str
        The names of the posterior columns that ``labels`` number.
    lexicon : Lexicon
        Pronunciations, from which words get their times; read when first asked for.
    spellings : callable
        From a word to its pronunciations as L's tokens, without reading the whole lexicon.
    silence : str or None
        The token that may stand between words.
    meta : dict
        What ``graph.json`` keeps: recipe, sources, stages, versions.
    takes_new_words : bool
        Whether words may be added: G backs off to any word somewhere.
    slot : Slot or None
        Where they may be added to ``fsa``, and composed with it.
    folder : Path or None
        Where the graph was loaded from.
    """

    def __init__(
        self,
        fsa: k2.Fsa | Callable[[], k2.Fsa],
        tokens: k2.SymbolTable,
        words: k2.SymbolTable,
        columns: tuple[str, ...],
        lexicon: Callable[[], Lexicon],
        spellings: Callable[[str], list[tuple[str, ...]]],
        silence: str | None,
        meta: Mapping[str, Any] | None = None,
        slot: Callable[[], Slot | None] = lambda: None,
        folder: Path | None = None,
        packed: PackedLg | None = None,
    ):
        self._fsa = fsa
        self.packed = packed
        self.tokens = tokens
        self.words = words
        self.columns = columns
        self.spellings = spellings
        self.silence = silence
        self._slot = slot
        self.folder = folder
        self.meta = dict(meta or {})
        self._read_lexicon = lexicon

    @cached_property
    def lexicon(self) -> Lexicon:
        return self._read_lexicon()

    @cached_property
    def fsa(self) -> k2.Fsa:
        return self._fsa if isinstance(self._fsa, k2.Fsa) else self._fsa()

    @cached_property
    def slot(self) -> Slot | None:
        return self._slot()

    @property
    def takes_new_words(self) -> bool:
        return self.meta["takes_new_words"]

    @property
    def is_composed(self) -> bool:
        """Whether ``fsa`` is in memory, or nothing else could be."""
        return self.packed is None or isinstance(self._fsa, k2.Fsa) or "fsa" in self.__dict__

    @property
    def device(self) -> torch.device:
        """Where the graph lies, and so where search runs."""
        return self._fsa.device if isinstance(self._fsa, k2.Fsa) else torch.device("cpu")

    def to(self, device: str | torch.device) -> DecodingGraph:
        """The same graph on another device."""
        if self.device == torch.device(device):
            return self
        return self.replace(fsa=self.fsa.to(device), packed=None)

    def replace(self, **changes: Any) -> DecodingGraph:
        """The same graph with some of the constructor's arguments changed."""
        arguments = {
            "fsa": self.__dict__.get("fsa", self._fsa),  # not read only for this
            "tokens": self.tokens,
            "words": self.words,
            "columns": self.columns,
            "lexicon": lambda: self.lexicon,
            "spellings": self.spellings,
            "silence": self.silence,
            "meta": self.meta,
            "slot": lambda: self.slot,
            "folder": self.folder,
            "packed": self.packed,
        }
        return DecodingGraph(**{**arguments, **changes})

    @cached_property
    def word_names(self) -> list[str]:
        """All words by id."""
        return symbols.names(self.words)

    @cached_property
    def token_names(self) -> list[str]:
        """All tokens of the lexicon by id."""
        return symbols.names(self.tokens)

    @property
    def fillers(self) -> frozenset[str]:
        """Tokens that stand between words: optional silence."""
        return frozenset() if self.silence is None else frozenset([self.silence])

    @property
    def topology(self) -> str | None:
        """The recipe's kind of H, None without a recipe."""
        return (self.meta.get("recipe", {}).get("topology") or {}).get("kind")

    def search_options(self, **changes: Any) -> SearchOptions:
        """The scales and beams that the recipe found best, with some of them changed.

        Raises
        ------
        GraphError
            If the graph is for transducers, so that no frame's probabilities can be searched.
        """
        from asr_hlg.search import SearchOptions

        if self.topology == "transducer":
            raise GraphError(
                "the graph is for transducers, and the acoustic model is none",
                path=self.folder,
                remedy="name a transducer with --model, or a graph of another topology",
            )
        return self.options(SearchOptions, **changes)

    def options(self, kind: type[Options], **changes: Any) -> Options:
        """The recipe's table ``[search]``, as the dataclass of some search, with changes."""
        chosen = {**(self.meta.get("recipe", {}).get("search") or {}), **changes}
        place = self.folder or Path("the recipe")
        return section(kind, chosen, "search", place, GraphError)

    def save(self, path: str | Path) -> None:
        """Write the graph as a folder of arrays and text files, H∘L∘G included."""
        store.save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> DecodingGraph:
        """Open a graph folder; its arrays are mapped into memory, not copied.

        Raises
        ------
        GraphError
            If the folder is not a compiled graph, is damaged, or was written by a newer version.
        """
        return store.load(Path(path)).to(device)

    def info(self) -> dict[str, Any]:
        """Size of the graph, and all that ``graph.json`` says of its making.

        ``packed_mb`` counts the arrays of token passing, where it can serve, in megabytes (10^6
        bytes); ``lg`` holds the size of L∘G, the share of its arcs that read ε, and its longest
        path of such arcs; ``hlg`` the states, arcs and megabytes that k2's search needs, if
        H∘L∘G has been composed.
        """
        return {
            "words": len(self.words) - 2,
            "tokens": len(self.columns),
            **({} if self.packed is None else {"packed_mb": self.packed.num_bytes / 1e6}),
            **self.meta,
            **({"hlg": hlg.size(self.fsa)} if self.is_composed else {}),
        }


def compile_hlg(
    H: k2.Fsa,
    L: Lexicon,
    G: k2.Fsa | Arcs | None = None,
    *,
    columns: tuple[str, ...] | None = None,
    max_memory: float | None = None,
    report: Callable[[Stage], None] | None = None,
) -> DecodingGraph:
    """Compile H∘(L∘G) for search.

    Parameters
    ----------
    H : k2.Fsa
        A topology from :mod:`asr_hlg.graph.topology` over the lexicon's tokens.
    L : Lexicon
        Pronunciations; also accepted is the Fsa of ``Lexicon.to_fsa``, which remembers its
        lexicon.
    G : k2.Fsa or Arcs, optional
        An acceptor of word sequences over ``L.words``, ``#0`` on its back-off arcs. Without it
        every word sequence is as good as any other.
    columns : tuple of str, optional
        Names of the posterior columns that H reads; by default the lexicon's tokens, or
        ``pdf1, pdf2, …`` for a topology that has several states a token.
    max_memory : float, optional
        Gigabytes; a stage that would need more stops with a :class:`GraphError` that says what
        to prune.
    report : callable, optional
        Called with every finished :class:`Stage`.

    Returns
    -------
    DecodingGraph
        Connected, sorted by label, free of ε.
    """
    meter = Meter(max_memory, report)
    lexicon = _lexicon(L)
    grammar = G if G is None or isinstance(G, Arcs) else _g_arcs(G, lexicon.words)
    lg = compile_lg(lexicon, grammar, meter)
    return finish(H, lexicon, lg, meter, columns)


def compile_lg(lexicon: Lexicon, G: Arcs | None, meter: Meter) -> Arcs:
    """L∘G, in which words share their beginnings and endings; ε where G backs off."""
    if G is not None and tree.backs_off(G, lexicon.words["#0"]):
        return stages.compose_trees(lexicon, G, meter)
    L = lexicon.arcs(disambig=True)
    if G is None:  # then there are no back-offs to let through
        L = L.take(np.flatnonzero(L.ilabel != lexicon.tokens["#0"]))
    lg = stages.compose_lg(L, G, meter)
    return stages.remove_disambig(lg, symbols.first_disambig(lexicon.tokens))


def finish(
    H: k2.Fsa,
    lexicon: Lexicon,
    lg: Arcs,
    meter: Meter,
    columns: tuple[str, ...] | None = None,
) -> DecodingGraph:
    """H∘(L∘G) from a finished L∘G, with everything that decoding needs beside it."""
    longest_epsilon = stages.longest_epsilon_path(lg)
    packed = None
    if topology.is_ctc(H):
        with meter.stage("L∘G pack") as size:
            packed = PackedLg.pack(stages.pull_words(lg))
            size.set(packed.num_states, len(packed.arcs) + len(packed.eps_arcs))
    meta = {
        "lexicon": {name: getattr(lexicon, name) for name in store.LEXICON_OPTIONS},
        "pronunciations": len(lexicon),
        "takes_new_words": slots.has_place(lg, lexicon),
        "lg": {
            "states": lg.num_states,
            "arcs": lg.num_arcs,
            "epsilon_share": float((lg.ilabel == 0).mean()),
            "longest_epsilon": longest_epsilon,
        },
    }

    @cache
    def composed() -> tuple[k2.Fsa, Slot | None]:
        return hlg.compose(H, lexicon, lg, meter)

    graph = DecodingGraph(
        lambda: composed()[0],
        lexicon.tokens,
        lexicon.words,
        columns or _columns(H, lexicon),
        lambda: lexicon,
        lexicon.spellings,
        lexicon.silence,
        meta,
        lambda: composed()[1],
        packed=packed,
    )
    if packed is None:
        graph.fsa  # noqa: B018 - nothing else can be searched
    graph.meta["stages"] = [vars(stage) for stage in meter.stages]
    return graph


def _lexicon(L: Lexicon | k2.Fsa) -> Lexicon:
    lexicon = L if isinstance(L, Lexicon) else getattr(L, "lexicon", None)
    if lexicon is None:
        raise GraphError(
            "L has no pronunciations attached", remedy="pass a Lexicon, or its to_fsa() unchanged"
        )
    return lexicon


def _columns(H: k2.Fsa, lexicon: Lexicon) -> tuple[str, ...]:
    """Names of what H reads, and a check that H and L speak of the same tokens."""
    written = int(H.aux_labels.max())
    if written != lexicon.num_tokens - 1:
        raise GraphError(
            f"H has {written} tokens besides the blank, the lexicon {lexicon.num_tokens - 1}",
            remedy="build H with Lexicon.num_tokens",
        )
    return topology.column_names(H, symbols.names(lexicon.tokens))


def _g_arcs(G: k2.Fsa, words: k2.SymbolTable) -> Arcs:
    """G as arrays; its back-off arcs read ``#0`` and write nothing."""
    arcs = Arcs.from_k2(G)
    return replace(arcs, olabel=np.where(arcs.ilabel == words["#0"], 0, arcs.olabel))
