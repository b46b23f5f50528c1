"""Transducers: models that know what they have said, trained and decoded with the same graphs.

>>> network = Transducer.on(hama.conformer(), lexicon_tokens, stack=2)
>>> objective = TransducerObjective(network, lexicon)        # for asr_hlg.train
>>> decoder = Decoder(network, graph)                        # L∘G, topology "transducer"
>>> decoder.decode(inputs, lengths).best_path()[0].text

:class:`Recogniser` is how ``asr-hlg transcribe`` and :class:`asr_hlg.Transcriber` use one.
"""

from asr_hlg.transducer.greedy import Greedy
from asr_hlg.transducer.model import Transducer, TransducerConfig
from asr_hlg.transducer.objective import PrunedLossOptions, TransducerObjective
from asr_hlg.transducer.options import GraphOptions, TransducerOptions
from asr_hlg.transducer.recogniser import Recogniser, decoder_for
from asr_hlg.transducer.search import Decoder, token_graph, token_lexicon, transcripts
from asr_hlg.transducer.targets import Targets

__all__ = [
    "Decoder",
    "GraphOptions",
    "Greedy",
    "PrunedLossOptions",
    "Recogniser",
    "Targets",
    "Transducer",
    "TransducerConfig",
    "TransducerObjective",
    "TransducerOptions",
    "decoder_for",
    "token_graph",
    "token_lexicon",
    "transcripts",
]
