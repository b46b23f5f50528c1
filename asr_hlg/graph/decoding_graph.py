"""The decoding graph: L∘G as arrays, H, and the names of all labels.

graph = DecodingGraph.load("graphs/mine")
graph.lg          # L∘G, the graph itself
graph.packed      # its view for token passing
graph.fsa         # H∘L∘G, its view for k2
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from asr_hlg.errors import GraphError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.symbols import SymbolTable
from asr_hlg.graph import hlg, store
from asr_hlg.graph.hlg import HlgArrays
from asr_hlg.graph.lookahead import LookAhead
from asr_hlg.graph.meter import Meter
from asr_hlg.graph.packed import PackedLg
from asr_hlg.graph.packed_fst import PackedFst
from asr_hlg.graph.views import LgViews
from asr_hlg.lexicon import Lexicon
from asr_hlg.settings import section

if TYPE_CHECKING:
    import k2
    import torch

Options = TypeVar("Options")


@dataclass(frozen=True, eq=False)
class DecodingGraph:
    """L∘G with H and symbol tables; the arrays that searches read are derived on demand.

    Attributes
    ----------
    views : LgViews
        L∘G and H, and the arrays that searches read.
    tokens, words : SymbolTable
        The lexicon's tokens and words.
    columns : tuple of str
        Names of the posterior columns that H reads.
    read_lexicon : callable
        Returns the lexicon; see `lexicon`.
    spellings : callable
        Maps a word to its pronunciations as tokens of L, without reading the whole lexicon.
    silence : str or None
        The optional silence between words.
    meta : dict
        Content of ``graph.json``: recipe, sources, stages, versions.
    folder : Path or None
        The folder that the graph was loaded from.
    device : str
        Device of `fsa`, and so of the search: ``cpu``, ``cuda`` or ``cuda:N``.
    """

    views: LgViews
    tokens: SymbolTable
    words: SymbolTable
    columns: tuple[str, ...]
    read_lexicon: Callable[[], Lexicon]
    spellings: Callable[[str], list[tuple[str, ...]]]
    silence: str | None
    meta: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    device: str = "cpu"

    @property
    def lg(self) -> Arcs:
        """L∘G: tokens to words, ε where G backs off, arcs sorted by source."""
        return self.views.lg

    @property
    def packed(self) -> PackedLg | None:
        """L∘G for token passing; None where token passing cannot search the graph."""
        return self.views.packed if self.supports_token_passing else None

    @property
    def packed_fst(self) -> PackedFst:
        """H∘L∘G for token passing; unlike `packed` for every topology."""
        return self.views.packed_fst

    @property
    def look_ahead(self) -> LookAhead | None:
        """HCL and G, which token passing composes, in place of `packed_fst`; of some imports."""
        return self.views.look_ahead

    @cached_property
    def fsa(self) -> k2.Fsa:
        """H∘L∘G for k2, on the graph's device.

        ``labels`` are posterior columns (no ε), ``aux_labels`` words (ragged: an arc may write
        several), ``phones`` the lexicon's token that begins on an arc (0 for none), and
        ``graph_scores`` a copy of the scores, which the lattice keeps in addition to the total.
        """
        return self.views.fsa.to(self.device)

    @cached_property
    def lexicon(self) -> Lexicon:
        """Pronunciations of all words, read when first used."""
        return self.read_lexicon()

    @property
    def topology(self) -> str | None:
        """Kind of H, as in a recipe's ``[topology]``; None for any other topology."""
        return (self.meta["topology"] or {}).get("kind")

    @property
    def supports_token_passing(self) -> bool:
        """Whether token passing can search the graph: H is CTC, and the device the CPU."""
        return self.topology == "ctc" and self.device == "cpu"

    @property
    def takes_new_words(self) -> bool:
        """Whether words may be added: G has one state to which all others back off."""
        takes: bool = self.meta["takes_new_words"]
        return takes

    @cached_property
    def word_names(self) -> list[str]:
        """All words by id."""
        return symbols.names(self.words)

    @cached_property
    def token_names(self) -> list[str]:
        """All tokens of the lexicon by id."""
        return symbols.names(self.tokens)

    @property
    def is_imported(self) -> bool:
        """Whether another toolkit has compiled the graph, so that it has no L∘G."""
        return "imported" in self.meta

    @property
    def has_lexicon(self) -> bool:
        """Whether the pronunciations of words are known; without, times of words are not exact."""
        has: bool = self.meta.get("imported", {}).get("has_lexicon", True)
        return has

    @cached_property
    def word_positions(self) -> dict[str, str] | None:
        """Position in a word of each token, for Kaldi's position-dependent phones.

        By token ``nonword``, ``begin``, ``end``, ``internal`` or ``singleton``.
        """
        positions: dict[str, str] | None = self.meta.get("imported", {}).get("word_positions")
        return positions

    @property
    def fillers(self) -> frozenset[str]:
        """Tokens that belong to no word: optional silence."""
        return frozenset() if self.silence is None else frozenset([self.silence])

    def to(self, device: str | torch.device) -> DecodingGraph:
        """Move the graph to another device."""
        return self if self.device == str(device) else replace(self, device=str(device))

    def with_lg(self, lg: Arcs, **changes: Any) -> DecodingGraph:
        """Copy of the graph with another L∘G, from which its views are derived anew.

        Parameters
        ----------
        lg : Arcs
            Sorted by source.
        **changes
            Other attributes to change, ``words`` for instance.
        """
        words, meta = changes.get("words", self.words), changes.pop("meta", self.meta)
        sizes = len(self.columns), len(self.tokens), len(words)
        views = LgViews(lambda: lg, self.views.make_topology, *sizes)
        meta = {key: value for key, value in meta.items() if key != "hlg"}
        return replace(self, views=views, meta=meta, **changes)

    def options(self, options_class: type[Options], **changes: Any) -> Options:
        """Make search options of a class from the recipe's section ``[search]``, with changes."""
        chosen = {**(self.meta.get("recipe", {}).get("search") or {}), **changes}
        return section(
            options_class, chosen, "search", self.folder or Path("the recipe"), GraphError
        )

    def save(self, path: str | Path) -> None:
        """Write the graph as a folder, with the views that have been derived so far."""
        views = self.views.derived
        meta = {**self._hlg_size(), **self.meta, "columns": list(self.columns)}
        H, lexicon = self.views.make_topology(), self.lexicon
        store.write(Path(path), meta, self.lg, H, self.words, self.tokens, lexicon, views)

    @classmethod
    def load(
        cls, path: str | Path, device: str | torch.device = "cpu", meter: Meter | None = None
    ) -> DecodingGraph:
        """Open a graph folder; its arrays are mapped into memory, not copied.

        Parameters
        ----------
        path : str or Path
        device : str or torch.device
        meter : Meter, optional
            Measures views that are derived because the folder lacks them.

        Raises
        ------
        GraphError
            If the folder is not a compiled graph, is damaged, or has another format.
        """
        folder = store.GraphFolder(Path(path))
        meta = folder.meta
        sizes = len(meta["columns"]), len(folder.tokens), len(folder.words)
        kept = store.ViewCache(folder.path, meta)
        graph = cls(
            LgViews(folder.lg, folder.topology, *sizes, kept, meter),
            folder.tokens,
            folder.words,
            tuple(meta["columns"]),
            cache(folder.lexicon),
            folder.spellings,
            meta["lexicon"]["silence"],
            {key: meta[key] for key in meta if key not in ("files", "columns", "views")},
            folder.path,
            str(device),
        )
        graph.packed  # noqa: B018 - damage is reported on loading, not during a search
        return graph

    def info(self) -> dict[str, Any]:
        """Size of the graph, and the entries of ``graph.json`` on how it was made.

        ``packed_mb`` is the size of the arrays for token passing in megabytes (10^6 bytes);
        ``lg`` holds the size of L∘G, the share of its arcs that read ε, and the length of its
        longest ε-path; ``hlg`` the states, arcs and megabytes of H∘L∘G if it has been composed.
        """
        packed = self.packed
        if self.is_imported:
            size = (self.look_ahead or self.packed_fst).num_bytes / 1e6
            sizes = {"words": len(self.words) - 1, "tokens": len(self.columns)}
            return {**sizes, "packed_fst_mb": size, **self.meta}
        return {
            "words": len(self.words) - 2,
            "tokens": len(self.columns),
            **({} if packed is None else {"packed_mb": packed.num_bytes / 1e6}),
            **self.meta,
            **self._hlg_size(),
        }

    def _hlg_size(self) -> dict[str, Any]:
        """Size of H∘L∘G as ``hlg``, if it is in memory."""
        arrays = self.views.derived.get("hlg")
        return {} if arrays is None else {"hlg": hlg.size(HlgArrays(**arrays))}
