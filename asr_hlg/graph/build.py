"""Build a recipe's graph folder, doing again only what its sources changed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import k2
import numpy as np

from asr_hlg import grammar, lm
from asr_hlg.errors import GraphError, LexiconError
from asr_hlg.files import file_hash, save_array
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import Stage, compile_lg, finish, hlg, store, topology
from asr_hlg.graph.explain import explain
from asr_hlg.graph.meter import Meter
from asr_hlg.graph.recipe import Recipe, TopologySection
from asr_hlg.lexicon import Lexicon, Pronunciation
from asr_hlg.versions import installed

_REVISION = 3  # raised when the same sources compile to another graph than before
_PACKAGES = ("asr-hlg", "k2", "torch", "numpy", "kaldifst")
_COLUMNS = ("src", "dst", "ilabel", "olabel", "score", "final")


@dataclass(frozen=True)
class Report:
    """Where a build tells what happens: finished stages, and remarks a user should read."""

    stage: Callable[[Stage], None] = lambda stage: None
    note: Callable[[str], None] = lambda text: None


def build(
    recipe: Recipe,
    folder: Path | None = None,
    *,
    force: bool = False,
    with_hlg: bool = False,
    max_memory: float | None = None,
    report: Report = Report(),
) -> Path:
    """Compile a recipe unless its folder is up to date.

    Parameters
    ----------
    recipe : Recipe
    folder : Path, optional
        Where to; by default beside the recipe, under its name (``graphs/en.toml`` →
        ``graphs/en/``).
    force : bool
        Compile everything again, whatever the hashes say.
    with_hlg : bool
        Compose H∘L∘G too where token passing can do without it; else it is composed when k2's
        search first asks for it.
    max_memory : float, optional
        Gigabytes that a stage may reach before it stops with a :class:`GraphError`.
    report : Report
        Receives stages and remarks.

    Returns
    -------
    Path
        The graph folder.
    """
    folder = folder or recipe.path.with_suffix("")
    sources = _sources(recipe)
    keys = _keys(recipe, sources)
    built = {} if force else _built(folder)
    meter = Meter(max_memory, report.stage)
    if built.get("keys") != keys:
        lexicon, lg = _lg(recipe, folder, keys["lg"], built, meter, report)
        graph = finish(make_topology(recipe.topology, lexicon), lexicon, lg, meter)
        _check_sentences(recipe, lexicon, lg)
        graph.meta.update(
            keys=keys,
            sources=sources,
            versions=installed(_PACKAGES, missing="unknown"),
            **_described(recipe),
        )
        graph.meta["compiled"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        store.save(graph, folder, with_hlg=graph.packed is None)
    elif any(built.get(key) != value for key, value in _described(recipe).items()):
        store.write_meta(folder, {**built, **_described(recipe)})
        report.note("search options or description changed; the graph itself is up to date")
    else:
        report.note("up to date")
    if with_hlg:
        hlg.complete(folder, store.read_meta(folder), meter)
    return folder


def read_lexicon(recipe: Recipe, vocabulary: frozenset[str] | None = None) -> Lexicon:
    """The recipe's lexicon, limited to a vocabulary where there is one."""
    section = recipe.lexicon
    entries: list[Pronunciation] = []
    for name in section.files:
        entries += read_source(name, recipe.resolve(name), vocabulary)
    known: dict[tuple[str, tuple[str, ...]], Pronunciation] = {}
    for entry in entries:
        known.setdefault((entry.word, entry.phones), entry)
    if not known:
        raise LexiconError("no word of the language model is in the lexicon", path=recipe.path)
    return Lexicon(
        known.values(),
        silence=section.silence,
        silence_prob=section.silence_prob,
        position_dependent=section.position_dependent,
    )


def read_source(name: str, path: Path, words: Collection[str] | None = None) -> list[Pronunciation]:
    """Pronunciations from one of the lexicon's files, all of them or those of some words."""
    if name == "pocketsphinx:dict":
        found = lm.read_dict(path)
        return [Pronunciation(*entry) for entry in found if words is None or entry[0] in words]
    entries = Lexicon.read(path).entries
    return [entry for entry in entries if words is None or entry.word in words]


def load_lg(folder: Path) -> Arcs:
    """L∘G of a graph folder: tokens to words, ε where disambiguation symbols were."""
    columns = (
        np.load(folder / "lg" / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        for name in _COLUMNS
    )
    return Arcs(*columns)


def _lg(
    recipe: Recipe, folder: Path, key: str, built: dict, meter: Meter, report: Report
) -> tuple[Lexicon, Arcs]:
    """Lexicon and L∘G, from the folder where only the topology changed."""
    if built.get("keys", {}).get("lg") == key and (folder / "lg" / "key").is_file():
        graph = store.load(folder)
        return graph.lexicon, load_lg(folder)
    lexicon, G = read_parts(recipe, meter, report)
    lg = compile_lg(lexicon, G, meter)
    (folder / "lg").mkdir(parents=True, exist_ok=True)
    (folder / "lg" / "key").unlink(missing_ok=True)
    for name in _COLUMNS:
        save_array(folder / "lg" / f"{name}.npy", getattr(lg, name))
    (folder / "lg" / "key").write_text(key + "\n")
    return lexicon, lg


def read_parts(
    recipe: Recipe, meter: Meter | None = None, report: Report = Report()
) -> tuple[Lexicon, Arcs | None]:
    """L and G of a recipe, as they go into the compilation; G is None where there is none."""
    meter = meter or Meter()
    if recipe.lm is None:
        with meter.stage("L read") as size:
            lexicon = read_lexicon(recipe)
            size.set(*_l_size(lexicon))
        if recipe.grammar is None:
            return lexicon, None
        with meter.stage("G compile grammar") as size:
            path = recipe.resolve(recipe.grammar.file)
            G = grammar.to_arcs(read_text(path), lexicon.words, path)
            size.set(G.num_states, G.num_arcs)
        return lexicon, G
    with meter.stage("G read language model") as size:
        path = recipe.resolve(recipe.lm.file)
        model = lm.read(path)
        size.set(model.counts[0], sum(model.counts))
    if recipe.lm.prune:
        with meter.stage("G prune") as size:
            model = lm.prune(model, recipe.lm.prune)
            size.set(model.counts[0], sum(model.counts))
    with meter.stage("L read") as size:
        lexicon = read_lexicon(recipe, frozenset(model.words))
        size.set(*_l_size(lexicon))
    with meter.stage("G to automaton") as size:
        G, dropped = lm.to_arcs(model, lexicon.words)
        size.set(G.num_states, G.num_arcs)
    if dropped.words:
        report.note(f"words of G that L lacks: {dropped}")
    return lexicon, G


def read_text(path: Path) -> str:
    """A grammar's text, or an error that says why there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise GraphError(f"cannot be read: {error.strerror}", path=path) from None
    except UnicodeDecodeError as error:
        raise GraphError(f"is not UTF-8: {error}", path=path) from None


def _l_size(lexicon: Lexicon) -> tuple[int, int]:
    arcs = lexicon.arcs(disambig=True)
    return arcs.num_states, arcs.num_arcs


def make_topology(section: TopologySection, lexicon: Lexicon) -> k2.Fsa:
    """H of a recipe over its lexicon's tokens."""
    phones = lexicon.num_tokens - 1
    if section.kind == "ctc":
        return topology.ctc(lexicon.num_tokens)
    if section.kind == "ctc-modified":
        return topology.ctc(lexicon.num_tokens, modified=True)
    if section.kind == "hmm":
        return topology.hmm(phones, section.num_states, section.self_loop, section.skip)
    if section.kind == "chain":
        return topology.chain(phones, section.self_loop)
    if section.kind == "transducer":
        return topology.transducer(lexicon.num_tokens)
    raise GraphError(
        f"unknown topology {section.kind!r}",
        remedy="ctc, ctc-modified, hmm, chain and transducer are known",
    )


def _check_sentences(recipe: Recipe, lexicon: Lexicon, lg: Arcs) -> None:
    """Every sentence under ``check`` must go through L∘G."""
    for sentence in recipe.check:
        explanation = explain(lg, lexicon, sentence)
        if explanation.stopped_at is not None:
            raise GraphError(f"check failed: {explanation.reason}", path=recipe.path)


def _sources(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Every file that the recipe names, with its size and content hash."""
    section = recipe.lm or recipe.grammar
    names = [*recipe.lexicon.files, *([section.file] if section else [])]
    paths = {name: recipe.resolve(name) for name in names}
    return {
        name: {"sha256": file_hash(path), "bytes": path.stat().st_size}
        for name, path in paths.items()
    }


def _keys(recipe: Recipe, sources: dict) -> dict[str, str]:
    """Hashes of all that L∘G and H∘L∘G depend on."""
    sections = recipe.lexicon, recipe.lm, recipe.grammar
    parts = [section and asdict(section) for section in sections]
    lg = [sources, parts, list(recipe.check), store.FORMAT, _REVISION]
    return {"lg": _digest(lg), "hlg": _digest([lg, asdict(recipe.topology)])}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _built(folder: Path) -> dict[str, Any]:
    """What ``graph.json`` says of the last build, nothing where it cannot be trusted."""
    try:
        meta = store.read_meta(folder)
    except GraphError:
        return {}
    sizes = {name: entry["bytes"] for name, entry in meta["files"].items()}
    whole = all(
        (folder / name).is_file() and (folder / name).stat().st_size == size
        for name, size in sizes.items()
    )
    return meta if whole else {}


def _described(recipe: Recipe) -> dict[str, Any]:
    """The recipe as ``graph.json`` keeps it."""
    content = asdict(replace(recipe, path=Path(recipe.path.name)))
    content["path"] = recipe.path.name
    content["check"] = list(recipe.check)
    return {"name": recipe.path.stem, "recipe": content}
