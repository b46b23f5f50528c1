"""Kaldi's transition model: phone, HMM state and pdf of each transition-id, the labels of HCLG.

A transition-id, counted from 1, is a transition out of a state of the HMM of a phone in a context;
it determines the phone, the pdf (the column of the network's output) and whether the transition is
a self-loop. Format: ``hmm/transition-model.h`` and ``hmm/hmm-topology.h`` in Kaldi.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.kaldi.reader import Floats, Ints, KaldiReader, read_file

_NO_PDF = -1
_MOST_PHONES = 1 << 20
_MOST_IDS = 1 << 24


@dataclass(frozen=True)
class HmmState:
    """State of the topology of a phone.

    Attributes
    ----------
    forward_class, self_loop_class : int
        Which pdf of the phone the transitions to other states and the self-loop have; -1 for a
        state that emits nothing.
    targets : tuple of int
        State that each transition leads to.
    probs : tuple of float
        Probability of each transition before training.
    """

    forward_class: int
    self_loop_class: int
    targets: tuple[int, ...]
    probs: tuple[float, ...]


@dataclass(frozen=True)
class Topology:
    """HMMs of the phones.

    Attributes
    ----------
    entries : tuple of tuple of HmmState
        Different HMMs.
    entry_of : dict
        Index of the HMM of each phone.
    """

    entries: tuple[tuple[HmmState, ...], ...]
    entry_of: dict[int, int]

    def states(self, phone: int) -> tuple[HmmState, ...]:
        """States of the HMM of a phone."""
        return self.entries[self.entry_of[phone]]


@dataclass(frozen=True)
class TransitionModel:
    """Properties of transition-ids; entry 0 of every array is unused, since ids count from 1.

    Attributes
    ----------
    pdf_of : np.ndarray
        int32 ``(num_ids + 1,)``: column of the network's output; -1 at index 0.
    phone_of : np.ndarray
        int32 ``(num_ids + 1,)``; 0 at index 0.
    is_self_loop : np.ndarray
        bool ``(num_ids + 1,)``.
    state_of : np.ndarray
        int32 ``(num_ids + 1,)``: state of the phone's HMM that the transition leaves.
    is_final : np.ndarray
        bool ``(num_ids + 1,)``: whether the transition ends the phone.
    log_probs : np.ndarray
        float32 ``(num_ids + 1,)``: natural logarithms of the transitions' probabilities.
    topology : Topology
    """

    pdf_of: Ints
    phone_of: Ints
    is_self_loop: npt.NDArray[np.bool_]
    state_of: Ints
    is_final: npt.NDArray[np.bool_]
    log_probs: Floats
    topology: Topology

    @property
    def num_ids(self) -> int:
        """Number of transition-ids."""
        return len(self.pdf_of) - 1

    @property
    def num_pdfs(self) -> int:
        """Number of pdfs."""
        return int(self.pdf_of.max()) + 1


def read_transition_model(path: str | Path) -> TransitionModel:
    """Read the transition model at the beginning of ``final.mdl``, binary or text.

    Raises
    ------
    ModelError
        If the file cannot be read, is damaged or begins with something else.
    """
    return read_file(Path(path), transition_model)


def transition_model(reader: KaldiReader) -> TransitionModel:
    """Read a transition model at the present place of a file."""
    reader.expect("<TransitionModel>")
    topology = _topology(reader)
    tuples = _tuples(reader, topology)
    reader.expect("<LogProbs>")
    log_probs = reader.vector()
    reader.expect("</LogProbs>")
    reader.expect("</TransitionModel>")
    return _of_ids(reader, topology, tuples, log_probs)


def _of_ids(
    reader: KaldiReader, topology: Topology, tuples: Ints, log_probs: Floats
) -> TransitionModel:
    """Arrays over transition-ids, of which each tuple has as many as its state has transitions."""
    pdfs, phones, loops, states, finals = [_NO_PDF], [0], [False], [0], [False]
    for phone, state, forward, self_loop in tuples.tolist():
        hmm = topology.states(phone)
        for target in hmm[state].targets:
            is_loop = target == state
            pdfs.append(self_loop if is_loop else forward)
            phones.append(phone)
            loops.append(is_loop)
            states.append(state)
            finals.append(target == len(hmm) - 1)
        if len(pdfs) > min(len(log_probs), _MOST_IDS):
            break
    if len(pdfs) != len(log_probs):
        raise reader.error(
            f"the model has {len(log_probs):,} log-probabilities for "
            f"{len(pdfs) - 1:,} transition-ids or more"
        )
    if not len(tuples) or (~np.isfinite(log_probs[1:])).any() or (log_probs[1:] > 1e-4).any():
        raise reader.error("the transitions have no valid log-probabilities")
    return TransitionModel(
        np.array(pdfs, np.int32),
        np.array(phones, np.int32),
        np.array(loops, np.bool_),
        np.array(states, np.int32),
        np.array(finals, np.bool_),
        log_probs,
        topology,
    )


def _tuples(reader: KaldiReader, topology: Topology) -> Ints:
    """Phone, state, pdf and pdf of the self-loop of every context, int32 ``(N, 4)``."""
    # Without a topology's exceptions, both pdfs are the same and stored once, as "triples".
    kind = reader.expect("<Tuples>", "<Triples>")
    width = 4 if kind == "<Tuples>" else 3
    number = reader.count(width, "tuples")
    rows = []
    for _ in range(number):
        row = [reader.integer() for _ in range(width)]
        phone, state = row[:2]
        pdf = row[2:]
        if phone not in topology.entry_of or not 0 <= state < len(topology.states(phone)):
            raise reader.error(f"phone {phone} has no state {state} in the topology")
        if min(pdf) < 0 or max(pdf) >= _MOST_IDS:
            raise reader.error(f"pdf {pdf[0]} is out of range")
        rows.append((*row[:3], pdf[-1]))
    reader.expect("</Tuples>" if kind == "<Tuples>" else "</Triples>")
    return np.array(rows, np.int32).reshape(number, 4)


def _topology(reader: KaldiReader) -> Topology:
    reader.expect("<Topology>")
    topology = _binary_topology(reader) if reader.binary else _text_topology(reader)
    if not topology.entry_of:
        raise reader.error("the topology has no phones")
    for hmm in topology.entries:
        for state in hmm:
            if any(not 0 <= target < len(hmm) for target in state.targets):
                raise reader.error("a transition of the topology leads to no state")
    return topology


def _binary_topology(reader: KaldiReader) -> Topology:
    phones = reader.integers()
    entry_of_phone = reader.integers()
    number = reader.integer()
    has_own_loops = number == -1  # the newer form: self-loops have a pdf of their own
    if has_own_loops:
        number = reader.integer()
    if not 0 <= number <= reader.left:
        raise reader.error(f"{number:,} HMMs do not fit into the rest of the file")
    entries = []
    for _ in range(number):
        size = reader.count(1, "states")
        entries.append(tuple(_binary_state(reader, has_own_loops) for _ in range(size)))
    reader.expect("</Topology>")
    found = {}
    for phone in phones.tolist():
        entry = int(entry_of_phone[phone]) if 0 < phone < len(entry_of_phone) else -1
        if not 0 <= entry < len(entries):
            raise reader.error(f"phone {phone} has no HMM in the topology")
        found[phone] = entry
    return Topology(tuple(entries), found)


def _binary_state(reader: KaldiReader, has_own_loops: bool) -> HmmState:
    forward = reader.integer()
    self_loop = reader.integer() if has_own_loops else forward
    size = reader.count(10, "transitions")
    arcs = [(reader.integer(), reader.number()) for _ in range(size)]
    targets, probs = tuple(arc[0] for arc in arcs), tuple(arc[1] for arc in arcs)
    return HmmState(forward, self_loop, targets, probs)


def _text_topology(reader: KaldiReader) -> Topology:
    entries: list[tuple[HmmState, ...]] = []
    entry_of: dict[int, int] = {}
    while reader.expect("<TopologyEntry>", "</Topology>") == "<TopologyEntry>":
        reader.expect("<ForPhones>")
        while reader.peek() != "</ForPhones>":
            phone = reader.integer()
            if not 0 < phone < _MOST_PHONES or phone in entry_of:
                raise reader.error(f"phone {phone} is out of range, or has two HMMs")
            entry_of[phone] = len(entries)
        reader.expect("</ForPhones>")
        states: list[HmmState] = []
        while reader.expect("<State>", "</TopologyEntry>") == "<State>":
            states.append(_text_state(reader, len(states)))
        entries.append(tuple(states))
    return Topology(tuple(entries), entry_of)


def _text_state(reader: KaldiReader, number: int) -> HmmState:
    if reader.integer() != number:
        raise reader.error("the states of an HMM are not in order from 0")
    forward = self_loop = _NO_PDF
    targets: list[int] = []
    probs: list[float] = []
    while True:
        token = reader.expect(
            "<PdfClass>", "<ForwardPdfClass>", "<SelfLoopPdfClass>", "<Transition>", "</State>"
        )
        if token == "<PdfClass>":
            forward = self_loop = reader.integer()
        elif token == "<ForwardPdfClass>":
            forward = reader.integer()
        elif token == "<SelfLoopPdfClass>":
            self_loop = reader.integer()
        elif token == "<Transition>":
            targets.append(reader.integer())
            probs.append(reader.number())
        else:
            return HmmState(forward, self_loop, tuple(targets), tuple(probs))
