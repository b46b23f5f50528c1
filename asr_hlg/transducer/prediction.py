"""Prediction networks: the tokens emitted so far as a vector.

Both classes have the same methods. In training, :meth:`forward` takes whole transcripts. In a
search, hypotheses grow by one token at a time: a *state* is a tuple of tensors whose rows are
hypotheses, so a search selects, copies and replaces hypotheses by their rows.

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
    """Embeddings of the last few tokens, convolved.

    Ghodsi et al., "RNN-Transducer with Stateless Prediction Network" (2020): with two tokens of
    context it recognises as well as an LSTM. Hypotheses that end in the same tokens have the same
    continuations, so a graph search can merge them.

    Parameters
    ----------
    num_tokens : int
        With ∅ (id 0), whose embedding pads the context before the first token.
    dim : int
        Width of embeddings and output.
    context : int
        Number of tokens that the output depends on.
    """

    def __init__(self, num_tokens: int, dim: int, context: int) -> None:
        super().__init__()
        self.context: int | None = context
        self.embedding = nn.Embedding(num_tokens, dim)
        self.convolution = nn.Conv1d(dim, dim, context)

    def forward(self, tokens: Tensor) -> Tensor:
        """Output vectors ``(B, U + 1, dim)`` of all prefixes of transcripts, int64 ``(B, U)``."""
        assert self.context is not None
        embedded = self.embedding(F.pad(tokens, (self.context, 0)))
        return F.relu(self.convolution(embedded.transpose(1, 2))).transpose(1, 2)

    def start(self, num_hypotheses: int) -> State:
        """State before the first token."""
        assert self.context is not None
        device = self.embedding.weight.device
        return (torch.zeros(num_hypotheses, self.context, dtype=torch.int64, device=device),)

    def output(self, state: State) -> Tensor:
        """Output vectors of a state, ``(hypotheses, dim)``."""
        embedded = self.embedding(state[0]).transpose(1, 2)
        return F.relu(self.convolution(embedded)).squeeze(2)

    def push(self, state: State, tokens: Tensor) -> State:
        """Append one token to each hypothesis, int64 ``(hypotheses,)``."""
        return (torch.cat([state[0][:, 1:], tokens[:, None]], 1),)


class Lstm(nn.Module):
    """LSTM over all tokens so far (Graves, "Sequence Transduction with RNNs", 2012).

    Parameters are those of :class:`Stateless`, with ``num_layers`` in place of the context. A
    state is that of the LSTM; ∅ is its first input.
    """

    context: int | None = None

    def __init__(self, num_tokens: int, dim: int, num_layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_tokens, dim)
        self.lstm = nn.LSTM(dim, dim, num_layers, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """As :meth:`Stateless.forward`."""
        outputs: Tensor = self.lstm(self.embedding(F.pad(tokens, (1, 0))))[0]
        return outputs

    def start(self, num_hypotheses: int) -> State:
        """As :meth:`Stateless.start`."""
        shape = num_hypotheses, self.lstm.num_layers, self.lstm.hidden_size
        zeros = torch.zeros(shape, device=self.embedding.weight.device)
        tokens = torch.zeros(num_hypotheses, dtype=torch.int64, device=zeros.device)
        return self.push((zeros, zeros), tokens)

    def output(self, state: State) -> Tensor:
        """As :meth:`Stateless.output`."""
        return state[0][:, -1]

    def push(self, state: State, tokens: Tensor) -> State:
        """As :meth:`Stateless.push`."""
        hidden, cell = (part.transpose(0, 1).contiguous() for part in state)
        _, (hidden, cell) = self.lstm(self.embedding(tokens[:, None]), (hidden, cell))
        return hidden.transpose(0, 1), cell.transpose(0, 1)


def pick(state: State, rows: Tensor) -> State:
    """Select the hypotheses at ``rows``, int64, in that order and repeatedly if named so."""
    return tuple(part[rows] for part in state)


def replace(state: State, rows: Tensor, by: State) -> State:
    """Replace the hypotheses at ``rows``."""
    return tuple(part.index_copy(0, rows, new) for part, new in zip(state, by, strict=True))
