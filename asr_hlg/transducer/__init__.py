"""Transducers (RNN-T): networks, the pruned loss, and searches with and without a graph.

>>> network = Transducer.from_encoder(hama.conformer(), lexicon_tokens, stack=2)
>>> objective = TransducerObjective(network, lexicon)        # for asr_hlg.train
>>> decoder = make_decoder(network, graph)                   # L∘G, topology "transducer"
>>> posteriors = network.posteriors(*network.encode(inputs, lengths))
>>> decoder.decode(posteriors).best_path()[0].text

:class:`Recogniser` is the acoustic model with which ``asr-hlg transcribe`` and
:class:`asr_hlg.Transcriber` use a transducer, and :func:`decoder_for` makes their decoder.
"""

from asr_hlg.transducer.beam_search import BeamSearch
from asr_hlg.transducer.decoder import TransducerDecoder
from asr_hlg.transducer.graph_search import GraphSearch
from asr_hlg.transducer.model import Transducer, TransducerConfig
from asr_hlg.transducer.objective import PrunedLossOptions, TransducerObjective
from asr_hlg.transducer.options import GraphOptions, TransducerOptions
from asr_hlg.transducer.recogniser import Recogniser, decoder_for
from asr_hlg.transducer.search import make_decoder, token_graph, token_lexicon, transcripts
from asr_hlg.transducer.targets import Targets

__all__ = [
    "BeamSearch",
    "GraphOptions",
    "GraphSearch",
    "PrunedLossOptions",
    "Recogniser",
    "Targets",
    "Transducer",
    "TransducerConfig",
    "TransducerDecoder",
    "TransducerObjective",
    "TransducerOptions",
    "decoder_for",
    "make_decoder",
    "token_graph",
    "token_lexicon",
    "transcripts",
]
