"""What every acoustic model offers, and the one that runs our own networks."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from asr_hlg.acoustic.features import FbankOptions, fbank
from asr_hlg.acoustic.network import Network
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.acoustic.runtime import session_of
from asr_hlg.audio import resample
from asr_hlg.errors import AudioError, OptionError

Waveforms = Sequence["np.ndarray | Tensor"] | np.ndarray | Tensor


class AcousticModel(abc.ABC):
    """Sound in, log-probabilities of tokens out.

    Attributes
    ----------
    tokens : tuple of str
        The name of every column of the posteriors.
    frame_shift : float
        Seconds from one frame of posteriors to the next.
    sample_rate : int
        Hz; recordings at other rates are resampled to it.
    device : torch.device
        Where the model computes and its posteriors lie.
    priors : Tensor or None
        float32 ``(num_tokens,)``, where the model comes with them: p(φ) for hybrid decoding.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        frame_shift: float,
        sample_rate: int,
        device: str | torch.device,
    ):
        self.tokens = tuple(tokens)
        self.frame_shift = frame_shift
        self.sample_rate = sample_rate
        self.device = _usable(device)
        self.priors: Tensor | None = None

    def posteriors(self, waveforms: Waveforms, sample_rate: int) -> Posteriors:
        """Recognise a batch of recordings.

        Parameters
        ----------
        waveforms : sequence of 1-D arrays or tensors, or one 2-D array or tensor
            Floating-point samples in [-1, 1], one row an utterance.
        sample_rate : int
            Of all of them, in Hz.

        Returns
        -------
        Posteriors
            In the order given.

        Raises
        ------
        AudioError
            If a waveform is empty, not one-dimensional, or not floating-point.
        """
        rows = [self._prepared(w, k, sample_rate) for k, w in enumerate(waveforms)]
        if not rows:
            raise AudioError("no waveforms to recognise")
        found = self.log_probs(rows)
        lengths = torch.tensor([len(frames) for frames in found], dtype=torch.int32)
        return self._posteriors(pad_sequence(found, batch_first=True), lengths)

    def _posteriors(self, log_probs: Tensor, lengths: Tensor) -> Posteriors:
        return Posteriors(log_probs, lengths, self.frame_shift, self.tokens, self.priors)

    @abc.abstractmethod
    def log_probs(self, waveforms: list[Tensor]) -> list[Tensor]:
        """Float32 samples at the model's rate to ``(frames, num_tokens)``, for each utterance."""

    def _prepared(self, waveform: np.ndarray | Tensor, number: int, sample_rate: int) -> Tensor:
        samples = torch.as_tensor(waveform)
        if samples.ndim != 1 or not samples.is_floating_point():
            raise AudioError(
                f"waveform {number} is {samples.dtype} of shape {tuple(samples.shape)}, expected "
                "floating-point samples in one dimension",
                remedy="mix channels to one, and scale integers to [-1, 1]",
            )
        if len(samples) == 0:
            raise AudioError(f"waveform {number} is empty")
        samples = resample(samples.float(), sample_rate, self.sample_rate)
        return samples.to(self.device)


class NetworkModel(AcousticModel):
    """A network of our own, in the form and at the size that its device likes best.

    Utterances run in batches of similar lengths, small ones on a CPU: large ones outgrow the
    cache.  Recordings longer than ``WINDOW`` seconds are cut into windows, so that memory stays
    flat; each window sees ``CONTEXT`` seconds more on both sides, or what the network's own
    context says if that is more.

    Parameters
    ----------
    network : Network
    device : str or torch.device
    frozen : bool
        The weights will not change any more.  Then the CPU computes with onnxruntime where that is
        installed: 1.3 to 2.3 times as fast, and the same to 1e-3.
    """

    WINDOW = 30
    CONTEXT = 3
    CPU_BATCH = 20  # seconds of padded audio
    GPU_BATCH = 600

    def __init__(self, network: Network, device: str | torch.device = "cpu", frozen: bool = False):
        config = network.config
        super().__init__(config.tokens, config.frame_shift, config.sample_rate, device)
        self.network = network.to(self.device).eval()
        self.priors = network.priors
        session = session_of(network) if frozen and self.device.type == "cpu" else None
        self._forward: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = session or self.network
        self._fbank: FbankOptions | None = config.fbank
        # Inputs are samples or filter-bank frames: so many a second, and to a frame of output.
        self._rate = 1 / config.fbank.frame_shift if config.fbank else config.sample_rate
        self._stride = round(config.frame_shift * self._rate)
        seconds = self.GPU_BATCH if self.device.type == "cuda" else self.CPU_BATCH
        self._batch_size = round(seconds * self._rate)

    def log_probs(self, waveforms: list[Tensor]) -> list[Tensor]:
        margin = round(self.network.margin / self.frame_shift)
        silence = 2 * (round(margin * self.frame_shift * self.sample_rate),)
        inputs = [F.pad(waveform, silence) for waveform in waveforms]
        if self._fbank is not None:
            inputs = fbank(inputs, self.sample_rate, self._fbank)
        # Outside inference mode the results must behave like any other tensors.
        with torch.no_grad():
            return [rows[margin : len(rows) - margin] for rows in self._recognise(inputs)]

    def _recognise(self, inputs: list[Tensor]) -> list[Tensor]:
        pieces = [(k, *cut) for k, row in enumerate(inputs) for cut in self._windows(len(row))]
        pieces.sort(key=lambda piece: piece[2] - piece[1])
        results: list[dict[int, Tensor]] = [{} for _ in inputs]
        while pieces:
            # From the longest down: the first batch shows whether the memory suffices.
            size = max(1, self._batch_size // (pieces[-1][2] - pieces[-1][1]))
            batch, pieces = pieces[-size:], pieces[:-size]
            rows = [inputs[k][start:end] for k, start, end, *_ in batch]
            lengths = torch.tensor([len(row) for row in rows], device=self.device)
            log_probs, _ = self._forward(pad_sequence(rows, batch_first=True), lengths)
            for row, (k, start, _, first, last) in zip(log_probs, batch, strict=True):
                offset = start // self._stride
                results[k][first] = row[first - offset : last - offset]
        return [torch.cat([parts[first] for first in sorted(parts)]) for parts in results]

    def _windows(self, length: int) -> list[tuple[int, int, int, int]]:
        """First and last input to look at, and first and last frame to keep, of each window."""
        stride = self._stride
        frames = int(self.network.output_lengths(torch.tensor(length)))
        size, context = (round(s * self._rate) // stride for s in (self.WINDOW, self.CONTEXT))
        for needed in (self.network.left_context, self.network.right_context):
            context = max(context, -(-(needed or 0) // stride))
        cuts = list(range(0, frames, size)) if frames > size + context else [0]
        return [
            (max(0, first - context) * stride, min(length, (last + context) * stride), first, last)
            for first, last in zip(cuts, [*cuts[1:], frames], strict=True)
        ]


class ConformerModel(NetworkModel):
    """The pretrained network, and what was adapted from it.

    Windows matter here, since attention's cost grows with the square of the length; so does
    padding, and long utterances run one by one on a CPU.
    """

    CPU_BATCH = 10


def _usable(device: str | torch.device) -> torch.device:
    try:
        # Placing something there is the only test that covers every kind of device.
        return torch.zeros(1, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(
            f"cannot compute on device {device}: {reason}", remedy="cpu always works"
        ) from None
