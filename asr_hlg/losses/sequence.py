"""CTC and full-sum HMM losses: sums over all pronunciations and alignments of a transcript."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import k2
import torch
from torch import nn

from asr_hlg.errors import DataError, LexiconError, OptionError, listed
from asr_hlg.lexicon import Lexicon
from asr_hlg.losses.graphs import TranscriptGraphs
from asr_hlg.losses.path_sum import path_sum


class TranscriptLoss(nn.Module):
    """Base class of losses on transcripts: the check of the training data."""

    def min_frames(self, text: str) -> int:
        """Number of frames that a transcript needs; `LexiconError` for an unknown word."""
        raise NotImplementedError

    def check(self, ids: Iterable[str], texts: Iterable[str], num_frames: Iterable[int]) -> None:
        """Check that every transcript has pronunciations and fits its frames, before training.

        Parameters
        ----------
        ids, texts : iterables of str
            Utterances and their transcripts.
        num_frames : iterable of int
            Output frames of the network for each.

        Raises
        ------
        LexiconError
            Naming the utterances with words that the lexicon lacks.
        DataError
            Naming the utterances with fewer frames than their transcript needs.
        """
        unknown, short = [], []
        for id, text, frames in zip(ids, texts, num_frames, strict=True):
            try:
                needed = self.min_frames(text)
            except LexiconError as error:
                unknown.append(f"{id}: {error.message}")
                continue
            if frames < needed:
                short.append(f"{id}: {frames} frames, {text!r} needs {needed}")
        if unknown:
            raise LexiconError(
                listed(unknown), remedy="add the words to the lexicon, or correct the transcripts"
            )
        if short:
            raise DataError(
                listed(short),
                remedy="leave these utterances out, correct their transcripts, "
                "or use a network with a shorter frame shift",
            )


class SequenceLoss(TranscriptLoss):
    """Base class of the losses that sum over the paths of H ∘ L ∘ transcript.

    Parameters
    ----------
    H : k2.Fsa
        The topology that decoding uses, over the lexicon's tokens.
    lexicon : Lexicon
        Pronunciations, and the optional silence.
    grammar : k2.Fsa, optional
        As for `TranscriptGraphs`.
    """

    targets: Literal["texts"] = "texts"

    def __init__(self, H: k2.Fsa, lexicon: Lexicon, grammar: k2.Fsa | None = None) -> None:
        super().__init__()
        self.graphs = TranscriptGraphs(H, lexicon, grammar)

    def min_frames(self, text: str) -> int:
        """Number of frames on the shortest path of a transcript's graph."""
        return self.graphs.of(text).min_frames

    def log_likelihood(
        self, scores: torch.Tensor, lengths: torch.Tensor, texts: Sequence[str]
    ) -> torch.Tensor:
        """Total score of each transcript's graph, ``(B,)`` natural logs."""
        if scores.shape[-1] != self.graphs.num_columns:
            raise OptionError(
                f"the network has {scores.shape[-1]} outputs, the topology reads "
                f"{self.graphs.num_columns} columns",
                remedy="give the network the columns of topology.column_names(H, tokens)",
            )
        return path_sum(scores, lengths, [self.graphs.of(text) for text in texts])


class Ctc(SequenceLoss):
    """CTC loss −log P(transcript | recording), summed over the pronunciations of the lexicon, too.

    Graves et al. 2006, "Connectionist temporal classification". The sum runs over all alignments
    of all pronunciations and optional silences, each with its probability in L. With one
    pronunciation a word and no silence it equals ``torch.nn.functional.ctc_loss``.

    >>> loss = Ctc(topology.ctc(lexicon.num_tokens), lexicon)
    >>> loss(log_probs, lengths, ["one two", "three"]).mean().backward()

    `forward` takes log_probs, floating ``(B, T, V)``, normalised; lengths, int ``(B,)``; and
    texts. It returns nats ``(B,)`` in the dtype of ``log_probs``; ``inf``, with a zero gradient,
    for an utterance with fewer frames than its transcript needs (`check` finds those beforehand).
    A transcript without words is aligned with blanks only.
    """

    def forward(
        self, log_probs: torch.Tensor, lengths: torch.Tensor, texts: Sequence[str]
    ) -> torch.Tensor:
        """Loss of every utterance, ``(B,)`` nats."""
        return -self.log_likelihood(log_probs, lengths, texts)


class HmmFullSum(SequenceLoss):
    """Full-sum HMM loss −log Σ_S Π_t p(s_t|y_t) / p(s_t)^κ · P(s_t|s_{t−1}), without alignments.

    The likelihood by Bayes' rule, without the constant p(y), summed over all state sequences of
    the transcript (Zeyer et al. 2017, "CTC in the context of generalized full-sum HMM training";
    Raissi et al. 2022, "HMM vs. CTC for automatic speech recognition: comparison based on
    full-sum training from scratch"). Competing transcripts are penalised only in so far as
    posteriors sum to 1. With uniform priors training therefore collapses: the network gives nearly
    all frames to one state that occurs in most transcripts. Dividing by p(φ) prevents that, so by
    default the priors are a running mean of the network's posteriors.

    Scaled likelihoods can exceed 1, so the loss may be negative. `forward` is as for `Ctc`.

    Parameters
    ----------
    H, lexicon
        H is `topology.hmm`, whose transition probabilities count in the sum, or `topology.chain`.
    priors : torch.Tensor, optional
        float ``(V,)``: initial p(φ), positive; uniform by default. They are a buffer of the
        module, and after training decoding divides by them.
    prior_scale : float
        κ: 0 trains on posteriors alone.
    prior_momentum : float or None
        m in [0, 1): in training mode every batch moves the priors towards the network's mean
        posterior over its frames, p ← m·p + (1 − m)·mean, without a gradient. None keeps them
        fixed, for priors that were counted from alignments.
    """

    priors: torch.Tensor

    def __init__(
        self,
        H: k2.Fsa,
        lexicon: Lexicon,
        priors: torch.Tensor | None = None,
        prior_scale: float = 1.0,
        prior_momentum: float | None = 0.9,
    ) -> None:
        super().__init__(H, lexicon)
        if prior_momentum is not None and not 0 <= prior_momentum < 1:
            raise OptionError(f"prior_momentum must be in [0, 1), got {prior_momentum}")
        self.prior_scale = prior_scale
        self.prior_momentum = prior_momentum
        num_columns = self.graphs.num_columns
        if priors is None:
            priors = torch.full((num_columns,), 1 / num_columns)
        if priors.shape != (num_columns,) or not bool(priors.gt(0).all()):
            raise OptionError(f"priors must be {num_columns} positive numbers")
        self.register_buffer("priors", priors.detach().float().clone())

    def forward(
        self, log_probs: torch.Tensor, lengths: torch.Tensor, texts: Sequence[str]
    ) -> torch.Tensor:
        """Loss of every utterance, ``(B,)`` nats; in training mode priors are updated first."""
        if self.training and self.prior_momentum is not None:
            self._update_priors(log_probs.detach(), lengths, self.prior_momentum)
        scores = log_probs - self.prior_scale * self.priors.to(log_probs).log()
        return -self.log_likelihood(scores, lengths, texts)

    def _update_priors(
        self, log_probs: torch.Tensor, lengths: torch.Tensor, momentum: float
    ) -> None:
        times = torch.arange(log_probs.shape[1], device=log_probs.device)
        frames = log_probs[times < lengths.to(log_probs.device)[:, None]]
        if len(frames) and bool(torch.isfinite(frames.exp()).all()):
            mean = frames.exp().mean(dim=0).to(self.priors)
            # A floor: a tiny prior would make the scaled likelihood of an unused state very large.
            mean = mean.clamp(min=1e-5)
            self.priors.mul_(momentum).add_(mean, alpha=1 - momentum)
