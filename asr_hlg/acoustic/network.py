"""Base classes of the networks: calling, describing, saving and loading them.

All networks are called in the same way, described in :mod:`asr_hlg.acoustic.external`, so that
losses, training, decoding and export work with each of them:

>>> log_probs, lengths = network(inputs, lengths)      # log-probabilities of tokens
>>> features, lengths = network.encode(inputs, lengths)  # output of the layer before
>>> features.shape[-1] == network.encoder_dim
True
"""

from __future__ import annotations

import dataclasses
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from asr_hlg.acoustic.config import FbankConfig, checked_priors, config_key
from asr_hlg.acoustic.single_precision import at_least_single
from asr_hlg.errors import ModelError
from asr_hlg.files import parse_json
from asr_hlg.settings import section

Augment = Callable[[Tensor, Tensor], Tensor]
"""SpecAugment: features ``(B, frames, filters)`` and frames ``(B,)`` to features."""

AnyNetwork = TypeVar("AnyNetwork", bound="Network")

# Name of the priors' array in a saved network; the names of weights contain dots.
_PRIORS = "priors"


class Network(nn.Module):
    """Base class: waveforms or filter banks to log-probabilities of tokens; can be scripted.

    Attributes
    ----------
    kind : str
        The network's name in :data:`asr_hlg.acoustic.nets.KINDS`.
    config : NetworkConfig
        The sizes of the network's layers and the names of its outputs.
    encoder_dim : int
        Width of the features that :meth:`encode` returns.
    left_context, right_context : int or None
        Filter-bank frames before and after ``t * subsampling`` on which output frame ``t``
        depends; None where that is the whole utterance.
    augment : callable or None
        SpecAugment: called with features and lengths in training mode, and never in evaluation
        mode or export.
    margin : float
        Seconds of silence added before and after a recording, in training and in decoding; the
        frames of this silence are removed from the output.
    cpu_batch : float
        Seconds of padded audio in a batch on a CPU.
    priors : Tensor or None
        float32 ``(num_tokens,)``: p(φ) of each token, for hybrid decoding; saved with the network.
    """

    # Not annotated, since older versions of torch.jit.script refuse annotations of classes.
    kind = ""
    config_class = cast(Any, None)
    margin = 0.0
    cpu_batch = 20.0

    def __init__(self, config: Any):
        super().__init__()
        self.config = config
        self.encoder_dim = 0
        self.left_context: int | None = None
        self.right_context: int | None = None
        self.augment: Augment | None = None
        self.priors: Tensor | None = None

    def inputs_per_second(self) -> float:
        """Number of samples, or of filter-bank frames, in a second of sound."""
        fbank = self.config.fbank
        return float(1 / fbank.frame_shift if fbank else self.config.sample_rate)

    def encode(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Padded inputs to hidden features ``(B, frames, encoder_dim)`` and frames ``(B,)``."""
        raise NotImplementedError

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames of output, int64, for numbers of samples or of filter-bank frames."""
        raise NotImplementedError

    def augmented(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features after :attr:`augment` in training mode, else unchanged."""
        if not torch.jit.is_scripting():  # noqa: SIM102  (the script compiler needs it outside)
            if self.training and self.augment is not None:
                features = self.augment(features, lengths)
        return features

    @property
    @torch.jit.unused  # type: ignore[untyped-decorator]
    def num_parameters(self) -> int:
        """Number of trainable weights."""
        return sum(weight.numel() for weight in self.parameters())

    def describe(self) -> str:
        """One-line description: kind, number of weights, number of tokens, frame shift.

        >>> network.describe()
        'tdnn: 1,234,567 parameters, 41 tokens, a frame every 30 ms'
        """
        return (
            f"{self.kind}: {self.num_parameters:,} parameters, {len(self.config.tokens)} tokens, "
            f"a frame every {1000 * self.config.frame_shift:g} ms"
        )

    def save(self, path: str | Path) -> None:
        """Write configuration, weights and priors to an ``.npz`` file that :meth:`load` reads."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in self.state_dict().items()}
        if self.priors is not None:
            arrays[_PRIORS] = self.priors.cpu().numpy()
        arrays[config_key(self.kind)] = np.array(json.dumps(dataclasses.asdict(self.config)))
        with open(path, "wb") as stream:
            np.savez(stream, **arrays)

    @classmethod
    def load(cls: type[AnyNetwork], path: str | Path) -> AnyNetwork:
        """Read a network that :meth:`save` wrote.

        Raises
        ------
        ModelError
            If the file holds no network of this class, or its arrays do not fit its
            configuration.
        """
        try:
            _check_unpacked_size(path)
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            fields = parse_json(str(arrays.pop(config_key(cls.kind))))
            priors = arrays.pop(_PRIORS, None)
            config = section(cls.config_class, fields, "", error=ModelError)
            with _WeightLimit(sum(array.size for array in arrays.values())):
                network = cls(config)
            network.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
            if priors is not None:
                network.priors = torch.from_numpy(checked_priors(priors, len(config.tokens)))
        except ModelError as error:
            raise ModelError(error.message, path=path, remedy=error.remedy) from None
        except Exception as error:  # numpy passes on the errors of zipfile and Python's parser
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(
                f"not a saved {cls.__name__}: {reason}",
                path=path,
                remedy="write it with network.save()",
            ) from None
        return network


class FbankNetwork(Network):
    """Network that normalises filter banks, encodes them, and ends in a linear layer.

    Subclasses define :meth:`encoder`.  ``T`` frames of filter banks become
    ``ceil(T / subsampling)`` frames of log-probabilities.
    """

    def __init__(self, config: FbankConfig, encoder_dim: int):
        super().__init__(config)
        self.encoder_dim = encoder_dim
        self.subsampling = config.subsampling
        self.utterance_mean = config.utterance_mean
        self.output = nn.Linear(encoder_dim, len(config.tokens))
        self.register_buffer("mean", torch.zeros(config.fbank.num_filters))
        self.register_buffer("std", torch.ones(config.fbank.num_filters))

    def normalise_with(self, mean: Tensor, std: Tensor) -> None:
        """Set mean and standard deviation by which filter banks are normalised.

        Both are float32 ``(num_filters,)``, computed over the training data; they are saved with
        the weights.
        """
        with torch.no_grad():
            self.get_buffer("mean").copy_(mean)
            self.get_buffer("std").copy_(std.clamp(min=1e-5))

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the log-probabilities of a padded batch.

        Parameters
        ----------
        inputs : Tensor
            float32 ``(B, T, num_filters)``; values after an utterance's end are ignored.
        lengths : Tensor
            int64 ``(B,)``: filter-bank frames of each utterance.

        Returns
        -------
        log_probs : Tensor
            float32 ``(B, ceil(T / subsampling), num_tokens)``, normalised.
        lengths : Tensor
            int64 ``(B,)``: frames of each utterance.
        """
        x, lengths = self.encode(inputs, lengths)
        return at_least_single(self.output(x)).log_softmax(-1), lengths

    def encode(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Padded filter banks to hidden features ``(B, frames, encoder_dim)``, frames ``(B,)``."""
        if self.utterance_mean:
            padding = torch.arange(inputs.shape[1], device=inputs.device) >= lengths[:, None]
            totals = inputs.masked_fill(padding[..., None], 0.0).sum(1)
            inputs = inputs - (totals / lengths[:, None])[:, None]
        features = self.augmented((inputs - self.mean) / self.std, lengths)
        return self.encoder(features, lengths), self.output_lengths(lengths)

    def encoder(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Normalised filter banks to hidden features ``(B, frames, encoder_dim)``."""
        raise NotImplementedError

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames of output, int64, for numbers of filter-bank frames."""
        return torch.div(lengths + self.subsampling - 1, self.subsampling, rounding_mode="floor")


class _WeightLimit(TorchFunctionMode):
    """Context in which torch refuses to make tensors for many more weights than a file holds.

    A configuration of a few bytes could otherwise allocate more memory than any machine has.
    """

    def __init__(self, num_weights: int):
        super().__init__()  # type: ignore[no-untyped-call]
        self._remaining = 2 * num_weights + 1000

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in (torch.empty, torch.zeros):
            sizes = args[0] if isinstance(args[0], tuple | list) else args
            self._remaining -= math.prod(sizes)
            if self._remaining < 0:
                raise ModelError("the configuration has more weights than the file")
        return func(*args, **(kwargs or {}))


def _check_unpacked_size(path: str | Path) -> None:
    """Raise a ModelError if a file is much larger unpacked, since weights hardly compress."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > 20 * Path(path).stat().st_size + 1_000_000:
        raise ModelError(f"unpacks to {unpacked:,} bytes, more than its compressed size allows")
