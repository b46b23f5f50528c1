"""Scaled likelihoods p(y|φ) from posteriors p(φ|y), for decoding with hidden Markov models.

By Bayes' rule p(y|φ) = p(φ|y) p(y) / p(φ), and p(y) is the same for every path, so the network's
posteriors divided by the tokens' priors serve as likelihoods (Bourlard & Morgan 1994,
"Connectionist Speech Recognition", chapter 7).  CTC models are decoded without priors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.arrays import is_tensor, log_add, to_numpy, to_tensor
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import ModelError, OptionError
from asr_hlg.fst.symbols import BLANK, EPS
from asr_hlg.lexicon.phones import SILENCE

_MAX_SHOWN = 8  # tokens in a message


def scale(
    posteriors: Posteriors,
    priors: Any = None,
    acoustic_scale: float = 1.0,
    blank_penalty: float = 0.0,
    floor: float = 0.0,
    prior_scale: float = 1.0,
) -> Posteriors:
    """Compute the acoustic scores of a search from posteriors.

    ``acoustic_scale · (log max(p(φ|y), floor) − blank_penalty·[φ is blank] − κ log p(φ))``

    Parameters
    ----------
    posteriors : Posteriors
        Their ``priors`` are not used, and the result has none.
    priors : array, optional
        float ``(num_tokens,)``: p(φ), positive; without them, all tokens are equally probable.
    acoustic_scale : float
        Weight of the acoustic scores against the graph's.
    blank_penalty : float
        Subtracted from the log-probability of blank; raise it if words are deleted.
    floor : float
        Smallest probability, 0 for none; with a floor, a path with one token of probability 0 can
        still win.
    prior_scale : float
        κ: less than 1 for networks whose posteriors depend less on the priors.
    """
    given: Any = posteriors.scores  # computed on its own device
    scores = given.clip(min=math.log(floor)) if floor > 0 else given * 1.0
    if posteriors.tokens[0] == EPS:
        # Blank-free topologies never emit column 0, and the floor must not apply to it.
        scores[:, :, 0] = -1e9
    if priors is not None:
        scores -= _log_priors(priors, posteriors) * prior_scale
    if blank_penalty and BLANK in posteriors.tokens:
        scores[:, :, posteriors.tokens.index(BLANK)] -= blank_penalty
    scores *= acoustic_scale
    return Posteriors(scores, posteriors.lengths, posteriors.frame_shift, posteriors.tokens)


def _log_priors(priors: Any, posteriors: Posteriors) -> Any:
    """Logarithms of priors, as an array of the same kind as the posteriors."""
    values = to_numpy(priors)
    if values.shape != (len(posteriors.tokens),) or not (values > 0).all():
        raise OptionError(f"priors must be {len(posteriors.tokens)} positive numbers")
    scores: Any = posteriors.scores
    logs = np.log(values)
    if is_tensor(scores):
        return to_tensor(logs, str(scores.device)).to(scores)
    return logs.astype(scores.dtype)


def map_tokens(posteriors: Posteriors, tokens: Sequence[str]) -> Posteriors:
    """Reorder the columns of posteriors to the order of a graph's tokens.

    Parameters
    ----------
    posteriors : Posteriors
        Of a model that has the graph's tokens.
    tokens : sequence of str
        The graph's columns, matched by name.  A leading ``<eps>``, which blank-free topologies
        never emit, need not be in the model.  If the graph has no silence token, the model's
        silence probability is added to blank, as which the graph reads pauses.
        Priors are reordered in the same way.

    Raises
    ------
    ModelError
        If the model lacks tokens of the graph.
    """
    if tuple(tokens) == posteriors.tokens:
        return posteriors
    columns = find_columns(posteriors.tokens, tokens)
    scores: Any = posteriors.scores
    mapped = scores[:, :, columns]
    priors = None if posteriors.priors is None else posteriors.priors[columns]
    if SILENCE in posteriors.tokens and SILENCE not in tokens and tokens[0] == BLANK:
        silence = posteriors.tokens.index(SILENCE)
        mapped[:, :, 0] = log_add(mapped[:, :, 0], scores[:, :, silence])
        if priors is not None and posteriors.priors is not None:
            priors[0] += posteriors.priors[silence]
    return Posteriors(mapped, posteriors.lengths, posteriors.frame_shift, tuple(tokens), priors)


def find_columns(given: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Column of every token that a graph wants among those of a model; 0 for ``<eps>``.

    Raises
    ------
    ModelError
        If the model lacks tokens of the graph.
    """
    position = {name: index for index, name in enumerate(given)}
    missing = [name for name in wanted if name not in position and name != EPS]
    if missing:
        shown = ", ".join(missing[:_MAX_SHOWN]) + (", …" if len(missing) > _MAX_SHOWN else "")
        raise ModelError(
            f"the acoustic model lacks tokens of the graph: {shown}",
            remedy="`asr-hlg graph NAME --model MODEL --lm FILE` compiles one for the tokens of "
            "another toolkit's model; else write the lexicon in the model's tokens",
        )
    return [position.get(name, 0) for name in wanted]


def count_priors(
    alignments: Iterable[Sequence[int]], num_tokens: int, smoothing: float = 1.0
) -> npt.NDArray[np.float32]:
    """Estimate priors p(φ) by counting frames: (count + smoothing) / (sum over all tokens).

    Parameters
    ----------
    alignments : iterable of sequences of int
        The column of every frame of the training recordings; negative where unknown.
    num_tokens : int
        Number of columns.  One that never occurs, such as column 0 of a blank-free topology, gets
        the probability of ``smoothing`` frames.
    smoothing : float
        Frames added to every column; positive.

    Returns
    -------
    np.ndarray
        float32 ``(num_tokens,)``, sums to 1.

    Raises
    ------
    OptionError
        If ``smoothing`` is not positive or a frame's column does not exist.
    """
    if smoothing <= 0:
        raise OptionError(f"smoothing must be above 0, got {smoothing}")
    counts = np.full(num_tokens, smoothing, dtype=np.float64)
    for number, alignment in enumerate(alignments, start=1):
        columns = np.asarray(alignment, dtype=np.int64)
        if len(columns) and columns.max() >= num_tokens:
            raise OptionError(
                f"alignment {number} has column {columns.max()}, the network has {num_tokens}"
            )
        counts += np.bincount(columns[columns >= 0], minlength=num_tokens)
    return np.asarray(counts / counts.sum(), dtype=np.float32)
