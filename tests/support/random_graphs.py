"""Small random graphs, random posteriors for them, and what is true of their lattices."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from asr_hlg import lm
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import DecodingGraph, compile_lg, topology
from asr_hlg.graph.compile import assemble
from asr_hlg.graph.meter import Meter
from asr_hlg.lattice import FrameArcs
from asr_hlg.lexicon import Lexicon


def random_graph(seed: int, ctc: bool = True) -> DecodingGraph:
    return random_graphs(seed, ctc)[0]


@cache
def random_graphs(seed: int, ctc: bool = True) -> tuple[DecodingGraph, Arcs]:
    """A few short words, some of which sound the same, under a model with back-offs; and L∘G."""
    random = np.random.default_rng(seed)
    words = "uvwxyz"[: random.integers(2, 7)]
    phones = "abc"[: random.integers(1, 4)]
    entries = [(word, tuple(random.choice(list(phones), random.integers(1, 4)))) for word in words]
    lexicon = Lexicon(entries, silence="SIL" if random.random() < 0.5 else None)
    sentences = [random.choice(list(words), random.integers(1, 5)).tolist() for _ in range(6)]
    model = lm.estimate(sentences, int(random.integers(1, 4)))
    H = topology.ctc(lexicon.num_tokens) if ctc else topology.hmm(lexicon.num_tokens - 1)
    lg = compile_lg(lexicon, lm.to_arcs(model, lexicon.words)[0], Meter(None, None))
    return assemble(Arcs.from_k2(H), lexicon, lg, Meter(None, None)), lg


def random_posteriors(graph: DecodingGraph, lengths: list[int], seed: int) -> Posteriors:
    """Peaked to any degree, and with more or less blank."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(len(lengths), max(lengths), len(graph.columns)))
    logits *= random.uniform(0.5, 8)
    logits[:, :, 0] += random.uniform(0, 8) * (random.random(logits.shape[:2]) < 0.5)
    log_probs = torch.from_numpy(logits).log_softmax(dim=2).float()
    return Posteriors(log_probs, torch.tensor(lengths, dtype=torch.int32), 0.02, graph.columns)


def through(arcs: FrameArcs) -> np.ndarray:
    """The score of the best path through every arc."""
    alpha = np.full(arcs.num_states, -np.inf)
    beta = np.full(arcs.num_states, -np.inf)
    alpha[0] = beta[-1] = 0.0
    for src, dst, score in zip(arcs.src, arcs.dst, arcs.score, strict=True):
        alpha[dst] = max(alpha[dst], alpha[src] + score)
    for src, dst, score in zip(arcs.src[::-1], arcs.dst[::-1], arcs.score[::-1], strict=True):
        beta[src] = max(beta[src], score + beta[dst])
    return alpha[arcs.src] + arcs.score + beta[arcs.dst]
