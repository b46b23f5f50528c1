"""Networks in windows: BLSTM, statistics and chosen frames, against the definition."""

from __future__ import annotations

import numpy as np
import pytest

from asr_hlg import acoustic
from asr_hlg.acoustic.kaldi.model import evaluator_of
from asr_hlg.acoustic.kaldi.network import Nnet3Evaluator
from asr_hlg.acoustic.kaldi.nnet3 import read_network
from asr_hlg.acoustic.kaldi.plan import NeedsWindows
from asr_hlg.acoustic.kaldi.rows import Rows
from asr_hlg.acoustic.kaldi.window import WindowEvaluator, WindowOptions
from asr_hlg.errors import AsrHlgError
from tests.acoustic.kaldi.test_nnet3 import write
from tests.support import kaldi_networks
from tests.support.kaldi_files import write_kaldi_folder
from tests.support.kaldi_windows import WindowReference, bidirectional

OPTIONS = WindowOptions(chunk=21, extra_left=8, extra_right=7)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The network that is read, and what it was written from."""
    lines, components = bidirectional()
    folder = tmp_path_factory.mktemp("window")
    written = [write(folder / f"{kind}.raw", lines, components, kind) for kind in (True, False)]
    return [read_network(path) for path in written], lines, components


def inputs(frames, seed=3):
    random = np.random.default_rng(seed)
    ivector = random.normal(size=4).astype(np.float32)
    return random.normal(size=(frames, 3)).astype(np.float32), ivector


@pytest.mark.parametrize("subsampling", [3, 1])
@pytest.mark.parametrize("size", [21, 6])
def test_a_chunk_is_that_of_the_definition(network, subsampling, size):
    networks, lines, components = network
    for read in networks:
        evaluator = WindowEvaluator(read, subsampling, OPTIONS)
        assert (evaluator.left_context, evaluator.right_context) == (8 + 1, 7 + 2)
        left, right = evaluator.left_context, evaluator.right_context
        rows, ivector = inputs(left + size + right)
        reference = WindowReference(lines, components, rows, -left, ivector)
        expected = [reference.of("output", t) for t in range(0, size, subsampling)]
        found = evaluator.chunk(rows, ivector, size)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_windows_of_a_recording_follow_each_other(network):
    evaluator = WindowEvaluator(network[0][0], 3, OPTIONS)
    rows, _ = inputs(50)
    ivectors = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    left, right = evaluator.left_context, evaluator.right_context
    expected = []
    for begin, size in ((0, 21), (21, 21), (42, 9)):  # 17 outputs
        frames = np.clip(np.arange(begin - left, begin + size + right), 0, 49)
        ivector = ivectors[min(begin + size, 50) - 1]
        expected.append(evaluator.chunk(rows[frames], ivector, size))
    found = evaluator.all_frames(rows, ivectors)
    np.testing.assert_array_equal(found, np.concatenate(expected))
    stream = evaluator.stream()
    given = Rows.of(rows), Rows.of(ivectors)
    parts = [stream.advance(*given, begin, begin + 21) for begin in (0, 21)]
    np.testing.assert_array_equal(np.concatenate(parts), found[:14])


@pytest.mark.parametrize("name", ["factored", "convolved"])
def test_both_evaluators_agree_on_networks_that_need_no_windows(tmp_path, name):
    path = write(tmp_path / "n.raw", *getattr(kaldi_networks, name)())
    read = read_network(path)
    rows, ivector = inputs(40)
    ivectors = np.repeat(ivector[None], 40, axis=0) if name == "factored" else None
    plain = Nnet3Evaluator(read, 3).all_frames(rows, ivectors)
    windows = WindowEvaluator(read, 3, OPTIONS).all_frames(rows, ivectors)
    np.testing.assert_allclose(windows, plain, rtol=1e-3, atol=1e-4)


def test_such_networks_are_evaluated_in_windows_by_themselves(network, tmp_path):
    with pytest.raises(NeedsWindows):
        Nnet3Evaluator(network[0][0], 3)
    found = evaluator_of(network[0][0], 3, tmp_path, OPTIONS)
    assert isinstance(found, WindowEvaluator)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("IfDefined(Offset(trunc, -3))", "Failover(Offset(trunc, -3), two)"),
        ("-3", "3"),
        ("Offset(input, 1)", "Switch(input, Offset(input, 1))"),
        ("Offset(input, 1)", "Round(input, 3)"),
    ],
)
def test_what_one_pass_cannot_compute_needs_windows(tmp_path, old, new):
    lines, components = kaldi_networks.recurrent()
    lines = [line.replace(old, new) for line in lines]
    lines.append("dim-range-node name=two input-node=input dim-offset=0 dim=2")
    read = read_network(write(tmp_path / "n.raw", lines, components))
    with pytest.raises(NeedsWindows):
        Nnet3Evaluator(read, 3)
    assert WindowEvaluator(read, 3, OPTIONS).all_frames(inputs(30)[0]).shape == (10, 4)


def test_an_lstm_that_returns_after_each_frame_is_evaluated_in_windows(tmp_path):
    lines, components = kaldi_networks.recurrent()
    near = [line.replace("-3", "-1") for line in lines]
    read = read_network(write(tmp_path / "n.raw", near, components))
    evaluator = evaluator_of(read, 3, tmp_path, OPTIONS)
    rows, _ = inputs(evaluator.left_context + 21 + evaluator.right_context)
    start = -evaluator.left_context
    # The reference counts frames from the begin of the window. The gates read the frame after
    # them, so that they begin one frame before.
    reference = kaldi_networks.Reference(near, components, {"input": rows}, -1)
    expected = [reference.node("output", t - start) for t in range(0, 21, 3)]
    np.testing.assert_allclose(evaluator.chunk(rows, None, 21), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("IfDefined(Offset(cell-f, -3))", "Offset(cell-f, 0)", "itself|cannot be computed"),
        ("IfDefined(Offset(out-b, 3))", "Offset(out-b, 3)", "without end|cannot be computed"),
        ("Offset(input, -1)", "ReplaceIndex(input, t, 5000)", "without end|cannot be computed"),
        ("Round(pool, 3)", "Offset(pool, 1)", "cannot be computed"),
        ("Round(pool, 3)", "Round(relu, 3)", "takes 37 columns, but its input has 30"),
    ],
)
def test_a_network_that_cannot_be_computed_is_refused(network, tmp_path, old, new, message):
    _, lines, components = network
    changed = [line.replace(old, new) for line in lines]
    assert changed != lines
    read = read_network(write(tmp_path / "n.raw", changed, components))
    with pytest.raises(AsrHlgError, match=message) as caught:
        evaluator_of(read, 3, tmp_path / "n.raw", OPTIONS)
    assert caught.value.path == str(tmp_path / "n.raw")


def test_a_folder_with_a_blstm_is_a_model(tmp_path):
    folder = write_kaldi_folder(tmp_path / "model", network=bidirectional)
    with (folder / "conf" / "model.conf").open("a") as file:
        file.write("--extra-left-context=9\n--extra-right-context=6\n")
    model = acoustic.load(folder)
    evaluator = model.parts.evaluator
    assert evaluator.options == WindowOptions(150, 9, 6)
    samples = (0.2 * np.random.default_rng(4).normal(size=40_000)).astype(np.float32)
    found = model.posteriors([samples], 16000)
    assert found.lengths.tolist() == [83]  # of 248 frames
    assert np.isfinite(found.array).all()
    stream = model.frame_stream()
    parts = [*stream.accept(samples), *stream.finish()]
    np.testing.assert_allclose(np.concatenate(parts), found.array[0], atol=1e-5)


@pytest.mark.parametrize(
    "option", ["extra-left-context=-1", "frames-per-chunk=0", "frame-subsampling-factor=0"]
)
def test_sizes_that_are_out_of_range_are_refused(tmp_path, option):
    folder = write_kaldi_folder(tmp_path / "model")
    with (folder / "conf" / "model.conf").open("a") as file:
        file.write(f"--{option}\n")
    with pytest.raises(AsrHlgError, match=f"--{option.partition('=')[0]} is not between"):
        acoustic.load(folder)
