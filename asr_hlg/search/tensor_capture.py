"""A frame of a search as one captured CUDA graph, in place of a few hundred launches.

What is captured depends on nothing but memory: the tensors that it reads and writes are always the
same, and between two frames the host copies what has changed to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from asr_hlg import threads

Step = Callable[[], None]
"""Work on a device that depends on memory alone."""

Capture = Callable[[Step], Step]
"""Takes a step and returns another that does the same, without the host's work."""


def cuda_graphs(device: str | torch.device) -> Capture:
    """Capture steps as CUDA graphs of a device."""

    def capture(step: Step) -> Step:
        graph = torch.cuda.CUDAGraph()
        with threads.cuda_capture, torch.cuda.device(device), torch.cuda.graph(graph):
            step()
        replay: Step = graph.replay
        return replay

    return capture


class Replay:
    """A function of tensors, captured for inputs of some shapes and called with others like them.

    Parameters
    ----------
    function : callable
        From tensors to tensors, whose shapes follow from those of the inputs. It must not wait for
        the device.
    inputs, outputs : sequence of Tensor
        An example of its inputs, and what it has returned for them.
    capture : callable
    """

    def __init__(
        self,
        function: Callable[[Sequence[Tensor]], Sequence[Tensor]],
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        capture: Capture,
    ):
        self._inputs = [tensor.clone() for tensor in inputs]
        self._outputs = [tensor.clone() for tensor in outputs]

        def step() -> None:
            for target, value in zip(self._outputs, function(self._inputs), strict=True):
                target.copy_(value)

        self._replay = capture(step)

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Outputs, which the next call overwrites."""
        for target, value in zip(self._inputs, inputs, strict=True):
            target.copy_(value)
        self._replay()
        return self._outputs
