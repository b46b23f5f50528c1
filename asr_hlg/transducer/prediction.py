"""Prediction networks: what a transducer has said so far, as a vector.

Both kinds offer the same. In training, :meth:`forward` takes whole transcripts. In a search,
hypotheses grow one token at a time: a *state* is a tuple of tensors whose rows are hypotheses, so
that a search selects, copies and merges hypotheses by their rows.

>>> network = Stateless(num_tokens=5, dim=8, context=2)
>>> state = network.push(network.start(1), torch.tensor([3]))
>>> network.output(state).shape
torch.Size([1, 8])
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

State = tuple[Tensor, ...]


class Stateless(nn.Module):
    """The last few tokens, embedded and convolved.

    Ghodsi et al., "RNN-Transducer with Stateless Prediction Network" (2020): two tokens of context
    recognise as well as an LSTM, and hypotheses that end alike share all their future, which is
    what lets a graph search merge them.

    Parameters
    ----------
    num_tokens : int
        Blank included; its embedding (id 0) stands for what is before the first token.
    dim : int
        Width of embeddings and output.
    context : int
        Tokens that it sees.
    """

    def __init__(self, num_tokens: int, dim: int, context: int):
        super().__init__()
        self.context: int | None = context
        self.embedding = nn.Embedding(num_tokens, dim)
        self.convolution = nn.Conv1d(dim, dim, context)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transcripts, int64 ``(B, U)``, to vectors ``(B, U + 1, dim)`` before each token."""
        assert self.context is not None
        embedded = self.embedding(F.pad(tokens, (self.context, 0)))
        return F.relu(self.convolution(embedded.transpose(1, 2))).transpose(1, 2)

    def start(self, num_hypotheses: int) -> State:
        """The state before the first token."""
        assert self.context is not None
        device = self.embedding.weight.device
        return (torch.zeros(num_hypotheses, self.context, dtype=torch.int64, device=device),)

    def output(self, state: State) -> Tensor:
        """Vectors ``(hypotheses, dim)``."""
        embedded = self.embedding(state[0]).transpose(1, 2)
        return F.relu(self.convolution(embedded)).squeeze(2)

    def push(self, state: State, tokens: Tensor) -> State:
        """The state after one more token each, int64 ``(hypotheses,)``."""
        return (torch.cat([state[0][:, 1:], tokens[:, None]], 1),)


class Lstm(nn.Module):
    """All tokens so far, in an LSTM (Graves, "Sequence Transduction with RNNs", 2012).

    Parameters are as for :class:`Stateless`, but for ``num_layers``. A state is the LSTM's, after
    the start, for which the blank stands.
    """

    context: int | None = None

    def __init__(self, num_tokens: int, dim: int, num_layers: int):
        super().__init__()
        self.embedding = nn.Embedding(num_tokens, dim)
        self.lstm = nn.LSTM(dim, dim, num_layers, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """As :meth:`Stateless.forward`."""
        return self.lstm(self.embedding(F.pad(tokens, (1, 0))))[0]

    def start(self, num_hypotheses: int) -> State:
        """As :meth:`Stateless.start`."""
        shape = num_hypotheses, self.lstm.num_layers, self.lstm.hidden_size
        nothing = torch.zeros(shape, device=self.embedding.weight.device)
        tokens = torch.zeros(num_hypotheses, dtype=torch.int64, device=nothing.device)
        return self.push((nothing, nothing), tokens)

    def output(self, state: State) -> Tensor:
        """As :meth:`Stateless.output`."""
        return state[0][:, -1]

    def push(self, state: State, tokens: Tensor) -> State:
        """As :meth:`Stateless.push`."""
        hidden, cell = (part.transpose(0, 1).contiguous() for part in state)
        _, (hidden, cell) = self.lstm(self.embedding(tokens[:, None]), (hidden, cell))
        return hidden.transpose(0, 1), cell.transpose(0, 1)


def pick(state: State, rows: Tensor) -> State:
    """The state of other hypotheses: those at ``rows``, int64 ``(any number,)``."""
    return tuple(part[rows] for part in state)


def replace(state: State, rows: Tensor, by: State) -> State:
    """The state with the hypotheses at ``rows`` replaced."""
    return tuple(part.index_copy(0, rows, new) for part, new in zip(state, by, strict=True))
