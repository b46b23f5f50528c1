"""Kaldi's nnet3 models as folders: ``am/final.mdl``, ``conf``, ``ivector``, as Vosk reads them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.kaldi.conf import DecodingOptions, read_decoding_options
from asr_hlg.acoustic.kaldi.features import read_feature_options
from asr_hlg.acoustic.kaldi.folder import conf_folder, model_file
from asr_hlg.acoustic.kaldi.ivectors import IvectorExtractor
from asr_hlg.acoustic.kaldi.network import Nnet3Evaluator
from asr_hlg.acoustic.kaldi.nnet3 import Nnet3, read_hybrid_model
from asr_hlg.acoustic.kaldi.online import BestPath, KaldiStream, ModelParts
from asr_hlg.acoustic.kaldi.plan import NeedsWindows
from asr_hlg.acoustic.kaldi.reader import Floats
from asr_hlg.acoustic.kaldi.window import WindowEvaluator, WindowOptions
from asr_hlg.acoustic.model import AcousticModel, LastFrames, Samples
from asr_hlg.errors import ModelError


class KaldiModel(AcousticModel):
    """Hybrid model of an nnet3 network.

    Parameters
    ----------
    folder : Path
        With ``am/final.mdl``, ``conf/mfcc.conf`` or ``conf/fbank.conf``, ``conf/model.conf``, and
        ``ivector`` where the network needs i-vectors; or with these files at its top.

    Attributes
    ----------
    tokens : tuple of str
        ``pdf_0``, ``pdf_1``, …: columns of the log-likelihoods.
    parts : ModelParts
    options : DecodingOptions
    transitions : TransitionModel
    searches : callable or None
        Begins the search of a recording, whose best path marks frames as silence.

    Raises
    ------
    ModelError
        If a file is absent or damaged, or the files do not fit together.
    """

    searches: Callable[[], BestPath] | None = None

    def __init__(self, folder: Path):
        path = model_file(folder)
        if path is None:
            raise ModelError(
                "has no am/final.mdl", path=folder, remedy="name the folder of a model for Vosk"
            )
        conf = conf_folder(folder)
        features = read_feature_options(conf)
        self.options = read_decoding_options(conf / "model.conf")
        hybrid = read_hybrid_model(path)
        self.transitions = hybrid.transitions
        sub = self.options.frame_subsampling_factor
        evaluator = evaluator_of(hybrid.network, sub, path, _window_options(self.options))
        extractor = None
        if evaluator.ivector_width:
            extractor = IvectorExtractor(_ivector_folder(folder), features.width)
        log_priors = np.log(np.maximum(hybrid.priors, 1e-30)).astype(np.float32)
        chunk = -(-self.options.frames_per_chunk // sub) * sub
        if isinstance(evaluator, WindowEvaluator):
            chunk = evaluator.options.chunk
        silence = np.array(self.options.silence_phones, np.int32)
        self.parts = ModelParts(features, evaluator, extractor, log_priors, chunk, silence)
        self._check(path)
        shift = features.shift / features.sample_frequency * sub
        names = [f"pdf_{number}" for number in range(evaluator.width)]
        super().__init__(names, shift, round(features.sample_frequency), "cpu")

    def log_probs(self, waveforms: list[Samples]) -> list[Floats]:
        """Log-likelihoods ``(frames, num_pdfs)`` of each waveform, float32 at its rate.

        i-vectors are of the sound so far. Without ``searches`` they count silence like speech.
        """
        return [self._of_one(waveform) for waveform in waveforms]

    def _of_one(self, waveform: Samples) -> Floats:
        search = None if self.searches is None else self.searches()
        stream = KaldiStream(self.parts, search)
        parts = []
        for scores in chain(stream.accept(waveform), stream.finish()):
            if search is not None:
                search.accept(scores)
            parts.append(scores)
        return np.concatenate(parts) if parts else np.zeros((0, len(self.tokens)), np.float32)

    def _check(self, path: Path) -> None:
        evaluator, pdfs = self.parts.evaluator, self.transitions.num_pdfs
        extractor = self.parts.extractor
        ivectors = 0 if extractor is None else extractor.width
        for expected, found, what in (
            (evaluator.input_width, self.parts.features.width, "columns of features"),
            (evaluator.ivector_width, ivectors, "columns of i-vectors"),
        ):
            if expected != found:
                raise ModelError(
                    f"the network takes {expected} {what}, but the files give {found}", path=path,
                    remedy="copy all files of the same model",
                )  # fmt: skip
        if pdfs > evaluator.width or len(self.parts.log_priors) not in (0, evaluator.width):
            raise ModelError(
                f"the network has {evaluator.width} outputs for {pdfs} pdfs", path=path,
                remedy="copy all files of the same model",
            )  # fmt: skip

    def frame_stream(self, search: LastFrames | None = None) -> KaldiStream:
        """Log-likelihoods while sound comes; silent frames are those of the search's best path."""
        return KaldiStream(self.parts, search)

    @property
    def silence_phones(self) -> npt.NDArray[np.int32]:  # type: ignore[override]
        """Phones of the graph that are silence."""
        return self.parts.silence_phones


def evaluator_of(
    network: Nnet3, subsampling: int, path: Path, windows: WindowOptions
) -> Nnet3Evaluator | WindowEvaluator:
    """Evaluator of the network in a file: in one pass, or in windows where it must be.

    Raises
    ------
    ModelError
        If the network cannot be evaluated.
    """
    try:
        try:
            return Nnet3Evaluator(network, subsampling)
        except NeedsWindows:
            return WindowEvaluator(network, subsampling, windows)
    except (ValueError, KeyError, TypeError, ZeroDivisionError, OverflowError) as error:
        reason = f"a component lacks {error}" if isinstance(error, KeyError) else error
        raise ModelError(
            f"the network cannot be evaluated: {reason}",
            path=path,
            remedy="docs/kaldi.md lists what is supported",
        ) from None


def _window_options(options: DecodingOptions) -> WindowOptions:
    """Sizes of windows, for networks that need them."""
    sub = options.frame_subsampling_factor
    chunk = -(-max(options.frames_per_chunk, WindowOptions.chunk) // sub) * sub
    return WindowOptions(chunk, options.extra_left_context, options.extra_right_context)


def _ivector_folder(folder: Path) -> Path:
    """Folder ``ivector`` of a model that needs it."""
    if not (folder / "ivector").is_dir():
        raise ModelError(
            "the network needs i-vectors, but there is no folder ivector", path=folder,
            remedy="copy the folder with final.ie beside am",
        )  # fmt: skip
    return folder / "ivector"
