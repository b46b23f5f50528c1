"""Weights of the second pass with Whisper, and where they come from.

``scripts/tune_second_pass.py`` finds them: minimum word error over the development sets, each
relative to the errors of Whisper alone. docs/second-pass.md has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass

from asr_hlg.errors import OptionError


@dataclass(frozen=True)
class JointWeights:
    """Weights of what a word sequence is scored with, and limits.

    The score of a word sequence is

        log P_whisper  +  acoustic · log P_CTC  +  lm · log P_n-gram  +  word · number of words

    Attributes
    ----------
    acoustic : float
        Weight of the acoustic model's score, summed over alignments.
    floor : float
        Probabilities of tokens are raised to at least exp(-floor), so that a single phone that the
        acoustic model misses does not decide.
    lm : float
        Weight of the n-gram's log-probability.
    word : float
        Added for every word.
    graph : float
        Added to hypotheses of the graph that are not in Whisper's list: its scores for them lack
        the probability that the sentence ends there.
    max_loss : float
        Hypotheses of the graph are admitted if Whisper's score for them is worse than for its own
        best one by at most this.
    hotword : float
        Factor on the boosts of hotwords.
    evidence : float
        Log-odds that anything is spoken, below which the answer is empty: the acoustic model's of
        the words against silence, plus Whisper's of speech against none.
    beam : int
        Width of Whisper's beam search, and number of its hypotheses.
    padding : float
        Seconds of silence after the sound in the window of Whisper's encoder; the whole window of
        30 seconds is encoded only where Whisper then repeats itself.
    num_graph : int
        How many of the graph's hypotheses Whisper scores at most.
    """

    acoustic: float = 0.45
    floor: float = 6.0
    lm: float = 0.3
    word: float = 0.15
    graph: float = -2.0
    max_loss: float = 8.0
    hotword: float = 1.0
    evidence: float = 4.0
    beam: int = 10
    padding: float = 10.0
    num_graph: int = 3

    def __post_init__(self) -> None:
        if self.acoustic < 0 or self.lm < 0 or self.floor <= 0 or self.hotword < 0:
            raise OptionError(f"weights of the second pass must not be negative: {self}")
        if self.beam < 1 or self.num_graph < 0:
            raise OptionError("the second pass needs at least one hypothesis")
