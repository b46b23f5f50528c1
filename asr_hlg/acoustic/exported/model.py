"""Acoustic model of an exported CTC network: features, network, columns in the order of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.arrays import Array, log_softmax
from asr_hlg.acoustic.exported.chunks import StreamingNetwork
from asr_hlg.acoustic.exported.streams import ChunkStream, FeatureStream
from asr_hlg.acoustic.filter_banks import FilterOptions, Floats, filter_banks
from asr_hlg.acoustic.model import AcousticModel, LastFrames, Samples
from asr_hlg.errors import ModelError
from asr_hlg.lexicon.token_files import ModelTokens

_SHORTEST = 0.4  # seconds; shorter waveforms are lengthened by silence
_TOLERANCE = 3  # frames by which a network's output may differ from its subsampling factor


@dataclass(frozen=True)
class FrontEnd:
    """Front end: the input of a network for a waveform.

    Attributes
    ----------
    filters : FilterOptions or None
        None for networks that take the waveform itself.
    after : tuple of callable
        Functions applied to the features ``(frames, dim)``, or to the waveform, one after the
        other: normalisation, stacking.
    sample_rate : int
        Hz.
    """

    filters: FilterOptions | None
    after: tuple[Callable[[Floats], Floats], ...] = ()
    sample_rate: int = 16000

    def __call__(self, samples: Floats) -> Floats:
        """Features ``(frames, dim)`` of a waveform, or the waveform."""
        features = samples
        if self.filters is not None:
            features = filter_banks(samples, self.sample_rate, self.filters)
        for function in self.after:
            features = function(features)
        return features


Network = Callable[[Floats], npt.NDArray[Any]]
"""Features of one utterance to logits or log-probabilities ``(frames, outputs)``."""


@dataclass(frozen=True)
class Exported:
    """A model that another toolkit exported, as one of the kinds describes it.

    Attributes
    ----------
    kind : str
        The row of docs/models.md.
    path : Path
        The network's file.
    tokens : ModelTokens
    front_end : FrontEnd
    network : Network
    frame_shift : float
        Seconds from one output frame to the next.
    """

    kind: str
    path: Path
    tokens: ModelTokens
    front_end: FrontEnd
    network: Network = field(repr=False)
    frame_shift: float


class ExportedModel(AcousticModel):
    """Acoustic model of a CTC network that another toolkit exported.

    Utterances are computed one by one, since many of these networks take a batch of one only.
    """

    def __init__(self, exported: Exported, device: str = "cpu"):
        super().__init__(
            exported.tokens.names, exported.frame_shift, exported.front_end.sample_rate, device
        )
        self.kind, self.path = exported.kind, exported.path
        self.boundary = exported.tokens.boundary
        self._front_end, self._network = exported.front_end, exported.network
        self._columns = np.array(exported.tokens.columns)

    def log_probs(self, waveforms: list[Samples]) -> Sequence[Array]:
        """Log-probabilities ``(frames, num_tokens)`` of each waveform, float32 at its rate."""
        return [self._of_one(waveform) for waveform in waveforms]

    def _of_one(self, waveform: Samples) -> Floats:
        seconds = len(waveform) / self.sample_rate
        lacking = round(_SHORTEST * self.sample_rate) - len(waveform)
        samples = np.pad(waveform, (0, lacking)) if lacking > 0 else waveform
        scores = self._network(self._front_end(samples))
        if scores.ndim != 2 or scores.shape[1] != len(self._columns):
            raise ModelError(
                f"the network returns scores of shape {scores.shape} for "
                f"{len(self._columns)} tokens",
                path=self.path,
                remedy="put the tokens.txt there with which the model was exported",
            )
        self._check_frames(len(scores), len(samples) / self.sample_rate)
        rows = scores[: max(1, round(seconds / self.frame_shift) + 1)] if lacking > 0 else scores
        return self._to_log_probs(rows)

    def frame_stream(self, search: LastFrames | None = None) -> ChunkStream | None:
        """Computation of a recording's frames while its sound comes; None if not streaming.

        ``search`` is not used: the frames do not depend on its result.
        """
        filters = self._front_end.filters
        if filters is None or not isinstance(self._network, StreamingNetwork):
            return None
        features = FeatureStream(filters, self.sample_rate)
        return ChunkStream(self._network, features, self._to_log_probs)

    def _to_log_probs(self, scores: npt.NDArray[Any]) -> Floats:
        """Log-probabilities of the tokens from the network's scores ``(frames, outputs)``."""
        log_probs: Floats = log_softmax(scores[:, self._columns])
        return log_probs

    def _check_frames(self, frames: int, seconds: float) -> None:
        """Raise a ModelError if the frames are not those of the frame shift."""
        expected = seconds / self.frame_shift
        if abs(frames - expected) > _TOLERANCE + 0.05 * expected:
            raise ModelError(
                f"the network gives {frames} frames for {seconds:.2f} s, not one every "
                f"{1000 * self.frame_shift:g} ms as its metadata say",
                path=self.path,
                remedy="correct subsampling_factor in the metadata of the file",
            )
