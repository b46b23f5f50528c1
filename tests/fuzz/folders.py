"""Graph folders: one file is changed, and its hash updated, as its author could do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

import torch

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.files import file_hash
from asr_hlg.graph import DecodingGraph, metadata
from asr_hlg.graph.adapt.new_words import with_words
from asr_hlg.graph.build import build
from asr_hlg.graph.recipe import Recipe
from asr_hlg.search import SearchOptions, decode
from tests.fuzz import mutation

_RECIPE = """
[lexicon]
files = ["lexicon.txt"]
silence = "SIL"
[lm]
file = "g.arpa"
"""
_ARPA = r"""\data\
ngram 1=5
ngram 2=4

\1-grams:
-99 <s> -0.3
-0.7 </s>
-0.5 cat -0.2
-0.6 and -0.3
-0.9 hat -0.1

\2-grams:
-0.2 <s> cat
-0.3 cat and
-0.4 and hat
-0.1 hat </s>

\end\
"""
_TOKENS = ("<blk>", "SIL", "ae", "ah", "d", "h", "k", "n", "t")
_LEXICON = "cat k ae t\nand ae n d\nand ah n d\nhat h ae t\n"


def make_graph(folder: Path) -> Sequence[bytes]:
    """One seed for each file of a compiled graph: its name, a zero byte, its content."""
    (folder / "lexicon.txt").write_text(_LEXICON)
    (folder / "g.arpa").write_text(_ARPA)
    (folder / "toy.toml").write_text(_RECIPE)
    built = build(Recipe.read(folder / "toy.toml"), with_hlg=True)
    return [
        str(path.relative_to(built)).encode() + b"\0" + path.read_bytes()
        for path in sorted(built.rglob("*"))
        if path.is_file()
    ]


def mutate_graph(random: Random, seed: bytes) -> bytes:
    """One file changed, as its kind invites to."""
    name, _, content = seed.partition(b"\0")
    if name == b"graph.json" and random.random() < 0.8:
        content = mutation.mutate_json(random, content.decode()).encode("utf-8", "surrogatepass")
    elif name.endswith(b".npz"):
        content = mutation.mutate_zip(random, content)
    else:
        content = mutation.mutate(random, content)
    return name + b"\0" + content


def read_graph(data: bytes, folder: Path) -> None:
    """Put the file in its place, make ``graph.json`` agree, load and search; then put it back."""
    name, _, content = data.partition(b"\0")
    path, whole = folder / "toy" / name.decode(), folder / "toy" / "graph.json"
    before, meta_before = path.read_bytes(), whole.read_bytes()
    try:
        path.write_bytes(content)
        _update_hash(whole)
        _search(folder / "toy", name.decode())
    finally:
        path.write_bytes(before)
        whole.write_bytes(meta_before)


def _update_hash(path: Path) -> None:
    try:
        meta = json.loads(path.read_bytes())
        for name, entry in meta["files"].items():
            entry["sha256"] = file_hash(path.parent / name)
        del meta["sha256"]
        metadata.write(path.parent, meta)
    except (ValueError, TypeError, KeyError, AttributeError, OSError, RecursionError):
        pass  # then it stays as it is


def _search(folder: Path, name: str) -> None:
    graph = DecodingGraph.load(folder)
    posteriors = _posteriors()
    engines = ("tokens", "k2") if name.startswith("hlg/") else ("tokens",)
    for engine in engines if graph.packed is not None else ("k2",):
        _search_graph(graph, engine)
    if name in ("graph.json", "lexiconp.txt", "tokens.txt", "words.txt"):
        SearchOptions.from_graph(graph)
        graph.info()
        graph.lexicon  # noqa: B018
        if graph.takes_new_words and "tact" not in graph.words:
            changed = with_words(graph, {"tact": [("t", "ae", "k", "t")]})
            decode(changed, posteriors, SearchOptions(engine="k2"))


def search_folder(folder: Path, engine: str) -> list:
    """What a folder's graph makes of some posteriors: words with times, n-best lists."""
    return _search_graph(DecodingGraph.load(folder), engine)


def _search_graph(graph: DecodingGraph, engine: str) -> list:
    lattice = decode(graph, _posteriors(), SearchOptions(engine=engine))
    return [lattice.words(lattice.best_path()), lattice.nbest(3)]


@cache
def _posteriors() -> Posteriors:
    scores = torch.randn(1, 12, len(_TOKENS), generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([12], dtype=torch.int32)
    return Posteriors(scores.log_softmax(-1), lengths, 0.02, _TOKENS)
