"""Search: a decoding graph intersected with frame posteriors gives a lattice.

    lattice = decode(DecodingGraph.load("graphs/en"), model.posteriors([wave], 16000))
    print(lattice.best_path()[0].text)

All decoders follow the protocol :class:`Decoder`. Two engines search frame posteriors:
:class:`TokenPassing` on the CPU, for CTC graphs, and :class:`Intersection` (k2) for every graph;
:func:`make_decoder` chooses between them.
"""

from asr_hlg.search.decoder import Beams, Decoder, PosteriorDecoder, random_frames, warm_up
from asr_hlg.search.engines import decode, make_decoder
from asr_hlg.search.intersection import Intersection
from asr_hlg.search.options import SearchOptions
from asr_hlg.search.token_passing import TokenPassing

__all__ = [
    "Beams",
    "Decoder",
    "Intersection",
    "PosteriorDecoder",
    "SearchOptions",
    "TokenPassing",
    "decode",
    "make_decoder",
    "random_frames",
    "warm_up",
]
