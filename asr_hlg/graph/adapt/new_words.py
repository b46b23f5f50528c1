"""Words added to a compiled graph, without compiling it again.

    graph = with_words(graph, {"xanthippe": [("Z", "AE", "N", "TH", "IH", "P")]})

A new word may occur wherever the language model has backed off to unigrams, and the next word has
its unigram score, as after any word that is in no n-gram.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from asr_hlg.errors import GraphError
from asr_hlg.fst import symbols
from asr_hlg.graph.adapt.back_off import (
    NewPronunciation,
    OptionalSilence,
    add_pronunciations,
    back_off_state,
)
from asr_hlg.graph.decoding_graph import DecodingGraph
from asr_hlg.lexicon import Lexicon


def with_words(
    graph: DecodingGraph,
    pronunciations: Mapping[str, Sequence[tuple[str, ...]]],
    log_prob: float | None = None,
    boosts: Mapping[str, float] | None = None,
) -> DecodingGraph:
    """Copy of a graph with more words.

    Parameters
    ----------
    graph : DecodingGraph
        It is not changed.
    pronunciations : mapping
        The phones of every new word, one tuple a pronunciation. Words that the graph has are an
        error.
    log_prob : float, optional
        Natural log of every new word's unigram probability; by default that of one word in a
        uniform distribution over all words.
    boosts : mapping, optional
        Natural logs that are added to the probabilities of some of the words.

    Returns
    -------
    DecodingGraph
        The states of L∘G keep their numbers; the new words come last in ``words``, before ``#0``.

    Raises
    ------
    GraphError
        If G is a grammar, which fixes where each word may occur.
    LexiconError
        For a pronunciation with phones that the graph lacks.
    """
    if not graph.takes_new_words:
        raise GraphError(
            "does not take new words",
            remedy="write them into its grammar; or, if its G is an n-gram model, compile it again",
        )
    duplicates = [word for word in pronunciations if word in graph.words]
    if duplicates:
        raise GraphError(f"has these words already: {', '.join(duplicates)}")
    tokens = graph.token_names[: symbols.first_disambig(graph.tokens)]
    entries = [(word, phones) for word in pronunciations for phones in pronunciations[word]]
    lexicon = Lexicon(entries, tokens=tokens, **graph.meta["lexicon"])
    names = graph.word_names
    words = symbols.table([*names[:-1], *pronunciations, names[-1]])
    if log_prob is None:
        log_prob = -math.log(len(names) - 2)
    new = [
        NewPronunciation(
            words[word],
            tuple(lexicon.tokens[token] for token in spelling),
            log_prob + (boosts or {}).get(word, 0.0),
        )
        for word in pronunciations
        for spelling in lexicon.spellings(word)
    ]
    silence = OptionalSilence.of(lexicon)
    unigrams = back_off_state(graph.lg, silence)
    if unigrams is None:
        raise GraphError(
            "has no unigram state to add words to",
            path=graph.folder,
            remedy="compile the graph again",
        )
    return graph.with_lg(
        add_pronunciations(graph.lg, unigrams, new, silence),
        words=words,
        read_lexicon=lambda: graph.lexicon.extend(lexicon.entries),
        spellings=lambda w: lexicon.spellings(w) if w in lexicon else graph.spellings(w),
    )
