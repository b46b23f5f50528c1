"""Pictures: automata by graphviz, trellises by matplotlib, as SVG, PNG or PDF.

>>> draw.fsa(lexicon.to_fsa(), "L.svg")                        # symbols on the arcs
>>> draw.fsa(topology.hmm(1), "hmm.svg", probabilities=True)   # 0.5 instead of -0.69
>>> draw.part("HLG", "HLG.svg", lexicon, G)                    # compiled as for decoding
>>> draw.alignment(search.decode(graph, posteriors), "alignment.png")

The file's suffix says the format; automata can also be written as ``.dot`` text.
"""

from asr_hlg.draw.automata import fsa
from asr_hlg.draw.parts import KINDS, part
from asr_hlg.draw.search import alignment, lattice
from asr_hlg.draw.trellis import trellis

__all__ = ["KINDS", "alignment", "fsa", "lattice", "part", "trellis"]
