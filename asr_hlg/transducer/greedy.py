"""Greedy search: the most probable thing to say in every frame, also while sound arrives."""

from __future__ import annotations

import torch
from torch import Tensor

from asr_hlg.transducer.model import Transducer
from asr_hlg.transducer.prediction import pick, replace
from asr_hlg.transducer.trellis import NOWHERE, Steps


class Greedy:
    """One hypothesis an utterance, which grows as frames come in.

    >>> search = Greedy(network, num_utterances=1)
    >>> for features, lengths in chunks:
    ...     search.accept(features, lengths)
    >>> search.tokens()[0]
    [(3, 17), (1, 24)]

    Parameters
    ----------
    network : Transducer
    num_utterances : int
    blank_penalty : float
        As in :class:`~asr_hlg.transducer.options.TransducerOptions`.

    Attributes
    ----------
    steps : list of Steps
        What it did in every frame so far.
    """

    def __init__(self, network: Transducer, num_utterances: int, blank_penalty: float = 0.0):
        self.steps: list[Steps] = []
        self._network = network
        self._penalty = blank_penalty
        self._state = network.prediction.start(num_utterances)
        self._predicted = network.prediction_joiner(network.prediction.output(self._state))
        self._token = torch.zeros(num_utterances, dtype=torch.int64, device=self._predicted.device)

    @torch.no_grad()
    def accept(self, features: Tensor, lengths: Tensor) -> None:
        """Go on through the next frames.

        Parameters
        ----------
        features : Tensor
            ``(num_utterances, frames, encoder_dim)`` of :meth:`Transducer.encode`.
        lengths : Tensor
            int64 ``(num_utterances,)``: how many of the frames count; an utterance that has fewer
            than others has ended.
        """
        encoded = self._network.encoded(features)
        for frame in range(features.shape[1]):
            self._step(encoded[:, frame], lengths > frame)

    def tokens(self) -> list[list[tuple[int, int]]]:
        """What every utterance says so far: tokens with the frames in which they are said."""
        if not self.steps:
            return [[] for _ in range(len(self._token))]
        said = torch.stack([step.said[:, 0] for step in self.steps], 1) != NOWHERE
        tokens = torch.stack([step.token[:, 0] for step in self.steps], 1)
        return [
            [(int(tokens[row, frame]), frame) for frame in mask.nonzero()[:, 0].tolist()]
            for row, mask in enumerate(said)
        ]

    def _step(self, encoded: Tensor, going: Tensor) -> None:
        log_probs = self._network.logits(encoded + self._predicted).log_softmax(-1)
        log_probs[:, 0] -= self._penalty
        score, token = log_probs.max(-1)
        said = (token > 0) & going.to(token.device)
        rows = said.nonzero()[:, 0]
        if len(rows):
            prediction = self._network.prediction
            after = prediction.push(pick(self._state, rows), token[rows])
            self._state = replace(self._state, rows, after)
            predicted = self._network.prediction_joiner(prediction.output(after))
            self._predicted = self._predicted.index_copy(0, rows, predicted)
            self._token = torch.where(said, token, self._token)
        here, nowhere = torch.zeros_like(token), torch.full_like(token, NOWHERE)
        columns = (
            torch.where(said, nowhere, here),
            torch.where(said, here, nowhere),
            self._token,
            score,
            score,
        )
        self.steps.append(Steps(*(column[:, None] for column in columns)))
