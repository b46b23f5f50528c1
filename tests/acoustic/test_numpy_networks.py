"""Filter banks and networks in numpy, against those of torch, kaldifeat and Lhotse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asr_hlg.acoustic import features, nets
from asr_hlg.acoustic.features import FbankOptions
from asr_hlg.acoustic.numpy_fbank import fbank
from asr_hlg.acoustic.numpy_tdnn import NumpyTdnn
from asr_hlg.errors import ModelError


def speechlike(seconds: float, rate: int = 16000) -> np.ndarray:
    random = np.random.default_rng(0)
    noise = random.normal(size=int(seconds * rate)).cumsum() / 500
    return (noise - noise.mean()).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.03, 0.104, 1.0, 11.3])
@pytest.mark.parametrize(
    "options",
    [
        FbankOptions(),
        FbankOptions(num_filters=40, high_freq=3800.0),
        FbankOptions(frame_shift=0.02),
    ],
)
def test_filter_banks_are_those_of_kaldi(seconds, options):
    samples = speechlike(seconds)
    expected = features.fbank([torch.from_numpy(samples)], 16000, options)[0].numpy()
    ours = fbank(samples, 16000, options)
    assert abs(len(ours) - len(expected)) <= 1
    rows = min(len(ours), len(expected))
    np.testing.assert_allclose(ours[:rows], expected[:rows], atol=2e-3)


def test_the_network_is_that_of_torch(tmp_path):
    torch.manual_seed(0)
    tokens = ("<eps>", *(f"{phone}_{state}" for phone in ("SIL", "AA") for state in range(3)))
    network = nets.create("tdnn", tokens=tokens, dim=24, subsampling=1, dilations=(1, 2, 3))
    network.normalise_with(torch.randn(80), torch.rand(80) + 0.5)
    network.priors = torch.rand(len(tokens)).softmax(0)
    network.save(tmp_path / "net.npz")
    network.eval()
    ours = NumpyTdnn.read(tmp_path / "net.npz")
    assert ours.tokens == tokens
    for seconds in (0.3, 31.0):  # one block, and several
        samples = speechlike(seconds)
        inputs = torch.from_numpy(fbank(samples, 16000, FbankOptions()))[None]
        with torch.no_grad():
            expected = network(inputs, torch.tensor([inputs.shape[1]]))[0][0].numpy()
        np.testing.assert_allclose(ours.log_probs(samples, 16000), expected, atol=2e-4)
    assert ours.log_priors is not None
    np.testing.assert_allclose(ours.log_priors, network.priors.log().numpy(), atol=1e-6)


def test_other_networks_are_refused(tmp_path):
    network = nets.create("tdnn", tokens=("<eps>", "A"), dim=8, subsampling=3)
    network.save(tmp_path / "net.npz")
    with pytest.raises(ModelError, match="without subsampling"):
        NumpyTdnn.read(tmp_path / "net.npz")
    (tmp_path / "text.npz").write_text("no network")
    with pytest.raises(ModelError, match="is no TDNN"):
        NumpyTdnn.read(tmp_path / "text.npz")
