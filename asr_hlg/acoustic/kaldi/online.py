"""Log-likelihoods of one recording as they become computable while its sound arrives.

The order of the steps is that of Kaldi's ``online2`` decoding: sound, features, weights of silent
frames by the search so far, an i-vector for the next chunk of frames, the network on that chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.kaldi import features
from asr_hlg.acoustic.kaldi.features import FeatureOptions
from asr_hlg.acoustic.kaldi.ivectors import IvectorEstimate, IvectorExtractor
from asr_hlg.acoustic.kaldi.network import Nnet3Evaluator
from asr_hlg.acoustic.kaldi.reader import Floats
from asr_hlg.acoustic.kaldi.rows import Rows
from asr_hlg.acoustic.kaldi.silence import SilenceWeights
from asr_hlg.acoustic.kaldi.window import WindowEvaluator
from asr_hlg.acoustic.model import LastFrames

STEP = 0.2
"""Seconds of sound after which the weights of frames are updated, as in Vosk."""


@dataclass(frozen=True)
class ModelParts:
    """Parts of a hybrid model: features, network, i-vector extractor, priors.

    Attributes
    ----------
    features : FeatureOptions
    evaluator : Nnet3Evaluator or WindowEvaluator
    extractor : IvectorExtractor or None
        None for a network without i-vectors.
    log_priors : np.ndarray
        float32 ``(num_pdfs,)``, subtracted from the output; empty for chain models.
    chunk : int
        Frames that the network computes at a time, a multiple of its subsampling factor.
    silence_phones : np.ndarray
        int32: phones whose frames count little in the i-vector.
    """

    features: FeatureOptions
    evaluator: Nnet3Evaluator | WindowEvaluator
    extractor: IvectorExtractor | None
    log_priors: Floats
    chunk: int
    silence_phones: npt.NDArray[np.int32]


class BestPath(LastFrames, Protocol):
    """A search that marks frames as silence by its best path so far."""

    def accept(self, scores: Floats) -> None:
        """Search more frames, with log-likelihoods ``(frames, num_pdfs)``."""


class KaldiStream:
    """Log-likelihoods of one recording, computed as its sound arrives.

    Parameters
    ----------
    model : ModelParts
    search : LastFrames, optional
        By default every frame counts fully in the i-vector.

    Attributes
    ----------
    decoded : int
        Output frames that have been returned.
    """

    def __init__(self, model: ModelParts, search: LastFrames | None = None):
        self._model, self._search = model, search
        self._network = model.evaluator.stream()
        self._rest = np.zeros(0, np.float32)  # sound that later frames need
        self._again = 0  # frames of it that have been computed
        self._features = Rows(model.features.width)
        self._ivectors = Rows(max(1, model.evaluator.ivector_width))
        self._speaker = None if model.extractor is None else _Speaker(model, model.extractor)
        self._finished = False
        self._next = -self._network.warm_up
        self.decoded = 0

    def accept(self, samples: Floats) -> Iterator[Floats]:
        """Add sound, and give the log-likelihoods of the frames that it completes.

        Parameters
        ----------
        samples : np.ndarray
            float32 ``(num_samples,)`` in [-1, 1], at the model's rate.

        Yields
        ------
        np.ndarray
            float32 ``(frames, num_pdfs)``. The search must pass them before the next are asked for.
        """
        step = round(STEP * self._model.features.sample_frequency)
        for begin in range(0, len(samples), step):
            self._rest = np.append(self._rest, samples[begin : begin + step] * 32768)
            self._compute_features()
            yield from self._advance()

    def finish(self) -> Iterator[Floats]:
        """Log-likelihoods of the frames that waited for more sound."""
        self._finished = True
        self._compute_features()
        yield from self._advance()

    def _compute_features(self) -> None:
        options = self._model.features
        if not options.snip_edges:
            self._compute_with_edges()
            return
        count = features.num_frames(len(self._rest), options, self._finished)
        if count:
            used = (count - 1) * options.shift + options.length
            self._features.append(features.compute(self._rest[:used], options))
            self._rest = self._rest[count * options.shift :]

    def _compute_with_edges(self) -> None:
        """Features whose first and last frames reach beyond the edges of the sound.

        Some frames are computed again, since what is kept of the sound has such an edge too.
        """
        options, again = self._model.features, self._again
        count = features.num_frames(len(self._rest), options, self._finished)
        if count <= again:
            return
        self._features.append(features.compute(self._rest, options)[again:count])
        self._again = min(count, options.length // options.shift + 1)
        self._rest = self._rest[(count - self._again) * options.shift :]

    def _advance(self) -> Iterator[Floats]:
        """Log-likelihoods of the chunks that are ready."""
        model, rows = self._model, self._features
        if not len(rows):
            return
        if self._speaker is not None:
            self._speaker.accept(rows, self._finished)
            self._weigh()
        size, right = model.chunk, model.evaluator.right_context
        sub = model.evaluator.subsampling
        total = -(-len(rows) // sub)
        ready = total if self._finished else max(0, len(rows) - right) // size * size // sub
        while self.decoded < ready:
            begin = self.decoded * sub
            end = begin + size
            self._extend_ivectors((end + right - 1) // size * size + size)
            ivectors = None if self._speaker is None else self._ivectors
            scores = self._network.advance(rows, ivectors, self._next, end)
            self._next = end
            scores = scores[: ready - self.decoded]
            self.decoded += len(scores)
            yield scores - model.log_priors if len(model.log_priors) else scores
        self._drop()

    def _drop(self) -> None:
        """Forget what no later frame needs."""
        self._ivectors.drop(self._next)
        needed = self._next - self._model.evaluator.left_frames
        if self._speaker is not None:
            self._speaker.drop()
            needed = min(needed, self._speaker.begin)
        self._features.drop(needed)

    def _weigh(self) -> None:
        """Update the weights of frames by the best path so far."""
        speaker = self._speaker
        if self._search is None or speaker is None or not speaker.ready:
            return
        count = speaker.weights.needed(self.decoded)
        phones, states = self._search.last_frames(count)
        silent = np.isin(phones, self._model.silence_phones)
        speaker.weigh(self.decoded, silent, states)

    def _extend_ivectors(self, count: int) -> None:
        """Give frames up to ``count`` that have no i-vector yet the present one."""
        missing = count - len(self._ivectors)
        if self._speaker is not None and missing > 0:
            row = self._speaker.ivector()
            self._ivectors.append(np.repeat(row[None], missing, axis=0))


class _Speaker:
    """LDA features of the frames so far, their weights, and the i-vector they give."""

    def __init__(self, model: ModelParts, extractor: IvectorExtractor):
        self._extractor = extractor
        self._estimate = IvectorEstimate(extractor)
        self._cmvn = extractor.normalisation()
        width = extractor.ubm.means_invvars.shape[1]
        self._plain, self._normalised = Rows(width), Rows(width)
        self.weights = SilenceWeights(model.evaluator.subsampling)
        self._is_weighted = False
        self._used = 0  # frames whose weights are in the estimate
        self._waiting: list[tuple[npt.NDArray[np.int64], Floats]] = []

    @property
    def ready(self) -> int:
        """Frames whose LDA features are known."""
        return len(self._plain)

    @property
    def begin(self) -> int:
        """The first frame of features that later LDA features need."""
        return self.ready - self._extractor.splice.left_context - self._extractor.cmvn.cmn_window

    def accept(self, rows: Rows, finished: bool) -> None:
        """Compute LDA features of all frames whose context is known."""
        splice = self._extractor.splice
        begin = self.ready
        end = len(rows) if finished else max(begin, len(rows) - splice.right_context)
        if end == begin:
            return
        frames = self._extractor.neighbours(begin, end, len(rows)).reshape(-1)
        self._plain.append(self._extractor.transformed(rows.take(frames)))
        self._normalised.append(self._extractor.transformed(self._cmvn.normalised(rows, frames)))

    def weigh(
        self, decoded: int, silent: npt.NDArray[np.bool_], states: npt.NDArray[np.int64]
    ) -> None:
        """Take note of changed weights."""
        self._is_weighted = True
        self._waiting.append(self.weights.update(self.ready, decoded, silent, states))

    def ivector(self) -> Floats:
        """i-vector of the frames so far."""
        ready = self.ready
        if ready <= self._used:
            return self._estimate.current
        if not self._is_weighted:
            used, ones = self._used, np.ones(ready - self._used, np.float32)
            plain, normalised = (x.part(used, ready) for x in (self._plain, self._normalised))
            self._estimate.add(plain, normalised, ones)
        else:
            self._add_waiting(ready)
        self._used = ready
        return self._estimate.solve()

    def _add_waiting(self, ready: int) -> None:
        """Add the changes of weights of the frames that are ready."""
        frames = np.concatenate([part[0] for part in self._waiting])
        changes = np.concatenate([part[1] for part in self._waiting])
        later = frames >= ready
        self._waiting = [(frames[later], changes[later])]
        unique, place = np.unique(frames[~later], return_inverse=True)
        weights = np.zeros(len(unique), np.float32)
        np.add.at(weights, place, changes[~later])
        self._estimate.add(self._plain.take(unique), self._normalised.take(unique), weights)

    def drop(self) -> None:
        """Forget frames whose weights are in the estimate and cannot change any more."""
        needed = self._used
        if self._is_weighted:
            needed = min([needed, self.weights.begin, *(int(part[0].min(initial=needed))
                                                        for part in self._waiting)])  # fmt: skip
        self._plain.drop(needed)
        self._normalised.drop(needed)
