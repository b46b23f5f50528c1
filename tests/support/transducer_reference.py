"""Loss and sequence scores of transducers, computed from their definitions; for small cases."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

BLANK = 0
"""∅."""


def alignments(num_frames: int, tokens: Sequence[int], lattice: str) -> Iterator[tuple[int, ...]]:
    """All alignments of ``tokens`` with ``num_frames``, as sequences of tokens and ∅."""
    if lattice == "modified":  # every frame emits one token or ∅
        for frames in itertools.combinations(range(num_frames), len(tokens)):
            path = [BLANK] * num_frames
            for frame, token in zip(frames, tokens, strict=True):
                path[frame] = token
            yield tuple(path)
        return
    # every frame emits any number of tokens and then ∅
    for frames in itertools.combinations_with_replacement(range(num_frames), len(tokens)):
        path = []
        for frame in range(num_frames):
            path += [token for f, token in zip(frames, tokens, strict=True) if f == frame]
            path.append(BLANK)
        yield tuple(path)


def alignment_score(log_probs: np.ndarray, path: Sequence[int], lattice: str) -> float:
    """log-probability of one alignment; ``log_probs`` is ``(T, U + 1, V)``."""
    t = u = 0
    score = 0.0
    for symbol in path:
        score += log_probs[t, u, symbol]
        if symbol != BLANK:
            u += 1
        if symbol == BLANK or lattice == "modified":
            t += 1
    assert t == len(log_probs)
    return score


def loss(log_probs: np.ndarray, tokens: Sequence[int], lattice: str) -> float:
    """−log p(tokens) by the forward recursion over (t, u), in float64."""
    num_frames, most = len(log_probs), len(tokens)
    alpha = np.full((num_frames + 1, most + 1), -np.inf)
    alpha[0, 0] = 0.0
    for t in range(num_frames + 1):
        for u in range(most + 1):
            if t:
                blank = alpha[t - 1, u] + log_probs[t - 1, u, BLANK]
                alpha[t, u] = np.logaddexp(alpha[t, u], blank)
            if u and lattice == "modified" and t:
                emitted = alpha[t - 1, u - 1] + log_probs[t - 1, u - 1, tokens[u - 1]]
                alpha[t, u] = np.logaddexp(alpha[t, u], emitted)
            if u and lattice == "regular" and t < num_frames:
                emitted = alpha[t, u - 1] + log_probs[t, u - 1, tokens[u - 1]]
                alpha[t, u] = np.logaddexp(alpha[t, u], emitted)
    return -alpha[num_frames, most]


def sequence_scores(
    num_frames: int, num_tokens: int, log_probs: Callable[[tuple[int, ...]], np.ndarray]
) -> dict[tuple[int, ...], tuple[float, float]]:
    """Sum over alignments and best alignment of every token sequence, in the modified lattice.

    ``log_probs(tokens)`` gives the table ``(T, len(tokens) + 1, V)`` of a sequence.
    """
    scores_of = {}
    for length in range(num_frames + 1):
        for tokens in itertools.product(range(1, num_tokens), repeat=length):
            table = log_probs(tokens)
            scores = [
                alignment_score(table, path, "modified")
                for path in alignments(num_frames, tokens, "modified")
            ]
            scores_of[tokens] = float(np.logaddexp.reduce(scores)), max(scores)
    return scores_of


def table_of(network, features: torch.Tensor, tokens: Sequence[int]) -> np.ndarray:
    """Log-probabilities ``(T, U + 1, V)`` of a network for features ``(T, dim)`` and tokens."""
    with torch.no_grad():
        encoded = network.encoded(features[None])
        predicted = network.predicted(torch.tensor([list(tokens)], dtype=torch.int64))
        return network.join(encoded, predicted)[0].double().log_softmax(-1).numpy()
