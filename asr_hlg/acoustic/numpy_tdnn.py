"""Evaluation of a :class:`asr_hlg.acoustic.nets.tdnn.Tdnn` in numpy, without torch.

>>> network = NumpyTdnn.read("times.npz")
>>> network.log_probs(samples, sample_rate=16000).shape
(834, 121)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.features import FbankOptions
from asr_hlg.acoustic.numpy_fbank import fbank
from asr_hlg.errors import ModelError
from asr_hlg.files import parse_json

Floats = npt.NDArray[np.float32]

_KEY = "tdnn.json"  # the configuration in a saved network
_BLOCK = 1500  # frames that pass through a layer together: they stay in the cache


class NumpyTdnn:
    """A trained TDNN with one frame of output for every frame of filter banks.

    Parameters
    ----------
    config : mapping
        Fields of :class:`~asr_hlg.acoustic.nets.tdnn.TdnnConfig`.
    weights : mapping
        float32 arrays by their names in torch.

    Attributes
    ----------
    tokens : tuple of str
        Names of the output columns.
    sample_rate : int
        Hz.
    frame_shift : float
        Seconds.
    log_priors : np.ndarray or None
        float32 ``(num_tokens,)``: log p(φ) of a hybrid model.
    """

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Floats]):
        if config["subsampling"] != 1 or config["causal_layers"] or config["utterance_mean"]:
            raise ModelError("needs a TDNN without subsampling, causal layers and utterance mean")
        if config.get("edges", "zero") != "zero":
            raise ModelError("needs a TDNN with zeros around utterances")
        self.fbank = FbankOptions(**config["fbank"])
        self.tokens = tuple(config["tokens"])
        self.sample_rate = int(config["sample_rate"])
        self.frame_shift = self.fbank.frame_shift
        self.log_priors = np.log(weights["priors"]) if "priors" in weights else None
        self._mean, self._std = weights["mean"], weights["std"]
        self._layers = [
            (
                np.ascontiguousarray(weights[f"layers.{k}.convolution.weight"].transpose(2, 1, 0)),
                weights[f"layers.{k}.convolution.bias"],
                weights[f"layers.{k}.norm.weight"],
                weights[f"layers.{k}.norm.bias"],
                dilation,
            )
            for k, dilation in enumerate((1, *config["dilations"]))
        ]
        self._output = np.ascontiguousarray(weights["output.weight"].T), weights["output.bias"]
        self._context = sum((len(kernel) // 2) * dilation for kernel, *_, dilation in self._layers)

    @classmethod
    def read(cls, path: str | Path) -> NumpyTdnn:
        """Read a network that ``asr-hlg train`` saved, in any precision.

        Raises
        ------
        ModelError
            If the file is no TDNN, or one that numpy does not evaluate.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                config = parse_json(str(arrays[_KEY]))
                weights = {
                    name: arrays[name].astype(np.float32) for name in arrays.files if name != _KEY
                }
            return cls(config, weights)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"is no TDNN of asr-hlg train: {error}", path=Path(path)) from None

    def log_probs(self, samples: Floats, sample_rate: int) -> Floats:
        """Log-probabilities ``(num_frames, num_tokens)``, float32, of an utterance."""
        x = self.logits(samples, sample_rate)
        x -= x.max(axis=1, keepdims=True)
        x -= np.log(np.exp(x).sum(axis=1, keepdims=True))
        return x

    def logits(self, samples: Floats, sample_rate: int) -> Floats:
        """Log-probabilities up to a constant for each frame, as an alignment needs them.

        Parameters
        ----------
        samples : np.ndarray
            float32 ``(num_samples,)`` in [-1, 1].
        sample_rate : int
            Hz; must be the network's.
        """
        if sample_rate != self.sample_rate:
            raise ModelError(f"takes {self.sample_rate} Hz, not {sample_rate} Hz")
        features = (fbank(samples, sample_rate, self.fbank) - self._mean) / self._std
        result = np.empty((len(features), len(self.tokens)), np.float32)
        for begin in range(0, len(features), _BLOCK):
            end = min(len(features), begin + _BLOCK)
            first = max(0, begin - self._context)
            block = features[first : end + self._context]
            result[begin:end] = self._of_block(block)[begin - first : end - first]
        return result

    def _of_block(self, x: Floats) -> Floats:
        for kernel, bias, scale, shift, dilation in self._layers:
            x = _convolve(x, kernel, bias, dilation)
            np.clip(x, 0.0, 20.0, out=x)
            x -= x.mean(axis=1, keepdims=True)
            x /= np.sqrt(np.einsum("ij,ij->i", x, x)[:, None] / x.shape[1] + 1e-5)
            x *= scale
            x += shift
        x = x @ self._output[0]
        x += self._output[1]
        return x


def _convolve(x: Floats, kernel: Floats, bias: Floats, dilation: int) -> Floats:
    """Convolve over time, with zeros around the input; the kernel is ``(size, in, out)``."""
    reach = (len(kernel) // 2) * dilation
    padded = np.pad(x, ((reach, reach), (0, 0)))
    result: Floats = padded[: len(x)] @ kernel[0]
    for k in range(1, len(kernel)):
        result += padded[k * dilation : k * dilation + len(x)] @ kernel[k]
    result += bias
    return result
