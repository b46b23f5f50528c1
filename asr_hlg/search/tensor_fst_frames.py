"""Batched token passing through H∘L∘G, whose arcs say what they read, in tensor operations.

It is the algorithm of :mod:`asr_hlg.search.fst_kernels`, which is Kaldi's, for all utterances of a
batch at a time: tokens within the beam follow the arcs that read a label, then ε-arcs in rounds
until no score rises. :meth:`FstTensorSearch._frame` are its steps. There is one difference: what
lies below the cutoff of a frame is dropped when the cutoff is known, so that nothing depends on the
order of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from asr_hlg.search.records import Limits
from asr_hlg.search.tensor_capture import Capture, Replay
from asr_hlg.search.tensor_fst_graph import TensorFst
from asr_hlg.search.tensor_history import Ends, Links
from asr_hlg.search.tensor_ops import (
    NEG_INF,
    Rows,
    Shapes,
    expand_slots,
    largest_of,
    pick,
    recombine,
)
from asr_hlg.search.tensor_search import LOWEST, BatchSearch

_MOST_ROUNDS = 1000
"""Rounds of ε-arcs in a frame before a cycle is suspected that raises scores without end."""


class EpsilonCycle(Exception):
    """A cycle of ε-arcs raises the score of a path."""


class Emissions(NamedTuple):
    """Scores of frames, float64 ``(frames, utterances * (labels + 1))``, or of one frame.

    Those of an utterance are followed by the largest, column 0 apart.
    """

    score: Tensor

    @staticmethod
    def of(log_probs: Tensor) -> Emissions:
        """Prepare scaled scores, float32 ``(utterances, frames, labels)``."""
        best = log_probs[:, :, 1:].amax(dim=2, keepdim=True)
        rows = torch.cat([log_probs, best], dim=2).transpose(0, 1).double()
        return Emissions(rows.reshape(len(rows), -1))


class Tokens(NamedTuple):
    """States that are active after a frame, one row each."""

    utterance: Tensor  # int64 (n,)
    state: Tensor
    id: Tensor
    score: Tensor  # float64


class Paths(NamedTuple):
    """Arcs that tokens take, ε-arcs or such that read a label."""

    token: Tensor  # int64 (n,): its row
    arc: Tensor
    utterance: Tensor
    state: Tensor  # destination
    score: Tensor  # float64: after the arc


class Pruning(NamedTuple):
    """Kaldi's ``GetCutoff`` for every utterance, float64 ``(utterances,)``."""

    cutoff: Tensor  # tokens below it are dropped
    beam: Tensor


class FstTensorSearch(BatchSearch):
    """State of the search of a batch of utterances along H∘L∘G.

    Parameters
    ----------
    graph : TensorFst
    table : Tensor
        int32, at least ``(num_utterances * num_states + 1,)``: room for recombination, which is
        never cleared.
    num_utterances : int
    limits : tuple of float
        See :attr:`asr_hlg.search.SearchOptions.limits`.
    shapes : Shapes
    ends_anywhere : bool
        Where no path of an utterance reaches a final state, let paths end in every state.
    capture : callable, optional
        Captures the work of a frame, which all frames then repeat. For shapes that do not wait for
        the device.

    Raises
    ------
    EpsilonCycle
    """

    def __init__(
        self,
        graph: TensorFst,
        table: Tensor,
        num_utterances: int,
        limits: Limits,
        shapes: Shapes,
        ends_anywhere: bool = False,
        capture: Capture | None = None,
    ):
        super().__init__(num_utterances, shapes)
        self.graph, self._limits, self.ends_anywhere = graph, limits, ends_anywhere
        self._table = table[: num_utterances * graph.num_states + 1]
        self._finished: list[Tokens] = []
        self._capture = capture
        self._replay: Replay | None = None
        every = torch.arange(num_utterances, device=graph.device)
        zero = torch.zeros(num_utterances, dtype=torch.float64, device=graph.device)
        start = Tokens(every, torch.zeros_like(every), every, zero)  # ids: those of utterances
        self.tokens = self._process_nonemitting(start, zero - limits[0])
        self.history.num_ids = len(self.tokens.id)
        if links := self._epsilon_links(self.tokens, zero - limits[0]):
            self.history.add(links, graph.most_rounds)

    def finish(self, ended: Tensor) -> None:
        """Record the tokens of the utterances that end here, and search them no more.

        ``ended`` is bool ``(utterances,)``.
        """
        ends = ended[self.tokens.utterance]
        self._finished.append(self._take(self.tokens, self.shapes.select(ends, "tokens")))
        self.tokens = self._take(self.tokens, self.shapes.select(~ends, "tokens"))

    def _emissions(self, log_probs: Tensor) -> Emissions:
        return Emissions.of(log_probs)

    def _ends(self) -> list[Ends]:
        final = self.graph.final
        return [
            Ends(tokens.utterance, tokens.id, tokens.score, pick(final, tokens.state).double())
            for tokens in self._finished
        ]

    def _frame(self, emissions: Emissions) -> None:
        """Read one frame, and record what is found."""
        history = self.history
        first_id = torch.full((1,), history.num_ids, device=emissions.score.device)
        found = self._captured_step([emissions.score, first_id, *self.tokens])
        self.tokens, cutoff = Tokens(*found[:4]), found[4]
        history.take_ids(len(self.tokens.id))
        history.add(Links(*found[5:12]))
        history.cutoffs.append(cutoff)
        if len(found) > 12:
            history.add(Links(*found[12:]), self.graph.most_rounds)

    def _captured_step(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """A step, captured as soon as tokens have the shape that those of all frames have."""
        if self._replay is not None:
            return [tensor.clone() for tensor in self._replay(inputs)]
        found = self._step(inputs)
        has_one_shape = len(found[0]) == len(self.tokens.state)
        if self._capture is not None and has_one_shape and self.graph.most_rounds is not None:
            self._replay = Replay(self._step, inputs, found, self._capture)
        return found

    def _step(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Prune tokens, follow arcs that read a label, then ε-arcs.

        Tensors alone pass in and out, so that a step can be captured. They are the emissions of a
        frame, the first id for its tokens, int64 ``(1,)``, and the tokens before it; the tokens
        after it, the cutoff, links over arcs that read a label, and over ε-arcs if there are any.
        """
        emission, first_id, *parts = inputs
        before = Tokens(*parts)
        pruning = self._cutoff(before)
        paths, best = self._process_emitting(before, emission, pruning)
        cutoff = (best - pruning.beam).clamp_(min=LOWEST)
        paths = self._above(paths, cutoff, "links")
        tokens = self._process_nonemitting(self._recombine(paths), cutoff)
        tokens = tokens._replace(id=tokens.id + first_id)
        links = self._links(paths, before, tokens, reads=True)
        return [*tokens, cutoff, *links, *self._epsilon_links(tokens, cutoff)]

    def _cutoff(self, tokens: Tokens) -> Pruning:
        """The beam, narrowed to ``max_active`` tokens or widened to ``min_active``."""
        search_beam, _, min_active, max_active = self._limits
        utterance, score = tokens.utterance, tokens.score
        best = largest_of(self.num_utterances, utterance, score)
        cutoff, beam = best - search_beam, torch.full_like(best, search_beam)
        none = torch.zeros_like(best)
        active = none.scatter_add(0, utterance, (score > NEG_INF).double())
        within = none.scatter_add(0, utterance, (score >= pick(cutoff, utterance)).double())
        few, many = within <= min_active, within > max_active
        too_few = active <= min_active
        moved = (few | many) & ~too_few
        if self.shapes.may_hold(moved):
            n = (min_active + (max_active - min_active) * many.double()).long()
            nth = _nth_best(tokens, best, n)
            cutoff = torch.where(moved, nth, cutoff)
            beam = torch.where(moved, best - nth + 0.5, beam)
        return Pruning(cutoff.masked_fill(too_few, LOWEST), beam.masked_fill(too_few, -NEG_INF))

    def _process_emitting(
        self, tokens: Tokens, emission: Tensor, pruning: Pruning
    ) -> tuple[Paths, Tensor]:
        """Follow arcs that read a label; and every utterance's best score after them."""
        graph = self.graph
        first = pick(graph.state_slots, tokens.state)
        counts = pick(graph.state_slots, tokens.state + 1) - first
        is_kept = tokens.score >= pick(pruning.cutoff, tokens.utterance)
        slots, copy = self.shapes.expand((counts * is_kept).long(), "slots")
        slot, utterance = pick(first, slots.at) + copy, pick(tokens.utterance, slots.at)
        before, base = slots.of_scores(tokens.score), utterance * (graph.num_labels + 1)
        reach = before + pick(graph.slot_score, slot)
        after = reach + pick(emission, base + pick(graph.slot_label, slot))
        floor = largest_of(self.num_utterances, utterance, after) - pruning.beam
        floor = pick(floor.clamp_(min=LOWEST), utterance)
        chosen = self.shapes.select(
            reach + pick(emission, base + pick(graph.slot_bound, slot)) >= floor, "departures"
        )
        slot, source = pick(slot, chosen.at), pick(slots.at, chosen.at)
        arcs, arc = expand_slots(self.shapes, graph.slot_arcs, slot, chosen.alive)
        before, base = pick(before, chosen.at), pick(base, chosen.at)
        score = arcs.of_scores(before) + pick(graph.arc_score, arc)
        score = score + pick(emission, pick(base, arcs.at) + pick(graph.arc_label, arc))
        token, state = pick(source, arcs.at), pick(graph.arc_state, arc).long()
        paths = Paths(token, arc, pick(tokens.utterance, token), state, score)
        return paths, largest_of(self.num_utterances, paths.utterance, score)

    def _above(self, paths: Paths, cutoff: Tensor, kind: str) -> Paths:
        """Paths that are not below the cutoff."""
        rows = self.shapes.select(paths.score >= pick(cutoff, paths.utterance), kind)
        token, arc, utterance, state = (pick(part, rows.at) for part in paths[:4])
        return Paths(token, arc, utterance, state, rows.of_scores(paths.score))

    def _recombine(self, paths: Paths) -> Tokens:
        """The states that paths reach, with the best of their scores."""
        none = paths.score[:0]
        return self._merged(paths.utterance, paths.state, paths.score, none)[0]

    def _merged(
        self, utterance: Tensor, state: Tensor, score: Tensor, before: Tensor
    ) -> tuple[Tokens, Tensor]:
        """Tokens of the states of rows, and whether their scores rise.

        The first rows are tokens with the scores ``before``, which keep their places.
        """
        keys = utterance * self.graph.num_states + state
        same = recombine(self._table, keys, score, len(before))
        merged = largest_of(len(score), same.representative, score)
        rises = merged > torch.cat([before, score.new_full((len(score) - len(before),), NEG_INF)])
        new = self.shapes.select(same.is_representative & (merged > NEG_INF), "tokens")
        id = torch.arange(len(new.at), device=state.device)  # from 0 in every frame
        tokens = Tokens(pick(utterance, new.at), pick(state, new.at), id, new.of_scores(merged))
        rises = pick(rises, new.at) & self._has_epsilons(tokens.state)
        return tokens, rises if new.alive is None else rises & new.alive

    def _process_nonemitting(self, tokens: Tokens, cutoff: Tensor) -> Tokens:
        """Follow ε-arcs until no score rises."""
        most, done = self.graph.most_rounds, 0
        rises = (tokens.score > NEG_INF) & self._has_epsilons(tokens.state)
        while most != 0 and self.shapes.another_round(rises, most, done):
            paths = self._epsilon_arcs(tokens, rises, cutoff)
            tokens, rises = self._merged(
                torch.cat([tokens.utterance, paths.utterance]),
                torch.cat([tokens.state, paths.state]),
                torch.cat([tokens.score, paths.score]),
                tokens.score,
            )
            done += 1
            if done == _MOST_ROUNDS:
                raise EpsilonCycle
        place = torch.arange(len(tokens.id), dtype=torch.int32, device=cutoff.device)
        self._table.scatter_(0, self._keys(tokens.utterance, tokens.state, tokens.score), place)
        return tokens

    def _has_epsilons(self, state: Tensor) -> Tensor:
        return pick(self.graph.eps_splits, state + 1) > pick(self.graph.eps_splits, state)

    def _epsilon_arcs(self, tokens: Tokens, leaving: Tensor, cutoff: Tensor) -> Paths:
        """ε-arcs of the tokens of a mask, but for loops that raise no score."""
        graph = self.graph
        first = pick(graph.eps_splits, tokens.state)
        counts = (pick(graph.eps_splits, tokens.state + 1) - first) * leaving
        rows, copy = self.shapes.expand(counts.long(), "epsilons")
        arc, utterance = pick(first, rows.at) + copy, pick(tokens.utterance, rows.at)
        state, added = pick(graph.eps_state, arc).long(), pick(graph.eps_score, arc)
        score = rows.of_scores(tokens.score) + added
        score.masked_fill_((state == pick(tokens.state, rows.at)) & (added <= 0), NEG_INF)
        return self._above(Paths(rows.at, arc, utterance, state, score), cutoff, "epsilons")

    def _epsilon_links(self, tokens: Tokens, cutoff: Tensor) -> Links | tuple[()]:
        """All ε-arcs between tokens of a frame; nothing for a graph without ε-arcs."""
        if self.graph.most_rounds == 0:
            return ()
        paths = self._epsilon_arcs(tokens, tokens.score > NEG_INF, cutoff)
        return self._links(paths, tokens, tokens, reads=False)

    def _links(self, paths: Paths, sources: Tokens, targets: Tokens, reads: bool) -> Links:
        """Links of paths between tokens, which lead to those in the table."""
        row = pick(self._table, self._keys(paths.utterance, paths.state, paths.score)).long()
        row.clamp_(max=len(targets.id) - 1)  # of dead rows, and where a capacity is exceeded
        none = torch.full_like(paths.arc, -1)
        return Links(
            paths.utterance,
            pick(sources.id, paths.token),
            pick(targets.id, row),
            none if reads else paths.arc,
            paths.arc if reads else none,
            paths.score,
            pick(sources.score, paths.token),
        )

    def _keys(self, utterance: Tensor, state: Tensor, score: Tensor) -> Tensor:
        """Places of states in the table; the last is that of dead rows."""
        keys = utterance * self.graph.num_states + state
        return keys.masked_fill(score == NEG_INF, len(self._table) - 1)

    def _take(self, tokens: Tokens, rows: Rows) -> Tokens:
        utterance, state, id = (pick(part, rows.at) for part in tokens[:3])
        return Tokens(utterance, state, id, rows.of_scores(tokens.score))


def _nth_best(tokens: Tokens, best: Tensor, n: Tensor) -> Tensor:
    """For every utterance the score with n better ones, by sorts of all tokens."""
    utterance, score = tokens.utterance, tokens.score
    if not len(score):
        return best
    falling, order = score.sort(descending=True)
    grouped, by_utterance = pick(utterance, order).sort(stable=True)
    first = torch.searchsorted(grouped, torch.arange(len(best), device=grouped.device))
    return pick(falling, pick(by_utterance, (first + n).clamp_(max=len(order) - 1)))
