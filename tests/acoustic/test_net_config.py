"""Configurations of networks: descriptions, bounds of fields, and JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest

from asr_hlg.acoustic import nets
from asr_hlg.errors import ModelError
from tests.support.networks import SMALL, TOKENS, small


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
        ("blstm", {"context": 0}, "skip frames"),
        ("cnn", {"kernel_frames": 1}, "skip frames"),
        ("conformer", {"hop": -1}, r"\[network\] hop must be positive, not -1"),
        ("tdnn", {"sample_rate": 768000}, "sample rate of 768000 Hz is out of range"),
        ("tdnn", {"kernel": 4}, "odd"),
        ("tdnn", {"causal_layers": 9}, "from 0 to 6"),
        ("blstm", {"context": -1}, "context"),
        ("blstm", {"dim": 0}, "positive"),
        ("cnn_lstm", {"kernel_bands": 4}, "odd"),
        ("cnn", {"channels": 0}, "positive"),
        ("cnn", {"dropout": 1.0}, "dropout must be at least 0 and below 1, not 1.0"),
        ("cnn", {"subsampling": 0}, "subsampling must be positive"),
        ("conformer", {"num_heads": 0}, "positive"),
        ("conformer", {"dropout": -0.5}, "dropout must be at least 0 and below 1, not -0.5"),
        ("conformer", {"merge": (0, 1, 2, 3, 4)}, "column that no token has"),
    ],
)
def test_wrong_configurations_are_errors(kind, fields, reason):
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
