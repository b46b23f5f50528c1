"""Forced alignment: start and end of the words and phones of a known transcript.

The transcript is compiled as a G of one sentence, with the L and H of decoding, and searched with a
very wide beam. The acoustic scores choose among alternative pronunciations and optional silences.
`Aligner.labels` gives the labels of the frames, which networks are trained on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asr_hlg.acoustic import likelihoods
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.align.alignment import (
    Alignment,
    gap_to_best,
    phone_confidences,
    word_confidences,
)
from asr_hlg.errors import AsrHlgError, LexiconError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import DecodingGraph, compile_hlg, topology_arcs
from asr_hlg.graph.adapt import runtime
from asr_hlg.graph.store import GraphFolder
from asr_hlg.lattice.path import word_spans
from asr_hlg.lexicon import Lexicon
from asr_hlg.lexicon.g2p import GraphemeToPhoneme, Guesses
from asr_hlg.output.transcript import Word
from asr_hlg.search import SearchOptions, decode

if TYPE_CHECKING:
    import k2
    import torch

    from asr_hlg.losses.frame_graph import FramePath
    from asr_hlg.losses.graphs import TranscriptGraphs

# While the recording deviates from the transcript, the only path allowed loses some nats a frame
# against the best one. With a beam of 200 nats that path survives several wrong words, and the work
# stays bounded.
_OPTIONS = SearchOptions(search_beam=200.0, output_beam=1.0, max_active=10_000)


class Aligner:
    """Forced aligner of transcripts with posteriors, for one topology and lexicon.

    Parameters
    ----------
    H : k2.Fsa or Arcs
        A topology over the lexicon's tokens.
    lexicon : Lexicon
        Pronunciations of the transcripts' words.
    columns : tuple of str, optional
        Names of the posterior columns, the input labels of H; as for :func:`compile_hlg`.
    """

    def __init__(
        self, H: k2.Fsa | Arcs, lexicon: Lexicon, columns: tuple[str, ...] | None = None
    ) -> None:
        self.H = H if isinstance(H, Arcs) else Arcs.from_k2(H)
        names = symbols.names(lexicon.tokens)[: lexicon.num_tokens]
        # The token table is fixed, so that a restricted lexicon keeps the numbering of H.
        self.lexicon = lexicon.with_tokens(names)
        self.columns = columns or topology_arcs.column_names(self.H, names)

    @cached_property
    def _graphs(self) -> TranscriptGraphs:
        """Compiled transcripts, for `labels`."""
        from asr_hlg.losses.graphs import TranscriptGraphs  # imports k2

        return TranscriptGraphs(self.H, self.lexicon)

    @classmethod
    def from_graph(
        cls,
        folder: str | Path,
        words: Iterable[str],
        model: GraphemeToPhoneme | None = None,
        known_words: Iterable[str] = (),
    ) -> tuple[Aligner, Guesses]:
        """Make an aligner with the topology and the lexicon of a compiled graph.

        Parameters
        ----------
        folder : str or Path
            The graph. Its G is not used: transcripts may contain words that its language model
            lacks.
        words : iterable of str
            All words of all transcripts. Words that the graph's lexicon lacks are looked up in
            the files of its recipe, then pronounced by ``model``.
        model : GraphemeToPhoneme, optional
            :class:`asr_hlg.lexicon.g2p.HamaG2P` by default; `NoGuesses` to refuse such words.
        known_words : iterable of str
            More words, which are left out if neither the graph nor its recipe has them.

        Returns
        -------
        aligner : Aligner
        guesses : Guesses
            Words whose pronunciation was guessed, and words without one; a transcript that
            contains such a word cannot be aligned.
        """
        opened = GraphFolder(Path(folder))
        H = opened.recipe_topology()
        # A lexicon cannot be empty: if no word has a pronunciation, one of the graph is added.
        graph_word = opened.words[1]
        vocabulary = list(dict.fromkeys([graph_word, *words]))
        lexicon, guesses = runtime.part_of_lexicon(opened, vocabulary, model)
        others = [graph_word, *(word for word in known_words if word not in lexicon)]
        known, _ = runtime.part_of_lexicon(opened, list(dict.fromkeys(others)), NoGuesses())
        lexicon = lexicon.extend(entry for entry in known.entries if entry.word not in lexicon)
        return cls(H, lexicon, tuple(opened.meta["columns"])), guesses

    @staticmethod
    def words_of(folder: str | Path) -> frozenset[str]:
        """The words of a compiled graph."""
        return frozenset(symbols.names(GraphFolder(Path(folder)).words)[1:])

    def align(self, id: str, posteriors: Posteriors, text: str) -> Alignment:
        """Find the best path of a transcript, with the times of its words and phones.

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
            A word's confidence compares the aligned labels with the best ones:
            exp(1/n · Σ_t (log p_t(aligned label) − max_k log p_t(k))), where n is the word's
            number of phones and the sum runs from the end of the previous word to the start of
            the next one. It is 1 if the aligned labels are the best ones everywhere, and close to
            0 if the recording deviates from the transcript in the word or next to it. A phone's
            confidence is the same over its own frames. ``score`` is the log-probability of the
            whole alignment.

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
        gap = gap_to_best(lattice.scores, labels[labels >= 0])
        spans = word_spans(words, path.tokens, self.lexicon.spellings, graph.fillers)
        phones = [token for token in path.tokens if token[0] not in graph.fillers]
        shift = posteriors.frame_shift
        aligned_words = [
            Word(word, begin * shift, end * shift, confidence)
            for word, (begin, end), confidence in zip(
                words, spans, word_confidences(spans, phones, gap), strict=True
            )
        ]
        aligned_phones = [
            Word(name, begin * shift, end * shift, confidence)
            for (name, begin, end), confidence in zip(
                phones, phone_confidences(phones, gap), strict=True
            )
        ]
        text = " ".join(words)
        return Alignment(id, text, aligned_words, path.score, duration, phones=aligned_phones)

    def labels(self, posteriors: Posteriors, text: str) -> torch.Tensor:
        """Find the label of every frame on the best path of H ∘ L ∘ text.

        The exact Viterbi path, without a beam, in about a millisecond for a second of audio. The
        graph of a text is compiled once and kept.

        Parameters
        ----------
        posteriors : Posteriors
            Of one utterance. If they have priors, the scores are p(φ|y)/p(φ).
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
        import torch

        return torch.from_numpy(self.frame_path(posteriors, text).labels)

    def frame_path(self, posteriors: Posteriors, text: str) -> FramePath:
        """Find the best path of `labels`, with the tokens that begin in its frames."""
        mapped = likelihoods.map_tokens(posteriors, self.columns)
        scores = likelihoods.scale(mapped, mapped.priors, floor=_OPTIONS.floor)
        num_frames = int(posteriors.lengths[0])
        frames = scores.array[0, :num_frames].astype(np.float64)
        path = self._graphs.of(text).best_path(frames)
        if path.score == -math.inf:
            raise AsrHlgError(self._too_short(text.split(), num_frames))
        return path

    def check_words(self, words: Sequence[str]) -> None:
        """Raise a `LexiconError` that names the words without a pronunciation, if there are any."""
        missing = [word for word in dict.fromkeys(words) if word not in self.lexicon]
        if missing:
            raise LexiconError(f"no pronunciation for {', '.join(missing)}")

    def _graph(self, words: Sequence[str]) -> DecodingGraph:
        """Compile H∘L∘G for one sentence."""
        self.check_words(words)
        lexicon = self.lexicon.restrict(words)
        sentence = Arcs.linear([lexicon.words[word] for word in words])
        return compile_hlg(self.H, lexicon, sentence, columns=self.columns)

    def _too_short(self, words: Sequence[str], num_frames: int) -> str:
        min_phones = sum(min(map(len, self.lexicon.spellings(word))) for word in words)
        return (
            f"{num_frames} frames are too few for {len(words)} words of {min_phones} phones or more"
        )


class NoGuesses:
    """Grapheme-to-phoneme model that refuses every word."""

    def pronounce(self, word: str) -> tuple[str, ...]:
        """Raise a `LexiconError`."""
        raise LexiconError("is not in the lexicon")
