"""Interface of all acoustic models, and the model that runs this project's own networks."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic import pauses
from asr_hlg.acoustic.arrays import Array, concatenate, pad, to_numpy, to_tensor
from asr_hlg.acoustic.features import FbankOptions, fbank
from asr_hlg.acoustic.onnx_network import OnnxConformer
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.acoustic.runtime import OnnxSession, session_of
from asr_hlg.audio import resample
from asr_hlg.errors import AudioError, OptionError
from asr_hlg.fst.symbols import BLANK
from asr_hlg.lexicon.phones import SILENCE

if TYPE_CHECKING:
    import torch

    from asr_hlg.acoustic.network import Network

Samples = npt.NDArray[np.float32]


class FrameStream(Protocol):
    """Log-probabilities of one recording, as its sound comes."""

    def accept(self, samples: Samples) -> Iterator[Array]:
        """Take more sound at the model's rate; yields float32 ``(frames, num_tokens)``.

        The search must pass them before the next are asked for.
        """

    def finish(self) -> Iterator[Array]:
        """The frames that waited for more sound."""


class LastFrames(Protocol):
    """A search, whose best path so far a model may depend on."""

    def last_frames(self, count: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Phones of the last ``count`` frames of the best path so far, and the states before them.

        Both are in order; states are the search's numbers of its tokens in a frame.
        """


class Recurrence(Protocol):
    """A recurrent network on one recording, whose states are kept from part to part."""

    @property
    def context(self) -> tuple[float, float]:
        """Seconds of sound before and after the start of a frame that a row of `front` needs."""

    def front(self, samples: Samples) -> Array:
        """Output ``(frames, width)`` of the layers before the recurrent ones."""

    def advance(self, rows: Array) -> Array:
        """Log-probabilities ``(frames, num_tokens)`` of frames after those of the last call."""


class AcousticModel(abc.ABC):
    """Base class of acoustic models: waveforms to log-probabilities of tokens.

    Attributes
    ----------
    tokens : tuple of str
        The name of every column of the posteriors.
    frame_shift : float
        Seconds from one frame of posteriors to the next.
    sample_rate : int
        Hz; waveforms at other rates are resampled to it.
    device : str
        The device on which the model computes: ``cpu``, ``cuda`` or ``cuda:N``.
    priors : np.ndarray or None
        float32 ``(num_tokens,)``: p(φ) of each token, for hybrid decoding; ``None`` for other
        models.
    is_transducer : bool
        Whether the posteriors have ``features``, which only a transducer's decoders search.
    silence_phones : np.ndarray or None
        int32: phones of the graph that are silence, for a model whose tokens do not name it;
        None for other models.
    context : (float, float) or None
        Seconds of sound before and after the start of a frame on which its posteriors depend; None
        where that is the whole utterance, or is not known.
    name : str
        By which recipes ask for it; empty for models that are files.
    scales : mapping
        Options of the search that were tuned for this model, ``acoustic_scale`` and
        ``blank_penalty``. They replace those of a recipe that names another model.
    """

    name = ""
    scales: Mapping[str, float] = MappingProxyType({})
    is_transducer = False
    silence_phones: npt.NDArray[np.int32] | None = None
    context: tuple[float, float] | None = None

    def __init__(
        self,
        tokens: Sequence[str],
        frame_shift: float,
        sample_rate: int,
        device: str | torch.device,
        priors: Any = None,
    ):
        self.tokens = tuple(tokens)
        self.frame_shift = frame_shift
        self.sample_rate = sample_rate
        self.device = _checked_device(device)
        self.priors = None if priors is None else to_numpy(priors, np.float32)

    def frame_stream(self, search: LastFrames | None = None) -> FrameStream | None:
        """Computation of one recording's frames by the model itself, while its sound comes.

        None for models that run on windows of the sound: see :mod:`asr_hlg.acoustic.streaming`.

        Parameters
        ----------
        search : LastFrames, optional
            The search of these frames, for models that depend on its result.
        """
        return None

    def recurrence(self) -> Recurrence | None:
        """Evaluation of a recurrent network while sound comes; None for other models."""
        return None

    def posteriors(self, waveforms: Sequence[Any] | Array, sample_rate: int) -> Posteriors:
        """Compute the posteriors of a batch of recordings.

        Parameters
        ----------
        waveforms : sequence of 1-D arrays or tensors, or one 2-D array or tensor
            Floating-point samples in [-1, 1], one row an utterance.
        sample_rate : int
            Sample rate of all waveforms, in Hz.

        Returns
        -------
        Posteriors
            In the order of the waveforms.

        Raises
        ------
        AudioError
            If a waveform is empty, not one-dimensional, or not floating-point.
        """
        rows = [self._prepared(w, k, sample_rate) for k, w in enumerate(waveforms)]
        if not rows:
            raise AudioError("no waveforms to recognise")
        log_probs = self.log_probs(rows)
        lengths = np.array([len(frames) for frames in log_probs], dtype=np.int32)
        return self._posteriors(pad(log_probs), lengths)

    def _posteriors(self, log_probs: Array, lengths: npt.NDArray[np.int32]) -> Posteriors:
        return Posteriors(log_probs, lengths, self.frame_shift, self.tokens, self.priors)

    @abc.abstractmethod
    def log_probs(self, waveforms: list[Samples]) -> Sequence[Array]:
        """Log-probabilities ``(frames, num_tokens)`` of each waveform, float32 at its rate.

        All are numpy arrays, or all are tensors.
        """

    def _prepared(self, waveform: Array, number: int, rate: int) -> Samples:
        """Waveform as float32 samples at the model's rate."""
        samples = to_numpy(waveform)
        if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
            raise AudioError(
                f"waveform {number} is {samples.dtype} of shape {samples.shape}, expected "
                "floating-point samples in one dimension",
                remedy="mix channels to one, and scale integers to [-1, 1]",
            )
        if len(samples) == 0:
            raise AudioError(f"waveform {number} is empty")
        return resample(samples.astype(np.float32, copy=False), rate, self.sample_rate)


class NetworkModel(AcousticModel):
    """One of this project's networks, run in batches and windows that suit its device.

    A batch contains utterances of similar lengths. On a CPU batches are small, since large ones do
    not fit into the cache; the network's ``cpu_batch`` limits them. Recordings longer than
    ``WINDOW`` seconds are cut into windows, so that memory stays constant; each window gets
    ``CONTEXT`` more seconds on both sides, or the network's own context if that is longer.

    Parameters
    ----------
    network : Network or OnnxConformer
        A network of torch is moved to the device and set to evaluation mode.
    device : str or torch.device
        The device to compute on; the CPU for an :class:`OnnxConformer`.
    frozen : bool
        The weights will not change any more.  Then the CPU computes with onnxruntime where that is
        installed: 1.3 to 2.3 times as fast, with results equal to 1e-3.
    """

    WINDOW = 30
    CONTEXT = 3
    GPU_BATCH = 600  # seconds of padded audio

    def __init__(
        self,
        network: Network | OnnxConformer,
        device: str | torch.device = "cpu",
        frozen: bool = False,
    ):
        config = network.config
        super().__init__(
            config.tokens, config.frame_shift, config.sample_rate, device, network.priors
        )
        self.network = network
        self._forward = _forward(network, self.device, frozen)
        self._fbank: FbankOptions | None = config.fbank
        self._inputs_per_second = network.inputs_per_second()
        self._inputs_per_frame = round(config.frame_shift * self._inputs_per_second)
        self._samples_per_frame = round(config.frame_shift * config.sample_rate)
        has_far_context = None in (network.left_context, network.right_context)
        self.context = _context(network)
        is_whole = self._samples_per_frame == config.frame_shift * config.sample_rate
        self._shortens_pauses = has_far_context and is_whole
        self._silence = [k for k, name in enumerate(self.tokens) if name in (BLANK, SILENCE)]
        seconds = network.cpu_batch if self.device == "cpu" else self.GPU_BATCH
        self._batch_size = round(seconds * self._inputs_per_second)

    def recurrence(self) -> Recurrence | None:
        """Evaluation of a network with LSTMs in one direction; None for other networks."""
        make: Callable[[], Recurrence | None] | None = getattr(self.network, "recurrence", None)
        return None if make is None else make()

    def log_probs(self, waveforms: list[Samples]) -> Sequence[Array]:
        """Log-probabilities ``(frames, num_tokens)`` of each waveform, float32 at its rate.

        A network that depends on the whole utterance gets long pauses shortened: see
        :mod:`asr_hlg.acoustic.pauses`.
        """
        if not self._shortens_pauses:
            return self._of_whole(waveforms)
        size = self._samples_per_frame
        spans = [pauses.find(waveform, self.sample_rate, size) for waveform in waveforms]
        shortened = [
            np.concatenate(pauses.without(waveform, found, size)) if found else waveform
            for waveform, found in zip(waveforms, spans, strict=True)
        ]
        return [
            self._restored(rows, found) if found else rows
            for rows, found in zip(self._of_whole(shortened), spans, strict=True)
        ]

    def _restored(self, rows: Any, spans: list[pauses.Span]) -> Array:
        """Rows of a shortened waveform, with rows for the spans that were left out."""
        silence = np.exp(to_numpy(rows[:, self._silence])).sum(1)
        reach = round(pauses.KEEP / self.frame_shift)
        restored: Array = rows[pauses.sources(len(rows), spans, silence, reach)]
        return restored

    def _of_whole(self, waveforms: list[Samples]) -> list[Array]:
        """Log-probabilities of waveforms as they are."""
        margin = round(self.network.margin / self.frame_shift)
        silence = round(margin * self.frame_shift * self.sample_rate)
        inputs: list[Any] = [np.pad(waveform, silence) for waveform in waveforms]
        if self._fbank is not None:
            tensors = [to_tensor(row, self.device) for row in inputs]
            inputs = fbank(tensors, self.sample_rate, self._fbank)
        return [rows[margin : len(rows) - margin] for rows in self._in_windows(inputs)]

    def _in_windows(self, inputs: list[Any]) -> list[Array]:
        """Log-probabilities of all inputs, computed window by window and joined."""
        windows = [
            (k, *window) for k, row in enumerate(inputs) for window in self._windows(len(row))
        ]
        windows.sort(key=lambda window: window[2] - window[1])
        results: list[dict[int, Array]] = [{} for _ in inputs]
        while windows:
            # The longest come first, so that the first batch needs the most memory.
            size = max(1, self._batch_size // (windows[-1][2] - windows[-1][1]))
            batch, windows = windows[-size:], windows[:-size]
            rows = [inputs[k][start:end] for k, start, end, *_ in batch]
            lengths = np.array([len(row) for row in rows], dtype=np.int64)
            log_probs = self._forward(pad(rows), lengths)
            for row, (k, start, _, first, last) in zip(log_probs, batch, strict=True):
                offset = start // self._inputs_per_frame
                results[k][first] = row[first - offset : last - offset]
        return [concatenate([parts[first] for first in sorted(parts)]) for parts in results]

    def _windows(self, length: int) -> list[tuple[int, int, int, int]]:
        """Windows of an input: inputs ``[start, end)``, and frames ``[first, last)`` to keep."""
        stride = self._inputs_per_frame
        frames = int(self._output_length(length))
        size, context = (
            round(seconds * self._inputs_per_second) // stride
            for seconds in (self.WINDOW, self.CONTEXT)
        )
        for needed in (self.network.left_context, self.network.right_context):
            context = max(context, -(-(needed or 0) // stride))
        cuts = list(range(0, frames, size)) if frames > size + context else [0]
        return [
            (max(0, first - context) * stride, min(length, (last + context) * stride), first, last)
            for first, last in zip(cuts, [*cuts[1:], frames], strict=True)
        ]

    def _output_length(self, length: int) -> int:
        """Frames of output for a number of inputs."""
        network = self.network
        if isinstance(network, OnnxConformer):
            return network.output_lengths(length)
        return int(network.output_lengths(to_tensor(np.array(length))))


def _context(network: Network | OnnxConformer) -> tuple[float, float] | None:
    """Seconds before and after the start of a frame on which a network's output depends."""
    left, right, fbank = network.left_context, network.right_context, network.config.fbank
    has_mean = getattr(network.config, "utterance_mean", False)
    if left is None or right is None or fbank is None or has_mean:
        return None
    # At the edges of its input, a frame of filter banks has samples that are mirrored.
    edge = fbank.frame_length
    return left * fbank.frame_shift + edge, right * fbank.frame_shift + edge


def _forward(
    network: Network | OnnxConformer, device: str, frozen: bool
) -> Callable[[Array, npt.NDArray[np.int64]], Array]:
    """Function from a padded batch and its lengths to log-probabilities."""
    if isinstance(network, OnnxConformer):
        return _in_onnxruntime(network.session)
    network.to(device).eval()
    session = session_of(network) if frozen and device == "cpu" else None
    return _in_torch(network, device) if session is None else _in_onnxruntime(session)


def _in_onnxruntime(
    session: OnnxSession,
) -> Callable[[Array, npt.NDArray[np.int64]], npt.NDArray[np.float32]]:
    return lambda batch, lengths: session(batch, lengths)[0]


def _in_torch(
    network: Network, device: str
) -> Callable[[Array, npt.NDArray[np.int64]], torch.Tensor]:
    import torch

    def forward(batch: Array, lengths: npt.NDArray[np.int64]) -> torch.Tensor:
        # No inference mode, since its tensors cannot be used in training.
        with torch.no_grad():
            log_probs, _ = network(to_tensor(batch, device), to_tensor(lengths, device))
        result: torch.Tensor = log_probs
        return result

    return forward


def _checked_device(device: str | torch.device) -> str:
    """Name of a device that can be computed on."""
    if str(device) == "cpu":
        return "cpu"
    import torch

    try:
        # Making a tensor there is the only test that works for every kind of device.
        return str(torch.zeros(1, device=device).device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(
            f"cannot compute on device {device}: {reason}", remedy="cpu always works"
        ) from None
