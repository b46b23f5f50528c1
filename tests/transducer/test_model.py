"""Transducer networks: the parts agree in batches, in steps and after saving."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asr_hlg.acoustic import nets
from asr_hlg.acoustic.conformer import Conformer, ConformerConfig
from asr_hlg.errors import ModelError
from asr_hlg.transducer import Transducer, TransducerConfig
from asr_hlg.transducer.prediction import Lstm, Stateless, pick, replace

TOKENS = ("<blk>", "a", "b", "c")


def small(kind="tdnn", seed=0, encoder=None, **fields):
    torch.manual_seed(seed)
    shapes = {
        "tdnn": {"dim": 16, "dilations": [1, 2]},
        "cnn": {"dim": 16, "channels": 4, "num_layers": 2, "kernel": 3},
    }
    encoder_fields = {**shapes[kind], "fbank": {"num_filters": 8}, **(encoder or {})}
    shape = {"prediction_dim": 8, "joiner_dim": 16, **fields}
    network = Transducer(TransducerConfig(TOKENS, kind, encoder_fields, **shape)).eval()
    with torch.no_grad():
        network.output.weight *= 8  # otherwise the outputs of all frames are similar
    return network


@pytest.mark.parametrize("network", [Stateless(6, 8, 1), Stateless(6, 8, 3), Lstm(6, 8, 2)])
def test_prediction_step_by_step_is_prediction_at_once(network):
    tokens = torch.randint(1, 6, (3, 5))
    with torch.no_grad():
        whole = network(tokens)
        state = network.start(3)
        for u in range(6):
            torch.testing.assert_close(network.output(state), whole[:, u])
            if u < 5:
                state = network.push(state, tokens[:, u])


@pytest.mark.parametrize("network", [Stateless(6, 8, 2), Lstm(6, 8, 1)])
def test_states_are_rows(network):
    with torch.no_grad():
        one = network.push(network.start(2), torch.tensor([1, 2]))
        two = network.push(pick(one, torch.tensor([1])), torch.tensor([3]))
        mixed = replace(one, torch.tensor([0]), two)
        torch.testing.assert_close(network.output(mixed)[:1], network.output(two))
        torch.testing.assert_close(network.output(mixed)[1:], network.output(one)[1:])


def test_a_stateless_network_depends_on_its_context_only():
    network = Stateless(6, 8, 2)
    with torch.no_grad():
        vectors = network(torch.tensor([[1, 2, 3, 4], [5, 5, 3, 4]]))
    torch.testing.assert_close(vectors[0, 4], vectors[1, 4])
    assert not torch.allclose(vectors[0, 3], vectors[1, 3])


@pytest.mark.parametrize("stack", [1, 2, 3])
def test_batches_encode_as_single_utterances(stack):
    network = small(stack=stack)
    inputs, lengths = torch.randn(3, 40, 8), torch.tensor([40, 22, 1])
    with torch.no_grad():
        features, frames = network.encode(inputs, lengths)
        assert frames.tolist() == [-(-n // (3 * stack)) for n in lengths.tolist()]
        assert frames.tolist() == network.output_lengths(lengths).tolist()
        assert features.shape[2] == network.encoder_dim == 16 * stack
        for row, length in enumerate(lengths.tolist()):
            alone, _ = network.encode(inputs[row : row + 1, :length], lengths[row : row + 1])
            expected = features[row : row + 1, : frames[row]]
            torch.testing.assert_close(alone, expected, atol=1e-5, rtol=1e-4)
    assert network.config.frame_shift == pytest.approx(0.03 * stack)


def test_the_joint_table_is_the_definition():
    network = small()
    with torch.no_grad():
        features, _ = network.encode(torch.randn(1, 30, 8), torch.tensor([30]))
        tokens = torch.tensor([[2, 1]])
        table = network.join(network.encoded(features), network.predicted(tokens))
        assert table.shape == (1, 10, 3, 4)
        state = network.prediction.start(1)
        for u in range(3):
            for t in range(10):
                expected = network.log_probs(network.encoded(features)[:, t], state)
                torch.testing.assert_close(table[:, t, u].log_softmax(-1), expected)
            if u < 2:
                state = network.prediction.push(state, tokens[:, u])


@pytest.mark.parametrize("prediction", ["stateless", "lstm"])
def test_saved_and_loaded(tmp_path, prediction):
    network = small(prediction=prediction, stack=2)
    network.save(tmp_path / "model.npz")
    again = Transducer.load(tmp_path / "model.npz").eval()
    assert again.config == network.config
    assert again.state_dict().keys() == network.state_dict().keys()
    for name, weight in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    with np.load(tmp_path / "model.npz", allow_pickle=False) as arrays:
        assert "transducer.json" in arrays.files


def test_a_file_of_another_network_is_refused(tmp_path):
    nets.create("tdnn", TOKENS, dim=8, fbank={"num_filters": 8}).save(tmp_path / "tdnn.npz")
    with pytest.raises(ModelError, match="not a saved Transducer"):
        Transducer.load(tmp_path / "tdnn.npz")


def test_on_a_trained_encoder():
    """The encoder's weights are copied, without its output layer."""
    torch.manual_seed(0)
    shape = {"num_blocks": 1, "dim": 16, "num_heads": 2, "ffn_dim": 16, "kernel": 3}
    encoder = Conformer(ConformerConfig(("<blk>", "x"), **shape)).eval()
    network = Transducer.from_encoder(encoder, TOKENS, stack=1, dropout=0.0).eval()
    sound, lengths = torch.randn(1, 8000), torch.tensor([8000])
    with torch.no_grad():
        expected, _ = encoder.encode(sound, lengths)
        torch.testing.assert_close(network.encode(sound, lengths)[0], expected)
    assert not any("projection" in name for name in network.state_dict())
    assert network.config.fbank is None
    assert network.config.sample_rate == 16000
    assert network.config.frame_shift == pytest.approx(0.02)
    # A copy: training the transducer leaves the encoder as it was.
    with torch.no_grad():
        next(network.encoder.parameters()).add_(1.0)
        torch.testing.assert_close(encoder.encode(sound, lengths)[0], expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prediction": "gru"}, "prediction is one of"),
        ({"lattice": "constrained"}, "lattice is one of"),
        ({"stack": 0}, "stack must be positive, not 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, not 1.0"),
        ({"encoder": {"dims": 3}}, r"unknown key \[encoder\] dims"),
    ],
)
def test_invalid_configs(fields, message):
    with pytest.raises(ModelError, match=message):
        small(**fields)
    with pytest.raises(ModelError, match="needs ∅ and a token"):
        TransducerConfig(("<blk>",))


def test_a_causal_encoder_has_no_right_context():
    assert small("cnn", encoder={"causal": True}).encoder.right_context == 0
    assert small("tdnn", encoder={"causal_layers": 3}).encoder.right_context == 0
    assert small("cnn").encoder.right_context > 0


def test_a_transducer_cannot_be_exported(tmp_path):
    with pytest.raises(ModelError, match="a transducer cannot be exported"):
        nets.export(small(), tmp_path / "model.onnx")
