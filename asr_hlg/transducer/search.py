"""Decoding with a transducer: sound in, lattices out, as :mod:`asr_hlg.search` gives them.

    decoder = Decoder(Transducer.load("digits.npz"), DecodingGraph.load("graphs/digits-transducer"))
    lattice = decoder.decode(inputs, lengths)
    print(lattice.best_path()[0].text)

This room searches although :mod:`asr_hlg.search` is for that: there, scores are computed before
the search begins, here the search itself asks the network, whose answers depend on what was said.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import OptionError
from asr_hlg.graph import DecodingGraph, compile_hlg, topology
from asr_hlg.lattice import FrameArcs, Lattice, Path
from asr_hlg.lexicon import Lexicon
from asr_hlg.output.transcript import Transcript, Word
from asr_hlg.transducer import beam, trellis
from asr_hlg.transducer.constrained import GraphSearch
from asr_hlg.transducer.greedy import Greedy
from asr_hlg.transducer.model import Transducer
from asr_hlg.transducer.options import TransducerOptions
from asr_hlg.transducer.words import Speller


class Decoder:
    """A transducer with one of the searches.

    Parameters
    ----------
    network : Transducer
        Is put into evaluation mode.
    graph : DecodingGraph, optional
        For the search ``graph``: L∘G, compiled with the topology ``transducer``. Without it, every
        token may follow every other, and the words of lattices are tokens.
    options : TransducerOptions, optional

    Raises
    ------
    ModelError, GraphError, OptionError
        If network, graph and search do not fit each other.
    """

    def __init__(
        self,
        network: Transducer,
        graph: DecodingGraph | None = None,
        options: TransducerOptions | None = None,
    ):
        self.network = network.eval()
        self.options = options or TransducerOptions()
        if graph is not None and self.options.search != "graph":
            raise OptionError(
                f"the search {self.options.search!r} follows no graph", remedy="leave the graph out"
            )
        self.graph = graph or token_graph(network.config.tokens)
        self._search: GraphSearch | None = None
        if self.options.search == "graph":
            self._search = GraphSearch(network, self.graph, self.options)

    @torch.no_grad()
    def decode(self, inputs: Tensor, lengths: Tensor) -> Lattice:
        """Recognise a padded batch, as the encoder takes it.

        Parameters
        ----------
        inputs : Tensor
            float32 ``(B, samples)`` or ``(B, frames, num_filters)``.
        lengths : Tensor
            int64 ``(B,)``.

        Returns
        -------
        Lattice
            One an utterance. With a graph: of its words. Else of tokens, and :func:`transcripts`
            makes words of them. The best path is the best alignment; a forward path adds up the
            alignments, as the beam search itself does.
        """
        return self.search(*self.network.encode(inputs, lengths))

    @torch.no_grad()
    def search(self, features: Tensor, lengths: Tensor) -> Lattice:
        """As :meth:`decode`, from what :meth:`Transducer.encode` gave."""
        frames = lengths.tolist()
        features = features[:, : max(frames, default=0)]
        # Scores of frames alone do not exist; lattices need their number and length only.
        nothing = features.new_zeros(*features.shape[:2], 0)
        shift = self.network.config.frame_shift
        scores = Posteriors(nothing, lengths.to("cpu", torch.int32), shift, ())
        return Lattice.from_arcs(self._arcs(features, lengths, frames), scores, self.graph)

    def _arcs(
        self, features: Tensor, lengths: Tensor, frames: list[int]
    ) -> Sequence[FrameArcs | None]:
        options = self.options
        if self._search is not None:
            return self._search.search(features, frames)
        if options.search == "beam":
            steps = beam.search(self.network, features, options.beam_size, options.blank_penalty)
        else:
            greedy = Greedy(self.network, len(frames), options.blank_penalty)
            greedy.accept(features, lengths)
            steps = greedy.steps
        words = [self.graph.words[token] for token in self.network.config.tokens[1:]]
        return trellis.lattices(steps, frames, np.array([0, *words], dtype=np.int32))


@lru_cache
def token_graph(tokens: tuple[str, ...]) -> DecodingGraph:
    """The trivial graph: tokens are words, any after any.

    Parameters
    ----------
    tokens : tuple of str
        Of a transducer, ∅ first.
    """
    return compile_hlg(topology.transducer(len(tokens)), token_lexicon(tokens))


def token_lexicon(tokens: tuple[str, ...]) -> Lexicon:
    """Every token as a word that is spelled by itself; with an n-gram over them, for fusion."""
    return Lexicon([(token, (token,)) for token in tokens[1:]], tokens=tokens)


def transcripts(
    lattice: Lattice,
    ids: Sequence[str],
    durations: Sequence[float],
    lexicon: Lexicon | None = None,
    forward: bool = False,
) -> list[Transcript]:
    """The answers of a lattice, in the form that the rest of the program has them.

    Parameters
    ----------
    lattice : Lattice
    ids : sequence of str
    durations : sequence of float
        Seconds of the recordings.
    lexicon : Lexicon, optional
        For lattices of tokens: words are read off the tokens, see :class:`Speller`.
    forward : bool
        Take the words whose alignments have the largest sum, rather than the best alignment.
    """
    paths = lattice.forward_path() if forward else lattice.best_path()
    words = lattice.words(paths)
    if lexicon is not None:
        speller = Speller(lexicon)
        words = [_spelled(speller, path, row) for path, row in zip(paths, words, strict=True)]
    return [
        Transcript(id, " ".join(word.text for word in row), row, path.score, duration)
        for id, row, path, duration in zip(ids, words, paths, durations, strict=True)
    ]


def _spelled(speller: Speller, path: Path, tokens: list[Word]) -> list[Word]:
    """Words in place of tokens; each is as sure as the least sure of its tokens."""
    return [
        Word(
            text,
            tokens[begin].start,
            tokens[end - 1].end,
            min(token.confidence for token in tokens[begin:end]),
        )
        for text, begin, end in speller.words(path.words)
    ]
