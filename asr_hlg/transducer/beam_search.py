"""Modified beam search without a graph; with a beam of one hypothesis it is greedy search.

In every frame a hypothesis, a token sequence, is extended by one token or by ∅. ``a b`` can arise
from ``a`` by the token b and from ``a b`` by ∅; both are alignments of the same tokens, so they are
merged into one hypothesis with the sum of their probabilities.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import FrameArcs
from asr_hlg.transducer import trellis
from asr_hlg.transducer.decoder import TransducerDecoder
from asr_hlg.transducer.model import Transducer
from asr_hlg.transducer.options import TransducerOptions
from asr_hlg.transducer.prediction import pick, replace
from asr_hlg.transducer.trellis import NO_ORIGIN, Step

_MULTIPLIER = 6364136223846793005
"""Multiplier of the linear congruential generator in Knuth's MMIX; it hashes token sequences."""


class BeamSearch(TransducerDecoder):
    """Decoder that keeps the best few token sequences, all utterances of a batch at once.

    Parameters
    ----------
    network : Transducer
    graph : DecodingGraph
        :func:`~asr_hlg.transducer.search.token_graph` of the network's tokens, which names the
        words of the lattices. It is not searched.
    options : TransducerOptions
    """

    options: TransducerOptions

    def __init__(
        self, network: Transducer, graph: DecodingGraph, options: TransducerOptions
    ) -> None:
        super().__init__(network, graph, options)
        words = [graph.words[token] for token in network.config.tokens[1:]]
        self._words = np.array([0, *words], dtype=np.int32)

    @torch.no_grad()
    def search(self, features: Tensor, lengths: list[int]) -> list[FrameArcs | None]:
        """Lattices of a batch of encoder frames ``(B, T, encoder_dim)``; None without frames."""
        size = 1 if self.options.search == "greedy" else self.options.beam_size
        beam = _Beam(self.network, len(lengths), size)
        encoded = self.network.encoded(features)
        steps = []
        for frame in range(max(lengths, default=0)):
            log_probs = beam.log_probs(encoded[:, frame])
            log_probs[..., 0] -= self.options.blank_penalty
            steps.append(beam.advance(log_probs))
        return trellis.lattices(steps, lengths, self._words)


class _Beam:
    """Hypotheses of a batch after some frames; tensors are ``(B, K)``.

    Hypotheses are identified by a 64-bit hash of their tokens. Scores are relative to the best
    hypothesis of the utterance, so that they keep their precision in long recordings. Past an
    utterance's end they have no meaning.
    """

    def __init__(self, network: Transducer, batch: int, size: int) -> None:
        self.network = network
        self.size = size
        start = network.prediction.start(batch * size)
        self.state = (*start, network.prediction_joiner(network.prediction.output(start)))
        device = start[0].device
        self.score = torch.full((batch, size), -torch.inf, device=device)
        self.score[:, 0] = 0.0
        self.hash = torch.zeros(batch, size, dtype=torch.int64, device=device)
        self.prefix_hash = torch.full_like(self.hash, -1)  # of all tokens but the last
        self.token = self.hash.clone()
        self.first_row = torch.arange(0, batch * size, size, device=device)[:, None]

    def log_probs(self, encoded: Tensor) -> Tensor:
        """Log-probabilities ``(B, K, V)`` of every hypothesis for a frame ``(B, joiner_dim)``."""
        predicted = self.state[-1].unflatten(0, (-1, self.size))
        return self.network.logits(encoded[:, None] + predicted).log_softmax(-1)

    def advance(self, log_probs: Tensor) -> Step:
        """Extend every hypothesis by each token and by ∅, merge, and keep the best K."""
        with_token = (self.score[..., None] + log_probs[..., 1:]).flatten(1)
        with_blank = self.score + log_probs[..., 0]
        prefix = self._prefixes()
        row, slot = torch.where(prefix.ne(NO_ORIGIN))
        extension = row, prefix[row, slot] * (log_probs.shape[2] - 1) + self.token[row, slot] - 1
        with_blank[row, slot] = torch.logaddexp(with_blank[row, slot], with_token[extension])
        with_token[extension] = -torch.inf
        self.score, chosen = torch.cat([with_blank, with_token], 1).topk(self.size, 1)
        self.score = self.score - self.score[:, :1]
        return self._keep(chosen, prefix, log_probs)

    def _prefixes(self) -> Tensor:
        """Slot of the hypothesis with all tokens but the last, for every hypothesis."""
        active = self.score > -torch.inf
        equal = self.hash[:, :, None].eq(self.prefix_hash[:, None, :])
        equal &= active[:, :, None] & active[:, None, :]
        return torch.where(equal.any(1), equal.int().argmax(1), NO_ORIGIN)

    def _keep(self, chosen: Tensor, prefix: Tensor, log_probs: Tensor) -> Step:
        """Replace the hypotheses by the chosen extensions.

        Extension ``s`` is slot s with ∅; ``K + s (V - 1) + k - 1`` is slot s with token k.
        """
        num_tokens = log_probs.shape[2] - 1
        is_blank = chosen.lt(self.size)
        extension = chosen.sub(self.size)
        slot = torch.where(
            is_blank, chosen, torch.div(extension, num_tokens, rounding_mode="floor")
        )
        previous, token = self.hash.gather(1, slot), extension.remainder(num_tokens) + 1
        self.token = torch.where(is_blank, self.token.gather(1, slot), token)
        self.prefix_hash = torch.where(is_blank, self.prefix_hash.gather(1, slot), previous)
        self.hash = torch.where(is_blank, previous, previous * _MULTIPLIER + token)
        self.state = pick(self.state, (self.first_row + slot).flatten())
        self._push(torch.where(~is_blank.flatten())[0])
        active = self.score > -torch.inf
        token_origin = torch.where(is_blank, prefix.gather(1, slot), slot)
        index = token_origin.clamp(min=0) * log_probs.shape[2] + self.token
        blank_origin = torch.where(is_blank, slot, NO_ORIGIN)
        origin = torch.stack([blank_origin, token_origin], 1)
        scores = log_probs[..., 0].gather(1, slot), log_probs.flatten(1).gather(1, index)
        return Step(
            torch.where(active[:, None], origin, NO_ORIGIN), torch.stack(scores, 1), self.token
        )

    def _push(self, rows: Tensor) -> None:
        """Feed the last tokens of some hypotheses to the prediction network."""
        if len(rows):
            prediction = self.network.prediction
            state = prediction.push(pick(self.state[:-1], rows), self.token.flatten()[rows])
            predicted = self.network.prediction_joiner(prediction.output(state))
            self.state = replace(self.state, rows, (*state, predicted))
