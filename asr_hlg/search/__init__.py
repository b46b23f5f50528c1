"""Search: a decoding graph intersected with frame posteriors gives a lattice.

    lattice = decode(DecodingGraph.load("graphs/en"), model.posteriors([wave], 16000))
    print(lattice.best_path()[0].text)

All decoders follow the protocol :class:`Decoder`. Four engines search frame posteriors:
:class:`TokenPassing` searches L∘G on the CPU, for CTC graphs; :class:`FstTokenPassing` H∘L∘G on the
CPU, for every topology; :class:`Intersection` is k2's search. :func:`make_decoder` chooses.
:class:`TensorTokenPassing` and :class:`TensorFstTokenPassing` search batches of utterances in torch
operations, on any device.
:class:`IncrementalDecoder` runs the first two while posteriors come.
"""

from typing import TYPE_CHECKING

from asr_hlg.lazy import public_names

if TYPE_CHECKING:
    from asr_hlg.search.decoder import Beams, Decoder, PosteriorDecoder, random_frames, warm_up
    from asr_hlg.search.engines import decode, make_decoder
    from asr_hlg.search.fst_decoder import FstTokenPassing
    from asr_hlg.search.incremental import IncrementalDecoder
    from asr_hlg.search.intersection import Intersection
    from asr_hlg.search.options import SearchOptions
    from asr_hlg.search.tensor_decoder import TensorTokenPassing
    from asr_hlg.search.tensor_fst_decoder import TensorFstTokenPassing
    from asr_hlg.search.token_passing import TokenPassing
else:
    __getattr__ = public_names(
        __name__,
        {
            "asr_hlg.search.decoder": [
                "Beams",
                "Decoder",
                "PosteriorDecoder",
                "random_frames",
                "warm_up",
            ],
            "asr_hlg.search.engines": ["decode", "make_decoder"],
            "asr_hlg.search.fst_decoder": ["FstTokenPassing"],
            "asr_hlg.search.incremental": ["IncrementalDecoder"],
            "asr_hlg.search.intersection": ["Intersection"],
            "asr_hlg.search.options": ["SearchOptions"],
            "asr_hlg.search.tensor_decoder": ["TensorTokenPassing"],
            "asr_hlg.search.tensor_fst_decoder": ["TensorFstTokenPassing"],
            "asr_hlg.search.token_passing": ["TokenPassing"],
        },
    )

__all__ = [
    "Beams",
    "Decoder",
    "FstTokenPassing",
    "IncrementalDecoder",
    "Intersection",
    "PosteriorDecoder",
    "SearchOptions",
    "TensorFstTokenPassing",
    "TensorTokenPassing",
    "TokenPassing",
    "decode",
    "make_decoder",
    "random_frames",
    "warm_up",
]
