"""Lattices: best paths, n-best lists, forward scores, word times and confidences.

    lattice = decode(graph, posteriors)
    lattice.best_path()[0].text        # Viterbi
    lattice.forward_path()[0].text     # the word sequence with the largest total probability
    lattice.words()[0]                 # words with times and confidences
    lattice.nbest(10)[0]               # ten different word sequences

A :class:`Lattice` contains the utterances of one batch; every method returns one item per
utterance, in the order of the posteriors. :func:`write` keeps lattices in Kaldi archives, and
:func:`read` reads such archives, those of ``asr-hlg transcribe --lattices`` for instance.
"""

from typing import TYPE_CHECKING

from asr_hlg.lazy import public_names

if TYPE_CHECKING:
    from asr_hlg.lattice.arrays import FrameArcs, WordLattice, arc_counts
    from asr_hlg.lattice.io import StoredLattice, read, write
    from asr_hlg.lattice.lattice import Lattice
    from asr_hlg.lattice.mbr import ConfusionNetwork
    from asr_hlg.lattice.path import Path
else:
    __getattr__ = public_names(
        __name__,
        {
            "asr_hlg.lattice.arrays": ["FrameArcs", "WordLattice", "arc_counts"],
            "asr_hlg.lattice.io": ["StoredLattice", "read", "write"],
            "asr_hlg.lattice.lattice": ["Lattice"],
            "asr_hlg.lattice.mbr": ["ConfusionNetwork"],
            "asr_hlg.lattice.path": ["Path"],
        },
    )

__all__ = [
    "ConfusionNetwork",
    "FrameArcs",
    "Lattice",
    "Path",
    "StoredLattice",
    "WordLattice",
    "arc_counts",
    "read",
    "write",
]
