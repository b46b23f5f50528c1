"""Networks are saved, loaded and exported unchanged; files of others are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from asr_hlg import acoustic
from asr_hlg.acoustic import hama, nets
from asr_hlg.errors import ModelError
from tests.support.networks import SMALL, TOKENS, inputs, run, small, waveforms


@pytest.mark.parametrize("kind", SMALL)
def test_saved_networks_load_unchanged(kind, tmp_path):
    network = small(kind)
    network.priors = torch.tensor([0.7, 0.1, 0.15, 0.05])
    network.save(tmp_path / "m.npz")
    loaded = nets.load(tmp_path / "m.npz").eval()
    assert type(loaded) is type(network)
    assert loaded.config == network.config
    rows = inputs(network, 4, 2)
    assert torch.equal(run(loaded, rows)[0], run(network, rows)[0])
    assert torch.equal(loaded.priors, network.priors)
    model = acoustic.load(tmp_path / "m.npz")
    posteriors = model.posteriors([0.1 * torch.randn(8000)], 16000)
    assert np.array_equal(posteriors.priors, network.priors)
    assert posteriors.tokens == TOKENS
    assert posteriors.frame_shift == network.config.frame_shift


def test_a_network_without_priors_has_none(tmp_path):
    small("tdnn").save(tmp_path / "m.npz")
    assert acoustic.load(tmp_path / "m.npz").posteriors([torch.randn(8000)], 16000).priors is None


@pytest.mark.parametrize("priors", [[0.5, 0.5], [0.5, 0.5, 0.0, 0.1], [1, 2, 3, 4], ["a"] * 4])
def test_priors_that_are_not_probabilities_are_errors(tmp_path, priors):
    network = small("tdnn")
    network.save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as arrays:
        contents = dict(arrays)
    np.savez(tmp_path / "m.npz", **contents, priors=np.array(priors))
    with pytest.raises(ModelError, match=r"m\.npz"):
        nets.load(tmp_path / "m.npz")


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("suffix", [".pt", ".onnx"])
def test_exports_give_the_same_posteriors(kind, suffix, tmp_path):
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    network = small(kind)
    network.priors = torch.tensor([0.7, 0.1, 0.15, 0.05])
    path = tmp_path / f"m{suffix}"
    nets.export(network, path)
    exported = acoustic.load(path)
    rows = waveforms()
    if kind == "conformer":
        log_probs, lengths = run(network, rows)
    else:
        log_probs, lengths = run(
            network, acoustic.external.fbank(rows, 16000, network.config.fbank)
        )
    # Batches of other sizes than the exporter's example.
    for batch in ([0, 1, 2], [1]):
        ours = exported.posteriors([rows[k] for k in batch], 16000)
        assert ours.lengths.tolist() == lengths[batch].tolist()
        for row, k in zip(ours.log_probs, batch, strict=True):
            torch.testing.assert_close(
                row[: lengths[k]], log_probs[k, : lengths[k]], atol=1e-4, rtol=0
            )
    assert ours.tokens == TOKENS
    assert ours.frame_shift == network.config.frame_shift
    np.testing.assert_allclose(ours.priors, network.priors)


@pytest.mark.parametrize("suffix", [".pt", ".onnx"])
def test_the_pretrained_model_exports_unchanged(suffix, tmp_path, root):
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    import soundfile

    network = hama.conformer()
    nets.export(network, tmp_path / f"m{suffix}")
    rows = [
        torch.from_numpy(soundfile.read(path, dtype="float32")[0])
        for path in sorted((root / "examples").glob("*.wav"))[:2]
    ]
    log_probs, lengths = run(network, rows)
    ours = acoustic.load(tmp_path / f"m{suffix}").posteriors(rows, 16000)
    assert ours.lengths.tolist() == lengths.tolist()
    for a, b, length in zip(ours.log_probs, log_probs, lengths, strict=True):
        assert (a[:length].exp() - b[:length].exp()).abs().max() < 1e-3


def test_exports_of_another_kind_are_errors(tmp_path):
    with pytest.raises(ModelError, match=r"unknown kind of export '\.bin'.*\.pt or \.onnx"):
        nets.export(small("tdnn"), tmp_path / "m.bin")


def test_files_without_a_network_are_errors(tmp_path):
    np.savez(tmp_path / "m.npz", a=np.zeros(3))
    with pytest.raises(ModelError, match="holds no network"):
        nets.load(tmp_path / "m.npz")
    (tmp_path / "n.npz").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match=r"n\.npz: not an \.npz file"):
        nets.load(tmp_path / "n.npz")


@pytest.mark.parametrize(
    "config",
    ["{", "[]", "3", "{}", '{"tokens": 3}', '{"tokens": [1]}', '{"tokens": ["a"], "dim": "x"}'],
)
def test_files_with_a_broken_configuration_are_errors(tmp_path, config):
    np.savez(tmp_path / "m.npz", **{"tdnn.json": np.array(config)})
    with pytest.raises(ModelError, match=r"m\.npz"):
        nets.load(tmp_path / "m.npz")


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("tdnn", {"dim": 10**6}),
        ("tdnn", {"dilations": [1] * 3000}),
        ("tdnn", {"fbank": {"num_filters": 10**9}}),
        ("blstm", {"num_layers": 10**7}),
        ("cnn", {"kernel": 10**6 + 1}),
        ("cnn_lstm", {"dim": 10**15}),
        ("conformer", {"ffn_dim": 10**8}),
        ("conformer", {"num_blocks": 10**6}),
        ("conformer", {"num_mels": 10**6}),
        ("conformer", {"window": 10**9}),
    ],
)
def test_a_configuration_larger_than_its_file_is_refused(tmp_path, kind, fields):
    network = small(kind)
    network.save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as arrays:
        contents = dict(arrays)
    config = json.loads(str(contents[f"{kind}.json"]))
    contents[f"{kind}.json"] = np.array(json.dumps({**config, **fields}))
    np.savez(tmp_path / "m.npz", **contents)
    with pytest.raises(
        ModelError, match=r"m\.npz: (the configuration has more weights|num_mels must|window must)"
    ):
        nets.load(tmp_path / "m.npz")


def test_a_file_much_larger_unpacked_is_refused(tmp_path):
    network = small("tdnn")
    network.save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as arrays:
        contents = dict(arrays)
    np.savez_compressed(tmp_path / "m.npz", **contents)
    nets.load(tmp_path / "m.npz")
    np.savez_compressed(tmp_path / "m.npz", **contents, more=np.zeros(10**7))
    with pytest.raises(ModelError, match="unpacks to 80,0"):
        nets.load(tmp_path / "m.npz")
