"""Build of a recipe's graph folder, which repeats only the stages whose sources changed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from asr_hlg import grammar, lm
from asr_hlg.errors import GraphError, LexiconError
from asr_hlg.files import file_hash
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import metadata, store
from asr_hlg.graph.compile import assemble, compile_lg
from asr_hlg.graph.decoding_graph import DecodingGraph
from asr_hlg.graph.explain import explain
from asr_hlg.graph.lexica import read_lexicon, read_text
from asr_hlg.graph.meter import Meter, Stage
from asr_hlg.graph.recipe import LexiconSection, Recipe
from asr_hlg.graph.topology_arcs import of_recipe
from asr_hlg.lexicon import Lexicon, unknown
from asr_hlg.versions import installed

_PACKAGES = ("asr-hlg", "k2", "torch", "numpy", "kaldifst")


@dataclass(frozen=True)
class Report:
    """Callbacks of a build: for finished stages, and for messages to the user."""

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
    model_tokens: Collection[str] | None = None,
) -> Path:
    """Compile a recipe unless its folder is up to date.

    Of several processes that compile the same recipe, one does, and the others wait.

    Parameters
    ----------
    recipe : Recipe
    folder : Path, optional
        Output folder; by default beside the recipe, under its name (``graphs/en.toml`` →
        ``graphs/en/``).
    force : bool
        Compile everything again, even if no hash changed.
    with_hlg : bool
        Compose H∘L∘G too if the topology is CTC; else that happens when k2 first searches.
    max_memory : float, optional
        Gigabytes that a stage may reach before it stops with a :class:`GraphError`.
    report : Report
        Receives stages and remarks.
    model_tokens : collection of str, optional
        Of the acoustic model; the lexicon is checked against them.

    Returns
    -------
    Path
        The graph folder.

    Raises
    ------
    LexiconError
        If the acoustic model lacks some of the lexicon's tokens. If it lacks all of them, the graph
        is for another model, and a remark says so.
    """
    folder = folder or recipe.path.with_suffix("")
    meter = Meter(max_memory, report.stage)
    with store.lock(recipe.path):
        _update(recipe, folder, {} if force else _built(folder), meter, report, model_tokens)
    if with_hlg:
        DecodingGraph.load(folder, meter=meter).fsa  # noqa: B018 - the folder keeps it
    return folder


def identity(recipe: Recipe) -> str:
    """Hash of all that a graph folder depends on: the recipe, its sources, and the format."""
    keys = _keys(recipe, _sources(recipe))
    is_path = recipe.acoustic_model not in store.PRETRAINED_MODELS
    model = str(recipe.path.parent.absolute()) if is_path else None
    return _digest([keys, _described(recipe), model])


def _update(
    recipe: Recipe,
    folder: Path,
    built: dict[str, Any],
    meter: Meter,
    report: Report,
    model_tokens: Collection[str] | None,
) -> None:
    """Compile what has changed since a folder was built."""
    sources = _sources(recipe)
    keys = _keys(recipe, sources)
    if built.get("keys") != keys:
        if built.get("keys", {}).get("lg") == keys["lg"]:
            graph = DecodingGraph.load(folder)
            lexicon, lg = graph.lexicon, graph.lg
        else:
            lexicon, G = read_parts(recipe, meter, report)
            if model_tokens is not None:
                _check_tokens(lexicon, recipe.acoustic_model, model_tokens, report)
            lg = compile_lg(lexicon, G, meter)
        H, columns = of_recipe(recipe, lexicon)
        graph = assemble(H, lexicon, lg, meter, columns, recipe.topology)
        _check_sentences(recipe, lexicon, lg)
        graph.meta.update(
            keys=keys,
            sources=sources,
            versions=installed(_PACKAGES),
            **_described(recipe),
        )
        if folder.absolute().parent != recipe.path.absolute().parent:
            graph.meta["recipe_folder"] = str(recipe.path.absolute().parent)
        graph.meta["compiled"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        graph.save(folder)
    elif any(built.get(key) != value for key, value in _described(recipe).items()):
        metadata.write(folder, {**built, **_described(recipe)})
        report.note("search options or description changed; the graph itself is up to date")
    else:
        report.note("up to date")


def _check_tokens(
    lexicon: Lexicon, model: str, model_tokens: Collection[str], report: Report
) -> None:
    """Check that the acoustic model has the lexicon's tokens."""
    tokens = symbols.names(lexicon.tokens)[1 : symbols.first_disambig(lexicon.tokens)]
    missing = [name for name in tokens if name not in model_tokens]
    if not missing:
        return
    shown = ", ".join(missing[:20]) + (", …" if len(missing) > 20 else "")
    if len(missing) == len(tokens):
        report.note(f"the acoustic model {model} lacks all tokens of the lexicon: {shown}")
        return
    first = next(
        (e for e in lexicon.entries if set(missing) & set(chain(*lexicon.spellings(e.word)))),
        lexicon.entries[0],
    )
    stressed = all(name[-1].isdigit() and name[:-1] in model_tokens for name in missing)
    raise LexiconError(
        f"the acoustic model {model} lacks tokens of the lexicon: {shown}",
        path=first.path,
        line=first.line,
        remedy="remove the marks of stress (AE1 is AE)"
        if stressed
        else "use the model's tokens, or name another acoustic_model in the recipe",
    )


def _with_unknown(lexicon: Lexicon) -> Lexicon:
    """The lexicon and, as pronunciations of ``[unk]``, each of its tokens."""
    tokens = symbols.names(lexicon.tokens)[: symbols.first_disambig(lexicon.tokens)]
    return lexicon.extend(
        unknown.pronunciations(tokens, lexicon.silence, lexicon.position_dependent)
    )


def read_parts(
    recipe: Recipe, meter: Meter | None = None, report: Report = Report()
) -> tuple[Lexicon, Arcs | None]:
    """Read L and G of a recipe for compilation; G is None if the recipe has none."""
    meter = meter or Meter()
    if recipe.lm is None:
        with meter.stage("L read") as size:
            lexicon = read_lexicon(recipe, note=report.note)
            size.set(*_l_size(lexicon))
        if recipe.grammar is None:
            return lexicon, None
        with meter.stage("G compile grammar") as size:
            path = recipe.resolve(recipe.grammar.file)
            text = read_text(path)
            if symbols.UNKNOWN in grammar.vocabulary(text, path):
                lexicon = _with_unknown(lexicon)
            G = grammar.to_arcs(text, lexicon.words, path)
            size.set(G.num_states, G.num_arcs)
        return lexicon, G
    model = read_language_model(recipe, meter)
    with meter.stage("L read") as size:
        lexicon = read_lexicon(recipe, frozenset(model.words), report.note)
        size.set(*_l_size(lexicon))
    with meter.stage("G to automaton") as size:
        G, dropped = lm.to_arcs(model, lexicon.words)
        size.set(G.num_states, G.num_arcs)
    if dropped.words:
        report.note(f"words of G that L lacks: {dropped}")
    return lexicon, G


def read_language_model(recipe: Recipe, meter: Meter | None = None) -> lm.ArpaModel:
    """Read the n-gram model of a recipe that has one, interpolated and pruned as it says."""
    assert recipe.lm is not None
    meter = meter or Meter()
    with meter.stage("G read language model") as size:
        models = [lm.read(recipe.resolve(name)) for name in recipe.lm.files]
        model = models[0]
        size.set(model.counts[0], sum(model.counts))
    if len(models) > 1:
        with meter.stage("G interpolate") as size:
            weight = recipe.lm.mix_weight
            model = lm.interpolate(models, [1 - weight, weight])
            size.set(model.counts[0], sum(model.counts))
    if recipe.lm.prune:
        with meter.stage("G prune") as size:
            model = lm.prune(model, recipe.lm.prune)
            size.set(model.counts[0], sum(model.counts))
    return model


def _l_size(lexicon: Lexicon) -> tuple[int, int]:
    arcs = lexicon.arcs(disambig=True)
    return arcs.num_states, arcs.num_arcs


def _check_sentences(recipe: Recipe, lexicon: Lexicon, lg: Arcs) -> None:
    """Raise a GraphError unless L∘G accepts every sentence under ``check``."""
    for sentence in recipe.check:
        explanation = explain(lg, lexicon, sentence)
        if explanation.stopped_at is not None:
            raise GraphError(f"check failed: {explanation.reason}", path=recipe.path)


def _sources(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Size and hash of every file that the recipe names."""
    paths = {name: recipe.resolve(name) for name in recipe.sources}
    return {
        name: {"sha256": file_hash(path), "bytes": path.stat().st_size}
        for name, path in paths.items()
    }


def _keys(recipe: Recipe, sources: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Hashes of everything that L∘G depends on, and of that and H."""
    parts = [_content(recipe.lexicon), *(s and asdict(s) for s in (recipe.lm, recipe.grammar))]
    tree = recipe.topology.tree
    of_lg = {name: source for name, source in sources.items() if name != tree}
    lg = [of_lg, parts, list(recipe.check), metadata.FORMAT, store.REVISION]
    of_h = [recipe.topology.content(), *([] if tree is None else [sources[tree]])]
    return {"lg": _digest(lg), "graph": _digest([lg, *of_h])}


def _content(section: LexiconSection) -> dict[str, Any]:
    """Fields of the lexicon, without those for the tokens of a model where they are not used.

    So graphs that were compiled before these fields existed remain up to date.
    """
    used, unset = asdict(section), asdict(LexiconSection())
    later = ("lang", "tokens", "bpe", "segmentations", "case", "words")
    return {name: v for name, v in used.items() if name not in later or v != unset[name]}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _built(folder: Path) -> dict[str, Any]:
    """Content of ``graph.json``; empty if a file of the folder is missing or has another size."""
    try:
        meta = metadata.read(folder)
    except GraphError:
        return {}
    sizes = {name: entry["bytes"] for name, entry in meta["files"].items()}
    complete = all(
        (folder / name).is_file() and (folder / name).stat().st_size == size
        for name, size in sizes.items()
    )
    return meta if complete else {}


def _described(recipe: Recipe) -> dict[str, Any]:
    """Entries of ``graph.json`` that describe the recipe."""
    content = asdict(replace(recipe, path=Path(recipe.path.name)))
    content["path"] = recipe.path.name
    content["lexicon"] = _content(recipe.lexicon)
    content["topology"] = recipe.topology.content()
    content["check"] = list(recipe.check)
    return {"name": recipe.path.stem, "recipe": content}
