"""An ONNX network with any inputs and outputs, and the metadata in its file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.runtime import make_session
from asr_hlg.errors import ModelError

_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


_NUMBERS = range(-(2**31), 2**31)
_MOST_VALUES = 1 << 26  # of a state of a streaming network


class OnnxNetwork:
    """ONNX network that onnxruntime computes.

    Parameters
    ----------
    path : Path
        Weights that are stored outside of the file are found beside it.
    device : str

    Attributes
    ----------
    inputs, outputs : list of str
        Their names, in the order of the file.
    metadata : dict of str
        What the exporting script wrote: kind, vocabulary size and the like.
    """

    def __init__(self, path: Path, device: str = "cpu"):
        self.path = path
        try:
            self._session = make_session(str(path), device)
        except ModelError as error:
            raise ModelError(error.message, path=path, remedy=error.remedy) from None
        self._nodes = {node.name: node for node in self._session.get_inputs()}
        self.inputs = list(self._nodes)
        self.outputs = [node.name for node in self._session.get_outputs()]
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    @property
    def num_outputs(self) -> int | None:
        """Columns of the first output; None where the file leaves them open."""
        shape = self._session.get_outputs()[0].shape
        return shape[-1] if shape and isinstance(shape[-1], int) else None

    def dtype(self, name: str) -> np.dtype[Any]:
        """Type of the values of an input."""
        return np.dtype(_TYPES.get(self._nodes[name].type, np.float32))

    def zeros(self, name: str) -> npt.NDArray[Any]:
        """Zeros of the shape of an input; axes that are left open have length 1."""
        shape = [size if isinstance(size, int) else 1 for size in self._nodes[name].shape]
        return self.zeros_of(shape, name)

    def zeros_of(self, shape: Sequence[int], name: str) -> npt.NDArray[Any]:
        """Zeros of a shape for an input; a ModelError if they are implausibly many."""
        if min(shape, default=1) < 0 or math.prod(shape) > _MOST_VALUES:
            raise ModelError(f"the state {name} has the shape {tuple(shape)}", path=self.path)
        return np.zeros(shape, self.dtype(name))

    def run(self, arrays: Sequence[Any] | Mapping[str, Any]) -> list[npt.NDArray[Any]]:
        """Compute all outputs of inputs, by name or in the order of the file.

        Raises
        ------
        ModelError
            If the network does not accept the inputs.
        """
        if not isinstance(arrays, Mapping):
            arrays = dict(zip(self.inputs, arrays, strict=False))
        feed = {name: np.asarray(array, self.dtype(name)) for name, array in arrays.items()}
        try:
            return list(self._session.run(None, feed))
        except Exception as error:  # onnxruntime's errors have no common base class
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(f"the network failed: {reason}", path=self.path) from None

    def integer(self, key: str, default: int | None = None, within: range = _NUMBERS) -> int:
        """A number of the metadata; a ModelError if it is none, or not within the range."""
        value = self.metadata.get(key)
        if value is None and default is not None:
            return default
        try:
            number = int(float(self.text(key)))
        except (ValueError, OverflowError):
            raise ModelError(f"metadata {key} is {value!r}, not a number", path=self.path) from None
        if number not in within:
            limits = f"{within.start} to {within.stop - 1}"
            raise ModelError(f"metadata {key} is {number}, and must be {limits}", path=self.path)
        return number

    def numbers(self, key: str, count: int) -> npt.NDArray[np.float32]:
        """A list of so many numbers of the metadata, separated by commas."""
        value = self.text(key)
        try:
            found = np.array([float(part) for part in value.split(",") if part.strip()], np.float32)
        except ValueError:
            raise ModelError(f"metadata {key} is not a list of numbers", path=self.path) from None
        if len(found) != count:
            raise ModelError(
                f"metadata {key} has {len(found)} numbers, expected {count}", path=self.path
            )
        return found

    def text(self, key: str) -> str:
        """A value of the metadata."""
        if key not in self.metadata:
            raise ModelError(
                f"its metadata lack {key}",
                path=self.path,
                remedy="export it with the script of sherpa-onnx for this kind of model",
            )
        return self.metadata[key]
