"""Decoders of a transducer, graphs of its tokens, and transcripts from its lattices.

    network = Transducer.load("digits.npz")
    decoder = make_decoder(network, DecodingGraph.load("graphs/digits-transducer"))
    lattice = decoder.decode(network.posteriors(*network.encode(inputs, lengths)))
    print(lattice.best_path()[0].text)

The decoders follow :class:`asr_hlg.search.Decoder`. They are not in :mod:`asr_hlg.search`, whose
decoders take scores that are computed before the search: a transducer's depend on the hypothesis.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from asr_hlg.errors import OptionError
from asr_hlg.graph import DecodingGraph, compile_hlg, topology
from asr_hlg.lattice import Lattice, Path
from asr_hlg.lexicon import Lexicon
from asr_hlg.output.transcript import Transcript, Word
from asr_hlg.transducer.beam_search import BeamSearch
from asr_hlg.transducer.decoder import TransducerDecoder
from asr_hlg.transducer.graph_search import GraphSearch
from asr_hlg.transducer.model import Transducer
from asr_hlg.transducer.options import TransducerOptions
from asr_hlg.transducer.words import Speller


def make_decoder(
    network: Transducer,
    graph: DecodingGraph | None = None,
    options: TransducerOptions | None = None,
) -> TransducerDecoder:
    """Make the decoder that ``options.search`` names.

    Parameters
    ----------
    network : Transducer
        Is put into evaluation mode.
    graph : DecodingGraph, optional
        For the search ``graph``: L∘G, compiled with the topology ``transducer``. By default
        :func:`token_graph`; then the words of the lattices are tokens.
    options : TransducerOptions, optional

    Raises
    ------
    ModelError, GraphError, OptionError
        If network, graph and search do not fit each other.
    """
    options = options or TransducerOptions()
    if options.search == "graph":
        return GraphSearch(network, graph or token_graph(network.config.tokens), options)
    if graph is not None:
        raise OptionError(
            f"the search {options.search!r} does not use a graph", remedy="leave the graph out"
        )
    return BeamSearch(network, token_graph(network.config.tokens), options)


@lru_cache
def token_graph(tokens: tuple[str, ...]) -> DecodingGraph:
    """Compile the graph in which every token is a word and all sequences are allowed.

    Parameters
    ----------
    tokens : tuple of str
        Of a transducer, ∅ first.
    """
    return compile_hlg(topology.transducer(len(tokens)), token_lexicon(tokens))


def token_lexicon(tokens: tuple[str, ...]) -> Lexicon:
    """Make a lexicon in which every token is a word, for an n-gram model over tokens."""
    return Lexicon([(token, (token,)) for token in tokens[1:]], tokens=tokens)


def transcripts(
    lattice: Lattice,
    ids: Sequence[str],
    durations: Sequence[float],
    lexicon: Lexicon | None = None,
    forward: bool = False,
) -> list[Transcript]:
    """Make transcripts from the best paths of a lattice.

    Parameters
    ----------
    lattice : Lattice
    ids : sequence of str
    durations : sequence of float
        Lengths of the recordings in seconds.
    lexicon : Lexicon, optional
        For lattices of tokens: splits the tokens into words, see :class:`Speller`.
    forward : bool
        Take the word sequence with the best sum over alignments, not the best alignment.
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
    """Words of a path of tokens; a word's confidence is the lowest of its tokens."""
    return [
        Word(
            text,
            tokens[begin].start,
            tokens[end - 1].end,
            min(token.confidence for token in tokens[begin:end]),
        )
        for text, begin, end in speller.words(path.words)
    ]
