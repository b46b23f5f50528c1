"""``asr-hlg bench``: speed, errors and memory, compared with other decoders."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_hlg.bench import search, systems
from asr_hlg.bench.run import PARTS, BenchOptions
from asr_hlg.bench.run import run as run_benchmark
from asr_hlg.graph.lookup import graph_folder
from asr_hlg.output import text

EPILOG = """\
Three parts, all by default:

  search    the engines "tokens", "fst" and "k2", and kaldi-decoder's FasterDecoder in the same
            H∘L∘G, on the same posteriors, one thread each, over beams
  systems   recordings to words: asr-hlg transcribe, pocketsphinx, and Whisper tiny.en
            (faster-whisper), with --threads processes or threads
  graphs    time and memory of compiling and loading, compared with kaldifst's compose,
            determinize_star and minimize_encoded

Engines and systems that are not installed are left out, and the report names them;
pip install 'asr-hlg[bench]' installs all. Writes bench.md, bench.json and, with matplotlib,
bench.svg. Engines take turns, so that other load on the machine slows all of them equally.
Systems that do not use the graph are measured once.

examples:
  asr-hlg bench examples/ --ref examples/text
  asr-hlg bench examples/ --ref examples/text --graph en --graph en-full --beam 6 8 10 12 14 16
  asr-hlg bench examples/ --ref examples/text --part search --min-active 0 30
  asr-hlg bench examples/ --ref examples/text --limit 2 --part search --engine tokens --beam 10
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg bench``."""
    parser.epilog = EPILOG
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="recordings, as in transcribe")
    parser.add_argument(
        "--ref", type=Path, required=True, metavar="FILE", help="reference transcripts"
    )
    parser.add_argument(
        "--graph",
        action="append",
        help="compiled graph: its folder, or a NAME of `asr-hlg graph --list`; may be repeated "
        "(default: en)",
    )
    parser.add_argument(
        "--part", nargs="+", choices=PARTS, default=PARTS, help="parts to measure (default: all)"
    )
    parser.add_argument(
        "--beam",
        type=float,
        nargs="+",
        default=[8, 10, 12, 14],
        help="beams of the part search (default: 8 10 12 14)",
    )
    parser.add_argument(
        "--min-active",
        type=int,
        nargs="+",
        default=(),
        metavar="N",
        help="min_active of the part search (default: that of the graph's recipe)",
    )
    for name, choices, part in (
        ("engine", search.ENGINES, "search"),
        ("system", systems.SYSTEMS, "systems"),
    ):
        parser.add_argument(
            f"--{name}",
            nargs="+",
            choices=choices,
            default=choices,
            help=f"{name}s of the part {part} (default: all)",
        )
    parser.add_argument(
        "--rounds",
        type=int,
        default=2,
        help="repetitions of the part search, the fastest counts (default: 2)",
    )
    parser.add_argument(
        "--threads", type=int, default=2, help="threads or processes of a system (default: 2)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="use only the first N recordings")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("bench"),
        metavar="FOLDER",
        help="folder of the report (default: bench)",
    )


def run(options: argparse.Namespace) -> int:
    """Measure, write the report and print it."""
    report = run_benchmark(
        options.inputs,
        text.read_transcripts(options.ref),
        [graph_folder(name) for name in options.graph or ["en"]],
        BenchOptions(
            options.part,
            options.beam,
            options.min_active,
            options.engine,
            options.system,
            options.rounds,
            options.threads,
        ),
        options.limit,
    )
    report.write(options.output)
    print(report.to_markdown(), end="")
    return 0
