"""The public names that programs outside this project import, with their parameters."""

from __future__ import annotations

import dataclasses
import importlib
import inspect

import pytest

from asr_hlg import Transcript, Word
from asr_hlg.cli.commands import COMMANDS

NAMES = [
    ("asr_hlg.topology", "ctc", ["num_tokens", "modified"]),
    ("asr_hlg.topology", "hmm", ["num_phones", "num_states", "self_loop"]),
    ("asr_hlg.lexicon", "Lexicon.read", ["path"]),
    ("asr_hlg.lexicon", "Lexicon.write", ["self", "path"]),
    ("asr_hlg.lexicon", "Lexicon.to_fsa", ["self", "disambig"]),
    ("asr_hlg.lm", "read_arpa", ["path", "words"]),
    ("asr_hlg.lm", "estimate", ["sentences", "order"]),
    ("asr_hlg.lm", "ArpaModel.write", ["self", "path"]),
    ("asr_hlg.grammar", "compile", ["text", "words"]),
    ("asr_hlg.graph", "compile_hlg", ["H", "L", "G"]),
    ("asr_hlg.graph", "DecodingGraph.load", ["path"]),
    ("asr_hlg.graph", "DecodingGraph.save", ["self", "path"]),
    ("asr_hlg.graph", "DecodingGraph.info", ["self"]),
    ("asr_hlg.acoustic", "load", ["spec"]),
    ("asr_hlg.acoustic", "AcousticModel.posteriors", ["self", "waveforms", "sample_rate"]),
    ("asr_hlg.search", "decode", ["graph", "posteriors", "options"]),
    ("asr_hlg.lattice", "Lattice.best_path", ["self"]),
    ("asr_hlg.lattice", "Lattice.forward_score", ["self"]),
    ("asr_hlg.lattice", "Lattice.forward_path", ["self"]),
    ("asr_hlg.lattice", "Lattice.nbest", ["self", "n"]),
    ("asr_hlg.lattice", "Lattice.words", ["self"]),
    ("asr_hlg", "Transcriber.from_graph", ["path", "device"]),
    ("asr_hlg", "Transcriber.transcribe", ["self", "paths"]),
]


@pytest.mark.parametrize(("module", "name", "parameters"), NAMES)
def test_a_public_function_has_its_parameters(module, name, parameters):
    target = importlib.import_module(module)
    for part in name.split("."):
        target = getattr(target, part)
    assert list(inspect.signature(target).parameters)[: len(parameters)] == parameters


def test_properties_of_public_classes():
    from asr_hlg.graph import DecodingGraph
    from asr_hlg.lexicon import Lexicon

    lexicon = Lexicon([("cat", ("k", "ae", "t"))])
    assert lexicon.words["cat"] == 1
    assert lexicon.tokens["k"] > 0
    fields = {field.name for field in dataclasses.fields(DecodingGraph)}
    assert {"tokens", "words"} <= fields
    assert hasattr(DecodingGraph, "fsa")


def test_fields_of_a_transcript():
    words = [Word(text="cat", start=0.1, end=0.5, confidence=0.9)]
    transcript = Transcript(id="a", text="cat", words=words, score=-1.0, duration=0.6)
    assert dataclasses.asdict(transcript)["words"][0]["start"] == 0.1


def test_commands():
    expected = {"graph", "transcribe", "score", "align", "draw", "train", "info", "bench"}
    assert expected <= set(COMMANDS)
