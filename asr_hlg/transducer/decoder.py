"""Base class of the transducer's decoders (:class:`asr_hlg.search.Decoder`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import TypeVar

import torch
from torch import Tensor

from asr_hlg.acoustic.arrays import to_tensor
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import ModelError
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import FrameArcs, Lattice
from asr_hlg.search import random_frames
from asr_hlg.transducer.model import Transducer
from asr_hlg.transducer.options import GraphOptions

Self = TypeVar("Self", bound="TransducerDecoder")


class TransducerDecoder(ABC):
    """Decoder that evaluates prediction network and joiner during the search.

    Parameters
    ----------
    network : Transducer
        Is put into evaluation mode.
    graph : DecodingGraph
        Its words are those of the lattices.
    options : GraphOptions
    """

    def __init__(self, network: Transducer, graph: DecodingGraph, options: GraphOptions) -> None:
        self.network = network.eval()
        self.graph = graph
        self.options = options

    def decode(self, posteriors: Posteriors) -> Lattice:
        """Search a batch of utterances.

        Parameters
        ----------
        posteriors : Posteriors
            Of :meth:`Transducer.posteriors` or :class:`Recogniser`, with ``features``.

        Raises
        ------
        ModelError
            If the posteriors have no encoder frames.
        """
        if posteriors.features is None:
            raise ModelError(
                "a transducer searches encoder frames, which these posteriors lack",
                remedy="compute them with asr_hlg.transducer.Recogniser",
            )
        arcs = self.search(posteriors.features, posteriors.lengths.tolist())
        return Lattice.from_arcs(arcs, posteriors, self.graph)

    def narrower(self: Self) -> Self:
        """The same decoder with narrower beams."""
        narrow = copy(self)
        narrow.options = self.options.narrower()
        return narrow

    def noise(self) -> Posteriors:
        """Random encoder frames."""
        features = to_tensor(random_frames(self.network.encoder_dim))
        lengths = torch.tensor([features.shape[1]])
        return self.network.posteriors(features.to(self.network.output.weight.device), lengths)

    @abstractmethod
    def search(self, features: Tensor, lengths: list[int]) -> list[FrameArcs | None]:
        """Lattices of a batch of encoder frames ``(B, T, encoder_dim)``; None where empty."""
