"""Recipes, TOML files that name what a decoding graph is compiled from.

    description = "commands for a light switch"
    acoustic_model = "hama"            # or hama-distilled, hama-whisper, or a file

    [topology]
    kind = "ctc"                       # ctc, ctc-modified, hmm, chain, transducer
    # context = 3                      # of hmm and chain: 2, the phone before, or 3, both, and
    # tree = "../lang/light/tree.txt"  # the pdfs of states in context: asr_hlg.graph.tied_states

    [lexicon]
    files = ["../lang/light/lexicon.txt"]    # Kaldi lexicon.txt or lexiconp.txt, or MFA's
                                       # or lang, or tokens: asr_hlg.graph.lexica
    silence = "SIL"                    # optional silence between words
    silence_prob = 0.5

    [lm]                               # or [grammar], or neither: all word sequences
    file = "../lang/light/3gram.arpa"
    mix = "../lang/light/general.arpa" # optional: interpolate with another model,
    mix_weight = 0.3                   # which has this share
    prune = 1e-7

    [search]                           # defaults of `asr-hlg transcribe`: SearchOptions, or
    acoustic_scale = 0.8               # a transducer's GraphOptions

    [rescore]                          # weights of a larger model's scores (`--rescore-lm`)
    lm = 0.9
    whisper = "tiny.en"                # second pass of `asr-hlg transcribe`, if it is installed
    acoustic_model = "hama-whisper"    # of the first pass where Whisper follows

Paths are relative to the recipe. ``pocketsphinx:dict`` and ``pocketsphinx:lm`` name the English
dictionary and trigram in the package pocketsphinx.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from asr_hlg.errors import GraphError
from asr_hlg.settings import Bounded, Share, Size, check_keys, read_toml, section


@dataclass(frozen=True)
class TopologySection:
    """Section ``[topology]``: kind of H; numbers for ``hmm``, of which ``chain`` has one.

    Attributes
    ----------
    context : {1, 2, 3}
        Phones on which a pdf depends: the phone, also the one before, or also the one after.
    tree : str, optional
        The table of pdfs in context, see :mod:`asr_hlg.graph.tied_states`.
    """

    kind: str = "ctc"
    num_states: int = 3
    self_loop: float = 0.5
    skip: float = 0.0
    context: Literal[1, 2, 3] = 1
    tree: str | None = None

    @property
    def states_per_phone(self) -> int:
        """Number of pdfs that a phone reads."""
        return 2 if self.kind == "chain" else self.num_states

    def content(self) -> dict[str, Any]:
        """The fields, without those on context where it is not used.

        So graphs that were compiled before these fields existed remain up to date.
        """
        content = asdict(self)
        return content if self.tree else {k: content[k] for k in list(content)[:4]}


@dataclass(frozen=True)
class LexiconSection(Bounded):
    """Section ``[lexicon]``: pronunciations in files, or the tokens that spell the words of G.

    Attributes
    ----------
    files : list of str
        Lexica of Kaldi and MFA, whose pronunciations are united.
    lang : str, optional
        A lang folder of icefall or Kaldi, whose lexicon and tokens are taken.
    tokens : str, optional
        The tokens of an acoustic model, in a file or in the model's folder. Without ``files`` the
        words of G are spelled in them.
    bpe : str, optional
        The sentencepiece model that splits words into these tokens.
    segmentations : int
        Ways to split a word, at most.
    case : str
        Case in which words are spelled: ``keep``, ``lower`` or ``upper``.
    words : str, optional
        A list of words, where there is no G.
    """

    files: list[str] = field(default_factory=list)
    lang: str | None = None
    tokens: str | None = None
    bpe: str | None = None
    segmentations: Size = 1
    case: Literal["keep", "lower", "upper"] = "keep"
    words: str | None = None
    silence: str | None = None
    silence_prob: float = 0.5
    position_dependent: bool = False


@dataclass(frozen=True)
class LmSection(Bounded):
    """Section ``[lm]``: an ARPA file, a second one, and the threshold of entropy pruning.

    Attributes
    ----------
    file : str
    mix : str, optional
        Another model, with which the first is interpolated before pruning.
    mix_weight : float
        Share of the other model in the mixture.
    prune : float
        Threshold of entropy pruning; 0: no pruning.
    """

    file: str
    mix: str | None = None
    mix_weight: Share = 0.5
    prune: float = 0.0

    @property
    def files(self) -> list[str]:
        """Names of one or two models."""
        return [self.file] if self.mix is None else [self.file, self.mix]


@dataclass(frozen=True)
class GrammarSection:
    """Section ``[grammar]``: a file in the compact notation or JSGF."""

    file: str


@dataclass(frozen=True)
class Recipe:
    """Content of a recipe; see the module's example."""

    path: Path
    lexicon: LexiconSection
    topology: TopologySection = TopologySection()
    lm: LmSection | None = None
    grammar: GrammarSection | None = None
    search: Mapping[str, Any] = field(default_factory=dict)
    rescore: Mapping[str, Any] = field(default_factory=dict)
    check: tuple[str, ...] = ()
    acoustic_model: str = "hama"
    description: str = ""

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Read a recipe; the error for an unknown key suggests the nearest one."""
        path = Path(path)
        content = read_toml(path, "recipe", GraphError)
        known = [f.name for f in fields(cls) if f.name != "path"]
        check_keys(content, known, path, GraphError)
        sections = {
            "lexicon": LexiconSection,
            "topology": TopologySection,
            "lm": LmSection,
            "grammar": GrammarSection,
        }
        for name, section_class in sections.items():
            if name in content:
                content[name] = section(section_class, content[name], name, path, GraphError)
        lexicon = content.get("lexicon")
        if lexicon is None or not (lexicon.files or lexicon.lang or lexicon.tokens):
            raise GraphError(
                "[lexicon] files is missing",
                path=path,
                remedy="name a lexicon.txt, or the tokens of a model",
            )
        if "lm" in content and "grammar" in content:
            raise GraphError("has both [lm] and [grammar]; G is one of them", path=path)
        _check_context(content.get("topology", TopologySection()), path)
        content["check"] = tuple(content.get("check", ()))
        return cls(path=path, **content)

    @property
    def sources(self) -> list[str]:
        """Names of the files that the graph is compiled from."""
        files = self.lm.files if self.lm else [self.grammar.file] if self.grammar else []
        section = self.lexicon
        others = (self.tokens_file, section.bpe, section.words, self.topology.tree)
        return [*self.lexicon_files, *(name for name in others if name), *files]

    @property
    def lexicon_files(self) -> list[str]:
        """Names of the files with pronunciations."""
        lang = self.lexicon.lang
        if lang is None:
            return self.lexicon.files
        from asr_hlg.lexicon import lang_folder

        file = lang_folder.lexicon_file(self.folder_of(lang))
        return [*self.lexicon.files, self._name(file)]

    @property
    def tokens_file(self) -> str | None:
        """Name of the file with the acoustic model's tokens, if the recipe names one."""
        name = self.lexicon.tokens or self.lexicon.lang
        if name is None or not os.path.isdir(self.path.parent / name):
            return name
        from asr_hlg.lexicon import token_files

        names = token_files.FILES if self.lexicon.tokens else token_files.LANG_FILES
        file = token_files.tokens_file(self.path.parent / name, names)
        if file is not None:
            return self._name(file)
        if self.lexicon.tokens is None:
            return None
        raise GraphError(
            f"names {name!r}, a folder without {', '.join(token_files.FILES)}", path=self.path
        )

    @property
    def is_derived(self) -> bool:
        """Whether the words of G are spelled in the tokens of an acoustic model."""
        return not self.lexicon_files

    def folder_of(self, name: str) -> Path:
        """Path of a folder that the recipe names."""
        path = self.path.parent / name
        if not path.is_dir():
            raise GraphError(f"names {name!r}, which is not a folder", path=self.path)
        return path

    def _name(self, path: Path) -> str:
        """Name of a file relative to the recipe."""
        return os.path.relpath(path, self.path.parent)

    def source_paths(self) -> list[Path]:
        """Paths of the files that the graph is compiled from."""
        return [self.resolve(name) for name in self.sources]

    def resolve(self, name: str) -> Path:
        """Path of a file that the recipe names."""
        from asr_hlg.lm import sphinx

        if name in sphinx.SOURCES:
            return sphinx.resource(name)
        if name.startswith("pocketsphinx:"):
            known = " and ".join(sphinx.SOURCES)
            raise GraphError(
                f"unknown source {name!r}", path=self.path, remedy=f"{known} are known"
            )
        path = self.path.parent / name
        if not os.path.isfile(path):
            raise GraphError(f"names {name!r}, which is not a file", path=self.path)
        return path


def _check_context(topology: TopologySection, path: Path) -> None:
    """Raise a GraphError unless context and tree of a topology go together."""
    if (topology.context > 1) != (topology.tree is not None):
        raise GraphError(
            "[topology] has one of context and tree",
            path=path,
            remedy='context = 2 or 3 needs tree = "FILE", which asr-hlg train can grow',
        )
    if topology.tree is not None and topology.kind not in ("hmm", "chain"):
        raise GraphError(
            f"[topology] {topology.kind} has no pdfs in context", path=path, remedy="use hmm"
        )
