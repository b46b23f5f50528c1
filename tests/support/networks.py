"""Small networks of every kind, and inputs for them."""

from __future__ import annotations

import torch
from torch.nn.utils.rnn import pad_sequence

from asr_hlg.acoustic import nets

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
    """Random inputs, each a few samples or a frame longer than so many tenths of a second."""
    generator = torch.Generator().manual_seed(2)
    if network.config.fbank is None:
        return [0.1 * torch.randn(1600 * t + 7, generator=generator) for t in tenths]
    return [torch.randn(10 * t + 1, 20, generator=generator) for t in tenths]


def run(network, rows, padding_value: float = 0.0):
    lengths = torch.tensor([len(row) for row in rows])
    with torch.no_grad():
        return network(pad_sequence(rows, True, padding_value), lengths)


def waveforms() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [0.1 * torch.randn(n, generator=generator) for n in (12000, 7000, 16000)]
