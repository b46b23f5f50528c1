"""Network classes by the names that configurations give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asr_hlg.acoustic.conformer import Conformer
from asr_hlg.acoustic.nets.blstm import Blstm
from asr_hlg.acoustic.nets.cnn import Cnn, CnnLstm
from asr_hlg.acoustic.nets.tdnn import Tdnn
from asr_hlg.acoustic.network import Network
from asr_hlg.errors import ModelError
from asr_hlg.settings import nearest, section

KINDS: dict[str, type[Network]] = {
    network.kind: network for network in (Cnn, CnnLstm, Blstm, Tdnn, Conformer)
}
"""The class of each kind of network."""


def create(kind: str, tokens: Sequence[str], **fields: Any) -> Network:
    """Make a network with random weights.

    Parameters
    ----------
    kind : str
        ``cnn``, ``cnn_lstm``, ``blstm``, ``tdnn`` or ``conformer``.
    tokens : sequence of str
        The names of its columns; column 0 is ``<blk>`` for CTC.
    **fields
        Fields of the kind's configuration that differ from their defaults, as a TOML file gives
        them: ``fbank={"num_filters": 40}``.

    Raises
    ------
    ModelError
        If the kind or a field is unknown, naming the nearest one, or a value is out of range.
    """
    network = network_class(kind)
    values = {"tokens": tuple(tokens), **fields}
    return network(section(network.config_class, values, "network", error=ModelError))


def network_class(kind: str) -> type[Network]:
    """Class of a kind of network; an unknown kind is a ModelError."""
    if kind not in KINDS:
        raise ModelError(f"unknown kind of network {kind!r}", remedy=nearest(kind, KINDS))
    return KINDS[kind]
