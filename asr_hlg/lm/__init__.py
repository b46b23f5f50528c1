"""G from n-grams: language models read from files or estimated from text, pruned and compiled.

>>> model = lm.prune(lm.read("pocketsphinx:lm"), threshold=3e-7)
>>> G, dropped = lm.to_arcs(model, words)
"""

from typing import TYPE_CHECKING

from asr_hlg.lazy import public_names

if TYPE_CHECKING:
    from asr_hlg.lm.corpus import read as read_sentences
    from asr_hlg.lm.evaluation import Perplexity, perplexity
    from asr_hlg.lm.fsa import Dropped, read_arpa, to_arcs
    from asr_hlg.lm.interpolation import interpolate, tune_weights
    from asr_hlg.lm.kneser_ney import estimate
    from asr_hlg.lm.ngrams import BOS, EOS, ArpaModel, NGrams
    from asr_hlg.lm.pruning import normalise, prune
    from asr_hlg.lm.reading import read
    from asr_hlg.lm.sphinx import read_dict, read_trie
else:
    __getattr__ = public_names(
        __name__,
        {
            "asr_hlg.lm.corpus": ["read as read_sentences"],
            "asr_hlg.lm.evaluation": ["Perplexity", "perplexity"],
            "asr_hlg.lm.fsa": ["Dropped", "read_arpa", "to_arcs"],
            "asr_hlg.lm.interpolation": ["interpolate", "tune_weights"],
            "asr_hlg.lm.kneser_ney": ["estimate"],
            "asr_hlg.lm.ngrams": ["BOS", "EOS", "ArpaModel", "NGrams"],
            "asr_hlg.lm.pruning": ["normalise", "prune"],
            "asr_hlg.lm.reading": ["read"],
            "asr_hlg.lm.sphinx": ["read_dict", "read_trie"],
        },
    )

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
    "read",
    "read_arpa",
    "read_dict",
    "read_sentences",
    "read_trie",
    "to_arcs",
    "tune_weights",
]
