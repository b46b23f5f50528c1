"""Streaming networks, which take a chunk of features and the states that the last chunk left.

A recording that is there as a whole is computed chunk by chunk, as a stream would be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.exported.network import OnnxNetwork
from asr_hlg.acoustic.filter_banks import Floats
from asr_hlg.errors import ModelError


@dataclass(frozen=True)
class ChunkSizes:
    """Frames of features of a chunk, and from one chunk to the next."""

    length: int
    shift: int

    def count(self, frames: int) -> int:
        """Chunks that cover a number of frames."""
        return max(1, -(-frames // self.shift))


class StreamingNetwork:
    """A streaming network, run over an utterance.

    Parameters
    ----------
    network : OnnxNetwork
    states : dict
        The first value of every state, by the name of its input.
    next_states : dict
        The output that has the next value of each.
    sizes : ChunkSizes
    subsampling : int
        Frames of features for one of the output.
    channels_first : bool
        The network takes ``(1, dim, frames)``, and their number, instead of ``(1, frames, dim)``.
    """

    def __init__(
        self,
        network: OnnxNetwork,
        states: dict[str, npt.NDArray[Any]],
        next_states: dict[str, str],
        sizes: ChunkSizes,
        subsampling: int,
        channels_first: bool = False,
    ):
        missing = sorted(
            {*states} - {*network.inputs} | {*next_states.values()} - {*network.outputs}
        )
        if missing:
            raise ModelError(f"the streaming network lacks {', '.join(missing)}", path=network.path)
        self._network, self._states, self._next = network, states, next_states
        self.sizes, self._subsampling, self._channels_first = sizes, subsampling, channels_first

    def __call__(self, features: Floats) -> npt.NDArray[Any]:
        """Scores ``(frames, outputs)`` of the features ``(frames, dim)`` of an utterance.

        The last chunk is filled with copies of the last frame, which is silence in recordings that
        end in it.
        """
        sizes, frames = self.sizes, len(features)
        count = sizes.count(frames)
        lacking = (count - 1) * sizes.shift + sizes.length - frames
        padded = np.pad(features, ((0, max(0, lacking)), (0, 0)), mode="edge")
        states, scores = self.initial(), []
        for begin in range(0, count * sizes.shift, sizes.shift):
            rows, states = self.step(padded[begin : begin + sizes.length], states)
            scores.append(rows)
        joined: npt.NDArray[Any] = np.concatenate(scores)
        return joined[: self.num_rows(frames)]

    def num_rows(self, frames: int) -> int:
        """Rows of scores for a number of frames of features."""
        return -(-frames // self._subsampling)

    def padded(self, features: Floats) -> Floats:
        """Features ``(frames, dim)``, filled with copies of the last frame to a chunk at least."""
        lacking = max(0, self.sizes.length - len(features))
        return np.pad(features, ((0, lacking), (0, 0)), mode="edge")

    def initial(self) -> dict[str, npt.NDArray[Any]]:
        """States before the first chunk, by the names of the inputs."""
        return dict(self._states)

    def step(
        self, chunk: Floats, states: dict[str, npt.NDArray[Any]]
    ) -> tuple[npt.NDArray[Any], dict[str, npt.NDArray[Any]]]:
        """Scores of a chunk ``(length, dim)``, and the states after it."""
        arrays: dict[str, Any] = dict(states)
        if self._channels_first:
            arrays[self._network.inputs[0]] = chunk.T[None]
            arrays[self._network.inputs[1]] = [len(chunk)]
        else:
            arrays[self._network.inputs[0]] = chunk[None]
        outputs = dict(zip(self._network.outputs, self._network.run(arrays), strict=True))
        rows: npt.NDArray[Any] = outputs[self._network.outputs[0]][0]
        return rows, {name: outputs[after] for name, after in self._next.items()}
