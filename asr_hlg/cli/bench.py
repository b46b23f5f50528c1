"""``asr-hlg bench``: speed, errors and memory, beside other decoders."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from asr_hlg import acoustic
from asr_hlg.audio import recordings
from asr_hlg.bench import graphs, measure, search, systems
from asr_hlg.bench.report import GraphReport, Report
from asr_hlg.cli.arguments import graph_folder
from asr_hlg.errors import AsrHlgError
from asr_hlg.graph import DecodingGraph, store
from asr_hlg.output import text

EPILOG = """\
Three parts, all by default:

  search    the engines "tokens" and "k2", and kaldi-decoder's FasterDecoder in the same H∘L∘G, on
            the same posteriors, one thread each, over beams
  systems   recordings to words: this command's own `transcribe`, pocketsphinx, and Whisper tiny.en
            (faster-whisper), with --threads processes or threads
  graphs    time and memory of compiling and loading, beside kaldifst's compose, determinize_star
            and minimize_encoded

What is not installed is left out, and said so: pip install 'asr-hlg[bench]' brings it all.
Writes bench.md, bench.json and, with matplotlib, bench.svg. Other work on the machine slows
all down; engines take turns so that it does not favour one of them.

examples:
  asr-hlg bench LJ/flac --ref LJ/text
  asr-hlg bench LJ/flac --ref LJ/text --graph en --graph en-full --beam 6 8 10 12 14 16
  asr-hlg bench LJ/flac --ref LJ/text --part search --min-active 0 30
  asr-hlg bench LJ/flac --ref LJ/text --limit 10 --part search --engine tokens k2
"""

_PARTS = ("search", "systems", "graphs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg bench``."""
    parser.epilog = EPILOG
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="recordings, as in transcribe")
    parser.add_argument("--ref", type=Path, required=True, metavar="FILE", help="what was said")
    parser.add_argument("--graph", action="append", help="folder or NAME in graphs/ (en); repeat")
    parser.add_argument("--part", nargs="+", choices=_PARTS, default=_PARTS, help="only these")
    parser.add_argument(
        "--beam", type=float, nargs="+", default=[8, 10, 12, 14], help="search beams (8 10 12 14)"
    )
    parser.add_argument(
        "--min-active", type=int, nargs="+", default=(), metavar="N", help="(the graph's own)"
    )
    parser.add_argument(
        "--engine", nargs="+", choices=search.ENGINES, default=search.ENGINES, help="of search"
    )
    parser.add_argument(
        "--system", nargs="+", choices=systems.SYSTEMS, default=systems.SYSTEMS, help="of systems"
    )
    parser.add_argument("--rounds", type=int, default=2, help="of search; the fastest counts (2)")
    parser.add_argument("--threads", type=int, default=2, help="that a system may use (2)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N recordings")
    parser.add_argument(
        "--output", type=Path, default=Path("bench"), metavar="FOLDER", help="(bench)"
    )


def run(options: argparse.Namespace) -> int:
    """Measure, print the tables, write the files."""
    references = text.read_transcripts(options.ref)
    wavs = [r for r in recordings(options.inputs) if r.id in references][: options.limit]
    if len(wavs) < 2:
        raise AsrHlgError(
            f"{len(wavs)} of the recordings are in {options.ref}",
            remedy="name two or more whose ids (file names without suffix) begin its lines",
        )
    left_out = [
        f"{name}, since {packages} is not installed"
        for names, missing in (
            (options.engine, search.missing),
            (options.system, systems.missing),
        )
        for name in names
        if (packages := missing(name))
    ]
    report = Report(measure.machine(), f"{len(wavs)} recordings", left_out)
    torch.set_num_threads(1)
    for name in options.graph or ["en"]:
        report.graphs.append(_measure(name, wavs, references, options))
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "bench.json").write_text(report.to_json(), encoding="utf-8")
    if "search" in options.part:
        try:
            report.draw(options.output / "bench.svg")
        except ImportError:
            report.left_out.append("the picture, since matplotlib is not installed")
    (options.output / "bench.md").write_text(report.to_markdown(), encoding="utf-8")
    print(report.to_markdown(), end="")
    return 0


def _measure(name: str, wavs: list, references: dict, options: argparse.Namespace) -> GraphReport:
    """All parts with one graph."""
    folder = graph_folder(name)
    result = GraphReport(folder.name)
    if "search" in options.part:
        graph = DecodingGraph.load(folder)
        model = acoustic.load(store.acoustic_model(folder, graph.meta))
        heard = search.listen(model, wavs, graph.columns)
        engines = [engine for engine in options.engine if not search.missing(engine)]
        result.search = search.compare(
            graph, heard, references, options.beam, options.min_active, options.rounds, engines
        )
        info = graph.info()
        result.memory_mb["tokens"] = info["packed_mb"]
        if "hlg" in info:
            result.memory_mb["k2"] = info["hlg"]["memory_mb"]
    if "systems" in options.part:
        chosen = [system for system in options.system if not systems.missing(system)]
        result.systems = systems.compare(wavs, references, folder, options.threads, chosen)
    recipe = folder.with_suffix(".toml")
    if "graphs" in options.part and recipe.is_file():
        print(f"compiling {recipe} several times", file=sys.stderr)
        result.compilation = graphs.compare(recipe)
    return result
