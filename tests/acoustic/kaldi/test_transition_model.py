"""Transition models, binary and text, against ids counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from asr_hlg.acoustic.kaldi import read_transition_model
from asr_hlg.errors import AsrHlgError
from tests.support.kaldi_files import Writer, write_transition_model

# A chain topology (one state whose self-loop has a pdf of its own), as most models have, ...
CHAIN = {
    "entries": [[(0, 1, [(0, 0.5), (1, 0.5)]), (-1, -1, [])]],
    "entry_of": {1: 0, 2: 0},
    "tuples": [(1, 0, 3, 2), (2, 0, 0, 1)],
    "log_probs": [0, -0.7, -0.7, -0.6, -0.8],
}
# ... and HMMs of two states and of one.
HMM = {
    "entries": [
        [(0, 0, [(0, 0.75), (1, 0.25)]), (1, 1, [(1, 0.75), (2, 0.25)]), (-1, -1, [])],
        [(0, 0, [(1, 1.0)]), (-1, -1, [])],
    ],
    "entry_of": {1: 1, 3: 0},
    "tuples": [(1, 0, 4, 4), (3, 0, 0, 0), (3, 1, 2, 2), (3, 1, 5, 5)],
    "log_probs": [0, 0, -0.1, -2.4, -0.2, -1.8, -0.3, -1.3],
}


@pytest.fixture(params=[True, False], ids=["binary", "text"])
def written(request, tmp_path):
    def write(model):
        writer = Writer(request.param)
        write_transition_model(writer, **model)
        path = tmp_path / "final.mdl"
        path.write_bytes(writer.content)
        return path

    return write


def test_chain_topology_has_two_ids_for_a_context(written):
    model = read_transition_model(written(CHAIN))
    assert model.pdf_of.tolist() == [-1, 2, 3, 1, 0]
    assert model.phone_of.tolist() == [0, 1, 1, 2, 2]
    assert model.is_self_loop.tolist() == [False, True, False, True, False]
    assert model.is_final.tolist() == [False, False, True, False, True]
    np.testing.assert_allclose(model.log_probs, CHAIN["log_probs"], rtol=1e-6)
    assert (model.num_ids, model.num_pdfs) == (4, 4)


def test_ids_follow_the_transitions_of_each_state(written):
    model = read_transition_model(written(HMM))
    assert model.pdf_of.tolist() == [-1, 4, 0, 0, 2, 2, 5, 5]
    assert model.phone_of.tolist() == [0, 1, 3, 3, 3, 3, 3, 3]
    assert model.state_of.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert model.is_self_loop.tolist() == [False, False, True, False, True, False, True, False]
    assert model.is_final.tolist() == [False, True, False, False, False, True, False, True]


def test_a_file_that_ends_early_names_itself(written):
    path = written(CHAIN)
    content = path.read_bytes().rstrip()
    # The last bytes are of the closing token, which is complete without its white space.
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(AsrHlgError, match=r"final\.mdl"):
            read_transition_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_probs": [0, -0.7]}, "log-probabilities"),
        ({"log_probs": [0, -0.7, -0.7, np.nan, 0]}, "log-probabilities"),
        ({"tuples": [(7, 0, 3, 2)]}, "phone 7 has no state 0"),
        ({"tuples": [(1, 5, 3, 2)]}, "phone 1 has no state 5"),
        ({"tuples": [(1, 0, -3, 2)]}, "pdf -3"),
        ({"entries": [[(0, 1, [(9, 0.5), (1, 0.5)]), (-1, -1, [])]]}, "leads to no state"),
    ],
)
def test_a_model_that_contradicts_itself_is_refused(written, change, message):
    path = written(CHAIN | change)
    with pytest.raises(AsrHlgError, match=message) as caught:
        read_transition_model(path)
    assert caught.value.path == str(path)
    assert caught.value.remedy


def test_a_huge_count_takes_no_memory(written, tmp_path):
    content = written(CHAIN).read_bytes()
    if not content.startswith(b"\0B"):
        pytest.skip("text has no counts of bytes")
    start = content.index(b"<Topology> ") + len(b"<Topology> ") + 1
    path = tmp_path / "final.mdl"
    path.write_bytes(content[:start] + b"\xff\xff\xff\x7f" + content[start + 4 :])
    with pytest.raises(AsrHlgError, match="do not fit into the rest of the file"):
        read_transition_model(path)


def test_mutated_files_are_read_or_refused(written):
    path = written(HMM)
    content, random = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        mutated = bytearray(content)
        for place in random.integers(0, len(content), random.integers(1, 4)):
            mutated[place] = random.integers(0, 256)
        path.write_bytes(mutated)
        try:
            read_transition_model(path)
        except AsrHlgError:
            refused += 1
    assert refused > 100
