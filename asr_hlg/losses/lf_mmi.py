"""Lattice-free maximum mutual information (LF-MMI) and the phone bigram of its denominator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import k2
import numpy as np
import torch

from asr_hlg import lm
from asr_hlg.errors import LexiconError
from asr_hlg.fst.arcs import Arcs
from asr_hlg.lexicon import Lexicon
from asr_hlg.losses.frame_graph import FrameGraph
from asr_hlg.losses.graphs import compose
from asr_hlg.losses.path_sum import path_sum
from asr_hlg.losses.sequence import SequenceLoss


class LfMmi(SequenceLoss):
    """LF-MMI loss: total score of the denominator graph − total score of the numerator graph.

    Povey et al. 2016, "Purely sequence-trained neural networks for ASR based on lattice-free
    MMI". The denominator graph is H∘P for a bigram P over phones, the numerator graph
    H∘(P ∩ tokens of L∘transcript). The numerator is a part of the denominator with the same
    weights, so the loss is never negative. The outputs need not be normalised: the normaliser of
    a frame cancels.

    >>> loss = LfMmi(topology.chain(lexicon.num_tokens - 1), lexicon, phone_bigram(lexicon, texts))
    >>> loss(log_probs, lengths, ["one two", "three"]).mean().backward()

    `forward` is as for `Ctc`.

    Parameters
    ----------
    H, lexicon
        Any topology: `topology.chain` as in the paper, `topology.ctc`, `topology.hmm`.
    bigram : k2.Fsa
        From `phone_bigram` of the training transcripts.
    """

    def __init__(self, H: k2.Fsa, lexicon: Lexicon, bigram: k2.Fsa) -> None:
        super().__init__(H, lexicon, grammar=bigram)
        self.denominator = FrameGraph.from_arcs(compose(self.graphs.H, Arcs.from_k2(bigram)))

    def forward(
        self, log_probs: torch.Tensor, lengths: torch.Tensor, texts: Sequence[str]
    ) -> torch.Tensor:
        """Loss of every utterance, ``(B,)`` nats; see `Ctc`."""
        numerator = self.log_likelihood(log_probs, lengths, texts)
        denominator = path_sum(log_probs, lengths, [self.denominator] * len(texts))
        # Where the frames are too few for any phone, both totals are -inf and their difference nan.
        return torch.where(numerator.isneginf(), torch.inf, denominator - numerator)


def phone_bigram(lexicon: Lexicon, texts: Iterable[str], seed: int = 0) -> k2.Fsa:
    """Estimate a bigram over phones from transcripts, as an acceptor of tokens.

    For every word of a transcript one pronunciation is drawn with its probability in the lexicon,
    and optional silence with its probability. The bigram is Kneser–Ney smoothed over the tokens
    of the lexicon, so that every transcript has a probability above 0.

    Parameters
    ----------
    lexicon : Lexicon
    texts : iterable of str
        The training transcripts.
    seed : int
        Seed for drawing pronunciations and silences.

    Returns
    -------
    k2.Fsa
        State 0 is the start, every other state stands for the previous token; no epsilons.

    Raises
    ------
    LexiconError
        If there is no transcript with a word, or a word is not in the lexicon.
    """
    random = np.random.default_rng(seed)
    weights: dict[str, list[float]] = defaultdict(list)
    for entry in lexicon.entries:
        weights[entry.word].append(entry.probability)
    drawn = (_draw_tokens(lexicon, text.split(), weights, random) for text in texts)
    sentences = [tokens for tokens in drawn if tokens]
    if not sentences:
        raise LexiconError("there is no transcript to estimate a phone bigram from")
    vocabulary = {
        token for word in weights for phones in lexicon.spellings(word) for token in phones
    }
    if lexicon.silence is not None:
        vocabulary.add(lexicon.silence)
    model = lm.estimate(sentences, order=2, vocabulary=vocabulary)
    names = [name for name in model.words if name not in (lm.BOS, lm.EOS)]
    ids = np.array([lexicon.tokens[name] for name in names], dtype=np.int32)
    position = np.array([model.word_ids[name] for name in names])
    history = np.array([model.word_ids[lm.BOS], *position])
    num = len(names)
    pairs = np.stack([np.repeat(history, num), np.tile(position, num + 1)], axis=1)
    ends = np.stack([history, np.full(num + 1, model.word_ids[lm.EOS])], axis=1)
    return Arcs(
        np.repeat(np.arange(num + 1), num),
        np.tile(np.arange(1, num + 1), num + 1),
        np.tile(ids, num + 1),
        np.tile(ids, num + 1),
        model.log_prob(pairs).astype(np.float32),
        model.log_prob(ends).astype(np.float32),
    ).to_k2()


def _draw_tokens(
    lexicon: Lexicon,
    words: Sequence[str],
    weights: Mapping[str, Sequence[float]],
    random: np.random.Generator,
) -> list[str]:
    """Draw one pronunciation of a transcript, with silences; no tokens for no words."""
    tokens: list[str] = []
    for word in words:
        spellings = lexicon.spellings(word)
        probabilities = np.array(weights[word])
        tokens += _draw_silence(lexicon, random)
        tokens += spellings[random.choice(len(spellings), p=probabilities / probabilities.sum())]
    return tokens + _draw_silence(lexicon, random) if words else tokens


def _draw_silence(lexicon: Lexicon, random: np.random.Generator) -> list[str]:
    return [lexicon.silence] if lexicon.silence and random.random() < lexicon.silence_prob else []
