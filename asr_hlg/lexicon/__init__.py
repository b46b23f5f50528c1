"""L: how every word is pronounced, as a transducer from tokens to words.

>>> from asr_hlg.lexicon import Lexicon
>>> lexicon = Lexicon.read("lang/cat_hat/lexicon.txt")
>>> lexicon.pronunciations("cat")
[('k', 'ae', 't')]
>>> L = lexicon.to_fsa()                     # tokens in, words out, back to the start
>>> L = lexicon.to_fsa(disambig=True)        # with #1, #2, … so that L∘G can be determinized
"""

from asr_hlg.lexicon.entries import Pronunciation
from asr_hlg.lexicon.lexicon import Lexicon

__all__ = ["Lexicon", "Pronunciation"]
