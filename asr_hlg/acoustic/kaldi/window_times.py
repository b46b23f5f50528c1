"""At which frames each node of a network can and must be computed in a window of frames.

A node can be computed at a frame where what it reads can be: all terms of an Append or Sum, any
argument of a Failover; of IfDefined it reads what there is. Inputs exist in the window only, so
that recurrences begin at its edges. Of what can be computed, the outputs need a part. These are the
rules of Kaldi's ``nnet-computation-graph.h``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.kaldi.components import Component, time_offsets
from asr_hlg.acoustic.kaldi.descriptors import Descriptor, names_in
from asr_hlg.acoustic.kaldi.nnet3 import Nnet3
from asr_hlg.acoustic.kaldi.plan import STATISTICS

Times = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Reads = Iterator[tuple[str, Times, Flags]]

_MOST_MARGIN = 1_000
_MOST_PASSES = 2_000
_MOST_TAPS = 2_000
_WIDEST = 2_000


@dataclass(frozen=True)
class Step:
    """A node is computed at some frames, which do not depend on each other."""

    node: str
    times: Times


class WindowTimes:
    """Frames of one window.

    Parameters
    ----------
    network : Nnet3
    names : list of str
        Nodes on which the output depends.
    inputs : range
        Frames at which there is input.
    """

    def __init__(self, network: Nnet3, names: list[str], inputs: range):
        self._network, self._names = network, names
        margin = _margin(network, names)
        self.first, self.count = inputs.start - margin, len(inputs) + 2 * margin
        self._defined = {name: np.zeros(self.count, np.bool_) for name in names}
        for name in names:
            if network.nodes[name].input is None:
                beyond = margin if name == "input" else 0  # an i-vector is of all frames
                self._defined[name][beyond : self.count - beyond] = True
        self._define()

    def defined(self, descriptor: Descriptor, times: Times) -> Flags:
        """Whether a descriptor can be computed at each of some frames."""
        kind, parts = descriptor.kind, descriptor.parts
        if kind == "Node":
            place = times - self.first
            inside = (place >= 0) & (place < self.count)
            found = self._defined[descriptor.name][np.clip(place, 0, self.count - 1)]
            return np.asarray(inside & found)
        if kind in ("Const", "IfDefined"):
            return np.ones(len(times), np.bool_)
        flags = [self.defined(part, shifted(descriptor, times)) for part in parts]
        if kind == "Failover":
            return np.asarray(np.logical_or.reduce(flags))
        if kind == "Switch":
            return np.asarray(np.array(flags)[times % len(parts), np.arange(len(times))])
        return np.asarray(np.logical_and.reduce(flags))

    def reads(self, descriptor: Descriptor, times: Times, active: Flags) -> Reads:
        """Frames of nodes that a descriptor reads, where ``active``."""
        kind, parts = descriptor.kind, descriptor.parts
        if kind == "Node":
            yield descriptor.name, times, active
            return
        moved = shifted(descriptor, times)
        for number, part in enumerate(parts):
            used = active
            if kind == "IfDefined":
                used = active & self.defined(part, times)
            elif kind == "Switch":
                used = active & (times % len(parts) == number)
            elif kind == "Failover":
                used = active & self.defined(part, times)
                active = active & ~used
            yield from self.reads(part, moved, used)

    def steps(self, output: str, outputs: Times) -> list[Step]:
        """Steps of the computation of an output, each after those that it depends on.

        Raises
        ------
        ValueError
            If the output cannot be computed, or a node depends on itself at the same frame.
        """
        if not self._defined[output][outputs - self.first].all():
            raise ValueError("the output cannot be computed from the frames around it")
        needed = self._needed(output, outputs)
        steps = []
        for group in _groups(self._network, self._names):
            if len(group) == 1 and group[0] not in _sources(self._network, group[0]):
                [name] = group
                if len(needed[name]):
                    steps.append(Step(name, needed[name]))
            else:
                steps.extend(self._in_order(group, needed))
        return steps

    def _define(self) -> None:
        """Find at which frames nodes can be computed, from the inputs on."""
        every = self.first + np.arange(self.count)
        computed = [name for name in self._names if self._network.nodes[name].input is not None]
        for _ in range(_MOST_PASSES):
            changed = False
            for name in computed:
                flags = self._computable(name, every)
                if (flags != self._defined[name]).any():
                    self._defined[name], changed = flags, True
            if not changed:
                return
        raise ValueError("the network depends on itself without end")

    def _computable(self, name: str, times: Times) -> Flags:
        node = self._network.nodes[name]
        assert node.input is not None
        component = self._network.components.get(node.component)
        flags = [self.defined(node.input, tap) for tap in taps(component, times)]
        if component is None or component.kind not in STATISTICS:
            return np.asarray(np.logical_and.reduce(flags))
        found = np.logical_or.reduce(flags)
        if component.kind == "StatisticsPoolingComponent":
            found &= times % int(component.number("InputPeriod")) == 0
        return np.asarray(found)

    def _reads_of(self, name: str, times: Times) -> Reads:
        """Frames of nodes that a node reads."""
        node = self._network.nodes[name]
        if node.input is None:
            return
        component = self._network.components.get(node.component)
        for tap in taps(component, times):
            is_partial = component is not None and component.kind in STATISTICS
            active = self.defined(node.input, tap) if is_partial else np.ones(len(tap), np.bool_)
            yield from self.reads(node.input, tap, active)

    def _needed(self, output: str, outputs: Times) -> dict[str, Times]:
        """Frames at which nodes must be computed, sorted."""
        flags = {name: np.zeros(self.count, np.bool_) for name in self._names}
        waiting = [(output, outputs)]
        while waiting:
            name, times = waiting.pop()
            new = np.unique(times[~flags[name][times - self.first]])
            if not len(new):
                continue
            flags[name][new - self.first] = True
            found: dict[str, list[Times]] = {}
            for source, read, active in self._reads_of(name, new):
                found.setdefault(source, []).append(read[active])
            waiting.extend((source, np.concatenate(parts)) for source, parts in found.items())
        return {name: self.first + np.flatnonzero(found) for name, found in flags.items()}

    def _in_order(self, group: list[str], needed: dict[str, Times]) -> Iterator[Step]:
        """Steps of nodes that depend on each other at other frames."""
        sorter: TopologicalSorter[tuple[str, int]] = TopologicalSorter()
        for name in group:
            times = needed[name]
            for time in times.tolist():
                sorter.add((name, time))
            for source, read, active in self._reads_of(name, times):
                if source in group:
                    pairs = zip(times[active].tolist(), read[active].tolist(), strict=True)
                    for time, earlier in pairs:
                        sorter.add((name, time), (source, earlier))
        try:
            sorter.prepare()
        except CycleError:
            raise ValueError("the network depends on itself at the same frame") from None
        while sorter.is_active():
            ready = sorter.get_ready()
            for name in group:
                found = sorted(time for node, time in ready if node == name)
                if found:
                    yield Step(name, np.array(found, np.int64))
            sorter.done(*ready)


def shifted(descriptor: Descriptor, times: Times) -> Times:
    """Frames at which a descriptor reads its arguments."""
    if descriptor.kind == "Offset":
        return times + descriptor.offset
    if descriptor.kind == "Round":
        return times - times % descriptor.offset
    if descriptor.kind == "ReplaceIndex" and descriptor.name == "t":
        return np.full(len(times), descriptor.offset)
    return times


def taps(component: Component | None, times: Times) -> list[Times]:
    """Frames at which a component reads its input, for its results at some frames."""
    if component is None or component.kind not in STATISTICS:
        return [times + offset for offset in time_offsets(component)]
    period = int(component.number("InputPeriod"))
    if component.kind == "StatisticsExtractionComponent":
        length = int(component.number("OutputPeriod"))
        begin, end = 0, length
        times = times - times % max(1, length)
    else:
        begin = -int(component.number("LeftContext"))
        end = int(component.number("RightContext")) + 1
    if period < 1 or not begin <= 0 < end or end - begin > _MOST_TAPS:
        raise ValueError(f"the {component.kind} has periods or contexts that are out of range")
    return [times + offset for offset in range(begin, end, period)]


def reachable(network: Nnet3, output: str) -> list[str]:
    """Nodes on which the output depends."""
    found, waiting = {}, [output]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = True
            waiting.extend(_sources(network, name))
    return list(found)


def _sources(network: Nnet3, name: str) -> set[str]:
    descriptor = network.nodes[name].input
    return set() if descriptor is None else set(names_in(descriptor))


def _groups(network: Nnet3, names: list[str]) -> list[list[str]]:
    """Nodes that depend on each other, in groups, each group after those that it depends on."""
    reach = np.eye(len(names), dtype=np.float32)
    place = {name: number for number, name in enumerate(names)}
    for name in names:
        for source in _sources(network, name):
            reach[place[name], place[source]] = 1
    for _ in range(len(names).bit_length()):
        reach = np.minimum(reach @ reach, 1)
    both = (reach > 0) & (reach.T > 0)
    # Who depends on another depends on all that the other depends on, and on more.
    order = np.argsort((reach > 0).sum(axis=1), kind="stable")
    groups, done = [], np.zeros(len(names), np.bool_)
    for row in order.tolist():
        if not done[row]:
            members = np.flatnonzero(both[row])
            done[members] = True
            groups.append([names[member] for member in members.tolist()])
    return groups


def contexts(network: Nnet3, output: str) -> tuple[int, int]:
    """Frames of input before and after a frame that its output depends on, but for optional ones.

    Raises
    ------
    ValueError
        If they have no end.
    """
    reach, waiting = {output: (0, 0)}, [output]
    while waiting:
        name = waiting.pop()
        for source, low, high in _spans_of(network, name, *reach[name]):
            old = reach.get(source, (low, high))
            new = min(old[0], low), max(old[1], high)
            if new[1] - new[0] > _WIDEST:
                raise ValueError("the network depends on itself without end")
            if source not in reach or new != old:
                reach[source] = new
                waiting.append(source)
    low, high = reach.get("input", (0, 0))
    return max(0, -low), max(0, high)


def _spans_of(network: Nnet3, name: str, low: int, high: int) -> Iterator[tuple[str, int, int]]:
    """Frames of other nodes that a node's frames from ``low`` to ``high`` depend on."""
    node = network.nodes[name]
    if node.input is None:
        return
    component = network.components.get(node.component)
    if component is not None and component.kind in STATISTICS:
        low = high = 0  # any frame is enough
    offsets = time_offsets(component)
    yield from _spans(node.input, low + min(offsets), high + max(offsets))


def _spans(descriptor: Descriptor, low: int, high: int) -> Iterator[tuple[str, int, int]]:
    kind, parts = descriptor.kind, descriptor.parts
    if kind == "Node":
        yield descriptor.name, low, high
        return
    if kind == "IfDefined":
        yield from ((name, 0, 0) for name in names_in(parts[0]))
        return
    if kind == "Offset":
        low, high = low + descriptor.offset, high + descriptor.offset
    elif kind == "Round":
        low -= descriptor.offset - 1
    elif kind == "ReplaceIndex" and descriptor.name == "t":
        low = high = descriptor.offset
    for part in parts[-1:] if kind == "Failover" else parts:  # which is enough
        yield from _spans(part, low, high)


def _margin(network: Nnet3, names: list[str]) -> int:
    """Frames beyond the input at which nodes may be defined."""

    def total(descriptor: Descriptor) -> int:
        own = abs(descriptor.offset) if descriptor.kind in ("Offset", "Round") else 0
        return own + max((total(part) for part in descriptor.parts), default=0)

    margin = 0
    for name in names:
        node = network.nodes[name]
        component = network.components.get(node.component)
        reads = taps(component, np.zeros(1, np.int64))
        margin += int(max(abs(tap[0]) for tap in reads))
        margin += 0 if node.input is None else total(node.input)
    return min(margin, _MOST_MARGIN)
