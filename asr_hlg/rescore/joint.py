"""Second pass with Whisper: its hypotheses and the graph's in one list, scored by all models.

    second = JointPass(whisper, pronouncer, lm=SentenceLm.load())
    hypotheses = second(hypotheses)
    hypotheses.ranked[0].words           # of all word sequences the best
    hypotheses.words                     # the same with times and confidences

Whisper's beam search proposes word sequences, and so does the graph. Each is scored by Whisper, by
the acoustic model (summed over the alignments of its phones) and by an n-gram; see
:class:`~asr_hlg.rescore.weights.JointWeights`. Whisper invents words in noise; where the acoustic
model finds silence at least as probable as the best word sequence, the answer is empty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.lattice import Path
from asr_hlg.rescore.confidence import Calibration, Evidence, timed_words
from asr_hlg.rescore.ctc import WordChain
from asr_hlg.rescore.hypotheses import Hypotheses
from asr_hlg.rescore.log_mel import MAX_SECONDS
from asr_hlg.rescore.prompts import Boosts
from asr_hlg.rescore.pronunciations import Pronouncer
from asr_hlg.rescore.sentence_lm import SentenceLm
from asr_hlg.rescore.weights import JointWeights
from asr_hlg.rescore.whisper import EncodedAudio, WhisperHypothesis, WhisperModel

MakePronouncer = Callable[[Sequence[str]], Pronouncer]

_MIN_REPETITIONS, _MIN_REPEATED = 4, 8
"""A loop is a part that occurs four times in a row or more; single words, nine times."""

_NO_EVIDENCE = -1e4  # in place of -inf, for words that the frames are too few for


@dataclass(frozen=True)
class Candidate:
    """A word sequence with its scores, natural logs.

    Attributes
    ----------
    words : tuple of str
    written : str
        With capitals and punctuation; empty for the graph's.
    whisper, acoustic, lm, boost : float
        See :class:`~asr_hlg.rescore.weights.JointWeights`.
    is_exact : bool
        Whether ``whisper`` includes the end of the sentence; only then may it be the answer.
    """

    words: tuple[str, ...]
    written: str
    whisper: float
    acoustic: float
    lm: float
    boost: float
    is_exact: bool = True

    def total(self, weights: JointWeights) -> float:
        """The weighted sum."""
        return (
            self.whisper
            + weights.acoustic * self.acoustic
            + weights.lm * self.lm
            + weights.word * len(self.words)
            + weights.hotword * self.boost
        )


_SILENCE = Candidate((), "", 0.0, 0.0, 0.0, 0.0)


class JointPass:
    """Ranks the hypotheses of a graph and of Whisper together.

    Parameters
    ----------
    whisper : WhisperModel
    make_pronouncer : callable
        Returns a `Pronouncer` for the columns of posteriors.
    lm : SentenceLm, optional
        Without it all sentences are equally probable.
    weights : JointWeights, optional
    sample_rate : int
        Of the samples of hypotheses, in Hz.
    graph_only : bool
        Admit only word sequences of the graph's list, as for a grammar.
    vocabulary : container of str, optional
        Admit only hypotheses whose words are all in it.
    boosts : Boosts, optional
        Hotwords.
    below : float
        Run only where the first pass is less certain than this; see `first_pass_confidence`.
    nbest : int
        How many alternatives the ranked list must hold if there are so many.
    """

    def __init__(
        self,
        whisper: WhisperModel,
        make_pronouncer: MakePronouncer,
        lm: SentenceLm | None = None,
        weights: JointWeights | None = None,
        *,
        sample_rate: int = 16000,
        graph_only: bool = False,
        vocabulary: Callable[[str], bool] | None = None,
        boosts: Boosts | None = None,
        below: float = math.inf,
        nbest: int = 1,
        calibration: Calibration | None = None,
    ):
        self._whisper = whisper
        self._make_pronouncer = make_pronouncer
        self._pronouncer: tuple[tuple[str, ...], Pronouncer] | None = None
        self._lm = lm
        self._weights = weights or JointWeights()
        self._sample_rate = sample_rate
        self._graph_only = graph_only
        self._is_known = vocabulary
        self._boosts = boosts or Boosts(())
        self._below = below
        self._nbest = nbest
        self._calibration = calibration or Calibration()

    def __call__(self, hypotheses: Hypotheses) -> Hypotheses:
        """Rank the hypotheses for one utterance anew.

        Utterances without samples, or without CTC posteriors, keep their first-pass result, and so
        do those of which the first pass is certain.
        """
        posteriors = hypotheses.posteriors
        if not len(hypotheses.samples) or not Pronouncer.fits(posteriors):
            return hypotheses
        if self._below <= 1 and first_pass_confidence(hypotheses) >= self._below:
            return hypotheses
        audio, scorer, candidates, written = self.candidates(hypotheses)
        weights = self._weights
        ranked = sorted(candidates, key=lambda c: (not c.is_exact, -c.total(weights)))
        if not ranked or self._speech_odds(ranked[0], audio, scorer) < weights.evidence:
            ranked = [_SILENCE, *(c for c in ranked if c.words)]
        totals = np.array([candidate.total(weights) for candidate in ranked])
        words = timed_words(
            [candidate.words for candidate in ranked],
            totals,
            scorer.align(ranked[0].words),
            posteriors.frame_shift,
            self._calibration,
        )
        return replace(
            hypotheses,
            ranked=tuple(_path(c, c.total(weights)) for c in ranked),
            words=tuple(words),
            written=(ranked[0].written or written) if ranked[0].words else "",
        )

    def candidates(
        self, hypotheses: Hypotheses
    ) -> tuple[EncodedAudio, Scorer, list[Candidate], str]:
        """Encoded sound, scorer of its posteriors, all candidates, Whisper's own transcript."""
        posteriors, weights = hypotheses.posteriors, self._weights
        scorer = Scorer(self._pronouncer_for(posteriors.tokens), posteriors, weights.floor)
        audio = self._encode(hypotheses, weights.padding)
        candidates, written = self._candidates(audio, scorer, hypotheses)
        if written is None:
            # Whisper lost its place; in the window of its training it does so less often.
            audio = self._encode(hypotheses, MAX_SECONDS)
            candidates, written = self._candidates(audio, scorer, hypotheses)
        return audio, scorer, candidates, written or ""

    def _encode(self, hypotheses: Hypotheses, padding: float) -> EncodedAudio:
        return self._whisper.encode(hypotheses.samples, self._sample_rate, padding)

    def _candidates(
        self, audio: EncodedAudio, scorer: Scorer, hypotheses: Hypotheses
    ) -> tuple[list[Candidate], str | None]:
        """All hypotheses that are admitted, with scores, and Whisper's own transcript.

        That transcript is None if it is a loop.
        """
        weights = self._weights
        number = weights.beam if self._graph_only else weights.num_graph
        number = max(number, self._nbest if self._nbest > 1 else 0)
        paths = hypotheses.lattice.nbest(number)[0] if number else []
        from_graph = [path.words for path in paths if math.isfinite(path.score)]
        prompt = self._boosts.prompt(from_graph)
        heard = audio.hypotheses(weights.beam, prompt)
        written = None if is_loop(heard[0].words) else heard[0].written
        found: dict[tuple[str, ...], Candidate] = {}
        if not self._graph_only:
            for hypothesis in heard:
                if self._is_admitted(hypothesis.words) and not is_loop(hypothesis.words):
                    found[hypothesis.words] = self._candidate(
                        hypothesis.words, hypothesis.written, hypothesis.log_prob, scorer
                    )
        new = [words for words in dict.fromkeys(from_graph) if words not in found]
        more = self._scored(audio, scorer, heard, new, list(found.values()))
        return [*found.values(), *more], written

    def _scored(
        self,
        audio: EncodedAudio,
        scorer: Scorer,
        heard: Sequence[WhisperHypothesis],
        sentences: Sequence[tuple[str, ...]],
        rivals: Sequence[Candidate],
    ) -> list[Candidate]:
        """Sentences of the graph with Whisper's scores, those that can still be the best."""
        weights, written = self._weights, heard[0].written
        best = max((rival.total(weights) for rival in rivals), default=-math.inf)
        # A sentence that the beam search did not keep is less probable than those that it kept.
        bound = heard[-1].log_prob + weights.graph if rivals else 0.0
        least = heard[0].log_prob - weights.max_loss if rivals else -math.inf
        candidates = [self._candidate(words, "", bound, scorer, False) for words in sentences]
        rest = [c for c in candidates if c.total(weights) <= best]
        candidates = [c for c in candidates if c.total(weights) > best]
        scores = audio.score([" ".join(c.words) for c in candidates], written)
        candidates = [
            replace(candidate, whisper=min(score, bound) if rivals else score)
            for candidate, score in zip(candidates, scores, strict=True)
        ]
        # The exact score takes longer, so only those get it that would be the answer.
        exact: list[Candidate] = []
        for candidate in sorted(candidates, key=lambda c: -c.total(weights)):
            if candidate.whisper < least or candidate.total(weights) <= best:
                rest.append(candidate)
                continue
            score = audio.exact_score(" ".join(candidate.words), written)
            if score < least:
                rest.append(candidate)
                continue
            exact.append(replace(candidate, whisper=score, is_exact=True))
            best = max(best, exact[-1].total(weights))
        return [*exact, *rest]

    def _speech_odds(self, candidate: Candidate, audio: EncodedAudio, scorer: Scorer) -> float:
        """Log-odds that the words were spoken against silence."""
        no_speech = min(max(audio.no_speech_prob or 0.0, 1e-9), 1 - 1e-9)
        odds = math.log((1 - no_speech) / no_speech)
        if not self._weights.acoustic:
            return odds + self._weights.evidence
        return odds + scorer.log_odds(candidate.words)

    def _candidate(
        self,
        words: tuple[str, ...],
        written: str,
        whisper: float,
        scorer: Scorer,
        is_exact: bool = True,
    ) -> Candidate:
        lm = self._lm.score(words) if self._lm is not None else 0.0
        boost = self._boosts.score(words)
        return Candidate(words, written, whisper, scorer.log_prob(words), lm, boost, is_exact)

    def _is_admitted(self, words: Sequence[str]) -> bool:
        return self._is_known is None or all(map(self._is_known, words))

    def _pronouncer_for(self, columns: tuple[str, ...]) -> Pronouncer:
        if self._pronouncer is None or self._pronouncer[0] != columns:
            self._pronouncer = columns, self._make_pronouncer(columns)
        return self._pronouncer[1]


class Scorer:
    """Scores and alignments of word sequences with the posteriors of one utterance."""

    def __init__(self, pronouncer: Pronouncer, posteriors: Posteriors, floor: float):
        self._pronouncer, self._silence = pronouncer, pronouncer.silence
        frames = posteriors.array[0].astype(np.float64)
        self._log_probs = frames[: int(posteriors.lengths[0])]
        self._exact = np.exp(self._log_probs)
        self._floored = np.maximum(self._exact, math.exp(-floor))

    def log_prob(self, words: Sequence[str]) -> float:
        """Log of the sum over alignments; words that cannot be pronounced are left out."""
        return max(_NO_EVIDENCE, self._chain(words).log_prob(self._floored, self._silence))

    def log_odds(self, words: Sequence[str]) -> float:
        """Log of the probability of words over that of silence, without the floor."""
        spoken = self._chain(words).log_prob(self._exact, self._silence)
        return max(_NO_EVIDENCE, spoken) - self._chain(()).log_prob(self._exact, self._silence)

    def _chain(self, words: Sequence[str]) -> WordChain:
        return WordChain.of([p for word in words if (p := self._pronouncer.of(word))])

    def align(self, words: Sequence[str]) -> list[Evidence]:
        """Frames and acoustic evidence of every word."""
        pronunciations = [self._pronouncer.of(word) for word in words]
        chain = WordChain.of([p for p in pronunciations if p])
        aligned = chain.align(self._log_probs, self._silence)
        frames = np.arange(len(aligned.labels))
        gap = self._log_probs.max(axis=1) - self._log_probs[frames, aligned.labels]
        spans, evidence = iter(aligned.spans), []
        end = 0
        for phones in pronunciations:
            if not phones:
                evidence.append(Evidence(end, end, None))
                continue
            begin, end = next(spans)
            evidence.append(
                Evidence(begin, end, float(gap[begin:end].sum()) / min(map(len, phones)))
            )
        return evidence


def first_pass_confidence(hypotheses: Hypotheses) -> float:
    """Smallest posterior of a word of the first pass's best path; 0 if it has none."""
    return min((word.confidence for word in hypotheses.lattice.words()[0]), default=0.0)


def is_loop(words: Sequence[str]) -> bool:
    """Whether some words are repeated over and over, as Whisper does when it has lost its place.

    Example
    -------
    >>> is_loop("thank you thank you thank you thank you thank you".split())
    True
    >>> is_loop("zero zero zero zero".split())
    False
    """
    for period in range(1, len(words) // _MIN_REPETITIONS + 1):
        run = 0
        for here, later in zip(words, words[period:], strict=False):
            run = run + 1 if here == later else 0
            if run >= max(period * (_MIN_REPETITIONS - 1), _MIN_REPEATED):
                return True
    return False


def _path(candidate: Candidate, score: float) -> Path:
    return Path(candidate.words, score, candidate.lm, candidate.acoustic)
