"""Views of L∘G, derived from it on demand: packed arrays for token passing, H∘L∘G for k2."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import checks, hlg, verified
from asr_hlg.graph.hlg import HlgArrays
from asr_hlg.graph.lookahead import LookAhead
from asr_hlg.graph.metadata import Meta
from asr_hlg.graph.meter import Meter
from asr_hlg.graph.packed import PackedLg
from asr_hlg.graph.packed_fst import PackedFst
from asr_hlg.graph.store import Arrays, ViewCache

if TYPE_CHECKING:
    import k2

_LOG = logging.getLogger("asr_hlg.graph")


class LgViews:
    """L∘G, H and the views that are derived from them, each when it is first used.

    Parameters
    ----------
    read_lg, make_topology : callable
        Return L∘G and H.
    num_columns, num_tokens, num_words : int
        Sizes of the tables that labels index, against which derived arrays are checked.
    cache : ViewCache, optional
        Keeps derived arrays on disk, since deriving costs much more than loading: packing takes
        4.4 s for ``en-full`` and 0.4 s for ``en``, composing H∘L∘G 8 s for ``en``; mapping the
        arrays into memory takes milliseconds, and checking the hash of 200 MB 0.3 s.
    meter : Meter, optional
        Measures the derivations; without it the logger ``asr_hlg.graph`` announces them.
    """

    def __init__(
        self,
        read_lg: Callable[[], Arcs],
        make_topology: Callable[[], Arcs],
        num_columns: int,
        num_tokens: int,
        num_words: int,
        cache: ViewCache | None = None,
        meter: Meter | None = None,
    ):
        self._read_lg = read_lg
        self.make_topology = make_topology
        self._sizes = num_columns, num_tokens, num_words
        self._cache = cache
        self._meter = meter
        self._folder = Path("the graph") if cache is None else cache.folder

    @cached_property
    def lg(self) -> Arcs:
        """L∘G, its arcs sorted by source."""
        return self._read_lg()

    @cached_property
    def packed(self) -> PackedLg:
        """L∘G for token passing; H must be the CTC topology."""

        def pack(meter: Meter) -> tuple[Arrays, Meta]:
            with meter.stage("L∘G pack") as size:
                packed = PackedLg.pack(self.lg)
                size.set(packed.num_states, len(packed.arcs) + len(packed.eps_arcs))
            return packed.arrays, {}

        names = [field.name for field in fields(PackedLg)]
        packed = PackedLg(**self._derive("packed", names, pack))
        num_columns, num_tokens, num_words = self._sizes
        # Columns are tokens here, so the smaller number limits the labels.
        limit = min(num_columns, num_tokens)
        self._check(
            "packed", names, lambda: checks.check_packed(packed, limit, num_words, self._folder)
        )
        return packed

    @cached_property
    def packed_fst(self) -> PackedFst:
        """H∘L∘G for token passing, with any H."""

        def compose(meter: Meter) -> tuple[Arrays, Meta]:
            ahead = self.look_ahead
            with meter.stage("H∘(L∘G) pack" if ahead is None else "HCL∘G compose") as size:
                if ahead is None:
                    packed = hlg.compose_packed(self.make_topology(), self.lg)
                else:
                    packed = ahead.packed()
                size.set(packed.num_states, packed.num_arcs)
            return packed.arrays, {}

        names = [field.name for field in fields(PackedFst)]
        packed = PackedFst(**self._derive("packed_fst", names, compose))
        self._check(
            "packed_fst",
            names,
            lambda: checks.check_packed_fst(packed, *self._sizes, self._folder),
        )
        return packed

    @cached_property
    def look_ahead(self) -> LookAhead | None:
        """HCL and G, of a graph that was imported as these."""
        names = [field.name for field in fields(LookAhead)]
        arrays = None if self._cache is None else self._cache.imported(LookAhead.view, names)
        if arrays is None:
            return None
        ahead = LookAhead(**arrays)
        self._check(
            ahead.view,
            names,
            lambda: checks.check_look_ahead(ahead, *self._sizes, self._folder),
        )
        return ahead

    @cached_property
    def fsa(self) -> k2.Fsa:
        """H∘L∘G on the CPU."""

        def compose(meter: Meter) -> tuple[Arrays, Meta]:
            if self._meter is None:
                _LOG.warning("%s: composing H∘L∘G for k2's search", self._folder)
            composed = hlg.compose(self.make_topology(), self.lg, meter)
            return composed._asdict(), {"hlg": hlg.size(composed)}

        arrays = HlgArrays(**self._derive("hlg", HlgArrays._fields, compose))
        self._check(
            "hlg", arrays._fields, lambda: checks.check_hlg(arrays, *self._sizes, self._folder)
        )
        return arrays.to_fsa()

    @property
    def derived(self) -> dict[str, Arrays]:
        """Arrays of the views that are in memory, by name."""
        views: dict[str, Arrays] = {}
        if "packed" in self.__dict__:
            views["packed"] = self.packed.arrays
        if "packed_fst" in self.__dict__:
            views["packed_fst"] = self.packed_fst.arrays
        if "fsa" in self.__dict__:
            views["hlg"] = HlgArrays.of(self.fsa)._asdict()
        return views

    def _check(self, view: str, names: Sequence[str], check: Callable[[], None]) -> None:
        """Check the indices of a view; if it is kept on disk, only when its files have changed."""
        with checks.damage_named(self._folder):
            if self._cache is None:
                check()
            else:
                files = [f"{view}/{name}.npy" for name in names]
                verified.once(self._folder, f"indices of {view} {checks.REVISION}", files, check)

    def _derive(
        self,
        name: str,
        arrays: Sequence[str],
        derive: Callable[[Meter], tuple[Arrays, Meta]],
    ) -> Arrays:
        """Arrays of a view, from the cache if there is one."""

        def measured() -> tuple[Arrays, Meta]:
            meter = self._meter or Meter()
            done = len(meter.stages)
            derived, remarks = derive(meter)
            return derived, {**remarks, "stages": [vars(stage) for stage in meter.stages[done:]]}

        return measured()[0] if self._cache is None else self._cache.get(name, arrays, measured)
