"""ONNX forms of Conformers that are made without torch: equality with torch, and their cache."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asr_hlg import acoustic
from asr_hlg.acoustic import Conformer, ConformerConfig, conformer_onnx, hama, onnx_network
from asr_hlg.acoustic.runtime import OnnxSession

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

CONFIGS = {
    "plain": ConformerConfig(("<blk>", "a", "b"), dim=8, num_heads=2, num_blocks=2, ffn_dim=12),
    "merged units": ConformerConfig(
        ("<blk>", "a", "b"), dim=8, num_heads=1, num_blocks=1, ffn_dim=8, merge=(1, 0, -1, 2, 1, 0)
    ),
    "other sizes": ConformerConfig(
        ("<blk>", "a"),
        sample_rate=8000,
        window=200,
        hop=100,
        num_mels=20,
        dim=12,
        num_heads=3,
        num_blocks=1,
        ffn_dim=20,
        kernel=5,
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_network_is_that_of_torch(name):
    torch.manual_seed(0)
    network = Conformer(CONFIGS[name]).eval()
    weights = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    content = conformer_onnx.onnx_bytes(CONFIGS[name], weights)
    onnx.checker.check_model(onnx.load_from_string(content))
    session = OnnxSession(content)
    lengths = torch.tensor([16000, 9000, 150, 1])
    waveforms = 0.1 * torch.randn(4, 16000)  # also after the ends of the shorter ones
    with torch.no_grad():
        expected, frames = network(waveforms, lengths)
    log_probs, ours = session(waveforms, lengths)
    assert ours.tolist() == frames.tolist()
    for row, other, length in zip(log_probs, expected, frames, strict=True):
        np.testing.assert_allclose(row[:length], other[:length], rtol=0, atol=1e-4)


def test_an_onnx_file_is_made_once_and_again_where_it_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("ASR_HLG_CACHE", str(tmp_path))
    samples = 0.1 * np.random.default_rng(0).standard_normal(8000)
    first = acoustic.load("hama").posteriors([samples], 16000).array
    [path] = (tmp_path / "networks").iterdir()
    monkeypatch.setattr(hama, "weights", None)  # would be called to make it again
    np.testing.assert_array_equal(acoustic.load().posteriors([samples], 16000).array, first)
    monkeypatch.undo()
    monkeypatch.setenv("ASR_HLG_CACHE", str(tmp_path))
    path.write_bytes(path.read_bytes()[:1000])
    np.testing.assert_array_equal(acoustic.load().posteriors([samples], 16000).array, first)
    assert [p.stat().st_size > 1000 for p in (tmp_path / "networks").iterdir()] == [True]


def test_without_onnx_torch_runs_the_pretrained_network(monkeypatch):
    monkeypatch.setattr(onnx_network, "_installed", lambda: False)
    network = acoustic.load("hama").network
    assert isinstance(network, Conformer)
