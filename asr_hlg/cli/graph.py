"""``asr-hlg graph``: compile a recipe, and explain a sentence's path in the graph."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from asr_hlg.errors import OptionError
from asr_hlg.graph.build import Report, build
from asr_hlg.graph.decoding_graph import DecodingGraph
from asr_hlg.graph.explain import explain
from asr_hlg.graph.lookup import HERE, compile_cached, is_here, known, recipe_path
from asr_hlg.graph.model_recipe import recipe_text
from asr_hlg.graph.recipe import Recipe
from asr_hlg.graph.store import PRETRAINED_MODELS

EPILOG = """\
A recipe, graphs/NAME.toml, names a topology, a lexicon and a language model or grammar. The
compiled graph is written to a folder beside it, graphs/NAME/. A recipe that comes with asr-hlg
is compiled into the cache folder of the user (or the one that ASR_HLG_CACHE names), and so it is
when it is first used. Stages whose inputs have not changed are not run again.

examples:
  asr-hlg graph --list                             names that --graph takes
  asr-hlg graph cat_hat                            compile graphs/cat_hat.toml
  asr-hlg graph graphs/en.toml --max-memory 4      with at most 4 GB of memory
  asr-hlg graph cat_hat --explain "cat and hat"    arcs of a sentence, or the word not accepted
  asr-hlg graph talks --model zipformer --lm talks.arpa
                                                   write the recipe of a graph for the tokens of
                                                   another toolkit's model (docs/models.md), and
                                                   compile it

Graphs of other toolkits, and ours for them:
  asr-hlg graph import --help
  asr-hlg graph export --help
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg graph``."""
    parser.epilog = EPILOG
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="recipe: graphs/NAME.toml, one that comes with asr-hlg, or a .toml file",
    )
    parser.add_argument(
        "--list", action="store_true", help="list recipes and compiled graphs by their names"
    )
    group = parser.add_argument_group("a new recipe, for the model of another toolkit")
    add = group.add_argument
    add("--model", type=Path, metavar="FOLDER", help="CTC model; see docs/models.md for the kinds")
    add("--lm", type=Path, metavar="ARPA", help="language model whose words are recognised")
    add("--grammar", type=Path, metavar="FILE", help="or a grammar")
    add(
        "--segmentations",
        type=int,
        default=1,
        metavar="N",
        help="ways to split a word into tokens, at most (default: 1)",
    )
    parser.add_argument("--output", type=Path, help="folder of the graph (default: graphs/NAME)")
    parser.add_argument("--force", action="store_true", help="run every stage again")
    parser.add_argument(
        "--hlg",
        action="store_true",
        help="also compose H∘L∘G, for k2 and GPUs; otherwise it is composed when first needed",
    )
    parser.add_argument(
        "--max-memory",
        type=float,
        metavar="GB",
        help="resident memory at which to stop, with advice on what to prune (default: no limit)",
    )
    parser.add_argument(
        "--explain", metavar="SENTENCE", help="show the path of a sentence in the graph"
    )


def run(options: argparse.Namespace) -> int:
    """Compile a recipe, and explain a sentence if one is given."""
    if options.list:
        _print_list()
        return 0
    if options.name is None:
        raise OptionError("which graph?", remedy="asr-hlg graph --list names them")
    folder = _compiled(options)
    if options.explain is None:
        return 0
    graph = DecodingGraph.load(folder)
    explanation = explain(graph.lg, graph.lexicon, options.explain)
    print(explanation)
    return 0 if explanation.stopped_at is None else 1


def _compiled(options: argparse.Namespace) -> Path:
    """Compile a recipe into its folder, or into the cache if it comes with the package."""
    if options.model is None and (options.lm or options.grammar):
        raise OptionError(
            "--lm and --grammar are for a new recipe", remedy="name its acoustic model with --model"
        )
    path = recipe_path(options.name) if options.model is None else _written(options)
    recipe = Recipe.read(path)
    report = Report(
        stage=lambda stage: print(stage, file=sys.stderr, flush=True),
        note=lambda text: print(f"{recipe.path.stem}: {text}", file=sys.stderr, flush=True),
    )
    if options.output is not None or is_here(path):
        return build(
            recipe,
            options.output,
            force=options.force,
            with_hlg=options.hlg,
            max_memory=options.max_memory,
            report=report,
            model_tokens=_model_tokens(recipe),
        )
    folder = compile_cached(path, report=report, force=options.force, max_memory=options.max_memory)
    if options.hlg:
        DecodingGraph.load(folder).fsa  # noqa: B018 - the folder keeps it
    return folder


def _model_tokens(recipe: Recipe) -> tuple[str, ...] | None:
    """Tokens of a recipe's acoustic model; None where they are not to be had without torch."""
    if not recipe.topology.kind.startswith("ctc"):
        return None
    if recipe.acoustic_model in PRETRAINED_MODELS:
        from asr_hlg.acoustic import hama

        return hama.config().tokens
    path = recipe.path.parent / recipe.acoustic_model
    if not path.exists() or path.suffix in (".npz", ".pt"):
        return None
    from asr_hlg import acoustic

    return acoustic.load(path).tokens


def _written(options: argparse.Namespace) -> Path:
    """Path of a new recipe for the model of another toolkit."""
    name = options.name
    path = Path(name) if name.endswith(".toml") else HERE / f"{name}.toml"
    if path.exists() and not options.force:
        raise OptionError(
            f"the recipe {path} exists already",
            remedy="compile it without --model, or replace it with --force",
        )
    recipe = recipe_text(
        options.model,
        path,
        lm=options.lm,
        grammar=options.grammar,
        segmentations=options.segmentations,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(recipe.text, encoding="utf-8")
    print(f"asr-hlg: wrote {path}", file=sys.stderr)
    return path


def _print_list() -> None:
    graphs = known()
    width = max((len(graph.name) for graph in graphs), default=0)
    for graph in graphs:
        description = Recipe.read(graph.recipe).description if graph.recipe else ""
        state = f"compiled: {graph.compiled}" if graph.compiled else "not compiled"
        print(f"{graph.name:<{width}}  {description}")
        print(f"{'':<{width}}  {graph.recipe or 'no recipe'}; {state}")
