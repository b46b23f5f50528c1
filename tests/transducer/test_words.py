"""Words and transcripts from the lattices of a transducer."""

from __future__ import annotations

import itertools

from asr_hlg.transducer import TransducerOptions, transcripts
from asr_hlg.transducer.words import Speller
from tests.support.transducer_toys import (
    LEXICON,
    bigram_graph,
    features_of,
    lattice_of,
    network_of,
)


def all_splits(tokens, spellings):
    """Every split of a token sequence: its words, and how many tokens it skips."""
    if not tokens:
        yield (), 0
        return
    for words, skipped in all_splits(tokens[1:], spellings):
        yield words, skipped + 1
    for word, spelling in spellings:
        if tokens[: len(spelling)] == spelling:
            for words, skipped in all_splits(tokens[len(spelling) :], spellings):
                yield (word, *words), skipped


def test_the_split_into_words_skips_the_fewest_tokens():
    speller = Speller(LEXICON)
    spellings = [(entry.word, entry.phones) for entry in LEXICON.entries]
    for length in range(7):
        for tokens in itertools.product("abc", repeat=length):
            found = speller.words(tokens)
            words, skipped = min(
                all_splits(tokens, spellings), key=lambda split: (split[1], len(split[0]))
            )
            covered = sum(end - begin for _, begin, end in found)
            assert length - covered == skipped
            assert len(found) == len(words)
            for word, begin, end in found:
                assert tokens[begin:end] in LEXICON.pronunciations(word)


def test_transcripts_of_tokens_and_of_words(tmp_path):
    network = network_of()
    features, lengths = features_of(25, 0)
    ids, durations = ["first", "second"], [0.75, 0.0]
    greedy = lattice_of(network, features, lengths, options=TransducerOptions("greedy"))
    [spelled, nothing] = transcripts(greedy, ids, durations, LEXICON)
    names = [name for name, _, _ in greedy.best_path()[0].tokens]
    assert spelled.text == " ".join(word for word, _, _ in Speller(LEXICON).words(names))
    assert (spelled.id, spelled.duration) == ("first", 0.75)
    assert (nothing.text, nothing.words) == ("", [])
    starts = [word.start for word in spelled.words]
    assert starts == sorted(starts)
    with_graph = lattice_of(network, features, lengths, bigram_graph(tmp_path))
    [best, _] = transcripts(with_graph, ids, durations)
    assert best.text == with_graph.best_path()[0].text
    assert [word.text for word in best.words] == best.text.split()
    [summed, _] = transcripts(with_graph, ids, durations, forward=True)
    assert summed.score >= best.score
