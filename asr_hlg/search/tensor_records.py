"""Records of the search in tensors: named tensors, whose elements i belong together."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from asr_hlg.search.tensor_graph import TensorGraph
from asr_hlg.search.tensor_ops import NEG_INF, Rows, pick

LOOP, BLANK = -1, -2
"""In place of the arc of a link: a label is repeated, or a blank is read."""

_BIN = 1.5
"""Width of the bins by which labels are counted that are less probable than the best one."""

_NUM_BINS = 16


class Emissions(NamedTuple):
    """Scores of a chunk of frames, prepared for all frames at once, or of one frame.

    Those of utterance u begin at ``(u + 1) * stride``, where stride is the number of labels.

    Attributes
    ----------
    score : Tensor
        float64 ``(frames, (utterances + 1) * stride)``: each label's score minus the blank's;
        ``-inf`` for the blank.
    order : Tensor
        int64, the same shape: labels, the best first; 0 in the first row, which is that of states
        with one slot.
    best : Tensor
        float64 ``(frames, utterances)``: the largest score.
    counts : Tensor
        int64 ``(frames, utterances * bins)``: how many labels are within b bins of the best one;
        all of them for the last b.
    """

    score: Tensor
    order: Tensor
    best: Tensor
    counts: Tensor

    @staticmethod
    def of(log_probs: Tensor) -> Emissions:
        """Prepare scaled scores, float32 ``(utterances, frames, labels)``."""
        utterances, frames, labels = log_probs.shape
        score = torch.full(
            (frames, utterances + 1, labels), NEG_INF, dtype=torch.float64, device=log_probs.device
        )
        relative = (log_probs[:, :, 1:] - log_probs[:, :, :1]).transpose(0, 1)
        score[:, 1:, 1:] = relative
        falling, labels_by_score = relative.sort(dim=2, descending=True)
        order = torch.zeros_like(score, dtype=torch.int64)
        order[:, 1:, :-1] = labels_by_score + 1
        bins = _BIN * torch.arange(_NUM_BINS, dtype=torch.float32, device=log_probs.device)
        below = (falling[:, :, :1] - falling).contiguous()
        counts = torch.searchsorted(below, bins.repeat(frames, utterances, 1), right=True)
        counts[:, :, 0].zero_()
        counts[:, :, -1].fill_(labels - 1)
        best = falling[:, :, 0].double()
        return Emissions(
            score.view(frames, -1), order.view(frames, -1), best, counts.view(frames, -1)
        )

    def within(self, to_spare: Tensor, utterance: Tensor) -> Tensor:
        """Upper bound on the labels whose score is within ``to_spare`` of the frame's best."""
        bins = (to_spare * (1 / _BIN) + 1).clamp_(0, _NUM_BINS - 1).long()
        return pick(self.counts, utterance * _NUM_BINS + bins)


class LabelTokens(NamedTuple):
    """Tokens whose last frame read a label."""

    utterance: Tensor  # int64 (n,), as all but the score
    pair: Tensor  # of state and label
    state: Tensor
    label: Tensor
    id: Tensor
    score: Tensor  # float64

    @staticmethod
    def of(
        graph: TensorGraph, utterance: Tensor, pair: Tensor, id: Tensor, score: Tensor
    ) -> LabelTokens:
        """Tokens of pairs of state and label."""
        state, label = pick(graph.pair_state, pair), pick(graph.pair_label, pair)
        return LabelTokens(utterance, pair, state, label, id, score)

    def take(self, rows: Rows) -> LabelTokens:
        """Some of the tokens."""
        utterance, pair, state, label, id = (pick(part, rows.at) for part in self[:5])
        return LabelTokens(utterance, pair, state, label, id, rows.of_scores(self.score))


class BlankTokens(NamedTuple):
    """Tokens whose last frame read a blank."""

    utterance: Tensor  # int64 (n,)
    state: Tensor
    id: Tensor
    score: Tensor  # float64
    entry_score: Tensor  # float64: best score of the label tokens that entered it, before ε-arcs
    direct: Tensor  # float64: 1 if a label token of the same state entered it

    def take(self, rows: Rows) -> BlankTokens:
        """Some of the tokens."""
        utterance, state, id = (pick(part, rows.at) for part in self[:3])
        score, entry_score = rows.of_scores(self.score), rows.of_scores(self.entry_score)
        direct = pick(self.direct, rows.at)
        if rows.alive is not None:
            direct = direct.masked_fill(~rows.alive, 0.0)
        return BlankTokens(utterance, state, id, score, entry_score, direct)


class Places(NamedTuple):
    """States where tokens are: of label tokens, those behind their ε-arcs, and of blank tokens."""

    utterance: Tensor  # int64 (n,)
    state: Tensor
    label: Tensor  # that must not be read: the token's own; 0 for blank tokens
    eps: Tensor  # ε-arc, -1 for none
    id: Tensor  # of the token
    token_score: Tensor  # float64: of the token
    score: Tensor  # float64: with that of the ε-arc
    num_labels: int  # label tokens, which are the first
    num_entries: int  # these and the states behind their ε-arcs


class Departures(NamedTuple):
    """Places whose arcs may stay above the floor."""

    place: Tensor  # int64 (n,), as all but the score
    utterance: Tensor
    base: Tensor  # where the utterance begins in the emissions
    order: Tensor  # where the order of slots begins: base, or 0 for states with one slot
    label: Tensor  # that must not be read
    slot: Tensor  # the state's first
    num_slots: Tensor  # to look at
    score: Tensor  # float64


class Arcs(NamedTuple):
    """Arcs that departures are expanded to."""

    departure: Tensor  # int64 (n,)
    arc: Tensor
    utterance: Tensor
    score: Tensor  # float64: after the arc


class Tables(NamedTuple):
    """Tables of :func:`~asr_hlg.search.tensor_ops.recombine` for tokens; never cleared.

    ``pairs`` is int32 ``(utterances * num_pairs + 1,)``, ``states`` likewise for states.
    """

    pairs: Tensor
    states: Tensor

    @staticmethod
    def allocate(graph: TensorGraph, num_utterances: int) -> Tables:
        """Tables for a batch of so many utterances."""
        pairs, states = (
            torch.zeros(num_utterances * size + 1, dtype=torch.int32, device=graph.device)
            for size in (graph.num_pairs, graph.num_states)
        )
        return Tables(pairs, states)
