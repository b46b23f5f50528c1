"""nnet3 networks, binary and text, against an evaluation of their description frame by frame."""

from __future__ import annotations

import numpy as np
import pytest

from asr_hlg.acoustic.kaldi.model import evaluator_of
from asr_hlg.acoustic.kaldi.network import Nnet3Evaluator
from asr_hlg.acoustic.kaldi.nnet3 import read_hybrid_model, read_network
from asr_hlg.acoustic.kaldi.rows import Rows
from asr_hlg.acoustic.kaldi.window import WindowOptions
from asr_hlg.errors import AsrHlgError
from tests.acoustic.kaldi.test_transition_model import CHAIN
from tests.support import kaldi_networks
from tests.support.kaldi_files import Writer, write_network, write_transition_model

NETWORKS = ["factored", "assorted", "recurrent", "convolved", "gated"]


def write(path, lines, components, binary=True):
    writer = Writer(binary)
    write_network(writer, lines, components)
    path.write_bytes(writer.content)
    return path


@pytest.fixture(scope="module", params=NETWORKS)
def case(request, tmp_path_factory):
    lines, components = getattr(kaldi_networks, request.param)()
    folder = tmp_path_factory.mktemp(request.param)
    evaluators = [
        Nnet3Evaluator(read_network(write(folder / f"{binary}.raw", lines, components, binary)))
        for binary in (True, False)
    ]
    random = np.random.default_rng(3)
    inputs = random.normal(size=(31, 3)).astype(np.float32)
    ivectors = np.repeat(random.normal(size=(1, 4)), 31, axis=0).astype(np.float32)
    fed = {"input": inputs, "ivector": ivectors}
    start = None
    if request.param in ("recurrent", "gated"):
        start = -evaluators[0].stream().warm_up
    reference = kaldi_networks.Reference(lines, components, fed, start)
    expected = np.array([reference.node("output", t) for t in range(0, 31, 3)])
    return evaluators, fed, expected


def test_all_frames_are_those_of_the_description(case):
    evaluators, fed, expected = case
    for evaluator in evaluators:
        ivectors = fed["ivector"] if evaluator.ivector_width else None
        found = evaluator.all_frames(fed["input"], ivectors)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [3, 6, 15])
def test_chunks_give_the_same_as_the_whole(case, size):
    (evaluator, _), fed, expected = case
    inputs = Rows.of(fed["input"])
    ivectors = Rows.of(fed["ivector"]) if evaluator.ivector_width else None
    stream = evaluator.stream()
    parts = [stream.advance(inputs, ivectors, -stream.warm_up, 0)]
    parts += [stream.advance(inputs, ivectors, begin, begin + size) for begin in range(0, 33, size)]
    found = np.concatenate(parts)[: len(expected)]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("network", "contexts"),
    # factored: 1 + 1 + 3 before and 1 + 2 + 3 after; assorted: 2 + 1 before, 3 after (4 more are
    # optional); the recurrent one depends on everything before
    [("factored", (5, 6)), ("assorted", (3, 3)), ("recurrent", (0, 1))],
)
def test_contexts_come_from_the_network(tmp_path, network, contexts):
    path = write(tmp_path / "n.raw", *getattr(kaldi_networks, network)())
    plan = Nnet3Evaluator(read_network(path)).plan
    assert (plan.left_context, plan.right_context) == contexts


def test_a_hybrid_model_has_transitions_network_and_priors(tmp_path):
    for binary in (True, False):
        writer = Writer(binary)
        write_transition_model(writer, **CHAIN)
        write_network(writer, *kaldi_networks.factored())
        writer.token("<LeftContext>")
        writer.integer(9)
        writer.token("<RightContext>")
        writer.integer(9)
        writer.token("<Priors>")
        writer.vector([0.25, 0.75])
        path = tmp_path / f"{binary}.mdl"
        path.write_bytes(writer.content)
        model = read_hybrid_model(path)
        assert model.transitions.num_ids == 4
        assert model.priors.tolist() == [0.25, 0.75]
        assert model.network.components["linear2"].kind == "TdnnComponent"


def changed(path, old, new):
    """Network of text ``factored`` with a part replaced."""
    content = write(path, *kaldi_networks.factored(), binary=False).read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"NoOpComponent", b"MysteryComponent", "unknown type MysteryComponent"),
        (b"<BackpropScale>", b"<Mystery>", "unknown tag '<Mystery>'"),
        (b"input=linear2", b"input=linear9", "affine2.*no node 'linear9'"),
        (b"Scale(0.66, drop)", b"Blur(0.66, drop)", "unknown function 'Blur'"),
        (b"component=last", b"component=first", "no component 'first'"),
        (b"name=output", b"name=out", "no node 'output'"),
        (b"Offset(input, -1)", b"Offset(input, -1", "'lda' of the network: it lacks 'input'"),
    ],
)
def test_a_faulty_network_is_named(tmp_path, old, new, message):
    path = changed(tmp_path / "n.raw", old, new)
    with pytest.raises(AsrHlgError, match=message) as caught:
        read_network(path)
    assert caught.value.path == str(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"input=linear2\n", b"input=lda\n", "affine2.*takes 3 columns, but its input has 13"),
        (b"Scale(0.66, drop)", b"Scale(0.66, lda)", r"adds terms of \[8, 13\] columns"),
        (b"component=linear2 input=drop", b"component=linear2 input=noop", "itself"),
        (b"Offset(input, 1)", b"Round(norm1, 3)", "terms|takes|width|columns|itself"),
        (b"Offset(input, 1)", b"Switch(input, lda)", "itself|cannot be computed"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(tmp_path, old, new, message):
    network = read_network(changed(tmp_path / "n.raw", old, new))
    with pytest.raises(AsrHlgError, match=message):
        evaluator_of(network, 3, tmp_path / "n.raw", WindowOptions(21, 5, 5))


@pytest.mark.parametrize("binary", [True, False])
def test_a_network_that_ends_early_names_its_file(tmp_path, binary):
    path = write(tmp_path / "n.raw", *kaldi_networks.factored(), binary=binary)
    content = path.read_bytes().rstrip()
    for size in np.linspace(0, len(content) - 1, 200, dtype=int):
        path.write_bytes(content[:size])
        with pytest.raises(AsrHlgError, match=r"n\.raw"):
            read_network(path)
