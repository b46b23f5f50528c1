"""The step of a hybrid training that grows a tree: statistics, the table, labels, outputs.

With ``[tree]`` in a config, the rounds from ``round`` on train pdfs in context. The Viterbi
alignments of the round before give the statistics, the grown table is ``tree.txt`` in the folder of
the training, and the graphs of all its recipes are compiled with it into ``graphs/`` there::

    asr-hlg transcribe talk.wav --model exp/digits --graph exp/digits/graphs/digits-hmm
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asr_hlg.acoustic import nets
from asr_hlg.acoustic.features import FbankOptions, fbank
from asr_hlg.acoustic.network import FbankNetwork, Network
from asr_hlg.errors import OptionError
from asr_hlg.graph.tied_states import TiedStates
from asr_hlg.losses.frame_graph import FramePath
from asr_hlg.train.decision_tree import Context, Floats, Gaussian, State, Statistics

_CEPSTRA = 13


class Aligned(NamedTuple):
    """An utterance with its alignment to states that do not depend on the context.

    Attributes
    ----------
    features : np.ndarray
        float64 ``(num_frames, dim)``, see `cepstra`.
    path : FramePath
    """

    features: Floats
    path: FramePath


def cepstra(waveform: Tensor, network: Network, num_frames: int) -> Floats:
    """Cepstra and their differences, one row for each output frame of a network.

    The first 13 coefficients of the cosine transform of the network's log-mel filter banks, which
    a diagonal covariance fits better than the filter banks themselves, and half the difference of
    the frames after and before.

    Parameters
    ----------
    waveform : Tensor
        float32, at the sample rate of the network.
    network : Network
    num_frames : int
        Output frames of the network for it.
    """
    config = network.config
    options = config.fbank or FbankOptions()
    [banks] = fbank([waveform], config.sample_rate, options)
    static = banks.double().numpy() @ _cosines(banks.shape[1])
    around = np.pad(static, ((1, 1), (0, 0)), mode="edge")
    rows = np.concatenate([static, (around[2:] - around[:-2]) / 2], axis=1)
    times = np.arange(num_frames) * config.frame_shift / options.frame_shift
    picked: Floats = rows[np.minimum(np.round(times).astype(int), len(rows) - 1)]
    return picked


def _cosines(num_filters: int) -> Floats:
    """Matrix of the first coefficients of the cosine transform, ``(num_filters, 13)``."""
    angles = np.outer(np.arange(num_filters) + 0.5, np.arange(_CEPSTRA)) * np.pi / num_filters
    matrix: Floats = np.sqrt(2 / num_filters) * np.cos(angles)
    return matrix


def collect(utterances: Iterable[Aligned], num_states: int) -> Statistics:
    """Sum the statistics of frames by state and context."""
    found: dict[State, dict[Context, Gaussian]] = defaultdict(dict)
    for features, path in utterances:
        around = _in_context(path, num_states)
        for (phone, state, left, right), rows in _groups(around):
            part = features[rows]
            gaussian = found[phone, state].setdefault(
                (left, right), Gaussian(0.0, np.zeros(part.shape[1]), np.zeros(part.shape[1]))
            )
            gaussian.count += len(part)
            gaussian.sum += part.sum(0)
            gaussian.squares += (part**2).sum(0)
    return found


def tied_labels(path: FramePath, states: TiedStates) -> Tensor:
    """Column of every frame, int64 ``(num_frames,)``, of pdfs in context."""
    phone, state, left, right = _in_context(path, states.num_states).T
    table = states.table
    left, right = np.minimum(left, table.shape[2] - 1), np.minimum(right, table.shape[3] - 1)
    return torch.from_numpy(table[phone, state, left, right].astype(np.int64))


def with_outputs(network: Network, states: TiedStates) -> Network:
    """Network with an output for each pdf in context, which starts as that of its phone's state.

    The probability of a state is divided evenly among its pdfs.

    Raises
    ------
    OptionError
        If the network is not one on filter banks.
    """
    if not isinstance(network, FbankNetwork):
        raise OptionError(
            f"a {network.kind} cannot be given outputs in context",
            remedy="use a network on filter banks, such as tdnn",
        )
    state_of = np.zeros(len(states.pdfs), np.int64)  # column without context
    for phone in range(1, states.num_phones + 1):
        for state in range(states.num_states):
            state_of[states.table[phone, state]] = 1 + (phone - 1) * states.num_states + state
    origin = torch.from_numpy(state_of)
    share = torch.bincount(origin, minlength=len(network.config.tokens))[origin].float()
    fields = {**vars(network.config), "tokens": states.pdfs}
    kind = nets.KINDS[network.kind]
    other: Network = kind(type(network.config)(**fields))
    weights = network.state_dict()
    weights["output.weight"] = weights["output.weight"][origin].clone()
    weights["output.bias"] = weights["output.bias"][origin] - share.log()
    other.load_state_dict(weights)
    return other


def _in_context(path: FramePath, num_states: int) -> npt.NDArray[np.int64]:
    """Phone, state, left and right context of every frame, int64 ``(num_frames, 4)``."""
    phones = path.tokens[path.tokens > 0]
    index = np.cumsum(path.tokens > 0) - 1
    left, right = np.append(0, phones[:-1]), np.append(phones[1:], 0)
    state = (path.labels - 1) % num_states
    columns = [each.astype(np.int64) for each in (phones[index], state, left[index], right[index])]
    return np.stack(columns, axis=1)


def _groups(
    rows: npt.NDArray[np.int64],
) -> Iterator[tuple[tuple[int, int, int, int], npt.NDArray[np.int64]]]:
    """Indices of equal rows."""
    kinds, kind = np.unique(rows, axis=0, return_inverse=True)
    for number, values in enumerate(kinds.tolist()):
        yield tuple(values), np.flatnonzero(kind.reshape(-1) == number)
