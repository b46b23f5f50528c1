"""Transducers (RNN-T): networks, the pruned loss, and searches with and without a graph.

>>> network = Transducer.from_encoder(hama.conformer(), lexicon_tokens, stack=2)
>>> objective = TransducerObjective(network, lexicon)        # for asr_hlg.train
>>> decoder = make_decoder(network, graph)                   # L∘G, topology "transducer"
>>> posteriors = network.posteriors(*network.encode(inputs, lengths))
>>> decoder.decode(posteriors).best_path()[0].text

:class:`Recogniser` is the acoustic model with which ``asr-hlg transcribe`` and
:class:`asr_hlg.Transcriber` use a transducer, and :func:`decoder_for` makes their decoder.
"""

from typing import TYPE_CHECKING

from asr_hlg.lazy import public_names

if TYPE_CHECKING:
    from asr_hlg.transducer.beam_search import BeamSearch
    from asr_hlg.transducer.decoder import TransducerDecoder
    from asr_hlg.transducer.decoding import decoder_for
    from asr_hlg.transducer.graph_search import GraphSearch
    from asr_hlg.transducer.model import Transducer, TransducerConfig
    from asr_hlg.transducer.objective import PrunedLossOptions, TransducerObjective
    from asr_hlg.transducer.options import GraphOptions, TransducerOptions
    from asr_hlg.transducer.recogniser import Recogniser
    from asr_hlg.transducer.search import make_decoder, token_graph, token_lexicon, transcripts
    from asr_hlg.transducer.targets import Targets
else:
    __getattr__ = public_names(
        __name__,
        {
            "asr_hlg.transducer.beam_search": ["BeamSearch"],
            "asr_hlg.transducer.decoder": ["TransducerDecoder"],
            "asr_hlg.transducer.graph_search": ["GraphSearch"],
            "asr_hlg.transducer.model": ["Transducer", "TransducerConfig"],
            "asr_hlg.transducer.objective": ["PrunedLossOptions", "TransducerObjective"],
            "asr_hlg.transducer.options": ["GraphOptions", "TransducerOptions"],
            "asr_hlg.transducer.decoding": ["decoder_for"],
            "asr_hlg.transducer.recogniser": ["Recogniser"],
            "asr_hlg.transducer.search": [
                "make_decoder",
                "token_graph",
                "token_lexicon",
                "transcripts",
            ],
            "asr_hlg.transducer.targets": ["Targets"],
        },
    )

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
