"""States of the hybrid HMM within phones: the best path, by enumeration, and through `align`."""

from __future__ import annotations

import json
from itertools import combinations, pairwise

import numpy as np
import pytest

from asr_hlg.align.hmm_states import best_cuts
from asr_hlg.cli import main


@pytest.mark.parametrize("seed", range(10))
def test_the_cuts_are_the_best(seed):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(rng.integers(3, 9), 3)).astype(np.float32)

    def total(cuts):
        bounds = [0, *cuts, len(scores)]
        return sum(scores[b:e, s].sum() for s, (b, e) in enumerate(pairwise(bounds)))

    best = max(combinations(range(1, len(scores)), 2), key=total)
    assert best_cuts(scores) == list(best)


def test_states_fill_their_phones(english, root, tmp_path):
    path = tmp_path / "out.jsonl"
    arguments = [str(root / "examples" / "03-awb.wav"), "--text", str(root / "examples" / "text")]
    assert main(["align", *arguments, "--states", "--output", str(path)]) == 0
    record = json.loads(path.read_text())
    assert len(record["states"]) == 3 * len(record["phones"])
    for number, phone in enumerate(record["phones"]):
        states = record["states"][3 * number : 3 * number + 3]
        assert [state["state"] for state in states] == [f"{phone['phone']}_{k}" for k in range(3)]
        assert states[0]["start"] == phone["start"]
        assert states[2]["end"] == phone["end"]
        assert states[0]["end"] == states[1]["start"]
        assert states[1]["end"] == states[2]["start"]
