"""Features of Gaussian mixtures against their definitions, and the files that choose them."""

from __future__ import annotations

import numpy as np
import pytest

from asr_hlg.acoustic.kaldi.conf import SpliceOptions
from asr_hlg.acoustic.kaldi.gmm_features import (
    CmvnOptions,
    DeltaOptions,
    GmmFeatures,
    normalised,
    spliced,
    with_deltas,
)
from asr_hlg.errors import AsrHlgError
from tests.support.kaldi_files import Writer


def cepstra(frames=12, width=3):
    return np.random.default_rng(2).normal(3, 2, size=(frames, width)).astype(np.float32)


def regression(rows, window):
    """Derivative at each frame that has ``window`` neighbours on both sides; Young, HTK book."""
    steps = range(1, window + 1)
    norm = 2 * sum(k * k for k in steps)
    return np.array(
        [
            sum(k * (rows[t + k] - rows[t - k]) for k in steps) / norm
            for t in range(window, len(rows) - window)
        ]
    )


@pytest.mark.parametrize("window", [1, 2, 3])
def test_deltas_are_regressions_of_regressions(window):
    rows = cepstra()
    edge = np.pad(rows.astype(np.float64), ((2 * window, 2 * window), (0, 0)), mode="edge")
    first = regression(edge, window)
    second = regression(first, window)
    expected = np.concatenate([rows, first[window:-window], second], axis=1)
    found = with_deltas(rows, DeltaOptions(2, window))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert with_deltas(rows[:1], DeltaOptions()).shape == (1, 9)
    np.testing.assert_array_equal(with_deltas(rows, DeltaOptions(0)), rows)


def test_mean_and_variance_are_those_of_the_recording():
    rows = cepstra().astype(np.float64)
    centred = rows - rows.mean(0)
    np.testing.assert_allclose(normalised(cepstra(), CmvnOptions()), centred, atol=1e-5)
    found = normalised(cepstra(), CmvnOptions(norm_vars=True, skip_dims=(1,)))
    expected = centred / rows.std(0)
    expected[:, 1] = rows[:, 1]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(normalised(cepstra(), CmvnOptions(norm_means=False)), cepstra())
    assert np.isfinite(normalised(np.ones((3, 2), np.float32), CmvnOptions(norm_vars=True))).all()


def test_frames_stand_between_their_neighbours():
    found = spliced(cepstra(), SpliceOptions(2, 1))
    for t, row in enumerate(found):
        neighbours = [cepstra()[min(max(t + k, 0), 11)] for k in (-2, -1, 0, 1)]
        np.testing.assert_array_equal(row, np.concatenate(neighbours))


@pytest.mark.parametrize("extra", [0, 1])
def test_final_mat_makes_spliced_features(tmp_path, extra):
    matrix = np.random.default_rng(3).normal(size=(5, 4 * 3 + extra)).astype(np.float32)
    writer = Writer(True)
    writer.matrix(matrix)
    (tmp_path / "final.mat").write_bytes(writer.content)
    (tmp_path / "splice_opts").write_text("--left-context=2 --right-context=1\n")
    (tmp_path / "cmvn_opts").write_text("--norm-means=true  --norm-vars=true\n")
    features = GmmFeatures([tmp_path], 3)
    rows = spliced(normalised(cepstra(), CmvnOptions(norm_vars=True)), SpliceOptions(2, 1))
    rows = np.concatenate([rows, np.ones((12, 1), np.float32)], axis=1)[:, : 12 + extra]
    np.testing.assert_allclose(features.compute(cepstra()), rows @ matrix.T, atol=1e-4)
    assert features.width == 5


def test_without_files_there_are_deltas_and_means_are_removed(tmp_path):
    features = GmmFeatures([tmp_path, tmp_path / "conf"], 3)
    expected = with_deltas(normalised(cepstra(), CmvnOptions()), DeltaOptions())
    np.testing.assert_array_equal(features.compute(cepstra()), expected)
    assert features.compute(cepstra(0)).shape == (0, features.width) == (0, 9)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("splice_opts", "--left-context=-1", "contexts"),
        ("splice_opts", "--left-context=9999999", "contexts"),
        ("splice_opts", "--left-context=3 --width=3", "--width is unknown"),
        ("delta_opts", "--delta-order=-1", "--delta-order"),
        ("delta_opts", "--delta-window=0", "--delta-window"),
        ("cmvn_opts", "--skip-dims=2:3", "--skip-dims"),
        ("cmvn_opts", "--norm-means=false --norm-vars=true", "--norm-means=true"),
        ("cmvn_opts", "--norm-means=perhaps", "wrong value 'perhaps'"),
        ("cmvn_opts", "norm-means=true", "expected --name=value"),
    ],
)
def test_wrong_options_name_their_file(tmp_path, name, text, message):
    (tmp_path / name).write_text(text + "\n")
    with pytest.raises(AsrHlgError, match=message) as caught:
        GmmFeatures([tmp_path], 3)
    assert caught.value.path == str(tmp_path / name)


def test_a_transform_of_another_width_is_refused(tmp_path):
    writer = Writer(True)
    writer.matrix(np.ones((2, 7)))
    (tmp_path / "final.mat").write_bytes(writer.content)
    with pytest.raises(AsrHlgError, match=r"2 × 7 values do not fit 27 spliced features"):
        GmmFeatures([tmp_path], 3)
