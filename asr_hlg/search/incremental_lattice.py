"""The lattice over words of an utterance, determinized while it is searched, as Kaldi does it.

Kaldi's ``LatticeIncrementalDecoder``, which Vosk uses: when 60 frames are not in the lattice yet,
those up to the frame with the fewest tokens are added, from the 20th on. Paths that are within the
output beam at that time stay in the lattice, also if they are not at the end of the utterance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from asr_hlg.lattice.compact import GRAPH_SCALE, CompactLattice
from asr_hlg.lattice.incremental_determinize import IncrementalDeterminizer, Part
from asr_hlg.lattice.pruned_determinize import Arc, Weight
from asr_hlg.search import token_pruning
from asr_hlg.search.fst_records import FstArrays, FstOutputs, FstTokens, Structs
from asr_hlg.search.fst_release import remove
from asr_hlg.search.records import Ints
from asr_hlg.search.utterance import Acoustics

_MAX_DELAY, _MIN_SIZE = 60, 20  # frames
_PRUNE_INTERVAL = 25  # frames
_TOLERANCE = 0.1  # of extra costs, as a part of the beam


@dataclass(frozen=True)
class Steps:
    """How many frames are searched at a time when sound comes as it is spoken.

    Attributes
    ----------
    size : int
        Frames that the network computes at a time.
    look_ahead : float
        Frames of which the network needs the sound before it computes others.
    """

    size: int
    look_ahead: float


class Searched(NamedTuple):
    """What is known of the utterance when the lattice is updated.

    Every spelling of ``outputs`` has one word or none.
    """

    graph: FstArrays
    outputs: FstOutputs
    tokens: FstTokens
    acoustics: Acoustics

    @property
    def num_frames(self) -> int:
        """Frames searched so far."""
        return len(self.acoustics)


class IncrementalLattice:
    """The lattice over words of one utterance.

    Parameters
    ----------
    beam : float
        The output beam.
    """

    def __init__(self, beam: float):
        self._beam = beam
        self._pruned = token_pruning.nothing_pruned()
        self._determinizer = IncrementalDeterminizer(beam)
        self._num_frames = 0  # that are in the lattice

    @staticmethod
    def next_stop(num_frames: int, last: int, steps: Steps) -> tuple[int, bool]:
        """The frame up to which an utterance is searched before the tokens are pruned again.

        Parameters
        ----------
        num_frames : int
            Frames searched so far.
        last : int
            Frames that are there.

        Returns
        -------
        frame : int
        is_update : bool
            Whether the lattice is updated there. It is after every step of ``steps.size``, but at
            the end of a recording the frames that waited for the look-ahead come in one step.
        """
        prune = num_frames - num_frames % _PRUNE_INTERVAL + _PRUNE_INTERVAL
        update = num_frames - num_frames % steps.size + steps.size
        if update > last - steps.look_ahead:
            update = last
        stop = min(prune, update)
        return stop, stop == update

    def prune(self, searched: Searched) -> None:
        """Prune the tokens if it is time to."""
        if searched.num_frames % _PRUNE_INTERVAL == 0:
            self._prune(searched)

    def update(self, searched: Searched) -> None:
        """Add frames to the lattice if enough are waiting."""
        last = searched.num_frames
        if last - self._num_frames < _MAX_DELAY:
            return
        self._prune(searched)
        first = self._num_frames + _MIN_SIZE
        size = self._pruned.size[first : last + 1]
        end = first + int(np.flatnonzero(size == size.min())[-1])
        begin, tokens = _tokens(searched.tokens, end)
        extra = self._pruned.extra[begin : begin + len(tokens)]
        # As if every token of the last frame were on an equally good path.
        rest = -extra - tokens["score"]
        left = np.flatnonzero(extra < np.inf)
        self._add(
            searched, end, dict(zip((begin + left).tolist(), rest[left].tolist(), strict=True))
        )

    def release(self, tokens: FstTokens, position: Structs) -> None:
        """Remove pruned tokens and links from the arrays of the search."""
        self._pruned = token_pruning.extended(self._pruned, tokens)
        links, eps_links = (
            np.flatnonzero(flags).astype(np.int32)
            for flags in (self._pruned.links, self._pruned.eps_links)
        )
        number = remove(tokens, links, eps_links, position)
        self._pruned = token_pruning.without(self._pruned, number >= 0)
        left = np.flatnonzero(number >= 0).tolist()
        self._determinizer.renumber({token: int(number[token]) for token in left})

    def result(self, searched: Searched) -> CompactLattice:
        """The lattice of the utterance if it ends here; it may go on all the same."""
        copy = IncrementalLattice(self._beam)
        copy._pruned = token_pruning.extended(self._pruned, searched.tokens)
        copy._determinizer, copy._num_frames = self._determinizer.copy(), self._num_frames
        return copy._finished(searched)

    def _finished(self, searched: Searched) -> CompactLattice:
        begin, tokens = _tokens(searched.tokens, searched.num_frames)
        final = searched.outputs.final[tokens["state"]].astype(np.float64)
        is_final = np.flatnonzero(final > -np.inf)
        finals = {begin + i: float(final[i]) for i in is_final.tolist()}
        if not finals:
            final[:] = 0.0
        token_pruning.prune_at_end(
            searched.graph,
            searched.acoustics,
            self._beam,
            searched.tokens,
            self._pruned,
            final,
            float((tokens["score"] + final).max(initial=-np.inf)),
        )
        ends = finals or {begin + i: 0.0 for i in range(len(tokens))}
        if searched.num_frames > self._num_frames:
            self._add(searched, searched.num_frames, ends)
        return self._determinizer.lattice(finals or None, GRAPH_SCALE)

    def _prune(self, searched: Searched) -> None:
        self._pruned = token_pruning.extended(self._pruned, searched.tokens)
        token_pruning.prune(
            searched.graph,
            searched.acoustics,
            self._beam,
            _TOLERANCE * self._beam,
            searched.tokens,
            self._pruned,
        )

    def _add(self, searched: Searched, end: int, ends: dict[int, float]) -> None:
        """Determinize the frames up to ``end`` that are not in the lattice."""
        if self._determinizer.begins_anew():
            self._num_frames = 0
        arcs: dict[int, list[Arc]] = {}
        self._add_links(arcs, searched, self._num_frames, end)
        self._add_eps_links(arcs, searched, self._num_frames, end)
        self._determinizer.accept(Part(arcs, ends))
        self._num_frames = end

    def _add_links(
        self, arcs: dict[int, list[Arc]], searched: Searched, begin: int, end: int
    ) -> None:
        """Add the links of the frames ``[begin, end)`` that read a label."""
        frames = searched.tokens.frames["link"]
        left = np.flatnonzero(self._pruned.links[frames[begin] : frames[end]]) + frames[begin]
        frame = np.searchsorted(frames, left, side="right") - 1
        links = searched.tokens.links[left]
        taken, outputs = searched.graph.arcs[links["arc"]], searched.outputs
        rows = zip(
            links["src"].tolist(),
            links["dst"].tolist(),
            _words(outputs, outputs.outputs[links["arc"]]).tolist(),
            taken["score"].tolist(),
            searched.acoustics[frame, taken["label"]].tolist(),
            taken["label"].tolist(),
            outputs.phones[links["arc"]].tolist(),
            strict=True,
        )
        for src, dst, word, graph, acoustic, label, phone in rows:
            weight = Weight(graph + acoustic, graph, ((label, phone),))
            arcs.setdefault(src, []).append(Arc(word, dst, weight))

    def _add_eps_links(
        self, arcs: dict[int, list[Arc]], searched: Searched, begin: int, end: int
    ) -> None:
        """Add the ε-links within the frames ``[begin, end]``."""
        frames, outputs = searched.tokens.frames["eps_link"], searched.outputs
        first, last = frames[begin], frames[end + 1]
        left = np.flatnonzero(self._pruned.eps_links[first:last]) + first
        links = searched.tokens.eps_links[left]
        rows = zip(
            links["src"].tolist(),
            links["dst"].tolist(),
            _words(outputs, outputs.eps_outputs[links["arc"]]).tolist(),
            searched.graph.eps_arcs["score"][links["arc"]].tolist(),
            strict=True,
        )
        for src, dst, word, graph in rows:
            arcs.setdefault(src, []).append(Arc(word, dst, Weight(graph, graph, ())))


def _words(outputs: FstOutputs, rows: Ints) -> Ints:
    """The word of each row of the spellings, 0 for none."""
    splits = outputs.spelling_splits
    has_word = splits[rows + 1] > splits[rows]
    words = np.zeros(len(rows), np.int32)
    words[has_word] = outputs.spellings[splits[rows[has_word]]]
    return words


def _tokens(tokens: FstTokens, frame: int) -> tuple[int, Structs]:
    """Number of a frame's first token, and the tokens."""
    begin, end = tokens.frames["token"][frame : frame + 2].tolist()
    return begin, tokens.tokens[begin:end]
