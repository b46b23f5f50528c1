"""Acoustic models that other toolkits exported: TorchScript and ONNX files.

Both are called the same way, so that one export serves both:

=========  ==========================================  ===========================================
input 1    float32 ``(B, samples)`` in [-1, 1], or     zero-padded to the longest; one channel, at
           ``(B, frames, num_filters)`` log-mel        the model's sample rate
input 2    int64 ``(B,)``                              samples, or frames, of each utterance
output 1   float32 ``(B, frames, num_tokens)``         log-probabilities or logits; normalised here
output 2   integers ``(B,)``                           frames of each utterance
=========  ==========================================  ===========================================

A JSON file of the same name in the same folder, ``model.json`` for ``model.pt``, adds the data that
these files lack::

    {
      "tokens": "tokens.txt",     a symbol table in the same folder, or a list of names
      "frame_shift": 0.04,        seconds from one output frame to the next
      "sample_rate": 16000,       Hz
      "fbank": {},                only if input 1 is log-mel energies: fields that differ from
                                  the defaults of asr_hlg.acoustic.features.FbankOptions
      "priors": [0.5, ...]        only for hybrid decoding: p(φ) of each token
    }
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.arrays import Array, log_softmax, pad, to_numpy, to_tensor
from asr_hlg.acoustic.config import SAMPLE_RATES, checked_priors
from asr_hlg.acoustic.features import FbankOptions, fbank
from asr_hlg.acoustic.model import AcousticModel, Samples
from asr_hlg.acoustic.runtime import OnnxSession
from asr_hlg.errors import AsrHlgError, ModelError
from asr_hlg.files import parse_json
from asr_hlg.fst import symbols
from asr_hlg.lexicon.token_files import blank_named
from asr_hlg.settings import section


@dataclass(frozen=True)
class Description:
    """Content of the JSON file beside a model; see the module for its fields.

    ``fbank`` is ``None`` for models that take waveforms.
    """

    tokens: tuple[str, ...]
    frame_shift: float
    sample_rate: int
    fbank: FbankOptions | None = None
    priors: npt.NDArray[np.float32] | None = None

    @staticmethod
    def read(model: Path, tokens: Sequence[str] | None = None) -> Description:
        """Read the description of a model file; ``tokens`` replace those that it names.

        Raises
        ------
        ModelError
            If there is no description, a field is missing or a value is wrong.
        """
        plain = model.with_suffix("") if model.name.endswith(".jsonl.gz") else model
        path = plain.with_suffix(".json")
        try:
            fields = parse_json(path.read_text(encoding="utf-8"))
        except OSError:
            raise ModelError(
                "the model has no description",
                path=model,
                remedy=f'write {{"tokens": ..., "frame_shift": seconds, "sample_rate": Hz}} '
                f"to {path.name} beside it",
            ) from None
        except ValueError as error:
            raise ModelError(f"not JSON: {error}", path=path) from None
        try:
            return _description(fields, tokens, path)
        except KeyError as error:
            raise ModelError(f"the description lacks {error}", path=path) from None
        except Exception as error:  # fields of any JSON type lead to errors of many kinds
            raise ModelError(f"a wrong value in the description: {error}", path=path) from None


class ExternalModel(AcousticModel):
    """Base class of models with the inputs and outputs above."""

    _run: Callable[[Array, npt.NDArray[np.int64]], tuple[Array, Any]]

    def __init__(self, path: Path, description: Description, device: str):
        super().__init__(
            description.tokens,
            description.frame_shift,
            description.sample_rate,
            device,
            description.priors,
        )
        self.path = path
        self.fbank = description.fbank

    def log_probs(self, waveforms: list[Samples]) -> list[Array]:
        """Log-probabilities ``(frames, num_tokens)`` of each waveform."""
        inputs: Sequence[Any] = waveforms
        if self.fbank is not None:
            tensors = [to_tensor(row, self.device) for row in inputs]
            inputs = fbank(tensors, self.sample_rate, self.fbank)
        lengths = np.array([len(row) for row in inputs], dtype=np.int64)
        try:
            scores, frames = self._run(pad(inputs), lengths)
        except Exception as error:  # errors of any type, since the network is not this project's
            # The last line of a TorchScript error is the reason; a traceback precedes it.
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise ModelError(
                f"the model has the wrong inputs or outputs: {reason}",
                path=self.path,
                remedy="see asr_hlg.acoustic.external for the inputs and outputs",
            ) from None
        if scores.ndim != 3 or scores.shape[2] != len(self.tokens):
            raise ModelError(
                f"the model returns scores of shape {tuple(scores.shape)} for {len(self.tokens)} "
                "tokens",
                path=self.path,
            )
        return [
            row[:length]
            for row, length in zip(log_softmax(scores), to_numpy(frames).tolist(), strict=True)
        ]


class TorchScriptModel(ExternalModel):
    """Network saved with ``torch.jit.script(network).save(path)``, or ``torch.jit.trace``."""

    def __init__(self, path: Path, description: Description, device: str):
        super().__init__(path, description, device)
        try:
            # torch does not check the checksums, and crashes on some damaged files.
            with zipfile.ZipFile(path) as archive:
                if (damaged := archive.testzip()) is not None:
                    raise ModelError(f"its part {damaged!r} is damaged", path=path)
            self._run = _script(path, self.device)
        except ModelError:
            raise
        except Exception:  # torch raises errors of many kinds
            # Pickled modules are refused, since unpickling runs code that the file names.
            raise ModelError(
                "not a TorchScript file; pickled weights are not read, since they can run code",
                path=path,
                remedy="export the model with torch.jit.script(model).save(path)",
            ) from None


class OnnxModel(ExternalModel):
    """Network in an ONNX file; inputs and outputs are matched by order, not by name."""

    def __init__(self, path: Path, description: Description, device: str):
        super().__init__(path, description, device)
        try:
            self._run = OnnxSession(str(path), self.device)
        except ModelError as error:
            raise ModelError(error.message, path=path, remedy=error.remedy) from None


def _script(path: Path, device: str) -> Callable[[Array, npt.NDArray[np.int64]], tuple[Array, Any]]:
    """Function that calls the network of a TorchScript file."""
    import torch

    network = torch.jit.load(str(path), map_location=device).eval()

    def run(batch: Array, lengths: npt.NDArray[np.int64]) -> tuple[Array, Any]:
        with torch.no_grad():
            scores, frames = network(to_tensor(batch, device), to_tensor(lengths, device))
        return scores, frames

    return run


def _description(fields: dict[str, Any], tokens: Sequence[str] | None, path: Path) -> Description:
    names = _tokens(fields["tokens"], path) if tokens is None else tuple(tokens)
    frame_shift, sample_rate = float(fields["frame_shift"]), int(fields["sample_rate"])
    if not 0 < frame_shift < math.inf:
        raise ValueError(f"{frame_shift} is not positive")
    if sample_rate not in SAMPLE_RATES:
        raise ValueError(f"a sample rate of {sample_rate} Hz is out of range")
    options = section(FbankOptions, fields["fbank"], "fbank") if "fbank" in fields else None
    priors = None
    if "priors" in fields:
        priors = checked_priors(np.array(fields["priors"], dtype=np.float32), len(names))
    return Description(names, frame_shift, sample_rate, options, priors)


def _tokens(value: str | list[str], path: Path) -> tuple[str, ...]:
    if not isinstance(value, str):
        return blank_named(tuple(map(str, value)))
    try:
        table = symbols.read(path.parent / value)
    except (OSError, AsrHlgError) as error:
        raise ModelError(f"cannot read its tokens: {error}", path=path) from None
    return blank_named([name for name in symbols.names(table) if not symbols.is_disambig(name)])
