"""Training objective: a loss of a network's frames, with KL regularisation for adaptation."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr_hlg.acoustic.network import Network

if TYPE_CHECKING:
    from asr_hlg.data import Batch


class FrameObjective(nn.Module):
    """A network with one of the losses of :mod:`asr_hlg.losses` on its log-probabilities.

    With ``regularise`` = ρ > 0 the loss becomes (1 − ρ) loss + ρ Σ_t KL(p_old(·|y_t) ‖ p(·|y_t)),
    where p_old is the network as it was when this object was made, so that adaptation to new data
    changes the network's other outputs less (Yu et al., "KL-divergence regularized deep neural
    network adaptation", 2013).

    Attributes
    ----------
    network : Network
    loss : nn.Module
    inputs_per_frame : float
        Number of samples, or of filter-bank frames, per output frame of the network.
    """

    def __init__(self, network: Network, loss: nn.Module, regularise: float = 0.0):
        super().__init__()
        self.network = network
        self.loss = loss
        self.targets = str(loss.targets)  # the field of a batch that the loss needs
        self.regularise = regularise
        self.original: Network | None = None
        if regularise > 0:
            self.original = copy.deepcopy(network).eval().requires_grad_(False)
        self.inputs_per_frame = network.config.frame_shift * network.inputs_per_second()

    def train(self, mode: bool = True) -> FrameObjective:
        """Set training or evaluation mode; the original network stays in evaluation mode."""
        super().train(mode)
        if self.original is not None:
            self.original.eval()
        return self

    def for_decoding(self) -> Network:
        """Return the network with the priors that its loss has estimated, if it estimates any."""
        priors = getattr(self.loss, "priors", None)
        if priors is not None:
            self.network.priors = priors.detach().cpu().clone()
        return self.network

    def _outputs(self, network: Network, batch: Batch) -> tuple[Tensor, Tensor]:
        """Log-probabilities and lengths of a batch, with silence at both ends as in decoding."""
        margin = round(network.margin / network.config.frame_shift)
        silence = round(margin * self.inputs_per_frame)
        inputs = F.pad(batch.inputs, (silence, silence)) if silence else batch.inputs
        log_probs, lengths = network(inputs, batch.lengths + 2 * silence)
        return log_probs[:, margin : log_probs.shape[1] - margin], lengths - 2 * margin

    def forward(self, batch: Batch) -> Tensor:
        """Loss of every utterance in nats, ``(B,)``."""
        log_probs, lengths = self._outputs(self.network, batch)
        # Sums over paths need float32, whatever the network computes in.
        with torch.autocast(log_probs.device.type, enabled=False):
            losses: Tensor = self.loss(log_probs, lengths, getattr(batch, self.targets))
        if self.original is None:
            return losses
        with torch.no_grad():
            old, _ = self._outputs(self.original, batch)
        distance = F.kl_div(log_probs, old, reduction="none", log_target=True).sum(2)
        valid = torch.arange(distance.shape[1], device=lengths.device) < lengths[:, None]
        divergence: Tensor = (distance * valid).sum(1)
        return (1 - self.regularise) * losses + self.regularise * divergence
