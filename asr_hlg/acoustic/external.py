"""Acoustic models that other toolkits exported: TorchScript and ONNX files.

Both are called the same way, so that one export serves both:

=========  ==========================================  ===========================================
input 1    float32 ``(B, samples)`` in [-1, 1], or     zero-padded to the longest; one channel, at
           ``(B, frames, num_filters)`` log-mel        the model's sample rate
input 2    int64 ``(B,)``                              samples, or frames, of each utterance
output 1   float32 ``(B, frames, num_tokens)``         log-probabilities or logits; normalised here
output 2   integers ``(B,)``                           frames of each utterance
=========  ==========================================  ===========================================

What such a file does not say stands in a JSON file of the same name beside it, ``model.json`` for
``model.pt``::

    {
      "tokens": "tokens.txt",     a symbol table in the same folder, or a list of names
      "frame_shift": 0.04,        seconds from one output frame to the next
      "sample_rate": 16000,       Hz
      "fbank": {}                 only if input 1 is log-mel energies: fields that differ from
    }                             the defaults of asr_hlg.acoustic.features.FbankOptions
                                  "priors": [0.5, ...] may follow, one number a token: p(φ), by
                                  which hybrid decoding divides
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr_hlg.acoustic.features import FbankOptions, fbank
from asr_hlg.acoustic.model import AcousticModel
from asr_hlg.acoustic.network import checked_priors
from asr_hlg.acoustic.runtime import Session
from asr_hlg.audio.recording import RATES
from asr_hlg.errors import AsrHlgError, ModelError
from asr_hlg.fst import symbols
from asr_hlg.settings import section


@dataclass(frozen=True)
class Description:
    """What the JSON file beside a model says; ``fbank`` is ``None`` for models of waveforms."""

    tokens: tuple[str, ...]
    frame_shift: float
    sample_rate: int
    fbank: FbankOptions | None = None
    priors: Tensor | None = None

    @staticmethod
    def beside(path: Path, tokens: Sequence[str] | None = None) -> Description:
        """Read the description of a model file; ``tokens`` go before those that it names."""
        place = path.with_suffix(".json")
        try:
            fields = json.loads(place.read_text(encoding="utf-8"))
        except OSError:
            raise ModelError(
                "the model has no description",
                path=path,
                remedy=f'write {{"tokens": ..., "frame_shift": seconds, "sample_rate": Hz}} '
                f"to {place.name} beside it",
            ) from None
        except ValueError as error:
            raise ModelError(f"not JSON: {error}", path=place) from None
        try:
            names = _tokens(fields["tokens"], place) if tokens is None else tuple(tokens)
            return Description(
                tokens=names,
                frame_shift=_positive(float(fields["frame_shift"])),
                sample_rate=_rate(int(fields["sample_rate"])),
                fbank=section(FbankOptions, fields["fbank"], "fbank")
                if "fbank" in fields
                else None,
                priors=_priors(fields["priors"], len(names)) if "priors" in fields else None,
            )
        except KeyError as error:
            raise ModelError(f"the description lacks {error}", path=place) from None
        except Exception as error:  # values may be anything that JSON can say
            raise ModelError(f"a wrong value in the description: {error}", path=place) from None


class ExternalModel(AcousticModel):
    """A model with the inputs and outputs above; see :class:`TorchScriptModel`."""

    _run: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

    def __init__(self, path: Path, description: Description, device: str | torch.device):
        super().__init__(
            description.tokens, description.frame_shift, description.sample_rate, device
        )
        self.path = path
        self.fbank = description.fbank
        self.priors = description.priors

    def log_probs(self, waveforms: list[Tensor]) -> list[Tensor]:
        inputs = waveforms
        if self.fbank is not None:
            inputs = fbank(waveforms, self.sample_rate, self.fbank)
        lengths = torch.tensor([len(row) for row in inputs], device=self.device)
        try:
            with torch.no_grad():
                scores, lengths = self._run(pad_sequence(inputs, batch_first=True), lengths)
        except Exception as error:  # which a network of somebody else's may be of any kind
            # The last line of a TorchScript error is the reason; a traceback stands before it.
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise ModelError(
                f"the model does not take or return what it should: {reason}",
                path=self.path,
                remedy="see asr_hlg.acoustic.external for the inputs and outputs",
            ) from None
        if scores.ndim != 3 or scores.shape[2] != len(self.tokens):
            raise ModelError(
                f"the model returns scores of shape {tuple(scores.shape)} for {len(self.tokens)} "
                "tokens",
                path=self.path,
            )
        rows = scores.float().log_softmax(-1)
        return [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]


class TorchScriptModel(ExternalModel):
    """A network saved with ``torch.jit.script(network).save(path)``, or ``torch.jit.trace``."""

    def __init__(self, path: Path, description: Description, device: str | torch.device):
        super().__init__(path, description, device)
        try:
            # torch does not look at the checksums, and crashes on some files with damage.
            with zipfile.ZipFile(path) as archive:
                if (damaged := archive.testzip()) is not None:
                    raise ModelError(f"its part {damaged!r} is damaged", path=path)
            self._run = torch.jit.load(str(path), map_location=self.device).eval()
        except ModelError:
            raise
        except Exception:  # C++'s come as all kinds of Python's
            # A pickled module would run whatever code its sender wrote into it.
            raise ModelError(
                "not a TorchScript file; pickled weights are not read, since they can run code",
                path=path,
                remedy="export the model with torch.jit.script(model).save(path)",
            ) from None


class OnnxModel(ExternalModel):
    """A network in an ONNX file; inputs and outputs are taken in their order, not by name."""

    def __init__(self, path: Path, description: Description, device: str | torch.device):
        super().__init__(path, description, device)
        try:
            self._run = Session(str(path), self.device)
        except ModelError as error:
            raise ModelError(error.message, path=path, remedy=error.remedy) from None


def _tokens(value: str | list[str], place: Path) -> tuple[str, ...]:
    if not isinstance(value, str):
        return tuple(map(str, value))
    try:
        table = symbols.read(place.parent / value)
    except (OSError, AsrHlgError) as error:
        raise ModelError(f"cannot read its tokens: {error}", path=place) from None
    return tuple(name for name in symbols.names(table) if not symbols.is_disambig(name))


def _priors(values: list[float], num_tokens: int) -> Tensor:
    return checked_priors(torch.tensor(values, dtype=torch.float32), num_tokens)


def _positive(value):
    if not 0 < value < math.inf:
        raise ValueError(f"{value} is not positive")
    return value


def _rate(value: int) -> int:
    if value not in RATES:
        raise ValueError(f"a sample rate of {value} Hz is not one of speech")
    return value
