"""Graphs of Kaldi's model folders, imported once into the cache.

``asr-hlg transcribe --model FOLDER`` decodes with the graph in the folder. The cache has its
imported form, by the names, sizes and times of the files that it is made of::

    graphs/kaldi-0123456789abcdef/NAME/
    graphs/kaldi-phrases-0123456789abcdef/NAME/     of a list of phrases in place of Gr.fst
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from asr_hlg.acoustic import AcousticModel
from asr_hlg.acoustic.kaldi.folder import graph_properties, model_file
from asr_hlg.acoustic.kaldi.model import KaldiModel
from asr_hlg.errors import GraphError
from asr_hlg.files import cache_folder
from asr_hlg.graph.kaldi_graph import KaldiFiles, Transitions, import_kaldi
from asr_hlg.graph.lookup import graph_folder, locked, print_line
from asr_hlg.graph.meter import Meter
from asr_hlg.search import Decoder
from asr_hlg.search.fst_decoder import FstTokenPassing
from asr_hlg.search.incremental_lattice import Steps
from asr_hlg.search.online import OnlineSearch

_MOST_PHRASE_LISTS = 8  # whose graphs are kept
_REVISION = 3  # raised when the same files give another graph than before

Say = Callable[[str], None]


def has_graph(folder: Path) -> bool:
    """Whether a folder is a Kaldi model with a graph."""
    if not folder.is_dir() or model_file(folder) is None:
        return False
    try:
        KaldiFiles.find(folder)
    except GraphError:
        return False
    return True


def folder_of(name: str | Path, say: Say = print_line) -> Path:
    """Folder of a graph: as `graph_folder` finds it, or imported from a Kaldi model's folder."""
    path = Path(name)
    if not (path / "graph.json").is_file() and has_graph(path):
        return graph_of_model(path, say)
    return graph_folder(name, say)


def attach_search(model: AcousticModel, decoder: Decoder, search: str) -> None:
    """Let the i-vectors of an nnet3 model follow the search: they count silence little.

    With the ``search`` "mbr" the decoder determinizes lattices as Kaldi's does.
    """
    if isinstance(model, KaldiModel) and isinstance(decoder, FstTokenPassing):
        model.searches = partial(OnlineSearch, decoder, model.tokens, model.frame_shift)
        if search == "mbr" and decoder.graph.word_positions is not None:
            parts, network = model.parts, model.parts.evaluator
            ahead = (network.right_context + 1) / network.subsampling
            decoder.steps = Steps(parts.chunk // network.subsampling, ahead)


def graph_of_model(folder: Path, say: Say = print_line, max_memory: float | None = None) -> Path:
    """Graph folder of a Kaldi model, imported unless the cache has it.

    Parameters
    ----------
    folder : Path
        Of the model.
    say : callable
        Receives messages while the graph is imported, which takes minutes.
    max_memory : float, optional
        GB at which to stop.

    Raises
    ------
    GraphError
        If the folder has no graph, it is damaged, or memory does not suffice.
    ModelError
        If ``final.mdl`` is damaged.
    """
    return _imported(folder.absolute(), (), say, max_memory)


def graph_of_phrases(folder: Path, phrases: Sequence[str], say: Say = print_line) -> Path:
    """Graph folder of a Kaldi model that recognises phrases only, as Vosk's recognisers do.

    The model's ``HCLr.fst`` is composed with a bigram model of the phrases
    (:mod:`asr_hlg.graph.phrase_list`). The cache keeps the last of these graphs.

    Parameters
    ----------
    folder : Path
        Of the model.
    phrases : sequence of str
        Words that the model does not have are left out.
    say : callable
        Receives messages while the graph is made, which takes seconds.

    Raises
    ------
    GraphError
        As :func:`graph_of_model`, if the model has only ``HCLG.fst``, and if it has no word of the
        phrases.
    """
    graph = _imported(folder.absolute(), tuple(phrases), say, None)
    made = sorted(
        graph.parent.parent.glob("kaldi-phrases-*/"), key=lambda path: path.stat().st_mtime
    )
    for old in made[:-_MOST_PHRASE_LISTS]:
        if old != graph.parent:
            shutil.rmtree(old, ignore_errors=True)
    return graph


def transitions_of(path: Path) -> Transitions:
    """Meaning of the labels of a model's graph, from its ``final.mdl``.

    Raises
    ------
    ModelError
        If the file cannot be read or is damaged.
    """
    found = graph_properties(path)
    model = found.transitions
    begins = (model.state_of == 0) & ~model.is_self_loop
    return Transitions(model.pdf_of, model.phone_of, begins, found.acoustic_scale)


def _imported(folder: Path, phrases: tuple[str, ...], say: Say, max_memory: float | None) -> Path:
    path = model_file(folder)
    if path is None:
        raise GraphError("has no am/final.mdl", path=folder, remedy="name a Kaldi model's folder")
    files = KaldiFiles.find(folder)
    graphs = cache_folder() / "graphs"
    graphs.mkdir(mode=0o700, exist_ok=True)
    kind = "kaldi-phrases" if phrases else "kaldi"
    parent = graphs / f"{kind}-{_identity((path, *files.sources), phrases)}"
    graph = parent / (folder.name or "kaldi")
    if (graph / "graph.json").is_file():
        return graph
    with locked(parent.with_suffix(".lock"), lambda: say("another process imports it; waiting")):
        if not (graph / "graph.json").is_file():
            if not phrases:
                say(f"importing the graph of {folder} once, into {graph}")
            transitions = transitions_of(path)
            part = parent.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
            meter = Meter(max_memory, lambda stage: None if phrases else say(str(stage)))
            output = part / graph.name
            try:
                import_kaldi(folder, output, transitions, str(folder), meter, say, phrases)
                shutil.rmtree(parent, ignore_errors=True)
                part.rename(parent)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return graph


def _identity(paths: tuple[Path, ...], phrases: tuple[str, ...]) -> str:
    """Hash of names, sizes and times of files, and of phrases."""
    digest = hashlib.sha256(str(_REVISION).encode())
    for phrase in phrases:
        digest.update(f"{phrase}\n".encode())
    for path in paths:
        status = path.stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]
