"""G from a grammar: an acceptor of the grammar's sentences, scored with their log-probabilities.

>>> from asr_hlg import grammar
>>> from asr_hlg.fst import symbols
>>> words = symbols.table(["<eps>", "alice", "bob", "call", "now", "#0"])
>>> G = grammar.compile("call (alice | bob) [now]", words)

The compact notation, one phrase a line:

    // comments, also /* like this */
    call (alice | bob) [now]          // alternatives, and an optional word
    dial <digit>+                     // + once or more, * any number of times
    /0.2/ help                        // a fifth of the probability of another phrase
    <digit> = one | two
            | /2/ three ;             // a rule; twice as probable as one or two

A statement continues on the next line inside brackets, after ``|`` and ``=``, and before ``|``.
Words that contain one of ``= | ( ) [ ] * + ; < > { } " /`` need ``"quotes"``.

JSGF, if the first line is ``#JSGF V1.0;``: rules are written in the same way, and the public ones
are the sentences. ``<name.rule>`` is a rule of the grammar ``name``, which must be this one. Tags
in braces are skipped.

A rule may end in itself: ``<list> = <digit> | <digit> and <list>``.

``[unk]``, in JSON also ``<unk>``, is any speech: ``["turn on", "turn off", "[unk]"]`` accepts one
of two phrases or "none of these". It is spelled as one phone of any kind, repeated with probability
1/2, so that a phrase of the grammar wins where it fits.

A JSON list of phrases, as programs give to Vosk: ``["turn on", "turn off"]``; or a configuration of
Vosk's server that contains one: ``{"config": {"phrase_list": ["turn on", "turn off"]}}``.
"""

from typing import TYPE_CHECKING

from asr_hlg.lazy import public_names

if TYPE_CHECKING:
    from asr_hlg.grammar.compiler import compile, to_arcs, vocabulary
else:
    __getattr__ = public_names(
        __name__,
        {
            "asr_hlg.grammar.compiler": ["compile", "to_arcs", "vocabulary"],
        },
    )

__all__ = ["compile", "to_arcs", "vocabulary"]
