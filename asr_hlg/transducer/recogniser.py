"""Acoustic model of a transducer.

>>> model = Recogniser.load("digits.npz")
>>> graph = DecodingGraph.load("graphs/digit-loop-transducer")
>>> posteriors = model.posteriors([samples], sample_rate=16000)
>>> decoder_for(model, graph).decode(posteriors).best_path()[0].text
'four two'
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from asr_hlg.acoustic import NetworkModel
from asr_hlg.acoustic.arrays import Array, to_tensor
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.transducer.model import Transducer


class Recogniser(NetworkModel):
    """Acoustic model that runs the encoder of a transducer; :func:`decoder_for` searches.

    :meth:`log_probs` gives the encoder's frames. In posteriors they are the ``features``. The
    log-probabilities next to them are those before the first token, from which pauses are found.

    Parameters
    ----------
    network : Transducer
    device : str or torch.device
    frozen : bool
        The weights will not change: the encoder runs in onnxruntime if that is installed.
    """

    is_transducer = True

    def __init__(
        self, network: Transducer, device: str | torch.device = "cpu", frozen: bool = False
    ) -> None:
        super().__init__(network, device, frozen)
        self.transducer = network

    @classmethod
    def load(cls, path: Path, device: str | torch.device = "cpu") -> Recogniser:
        """Load a file that :meth:`Transducer.save` wrote."""
        return cls(Transducer.load(path), device, frozen=True)

    def _posteriors(self, log_probs: Array, lengths: npt.NDArray[np.int32]) -> Posteriors:
        features = to_tensor(log_probs, self.device)
        return self.transducer.posteriors(features, to_tensor(lengths))
