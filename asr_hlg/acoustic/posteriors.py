"""Frame posteriors, the output of an acoustic model and input of a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.arrays import Array, concatenate, is_tensor, pad, to_numpy, to_tensor
from asr_hlg.errors import ModelError

if TYPE_CHECKING:
    import torch


class Posteriors:
    """Log-probabilities of tokens for a batch of utterances.

    They are kept as the model gives them, a numpy array or a tensor on any device:

    >>> posteriors.array       # numpy
    >>> posteriors.log_probs   # a tensor; this needs torch

    Parameters
    ----------
    log_probs : np.ndarray or torch.Tensor
        float32, shape ``(num_utterances, num_frames, num_tokens)``, natural log.
        Frames after an utterance's end are undefined.
    lengths : array of int
        Shape ``(num_utterances,)``: frames of each utterance.
    frame_shift : float
        Seconds from one frame to the next.
    tokens : tuple of str
        The name of every column; column 0 is ``<blk>`` for CTC.
    priors : array, optional
        float32 ``(num_tokens,)``: p(φ) of every column, for hybrid decoding; ``None`` for other
        models.
    features : torch.Tensor, optional
        float32 ``(num_utterances, num_frames, encoder_dim)``: encoder output of a transducer, from
        which its search computes scores; ``log_probs`` are then those before the first token.
        ``None`` for other models.

    Attributes
    ----------
    scores : np.ndarray or torch.Tensor
        The log-probabilities as they were given.
    lengths : np.ndarray
        int32 ``(num_utterances,)``.
    priors : np.ndarray or None
        float32 ``(num_tokens,)``.
    """

    def __init__(
        self,
        log_probs: Array,
        lengths: Any,
        frame_shift: float,
        tokens: tuple[str, ...],
        priors: Any = None,
        features: torch.Tensor | None = None,
    ):
        self.scores = log_probs
        self.lengths: npt.NDArray[np.int32] = to_numpy(lengths, np.int32)
        self.frame_shift = frame_shift
        self.tokens = tuple(tokens)
        self.priors: npt.NDArray[np.float32] | None = (
            None if priors is None else to_numpy(priors, np.float32)
        )
        self.features = features
        self._check()

    def _check(self) -> None:
        shape = tuple(self.scores.shape)
        if len(shape) != 3 or shape[2] != len(self.tokens):
            raise ModelError(
                f"log-probabilities have shape {shape}, "
                f"expected (utterances, frames, {len(self.tokens)} tokens)"
            )
        if self.lengths.shape != shape[:1]:
            raise ModelError(f"{shape[0]} utterances, but lengths of shape {self.lengths.shape}")
        if len(self.lengths) and self.lengths.max() > shape[1]:
            raise ModelError("an utterance is longer than the posteriors' frames")
        priors = self.priors
        if priors is not None and (priors.shape != shape[2:] or not (priors > 0).all()):
            raise ModelError(f"priors must be {len(self.tokens)} positive numbers")

    @property
    def array(self) -> npt.NDArray[np.float32]:
        """The log-probabilities as a numpy array."""
        return to_numpy(self.scores)

    @property
    def log_probs(self) -> torch.Tensor:
        """The log-probabilities as a tensor, on the device where they were computed."""
        return self.scores if is_tensor(self.scores) else to_tensor(self.scores)

    def with_scores(self, scores: Array) -> Posteriors:
        """Copy with other log-probabilities of the same frames and columns."""
        return self._copy(scores, self.lengths, self.features)

    def frames(self, begin: int, end: int | None) -> Posteriors:
        """Frames [begin, end) of a batch of one utterance; ``None`` for its end."""
        part = slice(begin, int(self.lengths[0]) if end is None else end)
        features = None if self.features is None else self.features[:, part]
        return self._with_frames(self.scores[:, part], features)

    def followed_by(self, other: Posteriors) -> Posteriors:
        """Concatenation of the frames of two batches of one utterance each."""
        return Posteriors.joined([self, other])

    @staticmethod
    def joined(parts: Sequence[Posteriors]) -> Posteriors:
        """Concatenation of the frames of batches of one utterance each; at least one."""
        features = [part.features for part in parts if part.features is not None]
        return parts[0]._with_frames(
            concatenate([part.scores for part in parts], axis=1),
            concatenate(features, axis=1) if features else None,
        )

    def utterance(self, index: int) -> Posteriors:
        """Batch of one utterance, without its padding."""
        rows = slice(index, index + 1)
        features = None if self.features is None else self.features[rows]
        return self._copy(self.scores[rows], self.lengths[rows], features).frames(0, None)

    @staticmethod
    def collate(utterances: Sequence[Posteriors]) -> Posteriors:
        """Padded batch from batches of one utterance each, all of the same model."""
        rows = [utterance.frames(0, None) for utterance in utterances]
        features = [row.features[0] for row in rows if row.features is not None]
        return rows[0]._copy(
            pad([row.scores[0] for row in rows]),
            np.concatenate([row.lengths for row in rows]),
            pad(features) if features else None,
        )

    def to(self, device: str) -> Posteriors:
        """Copy with the log-probabilities as a tensor on a device."""
        return self.with_scores(to_tensor(self.scores, str(device)))

    def _with_frames(self, scores: Array, features: torch.Tensor | None) -> Posteriors:
        return self._copy(scores, [scores.shape[1]], features)

    def _copy(self, scores: Array, lengths: Any, features: torch.Tensor | None) -> Posteriors:
        return Posteriors(scores, lengths, self.frame_shift, self.tokens, self.priors, features)
