"""Second pass with a larger n-gram, on lattices or n-best lists.

    rescorer = NgramRescorer.of_graph("graphs/en", "pocketsphinx:lm")
    lattice = rescorer(decode(graph, posteriors))      # a Lattice like any other
    lattice.best_path()[0].text

The graph score of a path contains the scores of the lexicon and of the first pass's language
model. The latter depends on the words alone, so it can be computed again and be replaced by the
score of the new model. The score of a path is then

    acoustic · log p(A|S)  +  lexicon · (graph score − s · log P_old(W))  +  lm · log P_new(W)
    +  word · (number of words)

with s the weight that the search gave to the graph: 1, except for transducers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from asr_hlg import lm
from asr_hlg.errors import GraphError, OptionError
from asr_hlg.files import file_hash
from asr_hlg.fst import symbols
from asr_hlg.fst.indexing import expand_ranges
from asr_hlg.fst.symbols import SymbolTable
from asr_hlg.graph import metadata
from asr_hlg.graph.build import read_language_model
from asr_hlg.graph.recipe import LexiconSection, LmSection, Recipe
from asr_hlg.lattice import Lattice, Path, kernels
from asr_hlg.lattice.arrays import FrameArcs
from asr_hlg.lm.sphinx import SOURCES, resource
from asr_hlg.rescore import automaton
from asr_hlg.rescore.automaton import Automaton


@dataclass(frozen=True)
class NgramScales:
    """Weights of the parts of a path's score in the second pass.

    Attributes
    ----------
    acoustic : float
        Factor on the acoustic score, on top of the ``acoustic_scale`` of the search.
    lexicon : float
        Factor on the rest of the graph score: pronunciations, silence, transitions of H.
    lm : float
        Factor on the new model's log-probabilities.
    word : float
        Added for every word: below 0 it makes insertions rarer, above 0 deletions.
    """

    acoustic: float = 1.0
    lexicon: float = 1.0
    lm: float = 1.0
    word: float = 0.0

    def __post_init__(self) -> None:
        if not (self.acoustic > 0 and self.lexicon >= 0 and self.lm >= 0):
            raise OptionError(
                f"scales must be positive, not {self}", remedy="only the word bonus may be negative"
            )


class NgramRescorer:
    """Replaces the scores of the first pass's language model by those of another one.

    Parameters
    ----------
    words : SymbolTable
        The graph's words.
    new : ArpaModel
        The model whose scores are added.
    old : ArpaModel, optional
        The model that the graph was compiled with, pruned as it was there, whose scores are
        subtracted; None for a graph without one.
    scales : NgramScales, optional
    graph_scale : float
        The weight that the search gave to the graph's scores, and so to the old model.

    Attributes
    ----------
    missing : tuple of str
        The graph's words that the new model lacks; each scores ``automaton.UNKNOWN``.
    """

    def __init__(
        self,
        words: SymbolTable,
        new: lm.ArpaModel,
        old: lm.ArpaModel | None = None,
        scales: NgramScales | None = None,
        graph_scale: float = 1.0,
    ):
        self.words = words
        self.scales = scales or NgramScales()
        self.missing = tuple(w for w in symbols.names(words)[1:-1] if w not in new.word_ids)
        self._new = Automaton.of(new, words)
        if old is None or not graph_scale:
            self._old = Automaton.zero(words)
        else:
            self._old = Automaton.of(old, words, graph_scale)

    @classmethod
    def of_graph(
        cls,
        folder: str | FilePath,
        source: str | FilePath,
        scales: NgramScales | None = None,
        words: SymbolTable | None = None,
        graph_scale: float = 1.0,
    ) -> NgramRescorer:
        """A rescorer for the lattices of a graph folder.

        Parameters
        ----------
        folder : str or Path
            The compiled graph; its language model is read again from the file that its recipe
            names.
        source : str or Path
            The new model: an ARPA file, a Sphinx trie (``.bin``), or ``pocketsphinx:lm``.
        scales : NgramScales, optional
        words : SymbolTable, optional
            The words of the lattices, where words were added to the graph of the folder.
        graph_scale : float

        Raises
        ------
        GraphError
            If the first model's file is missing, or is not what the graph was compiled with.
        """
        folder = FilePath(folder)
        words = words or symbols.read(folder / "words.txt")
        path = resource(str(source)) if str(source) in SOURCES else FilePath(source)
        new = lm.read(path)
        meta = metadata.read(folder)
        section = meta.get("recipe", {}).get("lm")
        if section is None:
            return cls(words, new, None, scales, graph_scale)
        return cls(
            words, new, read_language_model(_checked_recipe(folder, meta)), scales, graph_scale
        )

    def __call__(self, lattice: Lattice, beam: float = 12.0) -> Lattice:
        """Rescore every path of a lattice.

        Parameters
        ----------
        lattice : Lattice
        beam : float
            Paths worse than the best one by more than this are dropped: during composition by
            an estimate that completes paths with the old model's scores, and at the end by their
            exact scores. ``inf`` drops none.

        Returns
        -------
        Lattice
            Of the same utterances. Its states are distinct for each history of the new model,
            so every path has its exact score; an empty lattice stays empty.
        """
        rescored = [
            None if arcs is None else self.rescore(arcs, beam) for arcs in lattice.utterances
        ]
        return Lattice.from_arcs(rescored, lattice.scores, lattice.graph)

    def rescore(self, arcs: FrameArcs, beam: float) -> FrameArcs:
        """Lattice of one utterance with the new model's scores; see :meth:`__call__`."""
        scales = self.scales
        acoustic = scales.acoustic * (arcs.score - arcs.graph_score)
        first_pass = acoustic + arcs.graph_score
        backward = kernels.backward(arcs.src, arcs.dst, first_pass, arcs.num_states, False)
        origin, src, dst, change = automaton.compose(
            arcs.src,
            arcs.dst,
            arcs.label,
            arcs.words,
            arcs.word_splits,
            acoustic + scales.lexicon * arcs.graph_score,
            backward,
            self._old,
            self._new,
            (scales.lexicon, scales.lm, scales.word),
            beam,
        )
        graph_score = scales.lexicon * arcs.graph_score[origin] + change
        score = acoustic[origin] + graph_score
        num_states = int(dst.max()) + 1
        # Score of the best path through every arc, -inf where none reaches the end.
        best = kernels.forward(src, dst, score, num_states, False)[src] + score
        best += kernels.backward(src, dst, score, num_states, False)[dst]
        kept = np.flatnonzero(best >= best.max() - beam)
        states, ends = np.unique(np.concatenate([src[kept], dst[kept]]), return_inverse=True)
        kept_origin = origin[kept]
        begin, end = arcs.word_splits[kept_origin], arcs.word_splits[kept_origin + 1]
        return replace(
            arcs,
            num_states=len(states),
            src=ends[: len(kept)].astype(np.int32),
            dst=ends[len(kept) :].astype(np.int32),
            label=arcs.label[kept_origin],
            phone=arcs.phone[kept_origin],
            frame=arcs.frame[kept_origin],
            score=score[kept],
            graph_score=graph_score[kept],
            words=arcs.words[expand_ranges(begin, end)[0]],
            word_splits=np.append(0, np.cumsum(end - begin)),
        )

    def nbest(self, paths: Sequence[Path]) -> list[Path]:
        """Rescore the n-best list of one utterance, and sort it, best first.

        Each path keeps its alignment. A lattice has more paths than any list; this is for lists
        from elsewhere, or that another model scores too.
        """
        return sorted(map(self._path, paths), key=lambda path: -path.score)

    def _path(self, path: Path) -> Path:
        if path.score == -np.inf:
            return path
        ids = np.array([self.words[word] for word in path.words], dtype=np.int32)
        scales = self.scales
        lexicon = path.graph_score - automaton.sentence_score(self._old, ids)
        new = automaton.sentence_score(self._new, ids)
        graph_score = scales.lexicon * lexicon + scales.lm * new + scales.word * len(ids)
        acoustic = scales.acoustic * path.acoustic_score
        score = graph_score + acoustic
        return replace(path, score=score, graph_score=graph_score, acoustic_score=acoustic)


def _checked_recipe(folder: FilePath, meta: Mapping[str, Any]) -> Recipe:
    """Recipe of a graph, with a language model whose files are those that it was compiled with."""
    section = LmSection(**meta["recipe"]["lm"])
    path = metadata.recipe_folder(folder, meta) / meta["recipe"]["path"]
    recipe = Recipe(path, LexiconSection(), lm=section)
    for name in section.files:
        path = recipe.resolve(name)
        if file_hash(path) != meta["sources"][name]["sha256"]:
            raise GraphError(
                "is not the language model that the graph was compiled with",
                path=path,
                remedy="compile the graph again: asr-hlg graph NAME",
            )
    return recipe
