"""Look-ups in the text of a lexicon against a dictionary of its lines."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.lexicon.line_index import LineIndex

WORDS = st.text("ab'é", min_size=1, max_size=12)


@given(st.lists(st.tuples(WORDS, st.sampled_from(["1 K", "0.5 AE T", "1"]))), st.booleans(), WORDS)
def test_all_lines_of_a_word(entries, ends_with_newline, other):
    lines = [f"{word} {rest}" for word, rest in entries]
    by_word = defaultdict(list)
    for (word, _), line in zip(entries, lines, strict=True):
        by_word[word].append(line)
    text = "\n".join(lines) + ("\n" if ends_with_newline and lines else "")
    index = LineIndex(text.encode())
    for word in [*by_word, other]:
        assert index.of(word) == by_word.get(word, [])
