"""Modified beam search: the best few token sequences, whose alignments add up.

In every frame a hypothesis says a token or nothing. ``a b`` may become of ``a`` that says b now,
and of ``a b`` that says nothing now: these are alignments of the same tokens, and so one
hypothesis with the sum of their probabilities.
"""

from __future__ import annotations

import torch
from torch import Tensor

from asr_hlg.transducer.model import Transducer
from asr_hlg.transducer.prediction import pick, replace
from asr_hlg.transducer.trellis import NOWHERE, Steps

_MULTIPLIER = 6364136223846793005
"""Of the linear congruential generator in Knuth's MMIX; it spreads prefixes over 64 bits."""


@torch.no_grad()
def search(
    network: Transducer, features: Tensor, beam_size: int, blank_penalty: float = 0.0
) -> list[Steps]:
    """Search a batch, all utterances and hypotheses at once.

    Parameters
    ----------
    network : Transducer
        In evaluation mode.
    features : Tensor
        ``(B, T, encoder_dim)`` of :meth:`Transducer.encode`.
    beam_size : int
        Hypotheses of every utterance.
    blank_penalty : float

    Returns
    -------
    list of Steps
        One a frame. What lies past an utterance's end means nothing.
    """
    batch, frames, _ = features.shape
    beam = _Beam(network, batch, beam_size)
    encoded = network.encoded(features)
    steps = []
    for frame in range(frames):
        log_probs = beam.log_probs(encoded[:, frame])
        log_probs[..., 0] -= blank_penalty
        steps.append(beam.advance(log_probs))
    return steps


class _Beam:
    """The hypotheses of a batch after some frames; tensors are ``(B, K)``.

    Two hypotheses are the same if their 64-bit hashes are.
    """

    def __init__(self, network: Transducer, batch: int, size: int):
        self.network = network
        self.size = size
        self.state = network.prediction.start(batch * size)
        device = self.state[0].device
        self.score = torch.full((batch, size), -torch.inf, device=device)
        self.score[:, 0] = 0.0
        self.hash = torch.zeros(batch, size, dtype=torch.int64, device=device)
        self.parent = self.hash - 1  # the hash of all tokens but the last
        self.token = self.hash.clone()
        self.first_row = self.size * torch.arange(batch, device=device)[:, None]

    def log_probs(self, encoded: Tensor) -> Tensor:
        """``(B, joiner_dim)`` of a frame to what every hypothesis says next ``(B, K, V)``."""
        rows = encoded.repeat_interleave(self.size, 0)
        return self.network.log_probs(rows, self.state).unflatten(0, (-1, self.size))

    def advance(self, log_probs: Tensor) -> Steps:
        """Let every hypothesis say each token or nothing, add up, and keep the best."""
        said = (self.score[..., None] + log_probs[..., 1:]).flatten(1)
        origin = self._origins()
        row, slot = (origin != NOWHERE).nonzero(as_tuple=True)
        same = row, origin[row, slot] * (log_probs.shape[2] - 1) + self.token[row, slot] - 1
        silent = self.score + log_probs[..., 0]
        silent[row, slot] = torch.logaddexp(silent[row, slot], said[same])
        said[same] = -torch.inf
        self.score, chosen = torch.cat([silent, said], 1).topk(self.size, 1)
        return self._keep(chosen, origin, log_probs)

    def _origins(self) -> Tensor:
        """For every hypothesis the one that has all its tokens but the last, or NOWHERE."""
        alive = self.score > -torch.inf
        equal = self.hash[:, :, None] == self.parent[:, None, :]
        equal &= alive[:, :, None] & alive[:, None, :]
        return torch.where(equal.any(1), equal.int().argmax(1), NOWHERE)

    def _keep(self, chosen: Tensor, origin: Tensor, log_probs: Tensor) -> Steps:
        """Become the chosen: slot s that says nothing, or K + s (V - 1) + k - 1, s and token k."""
        most = log_probs.shape[2] - 1
        is_silent = chosen < self.size
        new = chosen - self.size
        slot = torch.where(is_silent, chosen, torch.div(new, most, rounding_mode="floor"))
        before, token = self.hash.gather(1, slot), new.remainder(most) + 1
        self.token = torch.where(is_silent, self.token.gather(1, slot), token)
        self.parent = torch.where(is_silent, self.parent.gather(1, slot), before)
        self.hash = torch.where(is_silent, before, before * _MULTIPLIER + token)
        self.state = pick(self.state, (self.first_row + slot).flatten())
        rows = (~is_silent).flatten().nonzero()[:, 0]
        if len(rows):
            after = self.network.prediction.push(pick(self.state, rows), self.token.flatten()[rows])
            self.state = replace(self.state, rows, after)
        alive = self.score > -torch.inf
        said = torch.where(is_silent, origin.gather(1, slot), slot)
        table = log_probs.flatten(1)
        return Steps(
            torch.where(is_silent & alive, slot, NOWHERE),
            torch.where(alive, said, NOWHERE),
            self.token,
            log_probs[..., 0].gather(1, slot),
            table.gather(1, said.clamp(min=0) * (most + 1) + self.token),
        )
