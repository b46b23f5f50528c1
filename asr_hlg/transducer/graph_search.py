"""Graph-constrained search of a transducer, by ``k2.RnntDecodingStreams``.

A frame emits one token or ∅, so L∘G itself, without a topology, is the graph: for ∅, k2 stays in a
state. For every active state, k2 needs the log-probabilities in each context of the prediction
network with which the state was reached.

k2's lattices lack the last frame and the graph's final scores. Therefore every utterance ends with
one more token, END, whose arcs carry the final scores, and with one more frame.
"""

from __future__ import annotations

import k2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asr_hlg.errors import GraphError, ModelError
from asr_hlg.fst.arcs import k2_fsa
from asr_hlg.fst.indexing import expand_ranges
from asr_hlg.fst.symbols import BLANK
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.hlg import HlgArrays
from asr_hlg.lattice import FrameArcs, arc_counts
from asr_hlg.transducer.decoder import TransducerDecoder
from asr_hlg.transducer.model import Transducer
from asr_hlg.transducer.options import GraphOptions

_IMPOSSIBLE = -1e10  # log-probability of a token that must not be emitted


class GraphSearch(TransducerDecoder):
    """Decoder that searches the paths of a graph.

    Parameters
    ----------
    network : Transducer
        With a prediction network of finite context.
    graph : DecodingGraph
        With the topology ``transducer``; its tokens are matched to the network's by name.
    options : GraphOptions, optional
        By default those of the graph's recipe.

    Raises
    ------
    ModelError
        If the prediction network is an LSTM, or the network lacks a token of the graph.
    GraphError
        If the graph has another topology.
    """

    def __init__(
        self, network: Transducer, graph: DecodingGraph, options: GraphOptions | None = None
    ) -> None:
        context = network.prediction.context
        if context is None:
            raise ModelError(
                "graph search needs a prediction network of finite context, this is an LSTM",
                remedy="use a stateless prediction network, or search greedily or with a beam",
            )
        check(graph)
        super().__init__(network, graph, options or graph.options(GraphOptions))
        flat = HlgArrays.of(graph.fsa.to("cpu"))
        label = flat.arcs[:, 2]
        if ((label > 0) & (label != flat.phones)).any():
            raise _wrong_topology(graph)
        # ∅ needs no arcs: k2 stays in a state by itself.
        self._arcs = flat.take(np.flatnonzero(label != 0))
        self._columns = _columns(network, graph)
        self._end = len(graph.columns)
        self._fsa = self._with_end().to(self._columns.device)
        self._context = context

    def search(self, features: Tensor, lengths: list[int]) -> list[FrameArcs | None]:
        """Lattices of a batch of encoder frames ``(B, T, encoder_dim)``.

        None for an utterance without frames, and for one in which no path of the graph survives
        even with a beam four times as wide.
        """
        lattices: list[FrameArcs | None] = [None] * len(lengths)
        rows = [row for row, length in enumerate(lengths) if length]
        for options in (self.options, self.options.wider()):
            if not rows:
                break
            part = features[rows], [lengths[row] for row in rows]
            for row, arcs in zip(rows, self._search(*part, options), strict=True):
                lattices[row] = arcs
            rows = [row for row in rows if lattices[row] is None]
        return lattices

    @torch.no_grad()
    def _search(
        self, features: Tensor, lengths: list[int], options: GraphOptions
    ) -> list[FrameArcs | None]:
        config = k2.RnntDecodingConfig(
            vocab_size=self._end + 1,
            decoder_history_len=self._context,
            beam=options.search_beam,
            max_states=options.max_active,
            max_contexts=options.max_contexts,
        )
        sources = [k2.RnntDecodingStream(self._fsa) for _ in lengths]
        streams = k2.RnntDecodingStreams(sources, config)
        encoded = self.network.encoded(features)
        remaining = torch.tensor(lengths, device=features.device)
        for frame in range(max(lengths) + 2):
            shape, contexts = streams.get_contexts()
            row = shape.row_ids(1).long()
            log_probs = self._log_probs(
                encoded[:, min(frame, encoded.shape[1] - 1)][row],
                contexts.long(),
                remaining.sub(frame)[row],
                options.blank_penalty,
            )
            streams.advance(log_probs)
        streams.terminate_and_flush_to_streams()
        lattice = streams.format_output([length + 2 for length in lengths])
        return self._frame_arcs(k2.connect(lattice.to("cpu")))

    def _log_probs(
        self, encoded: Tensor, contexts: Tensor, remaining: Tensor, blank_penalty: float
    ) -> Tensor:
        """Log-probabilities of the next token, ``(contexts, tokens of the graph and END)``.

        ``remaining`` is the number of frames left in the utterance of each context. With none
        left only END is possible, and after END only ∅.
        """
        log_probs = self.network.log_probs(encoded, (self._columns[contexts],))
        log_probs = log_probs[:, self._columns]
        log_probs[:, 0] -= blank_penalty
        log_probs[:, self._end] = _IMPOSSIBLE
        forced = torch.where(remaining == 0, self._end, 0)[:, None]
        after_end = torch.full_like(log_probs, _IMPOSSIBLE).scatter(1, forced, 0.0)
        return torch.where((remaining <= 0)[:, None], after_end, log_probs).contiguous()

    def _with_end(self) -> k2.Fsa:
        """The graph with END before its final state and the attribute ``arc``, an arc's index."""
        arcs = self._arcs
        src, dst, label = arcs.arcs[:, :3].T
        fsa = k2_fsa(
            np.append(src, np.int32(arcs.num_states - 1)),
            np.append(dst, np.int32(arcs.num_states)),
            np.append(np.where(label == -1, self._end, label), -1).astype(np.int32),
            np.append(arcs.score * np.float32(self.options.graph_scale), np.float32(0)),
        )
        fsa.arc = torch.arange(fsa.num_arcs, dtype=torch.int32)
        fsa.arc_filler = -1
        return fsa

    def _frame_arcs(self, lattice: k2.Fsa) -> list[FrameArcs | None]:
        """Convert k2's lattices, one for each utterance, and remove END."""
        packed = lattice.arcs.values().numpy()
        score = lattice.scores.double().numpy()
        arc = lattice.arc.numpy()
        last = np.cumsum(arc_counts(lattice))
        return [
            self._utterance(*(column[begin:end] for column in (packed, score, arc)))
            for begin, end in zip([0, *last[:-1].tolist()], last.tolist(), strict=True)
        ]

    def _utterance(
        self,
        packed: npt.NDArray[np.int32],
        score: npt.NDArray[np.float64],
        arc: npt.NDArray[np.int32],
    ) -> FrameArcs | None:
        keep = packed[:, 2] != -1  # drops the arcs from after END to k2's final state
        if not keep.any():
            return None
        src, dst, label, _ = packed[keep].T
        score, arc = score[keep], arc[keep]
        is_end = label == self._end
        # The states after END, which come last, are merged into one.
        final = int(src.max()) + 1
        has_token = arc >= 0  # not ∅
        index = np.where(has_token, arc, 0)
        splits = self._arcs.word_splits
        begin, end = splits[index], np.where(has_token, splits[index + 1], splits[index])
        graph_score = np.where(has_token, self._arcs.score[index], 0.0) * self.options.graph_scale
        return FrameArcs(
            final + 1,
            src.astype(np.int32),
            np.where(is_end, final, dst).astype(np.int32),
            np.where(is_end, -1, label).astype(np.int32),
            np.where(is_end, 0, label).astype(np.int32),
            _frames(src, dst),
            score,
            graph_score.astype(np.float64),
            self._arcs.words[expand_ranges(begin, end)[0]],
            np.append(0, np.cumsum(end - begin)),
        )


def check(graph: DecodingGraph) -> None:
    """Raise a `GraphError` for a graph of another topology; reads no arcs."""
    other = graph.topology not in (None, "transducer")
    if other or graph.columns[0] != BLANK or graph.supports_token_passing:
        raise _wrong_topology(graph)


def _wrong_topology(graph: DecodingGraph) -> GraphError:
    return GraphError(
        "a transducer emits a token in one frame, but this graph allows several frames a token",
        path=graph.folder,
        remedy='use one with [topology] kind = "transducer"',
    )


def _columns(network: Transducer, graph: DecodingGraph) -> Tensor:
    """Index of the network's token for each token of the graph, and of ∅ for END."""
    position = {name: index for index, name in enumerate(network.config.tokens)}
    missing = [name for name in graph.columns[1:] if name not in position]
    if missing:
        raise ModelError(
            f"the transducer lacks tokens of the graph: {', '.join(missing)}",
            remedy="compile the graph from a lexicon in the transducer's own tokens",
        )
    ids = [0, *(position[name] for name in graph.columns[1:]), 0]
    return torch.tensor(ids, device=network.output.weight.device)


def _frames(src: npt.NDArray[np.int32], dst: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Frame of every arc, int32 ``(num_arcs,)``; states are numbered frame by frame."""
    frame = np.zeros(len(src), dtype=np.int32)
    begin, next_state = 0, 1  # first arc of this frame, first state of the next one
    for number in range(len(src)):
        end = int(np.searchsorted(src, next_state))
        if begin == end:
            break
        frame[begin:end] = number
        next_state = int(dst[begin:end].max()) + 1
        begin = end
    return frame
