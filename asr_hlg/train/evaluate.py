"""Word errors of a network on a set of cuts, decoded as ``asr-hlg transcribe`` decodes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from lhotse.cut import Cut

from asr_hlg.acoustic import NetworkModel
from asr_hlg.acoustic.network import Network
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.audio import Recording
from asr_hlg.data import text_of
from asr_hlg.graph import DecodingGraph
from asr_hlg.output.scoring import Errors, score
from asr_hlg.transducer import Recogniser, Transducer, decoder_for

_BATCH = 32  # utterances whose posteriors are computed together


class Evaluation:
    """A test set and the graph to decode it with; calling it gives a network's word errors.

    Parameters
    ----------
    cuts : iterable of Cut
        With transcripts.
    graph : DecodingGraph
    **search
        Search options that differ from those of the graph's recipe.
    """

    def __init__(self, cuts: Iterable[Cut], graph: DecodingGraph, **search: Any):
        # Utterances are sorted by length, since batches of similar lengths have less padding.
        self.cuts = sorted(cuts, key=lambda cut: (cut.duration, cut.id))
        self.graph = graph
        self.search = search

    def check(self, network: Network) -> None:
        """Refuse search options that do not exist, and a graph that does not fit the network."""
        decoder_for(acoustic_model(network), self.graph, **self.search)

    def __call__(self, network: Network, device: str | torch.device = "cpu") -> Errors:
        """Word errors of a network, which is in evaluation mode afterwards."""
        references = {cut.id: text_of(cut) for cut in self.cuts}
        return score(references, dict(self.hypotheses(network, device))).words

    def hypotheses(
        self, network: Network, device: str | torch.device = "cpu"
    ) -> Iterator[tuple[str, str]]:
        """Pairs of a cut's id and the words of its best path."""
        model = acoustic_model(network, device)
        decoder = decoder_for(model, self.graph, **self.search)
        for batch, posteriors in posteriors_of(model, self.cuts):
            paths = decoder.decode(posteriors).best_path()
            yield from ((cut.id, path.text) for cut, path in zip(batch, paths, strict=True))


def acoustic_model(network: Network, device: str | torch.device = "cpu") -> NetworkModel:
    """Wrap a network as the acoustic model that decodes with it, in evaluation mode."""
    if isinstance(network, Transducer):
        return Recogniser(network, device)
    return NetworkModel(network, device)


def posteriors_of(
    model: NetworkModel, cuts: Iterable[Cut]
) -> Iterator[tuple[list[Cut], Posteriors]]:
    """Batches of cuts with their posteriors, in the order of the cuts."""
    remaining = iter(cuts)
    while batch := list(itertools.islice(remaining, _BATCH)):
        waveforms = [
            Recording(cut.id, Path(cut.id), manifest_entry=cut).load(model.sample_rate)
            for cut in batch
        ]
        yield batch, model.posteriors(waveforms, model.sample_rate)
