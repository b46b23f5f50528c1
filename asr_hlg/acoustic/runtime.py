"""Networks run by onnxruntime: on a CPU it needs half of the time that torch needs."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from asr_hlg.acoustic.nets.store import onnx_bytes
from asr_hlg.acoustic.network import Network
from asr_hlg.errors import ModelError


class Session:
    """An ONNX network, called as torch calls one of ours; it runs on as many threads as torch.

    Parameters
    ----------
    source : str or bytes
        The path of an ONNX file, or its content.  Its two inputs and outputs are those of
        :mod:`asr_hlg.acoustic.external`, taken in their order and not by name.
    device : torch.device

    Raises
    ------
    ModelError
        If onnxruntime is not installed, cannot use the device or does not take the network.
    """

    def __init__(self, source: str | bytes, device: torch.device):
        try:
            import onnxruntime
        except ImportError:
            raise ModelError(
                "onnxruntime is not installed", remedy="pip install onnxruntime"
            ) from None
        self._device = device
        provider = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
        if provider not in onnxruntime.get_available_providers():
            raise ModelError(
                f"this onnxruntime does not run on {device}",
                remedy="pip install onnxruntime-gpu, or use device cpu",
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Memory goes back after every call: 200 MB less for a worker, at 7 % of the speed.
        options.enable_cpu_mem_arena = False
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=[provider])
        except Exception as error:  # onnxruntime's errors share no base class of their own
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"not a usable ONNX file: {reason}") from None
        self._names = [node.name for node in self._session.get_inputs()]
        if len(self._names) != 2:
            raise ModelError(f"the model has inputs {self._names}, expected two")

    def __call__(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        arrays = (inputs.cpu().numpy(), lengths.cpu().numpy())
        scores, lengths_out = self._session.run(None, dict(zip(self._names, arrays, strict=True)))
        return torch.from_numpy(scores).to(self._device), torch.from_numpy(lengths_out)


def session_of(network: Network) -> Session | None:
    """A network of ours with its weights as they are now, for the CPU.

    None where onnxruntime is not installed, or torch cannot export (newer versions need the
    package onnx for it): torch runs everything, in twice the time.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    try:
        return Session(onnx_bytes(network), torch.device("cpu"))
    except ModelError:
        return None
