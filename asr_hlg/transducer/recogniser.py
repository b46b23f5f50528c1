"""A transducer where others have an acoustic model and a search.

>>> model = Recogniser.load("digits.npz")
>>> graph = DecodingGraph.load("graphs/digit-loop-transducer")
>>> posteriors = model.posteriors([samples], sample_rate=16000)
>>> decoder_for(model, graph).decode(posteriors).best_path()[0].text
'four two'
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr_hlg.acoustic import AcousticModel, NetworkModel
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.graph import DecodingGraph
from asr_hlg.search import Decoder, make_decoder
from asr_hlg.transducer import constrained
from asr_hlg.transducer.constrained import GraphSearch
from asr_hlg.transducer.model import Transducer
from asr_hlg.transducer.options import GraphOptions


class Recogniser(NetworkModel):
    """The acoustic model of a transducer: its encoder; :func:`decoder_for` makes the decoder.

    :meth:`log_probs` gives the encoder's frames. In posteriors they are the ``features``; the
    log-probabilities beside them are those of a frame before which nothing was said, which tell
    where nobody speaks.

    Parameters
    ----------
    network : Transducer
    device : str or torch.device
    frozen : bool
        As for other networks: then the encoder runs in onnxruntime, where that is installed.
    """

    def __init__(
        self, network: Transducer, device: str | torch.device = "cpu", frozen: bool = False
    ):
        super().__init__(network, device, frozen)
        self.transducer = network

    @classmethod
    def load(cls, path: Path, device: str | torch.device = "cpu") -> Recogniser:
        """Read what :meth:`Transducer.save` wrote."""
        return cls(Transducer.load(path), device, frozen=True)

    @torch.no_grad()
    def of_features(self, features: Tensor, lengths: Tensor) -> Posteriors:
        """Encoder frames ``(B, T, encoder_dim)`` in the form in which recordings are cut."""
        features = features.to(self.device)
        nothing = self.transducer.prediction.start(1)
        log_probs = self.transducer.log_probs(self.transducer.encoded(features), nothing)
        return Posteriors(log_probs, lengths, self.frame_shift, self.tokens, features=features)

    def _posteriors(self, log_probs: Tensor, lengths: Tensor) -> Posteriors:
        return self.of_features(log_probs, lengths)


def decoder_for(model: AcousticModel, graph: DecodingGraph, **changes: Any) -> Decoder:
    """The decoder for the posteriors of an acoustic model: a transducer's, or one for frames.

    Parameters
    ----------
    model : AcousticModel
    graph : DecodingGraph
        On the device on which the search shall run.
    **changes
        Fields of :class:`GraphOptions` (transducer) or
        :class:`~asr_hlg.search.SearchOptions` that differ from those of the graph's recipe.

    Raises
    ------
    GraphError
        If one of graph and model is for transducers and the other is not.
    ModelError
        If the transducer does not fit the graph.
    """
    if isinstance(model, Recogniser):
        constrained.check(graph)
        options = graph.options(GraphOptions, **changes)
        return GraphSearch(model.transducer, graph, options)
    return make_decoder(graph, **changes)
