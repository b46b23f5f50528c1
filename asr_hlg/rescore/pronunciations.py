"""Pronunciations of words as columns of posteriors, also of words that a graph lacks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import LexiconError
from asr_hlg.fst.symbols import BLANK, is_disambig
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.adapt.pronounce import from_sources, speller_of_graph
from asr_hlg.lexicon.g2p import GraphemeToPhoneme, HamaG2P
from asr_hlg.lexicon.phones import SILENCE
from asr_hlg.lm.sphinx import index_dict

Pronunciations = list[tuple[int, ...]]

_DICT = "pocketsphinx:dict"
_MAX_KEPT = 100_000  # words


class Pronouncer:
    """Pronunciations from a graph's lexicon, from its sources, or guessed.

    Parameters
    ----------
    graph : DecodingGraph
    columns : sequence of str
        Names of the posteriors' columns; none where only :meth:`spellings` are asked for.
    model : GraphemeToPhoneme, optional
        :class:`asr_hlg.lexicon.g2p.HamaG2P` by default.

    Attributes
    ----------
    silence : int
        Column of the silence token, or of the token between words; -1 if there is none.
    """

    def __init__(
        self,
        graph: DecodingGraph,
        columns: Sequence[str] = (),
        model: GraphemeToPhoneme | None = None,
    ):
        self._graph = graph
        self._model = model or HamaG2P()
        self._column = {name: index for index, name in enumerate(columns)}
        self._kept: dict[str, Pronunciations] = {}
        tokens = [name for name in graph.token_names if not is_disambig(name)]
        self._speller = speller_of_graph(graph.meta, tokens)
        silence = graph.meta["lexicon"]["silence"] if self._speller is not None else SILENCE
        self.silence = self._column.get(silence, -1)

    @staticmethod
    def fits(posteriors: Posteriors) -> bool:
        """Whether posteriors are those of CTC: not of a hybrid model or a transducer."""
        return posteriors.tokens[0] == BLANK and posteriors.features is None

    def of(self, word: str) -> Pronunciations:
        """Pronunciations of a word as columns; none where it cannot be pronounced."""
        if word not in self._kept:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            spellings = self.spellings(word)
            known = [s for s in spellings if s and all(token in self._column for token in s)]
            self._kept[word] = [tuple(self._column[token] for token in s) for s in known]
        return self._kept[word]

    def spellings(self, word: str) -> Sequence[tuple[str, ...]]:
        """Pronunciations of a word as tokens; none where it cannot be pronounced."""
        if word in self._graph.words:
            return self._graph.spellings(word)
        if self._speller is not None:
            return self._speller.spellings(word)
        found = [tuple(phones.split()) for phones in self._dictionary.get(word, ())]
        if found or word in self._sources:
            return found + self._sources.get(word, [])
        try:
            return [self._model.pronounce(word)]
        except LexiconError:
            return []

    @cached_property
    def _dictionary(self) -> dict[str, list[str]]:
        """Pocketsphinx's dictionary, if the graph was compiled from it."""
        recipe = self._graph.meta.get("recipe", {})
        return index_dict() if _DICT in recipe.get("lexicon", {}).get("files", ()) else {}

    @cached_property
    def _sources(self) -> dict[str, list[tuple[str, ...]]]:
        """Pronunciations in the other files that the graph was compiled from."""
        found = defaultdict(list)
        for entry in from_sources(self._graph.meta, self._graph.folder, without=(_DICT,)):
            found[entry.word].append(entry.phones)
        return dict(found)
