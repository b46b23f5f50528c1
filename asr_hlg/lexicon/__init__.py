"""L: the pronunciation lexicon, a transducer from tokens to words.

>>> from asr_hlg.lexicon import Lexicon
>>> lexicon = Lexicon.read("lang/cat_hat/lexicon.txt")
>>> lexicon.pronunciations("cat")
[('k', 'ae', 't')]
>>> L = lexicon.to_fsa()                     # closed: any sequence of words
>>> L = lexicon.to_fsa(disambig=True)        # with #1, #2, … which make L∘G determinizable
"""

from typing import TYPE_CHECKING

from asr_hlg.lazy import public_names

if TYPE_CHECKING:
    from asr_hlg.lexicon.entries import Pronunciation
    from asr_hlg.lexicon.lexicon import Lexicon
else:
    __getattr__ = public_names(
        __name__,
        {
            "asr_hlg.lexicon.entries": ["Pronunciation"],
            "asr_hlg.lexicon.lexicon": ["Lexicon"],
        },
    )

__all__ = ["Lexicon", "Pronunciation"]
