"""Word errors of a network on a set of cuts, found as `asr-hlg transcribe` finds words."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from lhotse.cut import Cut

from asr_hlg.acoustic import Conformer, ConformerModel, NetworkModel
from asr_hlg.acoustic.network import Network
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.audio import Recording
from asr_hlg.data import text_of
from asr_hlg.graph import DecodingGraph
from asr_hlg.output.scoring import Errors, score
from asr_hlg.search import SearchOptions, decode

_BATCH = 32  # utterances whose posteriors are computed together


class Evaluation:
    """A set of cuts with transcripts, and the graph to decode them with."""

    def __init__(
        self, cuts: Iterable[Cut], graph: DecodingGraph, options: SearchOptions | None = None
    ):
        # Utterances of similar lengths together: less padding.
        self.cuts = sorted(cuts, key=lambda cut: (cut.duration, cut.id))
        self.graph = graph
        self.options = options or graph.search_options()

    def __call__(self, network: Network, device: str | torch.device = "cpu") -> Errors:
        """Word errors of a network, which is in evaluation mode afterwards."""
        references = {cut.id: text_of(cut) for cut in self.cuts}
        return score(references, dict(self.hypotheses(network, device))).words

    def hypotheses(
        self, network: Network, device: str | torch.device = "cpu"
    ) -> Iterator[tuple[str, str]]:
        """The id of every cut, and what was recognised."""
        for batch, posteriors in heard(network, self.cuts, device):
            paths = decode(self.graph, posteriors, self.options).best_path()
            yield from ((cut.id, path.text) for cut, path in zip(batch, paths, strict=True))


def heard(
    network: Network, cuts: Iterable[Cut], device: str | torch.device = "cpu"
) -> Iterator[tuple[list[Cut], Posteriors]]:
    """The posteriors of cuts, some at a time, as `asr-hlg transcribe` computes them.

    The network is in evaluation mode afterwards.
    """
    kind = ConformerModel if isinstance(network, Conformer) else NetworkModel
    model = kind(network, device)
    rest = iter(cuts)
    while batch := list(itertools.islice(rest, _BATCH)):
        waveforms = [
            Recording(cut.id, Path(cut.id), manifest_entry=cut).load(model.sample_rate)
            for cut in batch
        ]
        yield batch, model.posteriors(waveforms, model.sample_rate)
