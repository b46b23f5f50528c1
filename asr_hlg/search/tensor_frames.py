"""Batched token passing through L∘G with the CTC topology implicit, in tensor operations.

It is the algorithm of :mod:`asr_hlg.search.kernels`, for all utterances of a batch at a time: label
tokens and blank tokens, with scores relative to a path of blanks alone.
:meth:`TensorSearch._frame` are its steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from asr_hlg.search import tensor_lattices
from asr_hlg.search.tensor_graph import TensorGraph
from asr_hlg.search.tensor_history import Array, Ends, Links
from asr_hlg.search.tensor_ops import NEG_INF, Shapes, expand_slots, largest, pick, recombine
from asr_hlg.search.tensor_records import (
    BLANK,
    Arcs,
    BlankTokens,
    Departures,
    Emissions,
    LabelTokens,
    Places,
    Tables,
)
from asr_hlg.search.tensor_search import LOWEST, BatchSearch


@dataclass(frozen=True)
class Beams:
    """search_beam, min_active and max_active of :class:`asr_hlg.search.SearchOptions`."""

    search_beam: float
    min_active: float
    max_active: float

    def adapted(self, beam: Tensor, active: Tensor) -> Tensor:
        """As in k2: too many active states narrow the beam, too few widen it, else it recovers."""
        recovered = 0.8 * beam + 0.2 * self.search_beam
        wider = 1.25 * beam.clamp(min=self.search_beam)
        narrower = 0.8 * beam.clamp(max=self.search_beam)
        adapted = torch.where(active < self.min_active, wider, recovered)
        return torch.where(active > self.max_active, narrower, adapted)


class TensorSearch(BatchSearch):
    """State of the search of a batch of utterances along L∘G.

    Parameters
    ----------
    graph : TensorGraph
    tables : Tables
        Room for recombination.
    num_utterances : int
    beams : Beams
    shapes : Shapes
    """

    def __init__(
        self, graph: TensorGraph, tables: Tables, num_utterances: int, beams: Beams, shapes: Shapes
    ):
        super().__init__(num_utterances, shapes)
        self.graph, self._tables, self._beams = graph, tables, beams
        every = torch.arange(num_utterances, device=graph.device)
        zero = torch.zeros(num_utterances, dtype=torch.float64, device=graph.device)
        # The start is a token of label 0, which no arc reads and which is never repeated.
        start = torch.full_like(every, graph.num_pairs - 1)
        none, no_score = every[:0], zero[:0]
        self.labels = LabelTokens.of(graph, every, start, every, zero)
        self.blanks = BlankTokens(none, none, none, no_score, no_score, no_score)
        self._unpruned = self.blanks, none.bool()
        self._beam = zero + beams.search_beam
        self._finished: list[tuple[LabelTokens, BlankTokens]] = []

    def finish(self, ended: Tensor) -> None:
        """Record the tokens of the utterances that end here, and search them no more.

        ``ended`` is bool ``(utterances,)``.
        """
        select, labels, blanks = self.shapes.select, self.labels, self.blanks
        merged, is_one = self._unpruned
        last = (
            labels.take(select(ended[labels.utterance], "labels")),
            merged.take(select(is_one & ended[merged.utterance], "last")),
        )
        self._finished.append(last)
        self.labels = labels.take(select(~ended[labels.utterance], "labels"))
        self.blanks = blanks.take(select(~ended[blanks.utterance], "blanks"))

    def _emissions(self, log_probs: Tensor) -> Emissions:
        return Emissions.of(log_probs)

    def _ends(self) -> list[Ends]:
        found = []
        for labels, blanks in self._finished:
            found += tensor_lattices.ends(labels, blanks, self.graph)
        return found

    def _last(self) -> Array:
        """Ids of blank tokens that were active after the last frame of their utterance."""
        return tensor_lattices.ids_of([blanks for _, blanks in self._finished])

    def _frame(self, emissions: Emissions) -> None:
        """Read one frame: follow ε-arcs, expand arcs, recombine, prune."""
        best, self._beam = self._adapt_beam()
        places = self._follow_epsilon_arcs()
        repeated = self._repeat_labels(emissions, best)
        departures = self._departures(emissions, places, best)
        arcs = self._expand(emissions, departures)
        best = largest(best, arcs.utterance, arcs.score)
        cutoff = (best - self._beam).clamp_(min=LOWEST)
        new_labels = self._recombine_labels(places, repeated, departures, arcs, cutoff)
        self._recombine_blanks(places, cutoff)
        self.labels = new_labels
        self.history.cutoffs.append(cutoff)

    def _adapt_beam(self) -> tuple[Tensor, Tensor]:
        """Every utterance's best score, and its beam."""
        labels, blanks = self.labels, self.blanks
        best = torch.full_like(self._beam, NEG_INF)
        largest(best, labels.utterance, labels.score)
        largest(best, blanks.utterance, blanks.score)
        active = torch.zeros_like(best)
        active.scatter_add_(0, labels.utterance, (labels.score > NEG_INF).double())
        active.scatter_add_(0, blanks.utterance, blanks.direct)
        return best, self._beams.adapted(self._beam, active)

    def _follow_epsilon_arcs(self) -> Places:
        """Where tokens are: label tokens, those over their ε-arcs, and blank tokens."""
        graph, labels, blanks = self.graph, self.labels, self.blanks
        first = pick(graph.eps_splits, labels.state)
        counts = (pick(graph.eps_splits, labels.state + 1) - first) * (labels.score > NEG_INF)
        rows, copy = self.shapes.expand(counts, "epsilons")
        eps = pick(first, rows.at) + copy
        num_labels, num_entries = len(labels.id), len(labels.id) + len(eps)
        none = torch.full_like(labels.id, -1)
        score = rows.of_scores(labels.score)
        return Places(
            torch.cat([labels.utterance, pick(labels.utterance, rows.at), blanks.utterance]),
            torch.cat([labels.state, pick(graph.eps_state, eps), blanks.state]),
            torch.cat([labels.label, pick(labels.label, rows.at), torch.zeros_like(blanks.id)]),
            torch.cat([none, eps, torch.full_like(blanks.id, -1)]),
            torch.cat([labels.id, pick(labels.id, rows.at), blanks.id]),
            torch.cat([labels.score, score, blanks.score]),
            torch.cat([labels.score, score + pick(graph.eps_score, eps), blanks.score]),
            num_labels,
            num_entries,
        )

    def _repeat_labels(self, emissions: Emissions, best: Tensor) -> Tensor:
        """Scores of label tokens whose label is repeated; raises the best scores to them."""
        labels = self.labels
        base = (labels.utterance + 1) * self.graph.num_labels
        repeated = labels.score + pick(emissions.score, base + labels.label)
        largest(best, labels.utterance, repeated)
        return repeated

    def _departures(self, emissions: Emissions, places: Places, best: Tensor) -> Departures:
        """Places whose arcs may stay above the beam; raises the best scores to a lower bound.

        The bound is the best score over the first arcs of one slot of every place: the state's
        only slot, or that of the most probable label.
        """
        graph, utterance = self.graph, places.utterance
        by_label = pick(graph.state_by_label, places.state)
        base = (utterance + 1) * graph.num_labels
        order, first_slot = base * by_label, pick(graph.state_slot, places.state)
        slot = first_slot + pick(emissions.order, order)
        label = pick(graph.slot_label, slot)
        after = places.score + pick(emissions.score, base + label) + pick(graph.slot_score, slot)
        largest(best, utterance, after.masked_fill_(label == places.label, NEG_INF))
        floor = (best - self._beam).clamp_(min=LOWEST)

        to_spare = pick(emissions.best - floor, utterance) + places.score
        to_spare = to_spare + pick(graph.state_reach, places.state)
        rows = self.shapes.select(to_spare >= 0, "departures")
        chosen, by_label = rows.at, pick(by_label, rows.at)
        utterance = pick(utterance, chosen)
        num_slots = emissions.within(pick(to_spare, chosen), utterance) * by_label + (1 - by_label)
        return Departures(
            chosen,
            utterance,
            pick(base, chosen),
            pick(order, chosen),
            pick(places.label, chosen),
            pick(first_slot, chosen),
            num_slots if rows.alive is None else num_slots * rows.alive,
            rows.of_scores(places.score),
        )

    def _expand(self, emissions: Emissions, departures: Departures) -> Arcs:
        """Expand departures to slots, and these to arcs; one that reads its own label has -inf."""
        graph = self.graph
        slots, copy = self.shapes.expand(departures.num_slots, "slots")
        slot = pick(departures.slot, slots.at)
        slot = slot + pick(emissions.order, pick(departures.order, slots.at) + copy)
        arcs, arc = expand_slots(self.shapes, graph.slot_arcs, slot, slots.alive)
        departure = pick(slots.at, arcs.at)
        label = pick(graph.arc_label, arc).long()
        before = pick(departures.score, departure)
        if arcs.alive is not None:
            before = before.masked_fill(~arcs.alive, NEG_INF)
        emission = pick(emissions.score, pick(departures.base, departure) + label)
        score = before + emission + pick(graph.arc_score, arc)
        score.masked_fill_(label == pick(departures.label, departure), NEG_INF)
        return Arcs(departure, arc, pick(departures.utterance, departure), score)

    def _recombine_labels(
        self, places: Places, repeated: Tensor, departures: Departures, arcs: Arcs, cutoff: Tensor
    ) -> LabelTokens:
        """New label tokens, from repeated labels and from arcs; records links into them."""
        graph, labels, select = self.graph, self.labels, self.shapes.select
        kept = select(arcs.score >= pick(cutoff, arcs.utterance), "links")
        loops = select(repeated >= pick(cutoff, labels.utterance), "labels")
        arc = pick(arcs.arc, kept.at)
        # Label tokens are the first of the places, with the same indices.
        over_arcs = pick(departures.place, pick(arcs.departure, kept.at))
        source = torch.cat([loops.at, over_arcs])
        utterance = pick(places.utterance, source)
        pair = torch.cat([pick(labels.pair, loops.at), pick(graph.arc_pair, arc).long()])
        score = torch.cat([loops.of_scores(repeated), kept.of_scores(arcs.score)])
        same = recombine(self._tables.pairs, utterance * graph.num_pairs + pair, score)
        merged = largest(torch.full_like(score, NEG_INF), same.representative, score)
        first_id = self.history.take_ids(len(score))
        loop = torch.full_like(loops.at, -1)
        self.history.add(
            Links(
                utterance,
                pick(places.id, source),
                first_id + same.representative,
                torch.cat([loop, pick(places.eps, over_arcs)]),
                torch.cat([loop, pick(graph.arc_index, arc).long()]),
                score,
                pick(places.token_score, source),
            )
        )
        new = select(same.is_representative, "labels")
        return LabelTokens.of(
            graph,
            pick(utterance, new.at),
            pick(pair, new.at),
            first_id + new.at,
            new.of_scores(merged),
        )

    def _recombine_blanks(self, places: Places, cutoff: Tensor) -> None:
        """Let label tokens read a blank, at their states and behind ε-arcs; records links."""
        graph, blanks, select = self.graph, self.blanks, self.shapes.select
        entry_score = places.token_score[: places.num_entries]
        may_enter = entry_score >= pick(cutoff, places.utterance[: places.num_entries])
        entering = select(may_enter, "entries")
        source, old = entering.at, len(blanks.id)
        utterance = torch.cat([blanks.utterance, pick(places.utterance, source)])
        state = torch.cat([blanks.state, pick(places.state, source)])
        score = torch.stack(
            [
                torch.cat([blanks.score, entering.of_scores(places.score)]),
                torch.cat([blanks.entry_score, entering.of_scores(entry_score)]),
                torch.cat([blanks.direct, (source < places.num_labels).double()]),
            ]
        )
        keys = utterance * graph.num_states + state
        same = recombine(self._tables.states, keys, score[0], old)
        merged = torch.full_like(score, NEG_INF).scatter_reduce_(
            1, same.representative.expand(3, -1), score, "amax"
        )
        first_id = self.history.take_ids(len(source)) - old
        new_ids = torch.arange(first_id + old, first_id + len(utterance), device=source.device)
        ids = torch.cat([blanks.id, new_ids])
        self.history.add(
            Links(
                utterance[old:],
                pick(places.id, source),
                pick(ids, same.representative[old:]),
                pick(places.eps, source),
                torch.full_like(source, BLANK),
                score[0, old:],
                score[1, old:],
            )
        )
        merged_tokens = BlankTokens(utterance, state, ids, *merged)
        self._unpruned = merged_tokens, same.is_representative
        alive = same.is_representative & (merged[1] >= pick(cutoff, utterance))
        self.blanks = merged_tokens.take(select(alive, "blanks"))
