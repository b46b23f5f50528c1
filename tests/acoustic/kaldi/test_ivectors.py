"""i-vectors against the formulas, and weights of silence against Kaldi's rules step by step."""

from __future__ import annotations

import numpy as np
import pytest

from asr_hlg.acoustic.kaldi.conf import CmvnOptions
from asr_hlg.acoustic.kaldi.ivectors import IvectorEstimate, IvectorExtractor
from asr_hlg.acoustic.kaldi.online_cmvn import OnlineCmvn
from asr_hlg.acoustic.kaldi.rows import Rows
from asr_hlg.acoustic.kaldi.silence import SilenceWeights
from asr_hlg.errors import AsrHlgError
from tests.support.kaldi_files import Writer, write_ivector_folder

WIDTH = 3  # columns of the features


@pytest.fixture(params=[True, False], ids=["binary", "text"])
def made(request, tmp_path):
    """An extractor and the arrays in its files."""
    arrays = write_ivector_folder(tmp_path, WIDTH, binary=request.param)
    return IvectorExtractor(tmp_path, WIDTH), arrays


def frames(count=40):
    return np.random.default_rng(2).normal(size=(count, WIDTH)).astype(np.float32)


def lda_features(extractor, rows):
    return extractor.transformed(rows[extractor.neighbours(0, len(rows), len(rows)).reshape(-1)])


def test_spliced_frames_are_transformed(made):
    extractor, arrays = made
    rows = frames(6)
    found = lda_features(extractor, rows)
    for t in range(6):
        spliced = np.concatenate([rows[min(max(t + k, 0), 5)] for k in (-2, -1, 0, 1)])
        expected = arrays["lda"] @ np.append(spliced, 1)
        np.testing.assert_allclose(found[t], expected, rtol=1e-4, atol=1e-5)


def kaldi_means(arrays, rows, frames, window=10, global_frames=4, min_energy=50.0):
    """Mean at each of the frames asked for, by the rules of Vosk's OnlineCmvn one after another."""
    stats = np.zeros(WIDTH + 1)
    for t in frames:
        if rows[t, 0] > min_energy:
            last = rows[max(0, t + 1 - window) : t + 1]
            stats = np.append(last.sum(0), len(last))
        missing = min(window - stats[-1], global_frames)
        if missing > 0:
            stats = stats + missing / arrays["stats"][0, -1] * arrays["stats"][0]
        yield stats[:-1] / stats[-1]


@pytest.mark.parametrize("loudness", [100.0, 50.0, 0.0])
def test_the_mean_is_of_the_last_frames_completed_by_the_global_one(made, loudness):
    extractor, arrays = made
    rows = frames() + np.array([loudness, 0, 0], np.float32)
    asked = extractor.neighbours(0, 40, 40).reshape(-1)
    means = np.array(list(kaldi_means(arrays, rows, asked)))
    features, found, cmvn = Rows.of(rows), [], extractor.normalisation()
    for part in np.array_split(asked, 7):
        found.append(cmvn.normalised(features, part))
        features.drop(int(part.max()) - 15)
    np.testing.assert_allclose(np.concatenate(found), rows[asked] - means, rtol=1e-4, atol=1e-4)


def test_the_variance_is_normalised(made):
    _, arrays = made
    rows = frames() + np.array([100, 0, 0], np.float32)
    options = CmvnOptions(cmn_window=10, global_frames=4, normalize_variance=True)
    found = OnlineCmvn(options, arrays["stats"]).normalised(Rows.of(rows), np.arange(40))
    for t in range(40):
        last = rows[max(0, t + 1 - 10) : t + 1].astype(np.float64)
        share = min(10 - len(last), 4) / arrays["stats"][0, -1]
        count = len(last) + share * arrays["stats"][0, -1]
        mean = (last.sum(0) + share * arrays["stats"][0, :-1]) / count
        variance = ((last**2).sum(0) + share * arrays["stats"][1, :-1]) / count - mean**2
        expected = (rows[t] - mean) / np.sqrt(np.maximum(variance, 1e-20))
        np.testing.assert_allclose(found[t], expected, rtol=1e-3, atol=1e-2)


def posteriors(arrays, row, weight):
    """Gaussians of a frame and their posteriors."""
    means = arrays["means_invvars"] / arrays["inv_vars"]
    scores = np.log(arrays["weights"]) + 0.5 * np.log(arrays["inv_vars"]).sum(1)
    scores -= 0.5 * ((row - means) ** 2 * arrays["inv_vars"]).sum(1)
    values = np.exp(scores - scores.max())
    least = min(0.025 / abs(weight), 0.99)
    order = [k for k in np.argsort(-values) if values[k] > least][:5]
    total = values[order].sum()
    cutoff = least * total
    while len(order) > 1 and values[order[-1]] < cutoff:
        order.pop()
    return {k: values[k] / values[order].sum() for k in order}


@pytest.mark.parametrize("weight", [1.0, 0.001, 40.0])
def test_the_estimate_solves_the_normal_equations(made, weight):
    extractor, arrays = made
    rows = frames()
    plain = normalised = lda_features(extractor, rows)
    weights = np.full(len(rows), weight, np.float32)
    weights[3] = 0
    estimate = IvectorEstimate(extractor)
    for part in (slice(0, 7), slice(7, 40)):
        estimate.add(plain[part], normalised[part], weights[part])
    found = estimate.solve()
    size, offset = arrays["M"].shape[2], arrays["offset"]
    matrix, target, total = np.eye(size), np.eye(size)[0] * offset, 0.0
    for row, by_ubm, w in zip(plain, normalised, weights, strict=True):
        for gauss, value in posteriors(arrays, by_ubm, w).items() if w else ():
            factors, inverse = arrays["M"][gauss], arrays["sigma_inv"][gauss]
            matrix += 0.1 * w * value * factors.T @ inverse @ factors
            target += 0.1 * w * value * factors.T @ inverse @ row
            total += 0.1 * w * value
    prior = max(total, 100) / 100 - 1
    matrix += prior * np.eye(size)
    target[0] += prior * offset
    expected = np.linalg.solve(matrix, target)
    expected[0] -= offset
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)


def test_removing_frames_restores_the_estimate(made):
    extractor, _ = made
    rows = lda_features(extractor, frames())
    estimate = IvectorEstimate(extractor)
    ones = np.ones(20, np.float32)
    estimate.add(rows[:20], rows[:20], ones)
    before = estimate.solve()
    estimate.add(rows[20:], rows[20:], ones)
    assert abs(estimate.solve() - before).max() > 1e-3
    estimate.add(rows[20:], rows[20:], -ones)
    np.testing.assert_allclose(estimate.solve(), before, atol=1e-4)


@pytest.mark.parametrize("name", ["final.ie", "final.dubm", "final.mat", "global_cmvn.stats"])
def test_damaged_files_are_named(tmp_path, name):
    write_ivector_folder(tmp_path, WIDTH, binary=True)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(AsrHlgError, match=name):
        IvectorExtractor(tmp_path, WIDTH)
    (tmp_path / name).unlink()
    with pytest.raises(AsrHlgError, match=name):
        IvectorExtractor(tmp_path, WIDTH)


def test_files_of_another_model_are_refused(tmp_path):
    write_ivector_folder(tmp_path, WIDTH, binary=True)
    with pytest.raises(AsrHlgError, match=r"final\.mat.*do not fit"):
        IvectorExtractor(tmp_path, WIDTH + 1)
    writer = Writer(True)
    writer.matrix(np.ones((2, WIDTH)))
    (tmp_path / "global_cmvn.stats").write_bytes(writer.content)
    with pytest.raises(AsrHlgError, match=r"global_cmvn\.stats"):
        IvectorExtractor(tmp_path, WIDTH)


def step(weights, ready, decoded, silent, states=None):
    """Changes of weights by frame; without ``states`` the whole path is a new one."""
    step.states = getattr(step, "states", 0) + 1000
    states = step.states + np.arange(len(silent)) if states is None else states
    frames, changes = weights.update(ready, decoded, np.array(silent, bool), np.array(states, "i4"))
    return dict(zip(frames.tolist(), changes.tolist(), strict=True))


def test_silence_has_a_small_weight_and_frames_without_path_that_of_the_last_one():
    weights = SilenceWeights(3, 0.25)
    assert step(weights, 5, 0, []) == dict.fromkeys(range(6), 0.25)  # two output frames of three
    # speech, then silence; the third frame has no path yet
    changes = step(weights, 9, 2, [False, True])
    assert changes == dict.fromkeys((0, 1, 2), 0.75) | dict.fromkeys((6, 7, 8), 0.25)
    # the path changes: silence, then speech; frames 2 and 3 follow
    changes = step(weights, 12, 2, [True, False])
    assert changes == {
        **dict.fromkeys((0, 1, 2), -0.75),
        **dict.fromkeys((3, 4, 5, 6, 7, 8), 0.75),
        **dict.fromkeys((9, 10, 11), 1.0),
    }


def test_a_path_is_followed_back_to_the_first_state_of_the_path_before():
    weights = SilenceWeights(1, 0.25)
    step(weights, 4, 4, [True, True, True, True], [10, 11, 12, 13])
    # Frame 1 comes from state 11 as before, so that its own change is not noticed, as in Kaldi.
    changes = step(weights, 5, 5, [False, False, False, False, False], [10, 11, 22, 23, 24])
    assert changes == {2: 0.75, 3: 0.75, 4: 1.0}


def test_frames_long_past_keep_their_weight():
    weights = SilenceWeights(1, 0.25)
    step(weights, 150, 150, [False] * 150)
    assert weights.needed(160) == 100
    changes = step(weights, 160, 160, [True] * 160)
    assert min(changes) == 60
