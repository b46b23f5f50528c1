"""Recognition while somebody speaks: filter banks in pieces of any size, tokens as they come."""

from __future__ import annotations

import torch
from torch import Tensor

from asr_hlg.errors import ModelError
from asr_hlg.transducer.greedy import Greedy
from asr_hlg.transducer.model import Transducer


class Stream:
    """One recording on its way in; it gives what greedy search gives for the whole of it.

    >>> stream = Stream(network)
    >>> for piece in pieces:                   # filter banks, (any number of frames, num_filters)
    ...     stream.accept(piece)
    ...     print(stream.tokens())
    >>> stream.finish()

    A frame is recognised once the encoder's ``right_context`` has come in. The few frames before
    it on which it depends are computed again, so an encoder needs a ``left_context`` too.

    Parameters
    ----------
    network : Transducer
        In evaluation mode, on an encoder of limited context: ``cnn`` and ``tdnn``, which can also
        be made causal.
    blank_penalty : float
    """

    def __init__(self, network: Transducer, blank_penalty: float = 0.0):
        encoder = network.encoder
        if encoder.left_context is None or encoder.right_context is None:
            raise ModelError(
                f"the encoder {encoder.kind} looks at whole recordings",
                remedy="use a cnn or a tdnn as encoder; causal ones answer soonest",
            )
        self._network = network
        self._search = Greedy(network, 1, blank_penalty)
        self._step = network.config.stack * network.config.encoder_config().subsampling
        last = (network.config.stack - 1) * network.config.encoder_config().subsampling
        self._right = last + encoder.right_context
        # Cut at a multiple of the step, so that frames keep their places.
        self._left = -(-encoder.left_context // self._step) * self._step
        self._inputs = torch.zeros(1, 0, network.config.fbank.num_filters)
        self._begin = 0  # the filter-bank frame with which _inputs begin
        self._done = 0  # frames recognised

    def accept(self, features: Tensor) -> None:
        """Take float32 ``(frames, num_filters)``, and recognise what they complete."""
        self._inputs = torch.cat([self._inputs.to(features), features[None]], 1)
        known = self._begin + self._inputs.shape[1]
        self._recognise((known - self._right - 1) // self._step + 1)

    def finish(self) -> None:
        """Recognise the last frames: no more will come."""
        known = torch.tensor([self._begin + self._inputs.shape[1]])
        self._recognise(int(self._network.output_lengths(known)))

    def tokens(self) -> list[tuple[int, int]]:
        """What was said so far: tokens, and the frames in which they are said."""
        return self._search.tokens()[0]

    @torch.no_grad()
    def _recognise(self, until: int) -> None:
        """Go on to the frame ``until``, which is not among them."""
        if until <= self._done:
            return
        length = torch.tensor([self._inputs.shape[1]], device=self._inputs.device)
        encoded, _ = self._network.encode(self._inputs, length)
        first = self._done - self._begin // self._step
        new = encoded[:, first : until - self._begin // self._step]
        self._search.accept(new, torch.tensor([new.shape[1]]))
        self._done = until
        # What no later frame depends on is forgotten.
        begin = max(0, until * self._step - self._left)
        self._inputs = self._inputs[:, begin - self._begin :]
        self._begin = begin
