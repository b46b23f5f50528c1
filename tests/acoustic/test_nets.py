"""Properties of every kind of network: padding, lengths, context, training, windows."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from asr_hlg import acoustic
from asr_hlg.acoustic import nets
from asr_hlg.acoustic.nets.layers import LstmLayer, TimeConvolution
from tests.support.examples import examples
from tests.support.networks import OF_FBANK, SMALL, inputs, run, small, waveforms


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
@examples(20)
@given(subsampling=st.integers(1, 5), frames=st.lists(st.integers(1, 40), min_size=1, max_size=3))
def test_one_output_frame_begins_every_few_frames(kind, subsampling, frames):
    network = small(kind, subsampling=subsampling)
    log_probs, lengths = run(network, [torch.randn(n, 20) for n in frames])
    assert lengths.tolist() == [len(range(0, n, subsampling)) for n in frames]
    assert log_probs.shape[1] == max(lengths)
    assert network.config.frame_shift == pytest.approx(0.01 * subsampling)
    assert network.output_lengths(torch.tensor(frames)).tolist() == lengths.tolist()


@examples(30)
@given(st.integers(1, 3000))
def test_output_lengths_of_the_conformer(samples):
    network = small("conformer")
    log_probs, lengths = run(network, [torch.randn(samples)])
    assert network.output_lengths(torch.tensor(samples)) == lengths[0] == log_probs.shape[1]


@pytest.mark.parametrize("kind", SMALL)
def test_a_linear_layer_turns_encoder_output_into_scores(kind):
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
            assert weight.grad is not None, name
            assert weight.grad.isfinite().all(), name
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
def test_features_are_normalised_by_mean_and_deviation(kind):
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
def test_unlimited_context_is_none(kind):
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


# ---------------------------------------------------------------- the acoustic model


@pytest.mark.parametrize("kind", OF_FBANK)
def test_posteriors_are_those_of_the_network(kind):
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
