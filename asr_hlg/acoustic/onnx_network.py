"""Conformers that onnxruntime runs on the CPU without torch, and their ONNX files.

An ONNX file is made once for every network and kept in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic import hama
from asr_hlg.acoustic.config import ConformerConfig
from asr_hlg.acoustic.runtime import OnnxSession
from asr_hlg.errors import ModelError
from asr_hlg.files import cache_folder

if TYPE_CHECKING:
    from asr_hlg.acoustic.onnx_graph import Weights

_CODE = ("onnx_graph.py", "conformer_onnx.py", "whisper_onnx.py")
"""Files that make ONNX networks, which are made again when one of these changes."""


class OnnxConformer:
    """Frozen Conformer with the attributes of a :class:`~asr_hlg.acoustic.network.Network`.

    Parameters
    ----------
    config : ConformerConfig
    session : OnnxSession
    priors : np.ndarray, optional
        float32 ``(num_tokens,)``: p(φ) of each token, for hybrid decoding.

    Attributes
    ----------
    margin, cpu_batch : float
        As for networks.
    left_context, right_context : None
        Every frame depends on the whole utterance.
    """

    margin = ConformerConfig.margin
    cpu_batch = ConformerConfig.cpu_batch
    left_context = right_context = None

    def __init__(
        self,
        config: ConformerConfig,
        session: OnnxSession,
        priors: npt.NDArray[np.float32] | None = None,
    ):
        self.config, self.session, self.priors = config, session, priors

    def inputs_per_second(self) -> float:
        """Samples in a second of sound."""
        return float(self.config.sample_rate)

    def output_lengths(self, samples: int) -> int:
        """Frames of output for a number of samples."""
        return samples // (2 * self.config.hop) + 1


def pretrained(content: bytes, weights: Callable[[], Weights]) -> OnnxConformer | None:
    """Conformer with the configuration of the pretrained one; None without onnx and onnxruntime.

    Parameters
    ----------
    content : bytes
        Of the file that the weights come from.
    weights : callable
        Returns the weights; called if the ONNX file has yet to be made.
    """
    if not _installed():
        return None
    config = hama.config()

    def make() -> bytes:
        from asr_hlg.acoustic import conformer_onnx

        return conformer_onnx.onnx_bytes(config, weights())

    return OnnxConformer(config, session((content,), make))


def _installed() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("onnx", "onnxruntime"))


def session(
    sources: Sequence[bytes], make: Callable[[], bytes], device: str = "cpu"
) -> OnnxSession:
    """Session of a network, whose ONNX file is made if the cache folder lacks it.

    Parameters
    ----------
    sources : sequence of bytes
        Contents of the network's files, from whose hash the ONNX file has its name.
    make : callable
        Returns the content of the ONNX file, where it has yet to be made.
    device : str
        The device to compute on.
    """
    digest = hashlib.sha256()
    for name in _CODE:
        digest.update(Path(__file__).with_name(name).read_bytes())
    for content in sources:
        digest.update(content)
    path = cache_folder() / "networks" / f"{digest.hexdigest()[:32]}.onnx"
    if path.is_file():
        try:
            return OnnxSession(str(path), device)
        except ModelError:  # damaged: it is made again
            path.unlink(missing_ok=True)
    made = make()
    part = path.with_suffix(f".{os.getpid()}")  # several processes may make it at the same time
    try:
        path.parent.mkdir(exist_ok=True)
        part.write_bytes(made)
        part.replace(path)
    except OSError:  # a full disk, for instance: it is made again the next time
        part.unlink(missing_ok=True)
    return OnnxSession(made, device)
