"""Forced alignment: when the words and phones of a known transcript were said.

    aligner, guesses = Aligner.of_graph("graphs/en", words)
    for word in aligner.align("LJ001-0002", posteriors, "in being comparatively modern").words:
        print(word.text, word.start, word.end, word.confidence)

`Aligner.labels` gives the same path frame by frame, which networks are trained on.

The transcript becomes a G of one sentence, compiled over the same L and H as any other graph, and
searched with a beam so wide that it hardly prunes: alternative pronunciations and optional
silence are chosen by the acoustics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import k2
import numpy as np
import torch

from asr_hlg.acoustic import AcousticModel, likelihoods
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.audio import Recording
from asr_hlg.errors import AsrHlgError, GraphError, LexiconError
from asr_hlg.fst import symbols
from asr_hlg.graph import DecodingGraph, compile_hlg, store, topology
from asr_hlg.graph.adapt import runtime
from asr_hlg.graph.build import make_topology
from asr_hlg.graph.recipe import TopologySection
from asr_hlg.lattice.path import Segment, word_spans
from asr_hlg.lexicon import Lexicon
from asr_hlg.lexicon.g2p import GraphemeToPhoneme, Guesses
from asr_hlg.losses.graphs import TranscriptGraphs, linear_acceptor
from asr_hlg.output.transcript import Transcript, Word
from asr_hlg.search import SearchOptions, decode

# Where a transcript goes wrong, the right path falls behind by some nats a frame for as long as
# the wrong word lasts; 200 nats bridge several such words and still bound the work.
_OPTIONS = SearchOptions(search_beam=200.0, output_beam=1.0, max_active=10_000)


@dataclass(frozen=True)
class Alignment(Transcript):
    """A transcript with the times of its phones.

    ``phones`` are like words: a name, start and end in seconds, a confidence; silence is not
    among them. With CTC models a phone lasts from the first to the last frame in which the
    network is sure of it, which is often one, and blanks lie between.
    """

    phones: list[Word] = field(default_factory=list)

    def of_phones(self) -> Transcript:
        """The same with phones in the place of words, for formats that have only those."""
        text = " ".join(phone.text for phone in self.phones)
        return Transcript(self.id, text, self.phones, self.score, self.duration)


class Aligner:
    """Aligns transcripts with posteriors.

    Parameters
    ----------
    H : k2.Fsa
        A topology over the lexicon's tokens.
    lexicon : Lexicon
        Pronunciations of the transcripts' words.
    columns : tuple of str, optional
        Names of the posterior columns that H reads; as for :func:`compile_hlg`.
    """

    def __init__(self, H: k2.Fsa, lexicon: Lexicon, columns: tuple[str, ...] | None = None):
        self.H = H
        self._graphs = TranscriptGraphs(H, lexicon)
        self.lexicon = self._graphs.lexicon
        self.columns = columns or topology.column_names(H, symbols.names(self.lexicon.tokens))

    @classmethod
    def of_graph(
        cls,
        folder: str | Path,
        words: Iterable[str],
        model: GraphemeToPhoneme | None = None,
    ) -> tuple[Aligner, Guesses]:
        """An aligner with the topology and the lexicon of a compiled graph.

        Parameters
        ----------
        folder : str or Path
            The graph. Its G is not used: transcripts may hold words that its language model
            lacks.
        words : iterable of str
            All words of all transcripts. Those that the graph's lexicon lacks are looked up in
            the files of its recipe, then pronounced by ``model``.
        model : GraphemeToPhoneme, optional
            :class:`asr_hlg.lexicon.g2p.HamaG2P` by default; `NoGuesses` to refuse such words.

        Returns
        -------
        aligner : Aligner
        guesses : Guesses
            The words whose pronunciation was guessed, and those that have none: a transcript
            with one of them cannot be aligned.
        """
        folder = Path(folder)
        meta = store.read_meta(folder)
        if "recipe" not in meta:
            raise GraphError(
                "was not compiled from a recipe, so its topology is unknown", path=folder
            )
        # A lexicon is never empty, but perhaps nobody can pronounce any of these words.
        own = symbols.read(folder / "words.txt")[1]
        wanted = list(dict.fromkeys([own, *words]))
        lexicon, guesses = runtime.part_of_lexicon(folder, meta, wanted, model)
        H = make_topology(TopologySection(**meta["recipe"]["topology"]), lexicon)
        return cls(H, lexicon, tuple(meta["columns"])), guesses

    def align(self, id: str, posteriors: Posteriors, text: str) -> Alignment:
        """Find the most probable way in which a recording says a text.

        Parameters
        ----------
        id : str
            The recording's id, for the result.
        posteriors : Posteriors
            Of one utterance.
        text : str
            Its words, separated by blanks.

        Returns
        -------
        Alignment
            A word's confidence compares the alignment with what the network would rather hear:
            exp(1/n · Σ_t (log p_t(aligned label) − max_k log p_t(k))), the sum running from the
            end of the word before to the start of the next one, n being the word's number of
            phones. It is 1 where the network hears just this word, and close to 0 where it
            hears something else, in the word or beside it. A phone's confidence is the same over
            its own frames. ``score`` is the log-probability of the whole alignment.

        Raises
        ------
        LexiconError
            For a word without a pronunciation.
        AsrHlgError
            If the recording is too short for its words.
        """
        words = text.split()
        duration = int(posteriors.lengths[0]) * posteriors.frame_shift
        if not words:
            return Alignment(id, "", duration=duration)
        graph = self._graph(words)
        lattice = decode(graph, posteriors, _OPTIONS)
        arcs = lattice.utterances[0]
        if arcs is None:
            raise AsrHlgError(self._too_short(words, int(posteriors.lengths[0])))
        path = lattice.best_path()[0]
        labels = arcs.label[arcs.best_path()]
        loss = self._loss(lattice.scores, labels[labels >= 0])
        spans = word_spans(words, path.tokens, self.lexicon.spellings, graph.fillers)
        shift = posteriors.frame_shift
        phones = [token for token in path.tokens if token[0] not in graph.fillers]
        return Alignment(
            id,
            " ".join(words),
            [
                Word(word, begin * shift, end * shift, confidence)
                for word, (begin, end), confidence in zip(
                    words, spans, _word_confidences(spans, phones, loss), strict=True
                )
            ],
            path.score,
            duration,
            phones=[
                Word(name, begin * shift, end * shift, math.exp(-loss[begin:end].sum()))
                for name, begin, end in phones
            ],
        )

    def labels(self, posteriors: Posteriors, text: str) -> torch.Tensor:
        """Find the column of every frame on the best path through H ∘ L ∘ text.

        The exact Viterbi path, without a beam; a second takes about a millisecond. The text's
        graph is compiled once and kept.

        Parameters
        ----------
        posteriors : Posteriors
            Of one utterance. If they have priors, p(φ|y)/p(φ) is what counts.
        text : str
            Its words, separated by blanks; none for silence.

        Returns
        -------
        torch.Tensor
            int64 ``(num_frames,)``: positions in ``columns``.

        Raises
        ------
        LexiconError
            For a word without a pronunciation.
        AsrHlgError
            If the recording is too short for its words.
        """
        mapped = likelihoods.map_tokens(posteriors, self.columns)
        scores = likelihoods.scale(mapped, mapped.priors, floor=_OPTIONS.floor)
        num_frames = int(posteriors.lengths[0])
        frames = scores.log_probs[0, :num_frames].to("cpu", torch.float64)
        labels, score = self._graphs.of(text).best_path(frames.numpy())
        if score == -math.inf:
            raise AsrHlgError(self._too_short(text.split(), num_frames))
        return torch.from_numpy(labels)

    def _graph(self, words: Sequence[str]) -> DecodingGraph:
        """H∘L∘G for one sentence."""
        missing = [word for word in dict.fromkeys(words) if word not in self.lexicon]
        if missing:
            raise LexiconError(f"no pronunciation for {', '.join(missing)}")
        lexicon = self.lexicon.restrict(words)
        return compile_hlg(self.H, lexicon, linear_acceptor(lexicon, words), columns=self.columns)

    def _too_short(self, words: Sequence[str], num_frames: int) -> str:
        least = sum(min(map(len, self.lexicon.spellings(word))) for word in words)
        return f"{num_frames} frames are too few for {len(words)} words of {least} phones or more"

    @staticmethod
    def _loss(scores: Posteriors, labels: np.ndarray) -> np.ndarray:
        """For every frame, by how much the aligned label is less probable than the best one."""
        log_probs = scores.log_probs[0, : len(labels)].cpu().numpy()
        return log_probs.max(axis=1) - log_probs[np.arange(len(labels)), labels]


def align_recordings(
    aligner: Aligner,
    model: AcousticModel,
    recordings: Iterable[Recording],
    texts: Mapping[str, str],
    channel: int | None = None,
    on_error: Callable[[Recording, AsrHlgError], None] | None = None,
) -> Iterator[Alignment]:
    """Align recordings with their transcripts, one after the other.

    Parameters
    ----------
    aligner : Aligner
    model : AcousticModel
        Gives the posteriors.
    recordings : iterable of Recording
    texts : mapping
        The transcript of every recording, by id.
    channel : int, optional
        Which channel to hear, from 0; by default all are averaged.
    on_error : callable, optional
        Called with a recording that cannot be aligned and the reason, after which the next one
        follows. Without it the error is raised.
    """
    for recording in recordings:
        try:
            if recording.id not in texts:
                raise AsrHlgError("there is no transcript with this id")
            samples = recording.load(model.sample_rate, channel)
            posteriors = model.posteriors([samples], model.sample_rate)
            found = aligner.align(recording.id, posteriors, texts[recording.id])
            yield replace(found, duration=len(samples) / model.sample_rate)
        except AsrHlgError as error:
            if on_error is None:
                raise
            on_error(recording, error)


class NoGuesses:
    """A grapheme-to-phoneme model that refuses every word."""

    def pronounce(self, word: str) -> tuple[str, ...]:
        raise LexiconError("is not in the lexicon")


def _word_confidences(
    spans: Sequence[tuple[int, int]], phones: Sequence[Segment], loss: np.ndarray
) -> list[float]:
    total = np.concatenate([[0.0], np.cumsum(loss, dtype=np.float64)])
    before = [0, *(end for _, end in spans[:-1])]
    after = [*(begin for begin, _ in spans[1:]), len(loss)]
    starts = np.array([begin for _, begin, _ in phones])
    counts = np.diff(np.searchsorted(starts, [*(begin for begin, _ in spans), len(loss)]))
    return [
        math.exp(-(total[end] - total[begin]) / count)
        for begin, end, count in zip(before, after, counts, strict=True)
    ]
