"""Acoustic model of a transducer, and the decoder for any acoustic model.

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
from asr_hlg.transducer import graph_search
from asr_hlg.transducer.graph_search import GraphSearch
from asr_hlg.transducer.model import Transducer
from asr_hlg.transducer.options import GraphOptions


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

    def __init__(
        self, network: Transducer, device: str | torch.device = "cpu", frozen: bool = False
    ) -> None:
        super().__init__(network, device, frozen)
        self.transducer = network

    @classmethod
    def load(cls, path: Path, device: str | torch.device = "cpu") -> Recogniser:
        """Load a file that :meth:`Transducer.save` wrote."""
        return cls(Transducer.load(path), device, frozen=True)

    def _posteriors(self, log_probs: Tensor, lengths: Tensor) -> Posteriors:
        return self.transducer.posteriors(log_probs.to(self.device), lengths)


def decoder_for(model: AcousticModel, graph: DecodingGraph, **changes: Any) -> Decoder:
    """Make the decoder for the posteriors of an acoustic model, a transducer or another one.

    Parameters
    ----------
    model : AcousticModel
    graph : DecodingGraph
        On the device of the search.
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
        graph_search.check(graph)
        options = graph.options(GraphOptions, **changes)
        return GraphSearch(model.transducer, graph, options)
    return make_decoder(graph, **changes)
