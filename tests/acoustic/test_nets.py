"""The networks to train: what they promise whatever is inside them."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from asr_hlg import acoustic
from asr_hlg.acoustic import hama, nets
from asr_hlg.acoustic.nets.layers import LstmLayer, TimeConvolution
from asr_hlg.errors import ModelError

TOKENS = ("<blk>", "a", "b", "c")
FBANK = {"num_filters": 20}
# Small, but with every part that the kind has.
SMALL = {
    "cnn": {"fbank": FBANK, "channels": 4, "dim": 16, "num_layers": 2},
    "cnn_lstm": {"fbank": FBANK, "channels": 4, "dim": 16, "num_layers": 2},
    "blstm": {"fbank": FBANK, "hidden": 24, "dim": 16, "num_layers": 2},
    "tdnn": {"fbank": FBANK, "dim": 16, "dilations": (1, 2)},
    "conformer": {"dim": 16, "num_blocks": 1, "num_heads": 2, "ffn_dim": 32},
}
OF_FBANK = [kind for kind in SMALL if kind != "conformer"]


def small(kind: str, **fields) -> nets.Network:
    torch.manual_seed(0)
    network = nets.create(kind, TOKENS, **{**SMALL[kind], **fields}).eval()
    if kind != "conformer":
        network.normalise_with(torch.randn(20), torch.rand(20) + 0.5)
    return network


def inputs(network: nets.Network, *tenths: int) -> list[torch.Tensor]:
    """Something to recognise, of so many tenths of a second and a bit."""
    generator = torch.Generator().manual_seed(2)
    if network.config.fbank is None:
        return [0.1 * torch.randn(1600 * t + 7, generator=generator) for t in tenths]
    return [torch.randn(10 * t + 1, 20, generator=generator) for t in tenths]


def run(network, rows, padding_value: float = 0.0):
    lengths = torch.tensor([len(row) for row in rows])
    with torch.no_grad():
        return network(pad_sequence(rows, True, padding_value), lengths)


# ---------------------------------------------------------------- what comes out


@pytest.mark.parametrize("kind", SMALL)
def test_padding_never_changes_a_result(kind):
    network = small(kind)
    rows = inputs(network, 9, 3, 1, 6)
    log_probs, lengths = run(network, rows, padding_value=0.7)
    for row, ours, length in zip(rows, log_probs, lengths, strict=True):
        alone, frames = run(network, [row])
        assert frames.tolist() == [length] == [alone.shape[1]]
        torch.testing.assert_close(ours[:length], alone[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", SMALL)
def test_log_probabilities_are_normalised_and_lengths_are_exact(kind):
    network = small(kind)
    log_probs, lengths = run(network, inputs(network, 5, 2))
    assert log_probs.dtype == torch.float32
    assert lengths.dtype == torch.int64
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(log_probs.shape[:2]))
    shift = network.config.frame_shift
    for tenths, length in zip((5, 2), lengths.tolist(), strict=True):
        # Samples are 7 more than that, filter-bank frames one more.
        assert length == math.ceil((tenths * 0.1 + 0.005) / shift)


@pytest.mark.parametrize("kind", OF_FBANK)
@settings(max_examples=20, deadline=None)
@given(subsampling=st.integers(1, 5), frames=st.lists(st.integers(1, 40), min_size=1, max_size=3))
def test_one_output_frame_begins_every_few_frames(kind, subsampling, frames):
    network = small(kind, subsampling=subsampling)
    log_probs, lengths = run(network, [torch.randn(n, 20) for n in frames])
    assert lengths.tolist() == [len(range(0, n, subsampling)) for n in frames]
    assert log_probs.shape[1] == max(lengths)
    assert network.config.frame_shift == pytest.approx(0.01 * subsampling)
    assert network.output_lengths(torch.tensor(frames)).tolist() == lengths.tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3000))
def test_frames_of_the_conformer_are_known_beforehand(samples):
    network = small("conformer")
    log_probs, lengths = run(network, [torch.randn(samples)])
    assert network.output_lengths(torch.tensor(samples)) == lengths[0] == log_probs.shape[1]


@pytest.mark.parametrize("kind", SMALL)
def test_the_encoder_is_what_a_linear_layer_makes_scores_of(kind):
    network = small(kind)
    rows = inputs(network, 4, 2)
    lengths = torch.tensor([len(row) for row in rows])
    with torch.no_grad():
        features, frames = network.encode(pad_sequence(rows, True), lengths)
        last = network.projection if kind == "conformer" else network.output
        again = last(features).log_softmax(-1)
    assert features.shape[2] == network.encoder_dim
    log_probs, expected = run(network, rows)
    assert torch.equal(again, log_probs)
    assert torch.equal(frames, expected)


@pytest.mark.parametrize("kind", SMALL)
def test_every_weight_learns_and_the_loss_falls(kind):
    network = small(kind, dropout=0.0).train()
    rows = inputs(network, 6, 5)
    padded, lengths = pad_sequence(rows, True), torch.tensor([len(row) for row in rows])
    targets, sizes = torch.tensor([[1, 2, 3], [3, 3, 0]]), torch.tensor([3, 2])
    optimiser = torch.optim.Adam(network.parameters(), lr=0.003)
    losses = []
    for _ in range(30):
        log_probs, frames = network(padded, lengths)
        loss = torch.nn.functional.ctc_loss(log_probs.transpose(0, 1), targets, frames, sizes)
        optimiser.zero_grad()
        loss.backward()
        for name, weight in network.named_parameters():
            assert weight.grad is not None and weight.grad.isfinite().all(), name
            assert weight.grad.abs().max() > 0, name
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


# ---------------------------------------------------------------- layers by their definitions


@pytest.mark.parametrize("causal", [False, True])
def test_a_time_convolution_is_its_sum(causal):
    torch.manual_seed(1)
    layer = TimeConvolution(3, 4, kernel=5, dilation=2, stride=3, causal=causal).eval()
    x = torch.randn(11, 3)
    ours, lengths = layer(x[None], torch.tensor([11]))
    weight, bias = layer.convolution.weight, layer.convolution.bias
    assert lengths.tolist() == [4]
    for t in range(4):
        taps = [3 * t + 2 * (k - (4 if causal else 2)) for k in range(5)]
        total = sum(weight[:, :, k] @ x[i] for k, i in enumerate(taps) if 0 <= i < 11) + bias
        clipped = total.clamp(0, 20)
        expected = (clipped - clipped.mean()) / (clipped.var(unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(ours[0, t], expected, atol=1e-5, rtol=0)


def test_both_directions_equal_packed_sequences():
    torch.manual_seed(1)
    layer = LstmLayer(6, 5, bidirectional=True, dropout=0.0).eval()
    packed = torch.nn.LSTM(6, 5, batch_first=True, bidirectional=True)
    for name, weight in layer.forwards.named_parameters():
        packed.get_parameter(name).data = weight.data
        packed.get_parameter(name + "_reverse").data = layer.backwards.get_parameter(name).data
    x, lengths = torch.randn(3, 9, 6), torch.tensor([9, 4, 6])
    sequence = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    both = pad_packed_sequence(packed(sequence)[0], batch_first=True)[0]
    expected = layer.norm(both[..., :5] + both[..., 5:])
    ours = layer(x, lengths)
    for row, (a, b) in zip(lengths, zip(ours, expected, strict=True), strict=True):
        torch.testing.assert_close(a[:row], b[:row], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", OF_FBANK)
def test_features_are_normalised_by_what_the_data_say(kind):
    network = small(kind)
    mean, std = torch.linspace(-3, 4, 20), torch.linspace(0.5, 2, 20)
    [row] = inputs(network, 3)
    network.normalise_with(torch.zeros(20), torch.ones(20))
    expected, _ = run(network, [row])
    network.normalise_with(mean, std)
    torch.testing.assert_close(run(network, [row * std + mean])[0], expected, atol=1e-4, rtol=0)


def test_half_precision_does_not_reach_the_spectrum():
    network = small("conformer")
    waveform = 1e-3 * torch.randn(1, 4000)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        features, _ = network._features(waveform, torch.tensor([4000]))
    torch.testing.assert_close(features, network.log_mel(waveform, torch.tensor([4000]))[0])


# ---------------------------------------------------------------- context


LIMITED = {
    "cnn": {},
    "cnn causal": {"causal": True},
    "cnn_lstm forwards": {"bidirectional": False},
    "tdnn": {},
    "tdnn partly causal": {"causal_layers": 2},
    "tdnn causal": {"causal_layers": 3},
}


@pytest.mark.parametrize("name", LIMITED)
@pytest.mark.parametrize("subsampling", [1, 3])
def test_a_frame_depends_on_nothing_beyond_its_context(name, subsampling):
    network = small(name.split()[0], subsampling=subsampling, **LIMITED[name])
    x = torch.randn(1, 150, 20, requires_grad=True)
    t = 60 // subsampling
    # Of a frame that is seen, some band has a gradient.
    network(x, torch.tensor([150]))[0][0, t, 1].backward()
    seen = x.grad[0].abs().sum(1).nonzero()[:, 0]
    assert seen.max() == t * subsampling + network.right_context
    if network.left_context is not None:
        assert seen.min() == t * subsampling - network.left_context
    if name in ("cnn causal", "tdnn causal"):
        assert network.right_context == 0


@pytest.mark.parametrize("kind", ["blstm", "cnn_lstm", "conformer"])
def test_what_hears_everything_says_so(kind):
    network = small(kind)
    assert network.right_context is None
    [row] = inputs(network, 8)
    changed = row.clone()
    changed[-1] += 1.0
    assert not torch.equal(run(network, [row])[0][0, 0], run(network, [changed])[0][0, 0])


# ---------------------------------------------------------------- SpecAugment


@pytest.mark.parametrize("kind", SMALL)
def test_augmentation_is_for_training_only(kind, tmp_path):
    network = small(kind, dropout=0.0)
    rows = inputs(network, 4, 2)
    plain, _ = run(network, rows)
    calls = []

    def mask(features, lengths):
        calls.append((tuple(features.shape), lengths.tolist()))
        return torch.zeros_like(features)

    network.augment = mask
    assert torch.equal(run(network, rows)[0], plain)
    assert not calls
    masked, _ = run(network.train(), rows)
    assert not torch.allclose(masked, plain, atol=1e-3)
    assert calls == [((2, 41, 80 if kind == "conformer" else 20), [41, 21])]
    nets.export(network, tmp_path / "m.pt")
    assert network.augment is mask
    assert network.training
    ours = acoustic.load(tmp_path / "m.pt")._run(
        pad_sequence(rows, True), torch.tensor([len(row) for row in rows])
    )[0]
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=0)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("kind", SMALL)
def test_what_is_saved_loads_as_it_was(kind, tmp_path):
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
    assert torch.equal(posteriors.priors, network.priors)
    assert posteriors.tokens == TOKENS
    assert posteriors.frame_shift == network.config.frame_shift


def test_a_network_without_priors_has_none(tmp_path):
    small("tdnn").save(tmp_path / "m.npz")
    assert acoustic.load(tmp_path / "m.npz").posteriors([torch.randn(8000)], 16000).priors is None


@pytest.mark.parametrize("priors", [[0.5, 0.5], [0.5, 0.5, 0.0, 0.1], [1, 2, 3, 4], ["a"] * 4])
def test_priors_that_are_no_probabilities_are_errors(tmp_path, priors):
    network = small("tdnn")
    network.save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as arrays:
        contents = dict(arrays)
    np.savez(tmp_path / "m.npz", **contents, priors=np.array(priors))
    with pytest.raises(ModelError, match=r"m\.npz"):
        nets.load(tmp_path / "m.npz")


def waveforms() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [0.1 * torch.randn(n, generator=generator) for n in (12000, 7000, 16000)]


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
    torch.testing.assert_close(ours.priors, network.priors)


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
def test_a_configuration_cannot_ask_for_all_memory(tmp_path, kind, fields):
    network = small(kind)
    network.save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as arrays:
        contents = dict(arrays)
    config = json.loads(str(contents[f"{kind}.json"]))
    contents[f"{kind}.json"] = np.array(json.dumps({**config, **fields}))
    np.savez(tmp_path / "m.npz", **contents)
    with pytest.raises(ModelError, match=r"m\.npz: (the configuration asks|mel filters|a window)"):
        nets.load(tmp_path / "m.npz")


def test_a_file_that_unpacks_to_much_more_is_refused(tmp_path):
    network = small("tdnn")
    network.save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as arrays:
        contents = dict(arrays)
    np.savez_compressed(tmp_path / "m.npz", **contents)
    nets.load(tmp_path / "m.npz")
    np.savez_compressed(tmp_path / "m.npz", **contents, more=np.zeros(10**7))
    with pytest.raises(ModelError, match="unpacks to 80,0"):
        nets.load(tmp_path / "m.npz")


# ---------------------------------------------------------------- the acoustic model


@pytest.mark.parametrize("kind", OF_FBANK)
def test_posteriors_are_the_networks_own(kind):
    network = small(kind)
    rows = waveforms()
    ours = acoustic.NetworkModel(network).posteriors(rows, 16000)
    for k, row in enumerate(rows):
        [features] = acoustic.external.fbank([row], 16000, network.config.fbank)
        expected, lengths = run(network, [features])
        assert ours.lengths[k] == lengths[0]
        torch.testing.assert_close(ours.log_probs[k, : lengths[0]], expected[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["cnn", "tdnn"])
def test_windows_change_nothing_where_context_is_limited(kind, monkeypatch):
    network = small(kind)
    model = acoustic.NetworkModel(network)
    waveform = 0.1 * torch.randn(16000 * 7 + 123)
    whole = model.posteriors([waveform], 16000)
    monkeypatch.setattr(model, "WINDOW", 2)
    monkeypatch.setattr(model, "CONTEXT", 0)
    cut = model.posteriors([waveform, waveform[:16000]], 16000)
    assert cut.lengths[0] == whole.lengths[0]
    torch.testing.assert_close(
        cut.log_probs[0, : cut.lengths[0]], whole.log_probs[0], atol=1e-5, rtol=0
    )


# ---------------------------------------------------------------- names and numbers


def test_descriptions_give_size_and_frame_rate():
    # By hand: normalisation has no weights; (20·16·5 + 16) + 2·(16·16·3 + 16) in convolutions,
    # 3·32 in LayerNorms, 16·4 + 4 in the last layer.
    network = small("tdnn")
    expected = 20 * 16 * 5 + 16 + 2 * (16 * 16 * 3 + 16) + 3 * 32 + 16 * 4 + 4
    assert network.num_parameters == expected
    assert network.describe() == f"tdnn: {expected:,} parameters, 4 tokens, a frame every 30 ms"
    assert small("conformer").describe().endswith("a frame every 20 ms")


@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [
        ("tdn", {}, "unknown kind of network 'tdn' .*did you mean tdnn"),
        ("zzz", {}, "known: cnn, cnn_lstm, blstm, tdnn, conformer"),
        ("blstm", {"num_layer": 3}, r"unknown key \[network\] num_layer .*did you mean num_layers"),
        (
            "cnn",
            {"fbank": {"num_filter": 3}},
            r"unknown key \[network.fbank\] num_filter .*num_filters",
        ),
        ("cnn", {"dim": "wide"}, r"\[network\] dim must be an integer, not 'wide'"),
        ("cnn", {"dim": True}, "dim must be an integer, not True"),
        ("cnn", {"causal": 1}, "causal must be true or false, not 1"),
        (
            "tdnn",
            {"dilations": 3},
            r"\[network\] dilations must be a list, every .* not 3",
        ),
        (
            "tdnn",
            {"dilations": [1, "2"]},
            r"every item an integer, not \[1, '2'\]",
        ),
        ("tdnn", {"dilations": [0]}, "positive"),
        ("tdnn", {"dilations": [2**63 - 1]}, "at most 10,000"),
        ("tdnn", {"fbank": {"frame_shift": 1e-320}}, "a frame shift is between"),
        ("tdnn", {"subsampling": 6}, "skip frames"),
        ("tdnn", {"kernel": 4}, "odd"),
        ("tdnn", {"causal_layers": 9}, "from 0 to 6"),
        ("blstm", {"context": -1}, "context"),
        ("blstm", {"dim": 0}, "positive"),
        ("cnn_lstm", {"kernel_bands": 4}, "odd"),
        ("cnn", {"channels": 0}, "positive"),
        ("cnn", {"dropout": 1.0}, "probability below 1"),
        ("cnn", {"subsampling": 0}, "subsampling must be positive"),
        ("conformer", {"num_heads": 0}, "positive"),
        ("conformer", {"dropout": -0.5}, "probability below 1"),
        ("conformer", {"merge": (0, 1, 2, 3, 4)}, "column that no token has"),
    ],
)
def test_what_cannot_be_built_is_an_error(kind, fields, reason):
    with pytest.raises(ModelError, match=reason):
        nets.create(kind, TOKENS, **fields)


def test_no_tokens_are_an_error():
    with pytest.raises(ModelError, match="at least one token"):
        nets.create("tdnn", ())


@pytest.mark.parametrize("kind", SMALL)
def test_a_configuration_survives_json(kind):
    config = small(kind).config
    fields = json.loads(json.dumps(dataclasses.asdict(config)))
    tokens = fields.pop("tokens")
    assert nets.create(kind, tokens, **fields).config == config
