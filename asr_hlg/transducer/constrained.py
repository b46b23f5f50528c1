"""Search along the paths of a graph, by k2's decoding streams.

A frame says one token or nothing, so that L∘G itself, without a topology, is the graph: k2 stays
in a state for ∅, and asks for the probabilities in every context of the prediction network with
which a state of the graph was reached.

k2's lattices lack the last frame and the graph's final scores. So every utterance ends with a
token of its own, END, whose arcs carry these scores, and with one frame more.
"""

from __future__ import annotations

from copy import copy

import k2
import numpy as np
import torch
from torch import Tensor

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import GraphError, ModelError
from asr_hlg.fst.arcs import k2_fsa
from asr_hlg.fst.symbols import BLANK
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.flat import FlatGraph, expand
from asr_hlg.lattice import FrameArcs, Lattice, arc_counts
from asr_hlg.search import random_frames
from asr_hlg.transducer.model import Transducer
from asr_hlg.transducer.options import GraphOptions

_NEVER = -1e10  # log-probability of what may not be said


class GraphSearch:
    """The decoder (:class:`asr_hlg.search.Decoder`) of a transducer along a graph's paths.

    Parameters
    ----------
    network : Transducer
        In evaluation mode, with a prediction network of finite context.
    graph : DecodingGraph
        Of the topology ``transducer``; its tokens are matched to the network's by name.
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
    ):
        context = network.prediction.context
        if context is None:
            raise ModelError(
                "a search with a graph keeps hypotheses apart by their last tokens, an LSTM by all",
                remedy="use a stateless prediction network, or search greedily or with a beam",
            )
        check(graph)
        self.network, self.graph = network, graph
        self.options = options or graph.options(GraphOptions)
        flat = FlatGraph.of(graph.fsa.to("cpu"))
        label = flat.packed[:, 2]
        if ((label > 0) & (label != flat.phones)).any():
            raise _repeats(graph)
        # ∅ needs no arcs: k2 stays in every state by itself.
        self._arcs = flat.take(np.flatnonzero(label != 0))
        self._columns = _columns(network, graph)
        self._end = len(graph.columns)
        self._fsa = self._streamed().to(self._columns.device)
        self._context = context

    def decode(self, posteriors: Posteriors) -> Lattice:
        """Search a batch of utterances, from posteriors of a transducer's encoder."""
        if posteriors.features is None:
            raise ModelError(
                "a transducer searches encoder frames, which these posteriors lack",
                remedy="compute them with asr_hlg.transducer.Recogniser",
            )
        arcs = self.search(posteriors.features, posteriors.lengths.tolist())
        return Lattice.from_arcs(arcs, posteriors, self.graph)

    def narrower(self) -> GraphSearch:
        """The same decoder with narrower beams."""
        narrow = copy(self)
        narrow.options = self.options.narrower()
        return narrow

    def noise(self) -> Posteriors:
        """Random encoder frames."""
        features, length = random_frames(self.network.encoder_dim)
        features = features.to(self._columns.device)
        return Posteriors(features[:, :, :0], length, 0.01, (), features=features)

    def search(self, features: Tensor, lengths: list[int]) -> list[FrameArcs | None]:
        """The lattices of a batch: ``(B, T, encoder_dim)`` and its frames.

        An utterance without frames, and one through which no path of the graph survives, even
        with a beam four times as wide, has none.
        """
        found: list[FrameArcs | None] = [None] * len(lengths)
        rows = [row for row, length in enumerate(lengths) if length]
        for chosen in (self.options, self.options.wider()):
            if not rows:
                break
            part = features[rows], [lengths[row] for row in rows]
            for row, arcs in zip(rows, self._search(*part, chosen), strict=True):
                found[row] = arcs
            rows = [row for row in rows if found[row] is None]
        return found

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
        left = torch.tensor(lengths, device=features.device)
        for frame in range(max(lengths) + 2):
            shape, contexts = streams.get_contexts()
            row = shape.row_ids(1).long()
            here = encoded[:, min(frame, encoded.shape[1] - 1)][row]
            penalty = options.blank_penalty
            streams.advance(self._log_probs(here, contexts.long(), (left - frame)[row], penalty))
        streams.terminate_and_flush_to_streams()
        lattice = streams.format_output([length + 2 for length in lengths])
        return self._frame_arcs(k2.connect(lattice.to("cpu")))

    def _log_probs(
        self, encoded: Tensor, contexts: Tensor, left: Tensor, blank_penalty: float
    ) -> Tensor:
        """What may be said next, ``(contexts, tokens of the graph and END)``.

        ``left`` is the number of frames that a context's utterance still has: at 0 there is END
        to say, after that nothing.
        """
        log_probs = self.network.log_probs(encoded, (self._columns[contexts],))
        log_probs = log_probs[:, self._columns]
        log_probs[:, 0] -= blank_penalty
        log_probs[:, self._end] = _NEVER
        over = (left <= 0)[:, None]
        only = torch.where(left == 0, self._end, 0)[:, None]
        last = torch.full_like(log_probs, _NEVER).scatter(1, only, 0.0)
        return torch.where(over, last, log_probs).contiguous()

    def _streamed(self) -> k2.Fsa:
        """The graph with END before its final state; arcs know their place in ``_arcs``."""
        arcs = self._arcs
        src, dst, label = arcs.packed[:, :3].T
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
        """What k2 found, utterance by utterance, without END."""
        packed = lattice.arcs.values().numpy()
        score = lattice.scores.double().numpy()
        arc = lattice.arc.numpy()
        last = np.cumsum(arc_counts(lattice))
        return [
            self._utterance(*(column[begin:end] for column in (packed, score, arc)))
            for begin, end in zip([0, *last[:-1].tolist()], last.tolist(), strict=True)
        ]

    def _utterance(
        self, packed: np.ndarray, score: np.ndarray, arc: np.ndarray
    ) -> FrameArcs | None:
        keep = packed[:, 2] != -1  # from behind END to k2's final state
        if not keep.any():
            return None
        src, dst, label, _ = packed[keep].T
        score, arc = score[keep], arc[keep]
        ends = label == self._end
        final = int(src.max()) + 1  # all states behind END, which are the last ones, become one
        says = arc >= 0
        place = np.where(says, arc, 0)
        splits = self._arcs.word_splits
        begin, end = splits[place], np.where(says, splits[place + 1], splits[place])
        graph_score = np.where(says, self._arcs.score[place], 0.0) * self.options.graph_scale
        return FrameArcs(
            final + 1,
            src.astype(np.int32),
            np.where(ends, final, dst).astype(np.int32),
            np.where(ends, -1, label).astype(np.int32),
            np.where(ends, 0, label).astype(np.int32),
            _frames(src, dst),
            score,
            graph_score.astype(np.float64),
            self._arcs.words[expand(begin, end)[0]],
            np.append(0, np.cumsum(end - begin)),
        )


def check(graph: DecodingGraph) -> None:
    """Refuse graphs that are not for transducers, where that shows without reading their arcs."""
    other = graph.topology not in (None, "transducer")
    if other or graph.columns[0] != BLANK or graph.packed is not None:
        raise _repeats(graph)


def _repeats(graph: DecodingGraph) -> GraphError:
    return GraphError(
        "a transducer says a token in one frame, and this graph has several frames a token",
        path=graph.folder,
        remedy='use one with [topology] kind = "transducer"',
    )


def _columns(network: Transducer, graph: DecodingGraph) -> Tensor:
    """The network's token for each of the graph's, and ∅ for END."""
    position = {name: index for index, name in enumerate(network.config.tokens)}
    missing = [name for name in graph.columns[1:] if name not in position]
    if missing:
        raise ModelError(
            f"the transducer lacks tokens of the graph: {', '.join(missing)}",
            remedy="compile the graph from a lexicon in the transducer's own tokens",
        )
    ids = [0, *(position[name] for name in graph.columns[1:]), 0]
    return torch.tensor(ids, device=network.output.weight.device)


def _frames(src: np.ndarray, dst: np.ndarray) -> np.ndarray:
    """The frame of every arc, int32; states are numbered frame by frame."""
    frame = np.zeros(len(src), dtype=np.int32)
    begin, state = 0, 1  # arcs of the present frame begin here, states of the next one
    for number in range(len(src)):
        end = int(np.searchsorted(src, state))
        if begin == end:
            break
        frame[begin:end] = number
        state = int(dst[begin:end].max()) + 1
        begin = end
    return frame
