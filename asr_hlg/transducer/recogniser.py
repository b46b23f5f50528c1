"""A transducer where others have an acoustic model and a search.

>>> model = Recogniser.load("digits.npz")
>>> graph = DecodingGraph.load("graphs/digit-loop-transducer")
>>> posteriors = model.posteriors([samples], sample_rate=16000)
>>> model.decode(graph, posteriors).best_path()[0].text
'four two'
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr_hlg.acoustic import NetworkModel
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import Lattice
from asr_hlg.transducer import constrained
from asr_hlg.transducer.constrained import GraphSearch
from asr_hlg.transducer.model import Transducer
from asr_hlg.transducer.options import GraphOptions


class Recogniser(NetworkModel):
    """A transducer's encoder, which hears, and the search along a graph that belongs to it.

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
        self._search = lru_cache(maxsize=1)(partial(GraphSearch, network))

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

    @staticmethod
    def search_options(graph: DecodingGraph, **changes: Any) -> GraphOptions:
        """What a graph's recipe says of the search, with some of it changed.

        Raises
        ------
        GraphError
            If the graph is not for transducers.
        """
        constrained.check(graph)
        return graph.options(GraphOptions, **changes)

    def decode(
        self, graph: DecodingGraph, posteriors: Posteriors, options: GraphOptions | None = None
    ) -> Lattice:
        """As :func:`asr_hlg.search.decode`, from posteriors of this model."""
        options = options or self.search_options(graph)
        search = self._search(graph, options.graph_scale)
        assert posteriors.features is not None
        arcs = search.search(posteriors.features, posteriors.lengths.tolist(), options)
        return Lattice.from_arcs(arcs, posteriors, graph)
