"""Reading of a language model in any supported format."""

from __future__ import annotations

from pathlib import Path

from asr_hlg.lm.ngrams import ArpaModel
from asr_hlg.lm.sphinx import SOURCES, read_trie, resource


def read(path: str | Path) -> ArpaModel:
    """Read a language model: an ARPA file, or a binary model of Sphinx if its name ends in .bin.

    ``pocketsphinx:lm`` is the English trigram of the installed package pocketsphinx.
    """
    if str(path) in SOURCES:
        path = resource(str(path))
    return read_trie(path) if Path(path).suffix == ".bin" else ArpaModel.read(path)
