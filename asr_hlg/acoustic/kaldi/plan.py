"""Plan of a network's computation: at which frames each node is computed, chunk by chunk.

Frames come in chunks. Output is computed for the frames ``[begin, begin + size)`` of a chunk that
are multiples of the subsampling factor; a node that others read at later frames runs ahead, and is
computed for ``[begin + ahead, begin + size + ahead)``. What is read of earlier frames comes from
the last values of the chunk before, which are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from asr_hlg.acoustic.kaldi.components import time_offsets
from asr_hlg.acoustic.kaldi.descriptors import Descriptor, names_in
from asr_hlg.acoustic.kaldi.nnet3 import Nnet3

STATISTICS = ("StatisticsExtractionComponent", "StatisticsPoolingComponent")
"""Components that read whichever frames of a range there are."""

_INPUTS = frozenset({"input", "ivector"})  # which are defined at all frames

_WIDEST = 2_000
"""Frames of context above which a network is taken to be recurrent in both directions."""


class NeedsWindows(ValueError):
    """The network cannot be computed in one pass: see :mod:`asr_hlg.acoustic.kaldi.window`."""


@dataclass(frozen=True)
class Plan:
    """Times of the computation, in frames of the input.

    Attributes
    ----------
    order : tuple of str
        Nodes that the output depends on, each after those it reads.
    stride : dict of int
        The node is computed at multiples of this.
    ahead : dict of int
        Frames by which the node runs ahead of the output.
    kept : dict of int
        Values of the chunk before that are needed.
    left_context, right_context : int
        Frames of input before and after a frame that its output depends on.
    longest : int
        Longest chunk; 0 for any length. A recurrent network reads its own values of the chunk
        before, hence its chunks are short.
    """

    order: tuple[str, ...]
    stride: dict[str, int]
    ahead: dict[str, int]
    kept: dict[str, int]
    left_context: int
    right_context: int
    longest: int


Edge = tuple[str, int, bool]  # node that is read, at which offset, and whether it may be undefined


def make_plan(network: Nnet3, subsampling: int, output: str = "output") -> Plan:
    """Plan for a network.

    Raises
    ------
    NeedsWindows
        If the network depends on itself at a later frame, at the same or at one that is nearer than
        the subsampling factor, or has a descriptor or component that cannot be computed in chunks.
    ValueError
        If its context has no end.
    """
    reads = _reachable(network, output)
    stride = _strides(reads, subsampling)
    ahead = _ahead(reads, stride, output)
    kept = dict.fromkeys(reads, 0)
    for name, edges in reads.items():
        for source, offset, _ in edges:
            late = ahead[source] - (ahead[name] + offset)
            kept[source] = max(kept[source], -(-late // stride[source]))
    order, longest = _order(reads, ahead, subsampling)
    left, right = _context(reads, output)
    return Plan(tuple(order), stride, ahead, kept, left, right, longest)


def leaves(descriptor: Descriptor, offset: int = 0, optional: bool = False) -> Iterator[Edge]:
    """Nodes that a descriptor reads when it is evaluated ``offset`` frames later."""
    kind, parts = descriptor.kind, descriptor.parts
    if kind == "Node":
        yield descriptor.name, offset, optional
    elif kind == "Offset":
        yield from leaves(parts[0], offset + descriptor.offset, optional)
    elif kind in ("Append", "Sum", "Scale", "Const"):
        for part in parts:
            yield from leaves(part, offset, optional)
    elif kind == "IfDefined":
        yield from leaves(parts[0], offset, True)
    elif kind == "Failover":
        if not _INPUTS.issuperset(names_in(parts[0])):
            raise NeedsWindows("a Failover depends on where its first argument is defined")
        yield from leaves(parts[0], offset, optional)
    elif is_constant_in_time(descriptor):
        yield parts[0].name, offset, optional
    else:
        raise NeedsWindows(f"the descriptor {kind} cannot be computed frame by frame")


def is_constant_in_time(descriptor: Descriptor) -> bool:
    """Whether a descriptor reads the i-vector, which has one value for many frames."""
    is_round = descriptor.kind == "Round"
    is_index = descriptor.kind == "ReplaceIndex" and descriptor.name == "t"
    return (is_round or is_index) and descriptor.parts[0] == Descriptor("Node", name="ivector")


def _reachable(network: Nnet3, output: str) -> dict[str, list[Edge]]:
    """Nodes on which the output depends, each with the nodes that it reads."""
    reads: dict[str, list[Edge]] = {}
    waiting = [output]
    while waiting:
        name = waiting.pop()
        if name in reads:
            continue
        node = network.nodes[name]
        reads[name] = []
        if node.input is not None:
            component = network.components.get(node.component)
            if component is not None and component.kind in STATISTICS:
                raise NeedsWindows(f"the {component.kind} reads many frames")
            reads[name] = [
                edge for offset in time_offsets(component) for edge in leaves(node.input, offset)
            ]
        waiting.extend(source for source, *_ in reads[name])
    return reads


def _strides(reads: dict[str, list[Edge]], subsampling: int) -> dict[str, int]:
    """The subsampling factor for nodes that are read at its multiples only, 1 for others."""
    stride = dict.fromkeys(reads, subsampling)
    changed = True
    while changed:
        changed = False
        for name, edges in reads.items():
            for source, offset, _ in edges:
                is_input = not reads[source]
                dense = stride[name] == 1 or offset % subsampling or is_input
                if dense and stride[source] != 1:
                    stride[source] = 1
                    changed = True
    return stride


def _ahead(reads: dict[str, list[Edge]], stride: dict[str, int], output: str) -> dict[str, int]:
    """Frames by which each node runs ahead, such that no node waits for a later chunk."""
    ahead = dict.fromkeys(reads, -_WIDEST * 2)
    ahead[output] = 0
    for _ in range(2 * len(reads) + 2):
        changed = False
        for name, edges in reads.items():
            for source, offset, _ in edges:
                last = ahead[name] - stride[name] + offset + 1
                needed = -(-last // stride[source]) * stride[source]
                if needed > ahead[source]:
                    ahead[source] = needed
                    changed = True
        if not changed:
            return ahead
        if max(ahead.values()) > _WIDEST:
            break
    raise NeedsWindows("the network depends on itself at later frames")


def _order(
    reads: dict[str, list[Edge]], ahead: dict[str, int], subsampling: int
) -> tuple[list[str], int]:
    """Order of the nodes, and the longest chunk with which there is one; 0 for any."""
    # From how long a chunk on a node needs what another computes in the same chunk.
    within = {
        name: [(source, ahead[source] - ahead[name] - offset) for source, offset, _ in edges]
        for name, edges in reads.items()
    }
    longest = max((slack for edges in within.values() for _, slack in edges), default=0)
    sizes = [0, *range(longest // subsampling * subsampling, 0, -subsampling)]
    for size in sizes:
        graph = {
            name: [source for source, slack in edges if not size or slack < size]
            for name, edges in within.items()
        }
        try:
            return list(TopologicalSorter(graph).static_order()), size
        except CycleError:
            continue
    raise NeedsWindows("the network depends on itself at the same frame, or one shortly before")


def _context(reads: dict[str, list[Edge]], output: str) -> tuple[int, int]:
    """Frames before and after a frame that its output depends on, but for optional ones."""
    reach: dict[str, tuple[int, int]] = {output: (0, 0)}
    for _ in range(2 * len(reads) + 2):
        changed = False
        for name, edges in reads.items():
            if name not in reach:
                continue
            for source, offset, optional in edges:
                low, high = reach[name][0] + offset, reach[name][1] + offset
                if optional:
                    low = high = 0
                old = reach.get(source, (low, high))
                new = min(old[0], low), max(old[1], high)
                if source not in reach or new != old:
                    reach[source] = new
                    changed = True
        if not changed:
            low, high = reach.get("input", (0, 0))
            return max(0, -low), max(0, high)
        if max(high - low for low, high in reach.values()) > _WIDEST:
            break
    raise ValueError("the network depends on itself without end")
