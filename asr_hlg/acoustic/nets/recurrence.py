"""Evaluation of a network with LSTMs in one direction while its input comes.

>>> recurrence = LstmRecurrence(network)
>>> rows = recurrence.front(samples)            # before the LSTMs, with context on both sides
>>> log_probs = recurrence.advance(rows[10:20])  # of frames that follow those of the last call
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asr_hlg.acoustic.features import fbank
from asr_hlg.acoustic.nets.layers import receptive_field


class LstmRecurrence:
    """A :class:`CnnLstm` in evaluation mode, and the states of its LSTMs.

    Parameters
    ----------
    network : CnnLstm
        With LSTMs in one direction, and without the mean of an utterance.

    Attributes
    ----------
    context : (float, float)
        Seconds of sound before and after the start of a frame on which a row of :meth:`front`
        depends.
    """

    def __init__(self, network: Any):
        self._network = network
        front = network.front
        shift, edge = network.config.fbank.frame_shift, network.config.fbank.frame_length
        left, right = receptive_field([front.first, front.second])
        self.context = left * shift + edge, right * shift + edge
        self._states: list[tuple[Tensor, Tensor] | None] = [None] * len(network.layers)

    def front(self, samples: npt.NDArray[np.float32]) -> Tensor:
        """Output of the layers before the LSTMs ``(frames, width)``, from float32 samples."""
        network = self._network
        device = network.get_buffer("mean").device
        waveform = torch.from_numpy(samples).to(device)
        [features] = fbank([waveform], network.config.sample_rate, network.config.fbank)
        features = (features - network.get_buffer("mean")) / network.get_buffer("std")
        with torch.no_grad():
            rows, _ = network.front(features[None], torch.tensor([len(features)], device=device))
        result: Tensor = rows[0]
        return result

    def advance(self, rows: Tensor) -> Tensor:
        """Log-probabilities ``(frames, num_tokens)`` of the frames after those of the last call."""
        x = rows[None]
        with torch.no_grad():
            for number, layer in enumerate(self._network.layers):
                y, self._states[number] = layer.forwards(x, self._states[number])
                x = layer.norm(y)
            result: Tensor = self._network.output(x).log_softmax(-1)[0]
        return result
