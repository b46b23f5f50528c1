"""Pictures of automata (graphviz) and of posteriors (matplotlib), as SVG, PNG or PDF.

>>> draw.fsa(lexicon.to_fsa(), "L.svg")                        # symbols on the arcs
>>> draw.fsa(topology.hmm(1), "hmm.svg", probabilities=True)   # 0.5 instead of -0.69
>>> draw.part("HLG", "HLG.svg", lexicon, G)                    # compiled as for decoding
>>> draw.alignment(search.decode(graph, posteriors), "alignment.png")

The suffix of the file determines the format; automata can also be written as ``.dot`` text.
"""

from asr_hlg.draw.automata import fsa
from asr_hlg.draw.parts import PARTS, part
from asr_hlg.draw.search import DECODED, alignment, decode_and_draw, lattice
from asr_hlg.draw.trellis import trellis

__all__ = ["DECODED", "PARTS", "alignment", "decode_and_draw", "fsa", "lattice", "part", "trellis"]
