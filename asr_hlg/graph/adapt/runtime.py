"""Changes to a compiled graph when it is opened: another grammar, hotwords.

    graph, guesses = open_graph("graphs/en", hotword_file="names.txt")
    graph, guesses = with_grammar("graphs/en", "call (alice | bob)")
    print(guesses.report())            # pronunciations that were guessed

Only the words of the grammar are compiled, which therefore takes a second where the graph took a
minute.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from asr_hlg import grammar
from asr_hlg.errors import GrammarError, OnItemError, stop
from asr_hlg.fst import symbols
from asr_hlg.graph.adapt import hotwords
from asr_hlg.graph.adapt.pronounce import pronounce
from asr_hlg.graph.compile import assemble, compile_lg
from asr_hlg.graph.decoding_graph import DecodingGraph
from asr_hlg.graph.lexica import read_text
from asr_hlg.graph.meter import Meter
from asr_hlg.graph.recipe import TopologySection
from asr_hlg.graph.store import GraphFolder
from asr_hlg.lexicon import Lexicon, Pronunciation, unknown
from asr_hlg.lexicon.g2p import GraphemeToPhoneme, Guesses, OnProgress


def open_graph(
    folder: str | Path,
    device: str = "cpu",
    *,
    grammar_file: str | Path | None = None,
    hotword_file: str | Path | None = None,
    model: GraphemeToPhoneme | None = None,
    on_error: OnItemError = stop,
    on_progress: OnProgress = lambda _: None,
) -> tuple[DecodingGraph, Guesses]:
    """Load a graph, replace its grammar and add hotwords.

    Parameters
    ----------
    folder : str or Path
        A compiled graph.
    device : str
        Device of the search.
    grammar_file : str or Path, optional
        A grammar that replaces the graph's G; see `with_grammar`.
    hotword_file : str or Path, optional
        Phrases to boost; see :mod:`asr_hlg.graph.adapt.hotwords`.
    model : GraphemeToPhoneme, optional
        Pronounces words that neither the graph nor its sources have.
    on_error : callable
        Receives the error of each faulty line of the list of hotwords, and of each word that cannot
        be pronounced, which are left out if it returns. A syntax error of the grammar is raised.
    on_progress : callable
        Called with the number of words that have been pronounced since its last call.

    Returns
    -------
    graph : DecodingGraph
    guesses : Guesses
        The words whose pronunciation was guessed.
    """
    guessed: dict[str, tuple[str, ...]] = {}
    if grammar_file is None:
        graph = DecodingGraph.load(folder)
    else:
        path = Path(grammar_file)
        graph, guesses = with_grammar(folder, read_text(path), path, model, on_error, on_progress)
        guessed |= guesses.pronunciations
    if hotword_file is not None:
        phrases = hotwords.read(hotword_file, on_error)
        graph, guesses = hotwords.apply(graph, phrases, model, on_error, on_progress)
        guessed |= guesses.pronunciations
    return graph.to(device), Guesses(guessed, {})


def with_grammar(
    folder: str | Path,
    text: str,
    path: str | Path | None = None,
    model: GraphemeToPhoneme | None = None,
    on_error: OnItemError = stop,
    on_progress: OnProgress = lambda _: None,
) -> tuple[DecodingGraph, Guesses]:
    """Compile a grammar over the lexicon and the topology of a graph folder.

    Parameters
    ----------
    folder : str or Path
        A compiled graph. Its L∘G is not read.
    text : str
        A grammar as :mod:`asr_hlg.grammar` describes it. Its words get the pronunciations
        of the graph's lexicon, else of the files of its recipe that still exist, else those that
        ``model`` guesses.
    path : str or Path, optional
        File of the text, for error messages.
    model : GraphemeToPhoneme, optional
        :class:`asr_hlg.lexicon.g2p.HamaG2P` by default.
    on_error : callable
        Receives the error of each word that cannot be pronounced. If it returns, the sentences with
        this word are left out.
    on_progress : callable
        Called with the number of words that have been pronounced since its last call.

    Returns
    -------
    graph : DecodingGraph
        With the folder's posterior columns, silence, topology and search options.
    guesses : Guesses
        The words whose pronunciation was guessed.

    Raises
    ------
    GraphError
        If the folder is not a compiled graph of a recipe.
    GrammarError
        For a grammar that cannot be compiled.
    """
    opened = GraphFolder(Path(folder))
    meta, H = opened.meta, opened.recipe_topology()
    lines = grammar.vocabulary(text, path)
    accepts_unknown = lines.pop(symbols.UNKNOWN, None) is not None
    entries, guesses = _look_up(opened, lines, model, on_progress)
    for word, reason in guesses.left_out.items():
        on_error(
            GrammarError(
                f"{word!r} is not in the lexicon and cannot be pronounced: {reason}",
                path=path,
                line=lines[word],
                remedy="spell it as it is spoken",
            )
        )
    if lines and not entries:
        raise GrammarError("none of its words can be pronounced", path=path)
    if accepts_unknown:
        silence, marked = (meta["lexicon"][name] for name in ("silence", "position_dependent"))
        entries += unknown.pronunciations(opened.token_names, silence, marked)
    lexicon = Lexicon(entries, tokens=opened.token_names, **meta["lexicon"])
    G = grammar.to_arcs(text, lexicon.words, path, guesses.left_out)
    meter = Meter()
    lg = compile_lg(lexicon, G, meter)
    description = TopologySection(**meta["topology"])
    graph = assemble(H, lexicon, lg, meter, tuple(meta["columns"]), description)
    grammar_section = {"file": None if path is None else str(path)}
    graph.meta["recipe"] = {**meta["recipe"], "lm": None, "grammar": grammar_section}
    return graph, guesses


def part_of_lexicon(
    folder: GraphFolder, words: Collection[str], model: GraphemeToPhoneme | None = None
) -> tuple[Lexicon, Guesses]:
    """Make a lexicon of some words over the tokens of a graph folder.

    Parameters
    ----------
    folder : GraphFolder
    words : collection of str
    model : GraphemeToPhoneme, optional
        Pronounces words that neither the graph's lexicon nor the files of its recipe have.

    Returns
    -------
    lexicon : Lexicon
        Without the words that ``guesses`` leaves out.
    guesses : Guesses
    """
    entries, guesses = _look_up(folder, words, model)
    return Lexicon(entries, tokens=folder.token_names, **folder.meta["lexicon"]), guesses


def _look_up(
    folder: GraphFolder,
    words: Collection[str],
    model: GraphemeToPhoneme | None,
    on_progress: OnProgress = lambda _: None,
) -> tuple[list[Pronunciation], Guesses]:
    """Pronunciations of some words from the graph, its sources or the model, and the guesses."""
    entries = folder.pronunciations(words)
    known = {entry.word for entry in entries}
    missing = [word for word in words if word not in known]
    more, guesses = pronounce(
        missing, folder.token_names, folder.meta, folder.path, model, on_progress
    )
    return entries + more, guesses
