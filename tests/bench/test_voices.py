"""Times that synthesisers report, and how benchmarks/times.py compares with them."""

from __future__ import annotations

import ctypes.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
TEXT = "he could not find his keys"


@pytest.fixture
def voices(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import voices

    return voices


def test_segments_of_flite_are_those_that_it_prints(voices, tmp_path):
    if shutil.which("flite") is None or ctypes.util.find_library("flite") is None:
        pytest.skip("flite is not installed")
    command = ["flite", "-voice", "rms", "-psdur", "-t", TEXT, "-o", tmp_path / "x.wav"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    spoken = voices.Flite("rms").say(TEXT)
    ends = [float(segment.rsplit(":", 1)[1]) for segment in printed]
    assert [segment.end for segment in spoken.segments] == pytest.approx(ends, abs=1e-3)
    assert sorted(spoken.words()) == list(range(6))
    phones = [segment.phones for segment in spoken.segments if segment.word == 5]
    assert phones == [("K",), ("IY",), ("Z",)]


def test_a_stop_of_espeak_begins_with_its_closure(voices):
    if ctypes.util.find_library("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    spoken = voices.Espeak("en-us").say(TEXT)
    assert sorted(spoken.words()) == list(range(6))
    assert [s.start for s in spoken.segments[1:]] == [s.end for s in spoken.segments[:-1]]
    could = next(segment for segment in spoken.segments if segment.word == 1)
    assert could.phones == ("K",)
    closure = spoken.samples[int((could.start + 0.005) * 16000) :][:160]
    assert np.abs(closure).max() < 0.01


def test_phones_are_compared_with_their_counterparts(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.delitem(sys.modules, "times", raising=False)
    import times

    truth = [("K", 0.1, 0.2), ("AA", 0.2, 0.3), ("R", np.nan, 0.4)]
    ours = [("K", 0.11, 0.2), ("AO", 0.22, 0.3), ("R", 0.3, 0.4)]
    assert times.phone_errors(truth, ours) == pytest.approx([0.01, 0.02])
    assert times.phone_errors(truth, [("AA", 0.23, 0.3)]) == pytest.approx([0.03])
    assert times.share([0.01, -0.02, 0.03, 0.0]) == "75.0%"
