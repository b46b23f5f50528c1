"""Times of words by the shipped hybrid HMM, against what a synthesiser spoke."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr_hlg.align import TimeModel
from asr_hlg.align.lateness import corrected
from asr_hlg.audio import recordings
from asr_hlg.cli import main
from asr_hlg.output.times import compare, read_times
from asr_hlg.output.transcript import Word

ROOT = Path(__file__).parents[2]
TRUTH = Path(__file__).with_name("examples.ctm")


def errors(path: Path):
    return compare(read_times(TRUTH), read_times(path))


@pytest.mark.parametrize("command", ["align", "transcribe"])
def test_words_begin_and_end_where_they_were_spoken(english, tmp_path, command):
    options = {"align": ["--text", str(ROOT / "examples" / "text")], "transcribe": ["--fast"]}
    found = {}
    for times in ("hmm", "ctc"):
        output = tmp_path / f"{times}.ctm"
        chosen = [*options[command], "--graph", str(english.folder), "--times", times]
        arguments = [command, str(ROOT / "examples"), *chosen, "--output", str(output)]
        assert main([*arguments, "--format", "ctm", "--quiet"]) == 0
        found[times] = errors(output).to_dict()
    assert found["hmm"]["compared"] >= (95 if command == "align" else 90)  # some words are wrong
    for name in ("starts", "ends"):
        assert abs(found["hmm"][name]["median"]) < 0.01
        assert found["hmm"][name]["within_0.02"] > 0.8
        assert found["hmm"][name]["within_0.05"] > 0.95
    assert found["ctc"]["starts"]["median"] > 0.06  # what the HMM is for


def pronounce(word: str) -> list[tuple[str, ...]]:
    lexicon = {"the": [("DH", "AH"), ("DH", "IY")], "cat": [("K", "AE", "T")]}
    return lexicon.get(word, [("X",)])


def example() -> tuple[np.ndarray, list[Word]]:
    [recording] = recordings([ROOT / "examples" / "03-awb.wav"])
    words = read_times(TRUTH)["03-awb"][:2]
    return np.asarray(recording.load(16000)), words


def test_phones_fill_their_words():
    samples, truth = example()
    late = [replace(w, start=w.start + 0.09, end=w.end + 0.02, confidence=0.7) for w in truth]
    words, phones = TimeModel.shipped().refine(samples, late, pronounce)
    for word, spoken, its_phones in zip(words, truth, phones, strict=True):
        assert word.text == spoken.text
        assert word.confidence == 0.7
        assert word.start == pytest.approx(spoken.start, abs=0.04)
        assert tuple(phone.text for phone in its_phones) in pronounce(word.text)
        bounds = [word.start, *(phone.end for phone in its_phones)]
        assert [phone.start for phone in its_phones] == pytest.approx(bounds[:-1])
        assert bounds[-1] == word.end
        assert np.diff(bounds).min() >= 0.0299  # three states of 10 ms


def test_words_that_cannot_be_aligned_lie_between_their_neighbours():
    samples, truth = example()
    unknown = replace(truth[0], text="xyz")
    words, phones = TimeModel.shipped().refine(samples, [unknown, truth[1]], pronounce)
    assert phones[0] == []
    assert words[0].text == "xyz"
    assert 0 <= words[0].start <= words[0].end <= words[1].start
    assert len(phones[1]) == 3
    # less sound than states
    words, phones = TimeModel.shipped().refine(samples[:800], truth, pronounce)
    assert words == corrected(truth, samples[:800], 16000)
    assert phones == [[], []]
    assert TimeModel.shipped().refine(samples, [], pronounce) == ([], [])
