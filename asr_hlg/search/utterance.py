"""The search of one utterance, whose frames may come at once or in parts.

    search = decoder.start()
    for acoustics in parts:                # float32 (num_frames, num_columns), scaled
        search.accept(acoustics)
    arcs = search.lattice()

The arcs are the same bytes, however the frames are divided. Whoever has all frames passes them in
one part: this is how whole utterances are decoded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from asr_hlg.lattice import FrameArcs
from asr_hlg.search.records import Ints, Limits

Acoustics = npt.NDArray[np.float32]

RELEASE = 1 << 16
"""Links that are recorded after a release before the next, beside as many as that one left."""


class UtteranceSearch(ABC):
    """Tokens and links of one utterance in a workspace; engines define their steps.

    Parameters
    ----------
    graph, outputs : tuple of np.ndarray
        Arrays of the graph that the search reads, and those that only lattices need.
    workspace : tuple of np.ndarray
        Arrays that the search writes, larger ones where they do not suffice.
    limits : tuple of float
        search_beam, output_beam, min_active, max_active.
    frame_type : np.dtype
        Of ``frames``: where the tokens and links of each frame begin.

    Attributes
    ----------
    workspace : tuple of np.ndarray
    num_frames : int
        Searched so far.
    build : callable
        Makes the fields of :class:`FrameArcs` from the tokens and links.
    release : callable
        Removes from the workspace what no continuation needs.
    """

    build: ClassVar[Callable[..., Any]]
    release: ClassVar[Callable[..., None]]

    def __init__(
        self,
        graph: Any,
        outputs: Any,
        workspace: Any,
        limits: Limits,
        frame_type: np.dtype[np.void],
    ):
        self._graph, self._outputs = graph, outputs
        self.workspace = workspace
        self.num_frames = 0
        self._limits = limits
        self._frames = np.zeros(2, frame_type)
        self._acoustics: Acoustics = np.zeros((0, 0), np.float32)
        self._release_at = RELEASE
        self._position = self._start()

    @property
    def acoustics(self) -> Acoustics:
        """The frames searched so far, float32 ``(num_frames, num_columns)``."""
        return self._acoustics[: self.num_frames]

    def accept(self, acoustics: Acoustics) -> None:
        """Search the next frames, float32 ``(n, num_columns)``, scaled."""
        if not len(acoustics):
            return
        if self._num_links() > self._release_at:
            beam = self._limits[1]
            self.release(self._graph, self.acoustics, beam, self._tokens(), self._position)
            self._release_at = 2 * self._num_links() + RELEASE
        self._search(acoustics)

    def _search(self, acoustics: Acoustics) -> None:
        end = self.num_frames + len(acoustics)
        self._frames = _extended(self._frames, self.num_frames + 2, end + 2)
        if self.num_frames:
            self._acoustics = _extended(self._acoustics, self.num_frames, end)
            self._acoustics[self.num_frames : end] = acoustics
        else:
            self._acoustics = acoustics
        before = self._changing()
        while True:
            self.num_frames += self._pass(self._acoustics[self.num_frames : end])
            if self.num_frames == end:
                break
            larger = self._allocate(2 * len(self.workspace[0]))
            self._copy(larger, before)
            self.workspace = larger

    def lattice(self, everywhere: bool = False, output_beam: float | None = None) -> FrameArcs:
        """Arcs within the output beam of the best path; none if no path reached a final state.

        Parameters
        ----------
        everywhere : bool
            Let paths end in every state, without its final score: for a partial result.
        output_beam : float, optional
            By default that of the search, which is the widest possible.
        """
        beam = self._limits[1] if output_beam is None else min(output_beam, self._limits[1])
        outputs = self._outputs
        if everywhere:
            outputs = outputs._replace(final=_no_final_scores(outputs.final))
        return FrameArcs(*self.build(self._graph, outputs, self.acoustics, beam, self._tokens()))

    def lattice_ahead(self, acoustics: Acoustics, output_beam: float | None = None) -> FrameArcs:
        """As :meth:`lattice` ``(everywhere=True)`` after more frames, which are then forgotten."""
        position, num_frames = self._position.copy(), self.num_frames
        frame, before = self._frames[num_frames + 1].copy(), self._changing()
        self._search(acoustics)
        arcs = self.lattice(everywhere=True, output_beam=output_beam)
        self._position[:], self.num_frames = position, num_frames
        self._frames[num_frames + 1] = frame
        self._change_back(before)
        return arcs

    def last_frames(self, count: int) -> tuple[Ints, npt.NDArray[np.int64]]:
        """Phones of the last ``count`` frames of the best path so far, and the states before them.

        int32 and int64 ``(count,)``; numbers of states serve to compare them. Only
        :class:`~asr_hlg.search.fst_decoder.FstSearch` has it.
        """
        raise NotImplementedError

    @abstractmethod
    def best_scores(self) -> tuple[float, float]:
        """The best score of a token of the last frame, and with the score of its final state.

        Scores may lack a constant of the frame. The second is ``-inf`` without a final state.
        """

    @abstractmethod
    def _start(self) -> Any:
        """Write the token of the start; returns a record of how far the utterance is searched."""

    @abstractmethod
    def _allocate(self, capacity: int) -> Any:
        """A workspace with room for so many records of each kind."""

    def _num_links(self) -> int:
        """Number of links that read a label, in the workspace."""
        return int(self._position["num_links"][0])

    @abstractmethod
    def _pass(self, acoustics: Acoustics) -> int:
        """Search the next frames; returns how many were searched before the workspace was full."""

    @abstractmethod
    def _changing(self) -> Any:
        """Copy of the records of the past that :meth:`_pass` changes."""

    @abstractmethod
    def _change_back(self, changing: Any) -> None:
        """Write the records of the past that :meth:`_changing` has copied."""

    @abstractmethod
    def _copy(self, larger: Any, changing: Any) -> None:
        """Copy what is recorded to a larger workspace, as it was when ``changing`` was copied."""

    @abstractmethod
    def _tokens(self) -> Any:
        """Tokens and links so far, as the engine's kernels take them."""


def _extended(array: Any, used: int, size: int) -> Any:
    """The array, or a larger one with the same first rows, whose length is at least ``size``."""
    if size <= len(array):
        return array
    larger = np.zeros((max(size, 2 * used), *array.shape[1:]), array.dtype)
    larger[:used] = array[:used]
    return larger


def _no_final_scores(final: Acoustics) -> Acoustics:
    """Zeros in place of final scores, so that a path may end in every state.

    They are read-only if those are, since numba would compile everything twice. Pages that are not
    read cost no memory.
    """
    zeros = np.zeros(final.shape, np.float32)
    zeros.flags.writeable = final.flags.writeable
    return zeros
