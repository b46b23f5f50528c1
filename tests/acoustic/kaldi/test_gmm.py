"""Gaussian mixtures of Kaldi, binary and text, against the densities of scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from asr_hlg.acoustic.kaldi import gmm
from asr_hlg.acoustic.kaldi.folder import graph_properties
from asr_hlg.errors import AsrHlgError
from tests.support.kaldi_files import CHAIN_MODEL, Writer, write_transition_model
from tests.support.kaldi_gmm import write_mixtures

DIM = 4


def mixtures(num_pdfs=5, dim=DIM):
    """The first has one Gaussian, the next two, …"""
    random = np.random.default_rng(9)
    return [
        (
            random.dirichlet(np.ones(size)),
            3 * random.normal(size=(size, dim)),
            random.uniform(0.3, 4, (size, dim)),
        )
        for size in range(1, num_pdfs + 1)
    ]


def write(path, mixtures, binary=True, **tags):
    writer = Writer(binary)
    write_transition_model(writer, **CHAIN_MODEL)
    write_mixtures(writer, mixtures, **tags)
    path.write_bytes(writer.content)
    return path


def by_scipy(rows, mixture):
    weights, means, variances = mixture
    gaussians = map(multivariate_normal, means, map(np.diag, variances))
    parts = [gaussian.logpdf(rows) for gaussian in gaussians]
    return logsumexp(np.array(parts).T + np.log(weights), axis=1)


@pytest.mark.parametrize("binary", [True, False])
def test_log_likelihoods_are_those_of_scipy(tmp_path, binary, monkeypatch):
    system = gmm.read_gmm_system(write(tmp_path / "final.mdl", mixtures(), binary))
    rows = 2 * np.random.default_rng(1).normal(size=(23, DIM)).astype(np.float32)
    expected = np.array([by_scipy(rows, mixture) for mixture in mixtures()]).T
    for block in (1 << 21, 100):  # all frames at once, and six at a time
        monkeypatch.setattr(gmm, "_SCORES_AT_ONCE", block)
        found = system.mixtures.log_likelihoods(rows)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert (system.mixtures.num_pdfs, system.mixtures.num_gauss) == (5, 15)
    assert system.transitions.num_ids == 6
    assert system.mixtures.log_likelihoods(rows[:0]).shape == (0, 5)


def test_frames_far_from_all_gaussians_have_finite_scores(tmp_path):
    system = gmm.read_gmm_system(write(tmp_path / "final.mdl", mixtures()))
    found = system.mixtures.log_likelihoods(np.full((1, DIM), 1e4, np.float32))
    assert np.isfinite(found).all()
    assert found.max() < -1e6


def test_the_tags_of_old_files_are_read(tmp_path):
    old = write(tmp_path / "old.mdl", mixtures(), tags=("<DiagGMMBegin>", "<DiagGMMEnd>"))
    new = write(tmp_path / "new.mdl", mixtures())
    rows = np.ones((2, DIM), np.float32)
    first, second = (
        gmm.read_gmm_system(path).mixtures.log_likelihoods(rows) for path in (old, new)
    )
    assert (first == second).all()


def test_mixtures_weigh_a_twelfth_beside_the_graph(tmp_path):
    path = write(tmp_path / "final.mdl", mixtures())
    assert graph_properties(path).acoustic_scale == pytest.approx(1 / 12)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"<DIMENSION> 4", b"<DIMENSION> 5", "dimension 5"),
        (b"<NUMPDFS> 5", b"<NUMPDFS> 4", "4 mixtures for 5 pdfs"),
        (b"<NUMPDFS> 5", b"<NUMPDFS> 2000000000", "2,000,000,000 pdfs do not fit"),
        (b"<NUMPDFS> 5", b"<NUMPDFS> 0", "no mixtures"),
        (b"<WEIGHTS>  [ 1 ]", b"<WEIGHTS>  [ 0 ]", "not positive"),
        (b"<WEIGHTS>  [ 1 ]", b"<WEIGHTS>  [ 1 1 ]", "different sizes"),
        (b"<DiagGMM>", b"<FullGMM>", "expected <DiagGMM>"),
        (b"<DIMENSION>", b"<Nnet3>", "expected <DIMENSION>"),
    ],
)
def test_a_faulty_model_is_named(tmp_path, old, new, message):
    path = write(tmp_path / "final.mdl", mixtures(), binary=False)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    with pytest.raises(AsrHlgError, match=message) as caught:
        gmm.read_gmm_system(path)
    assert caught.value.path == str(path)
    assert caught.value.remedy


@pytest.mark.parametrize("value", [0, -1, np.inf, np.nan])
def test_variances_that_are_none_are_refused(tmp_path, value):
    faulty = mixtures()
    faulty[1][2][0, 0] = np.float64(1) / value if value else np.inf
    with np.errstate(divide="ignore"), pytest.raises(AsrHlgError, match=r"positive|range"):
        gmm.read_gmm_system(write(tmp_path / "final.mdl", faulty))


@pytest.mark.parametrize("binary", [True, False])
def test_a_file_that_ends_early_is_named(tmp_path, binary):
    path = write(tmp_path / "final.mdl", mixtures(), binary)
    content = path.read_bytes().rstrip()
    for size in np.linspace(1, len(content) - 1, 100, dtype=int):
        path.write_bytes(content[:size])
        with pytest.raises(AsrHlgError, match=r"final\.mdl"):
            gmm.read_gmm_system(path)
