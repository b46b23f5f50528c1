"""Language models: n-grams from ARPA files, tries and texts, and the G that they make.

>>> model = lm.prune(lm.read_trie(), threshold=3e-7)
>>> G, dropped = lm.to_arcs(model, words)
"""

from asr_hlg.lm.evaluation import Perplexity, perplexity
from asr_hlg.lm.fsa import Dropped, read_arpa, to_arcs
from asr_hlg.lm.kneser_ney import estimate
from asr_hlg.lm.mix import interpolate
from asr_hlg.lm.ngrams import BOS, EOS, ArpaModel, NGrams
from asr_hlg.lm.pruning import normalise, prune
from asr_hlg.lm.sphinx import read_dict, read_trie

__all__ = [
    "BOS",
    "EOS",
    "ArpaModel",
    "Dropped",
    "NGrams",
    "Perplexity",
    "estimate",
    "interpolate",
    "normalise",
    "perplexity",
    "prune",
    "read_arpa",
    "read_dict",
    "read_trie",
    "to_arcs",
]
