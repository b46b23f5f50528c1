"""What our own networks have in common, whatever is inside them.

Every network is called alike, as :mod:`asr_hlg.acoustic.external` describes it, so that losses,
training, decoding and export need not know which one they have:

>>> log_probs, lengths = network(inputs, lengths)      # log-probabilities of tokens
>>> features, lengths = network.encode(inputs, lengths)  # what they are computed from
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

from asr_hlg.acoustic.config import FbankConfig
from asr_hlg.errors import ModelError
from asr_hlg.settings import section

Augment = Callable[[Tensor, Tensor], Tensor]
"""Features ``(B, frames, filters)`` and frames ``(B,)`` to features that are harder to read."""

AnyNetwork = TypeVar("AnyNetwork", bound="Network")

# The entry of a saved network that holds its priors; those of its weights have dots in them.
_PRIORS = "priors"


class Network(nn.Module):
    """Sound or filter banks to log-probabilities of tokens; ``torch.jit.script`` takes it.

    Attributes
    ----------
    kind : str
        Its name in :data:`asr_hlg.acoustic.nets.KINDS`.
    config
        A frozen dataclass: the network's shape and the names of its outputs.
    encoder_dim : int
        Width of what :meth:`encode` returns.
    left_context, right_context : int or None
        Filter-bank frames before and after ``t * subsampling`` on which output frame ``t``
        depends; None where that is the whole utterance.
    augment : callable or None
        Called with features and lengths in training mode, and never in evaluation or export:
        the place for SpecAugment.
    margin : float
        Seconds of silence that a recording gets before and after it, in training as in decoding;
        the frames of its own are dropped again.
    priors : Tensor or None
        float32 ``(num_tokens,)``: how probable each token is in any frame, for hybrid decoding;
        saved with the network.
    """

    # Not annotated: the script compiler of older versions stumbles over annotations of classes.
    kind = ""
    config_class = cast(Any, None)
    margin = 0.0

    def __init__(self, config: Any):
        super().__init__()
        self.config = config
        self.encoder_dim = 0
        self.left_context: int | None = None
        self.right_context: int | None = None
        self.augment: Augment | None = None
        self.priors: Tensor | None = None

    def encode(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs, padded, to hidden features ``(B, frames, encoder_dim)`` and frames ``(B,)``."""
        raise NotImplementedError

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """How many frames come out for that many samples, or filter-bank frames, int64."""
        raise NotImplementedError

    @property
    @torch.jit.unused
    def num_parameters(self) -> int:
        """Numbers that training changes."""
        return sum(weight.numel() for weight in self.parameters())

    def describe(self) -> str:
        """One line: kind, size, and how often it speaks.

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
        """Read what :meth:`save` wrote.

        Raises
        ------
        ModelError
            If the file is not such a network, or its tensors do not fit its configuration.
        """
        try:
            _refuse_bombs(path)
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            fields = json.loads(str(arrays.pop(config_key(cls.kind))))
            priors = arrays.pop(_PRIORS, None)
            config = section(cls.config_class, fields, "", error=ModelError)
            with _AtMost(sum(array.size for array in arrays.values())):
                network = cls(config)
            network.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
            if priors is not None:
                network.priors = checked_priors(torch.from_numpy(priors), len(config.tokens))
        except ModelError as error:
            raise ModelError(error.message, path=path, remedy=error.remedy) from None
        except Exception as error:  # numpy's readers raise what zipfile and Python's parser do
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(
                f"not a {cls.__name__} of ours: {reason}",
                path=path,
                remedy="write it with network.save()",
            ) from None
        return network


class FbankNetwork(Network):
    """A network of filter banks: normalises them, and ends in a linear layer.

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
        """Subtract and divide by these from now on; both float32 ``(num_filters,)``.

        The energies' mean and standard deviation over the training data; saved with the weights.
        """
        with torch.no_grad():
            self.get_buffer("mean").copy_(mean)
            self.get_buffer("std").copy_(std.clamp(min=1e-5))

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Recognise a padded batch.

        Parameters
        ----------
        inputs : Tensor
            float32 ``(B, T, num_filters)``; what lies past an utterance's length is ignored.
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
        return self.output(x).log_softmax(-1), lengths

    def encode(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        if self.utterance_mean:
            frames = torch.arange(inputs.shape[1], device=inputs.device) < lengths[:, None]
            spoken = inputs.masked_fill(~frames[..., None], 0.0)
            inputs = inputs - (spoken.sum(1) / lengths[:, None])[:, None]
        features = (inputs - self.mean) / self.std
        if not torch.jit.is_scripting():  # noqa: SIM102  (the script compiler needs it outside)
            if self.training and self.augment is not None:
                features = self.augment(features, lengths)
        return self.encoder(features, lengths), self.output_lengths(lengths)

    def encoder(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Normalised filter banks to hidden features ``(B, frames, encoder_dim)``."""
        raise NotImplementedError

    def output_lengths(self, lengths: Tensor) -> Tensor:
        return torch.div(lengths + self.subsampling - 1, self.subsampling, rounding_mode="floor")


def config_key(kind: str) -> str:
    """The entry of a saved network that holds its configuration, and so says what kind it is."""
    return f"{kind}.json"


def checked_priors(priors: Tensor, num_tokens: int) -> Tensor:
    """Priors as float32, if they are probabilities of that many tokens.

    Raises
    ------
    ModelError
        If they are not.
    """
    fits = tuple(priors.shape) == (num_tokens,) and priors.is_floating_point()
    if not fits or not bool(((priors > 0) & (priors <= 1)).all()):
        raise ModelError(f"priors must be {num_tokens} probabilities above 0")
    return priors.float()


class _AtMost(TorchFunctionMode):
    """Refuse to make networks of many more weights than there are.

    A configuration of a few bytes can ask for more memory than any machine has.
    """

    def __init__(self, number: int):
        super().__init__()
        self._left = 2 * number + 1000

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.empty, torch.zeros):
            sizes = args[0] if isinstance(args[0], tuple | list) else args
            self._left -= math.prod(sizes)
            if self._left < 0:
                raise ModelError("the configuration asks for more weights than the file holds")
        return func(*args, **(kwargs or {}))


def _refuse_bombs(path: str | Path) -> None:
    """Weights hardly compress: a file that unpacks to many times its size holds something else."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > 20 * Path(path).stat().st_size + 1_000_000:
        raise ModelError(f"unpacks to {unpacked:,} bytes, which no network's weights would")
