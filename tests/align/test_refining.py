"""Refining of times: parts of a recording that is read once, groups of words."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from asr_hlg.align.refining import SoundReader, groups
from asr_hlg.output.transcript import Word


def test_parts_of_a_recording_that_is_read_once():
    samples = np.arange(1000, dtype=np.float32)
    blocks = iter([samples[:300], samples[300:350], samples[350:]])
    reader = SoundReader(blocks, sample_rate=100)
    for start, end in [(0.0, 1.5), (0.2, 2.9), (2.5, 3.2), (2.5, 8.0), (9.0, 12.0)]:
        expected = samples[int(start * 100) : int(end * 100)]
        assert reader.between(start, end).tolist() == expected.tolist()
    assert len(reader._buffer) < 1000  # what is behind is forgotten


def spoken(*starts: float) -> list[Word]:
    return [Word("word", start, start + 0.4, 1.0) for start in starts]


def test_groups_end_at_pauses_and_cover_all_words():
    words = spoken(*(n * 0.5 for n in range(1000)))
    words[250:] = [Word(w.text, w.start + 1, w.end + 1, 1.0) for w in words[250:]]
    found = list(groups(words, []))
    assert found[0].first == 0
    assert found[-1].last == len(words)
    assert 250 in [group.last for group in found]
    for before, after in pairwise(found):
        assert before.last == after.first
        assert before.end <= words[after.first].start
        assert after.start >= words[before.last - 1].end
        assert words[before.last - 1].end - words[before.first].start < 181


def test_no_group_extends_over_unmatched_sound():
    words = spoken(1.0, 1.5, 5.0, 5.5)
    before, after = groups(words, [(2.2, 4.4), (9.0, 9.9)])
    assert (before.first, before.last, after.first, after.last) == (0, 2, 2, 4)
    assert 1.9 <= before.end <= 2.2
    assert (after.start, after.end) == (4.4, 6.4)
    assert next(iter(groups(spoken(1.0), [(0.1, 0.9)]))).start <= 1.0
