"""``asr-hlg align``: times of the words and phones of known transcripts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from asr_hlg import acoustic
from asr_hlg.align import Aligner, NoGuesses, TimeModel, align_recordings
from asr_hlg.audio import Recording, recordings
from asr_hlg.cli.arguments import add_device, add_graph, add_inputs, paths_of_inputs
from asr_hlg.errors import AsrHlgError, OptionError
from asr_hlg.graph import store
from asr_hlg.graph.lookup import graph_folder
from asr_hlg.output import text
from asr_hlg.output import writers as output

EPILOG = """\
inputs: as for `asr-hlg transcribe`. Transcripts are Kaldi text (id word word …), trn, CTM or
JSON lines; an id is a file's name without its ending, or the id in the list of recordings.

examples:
  asr-hlg align talk.wav --text talk.txt                        CTM on standard output
  asr-hlg align wav.scp --text text --phones --output phones.ctm
  asr-hlg align recordings/ --text text --format textgrid --output grids/

A recording that cannot be aligned (no transcript, a word without a pronunciation, too short) is
named on standard error and the others are aligned; the exit status is then 1. A confidence is near
1 if the recording contains the word, and near 0 if it contains something else there.
"""

_FORMATS = ("ctm", "json", "lhotse", "textgrid")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg align``."""
    parser.epilog = EPILOG
    add_inputs(parser)
    parser.add_argument("--text", type=Path, required=True, metavar="FILE", help="transcripts")
    add_graph(parser)
    parser.add_argument("--model", help="acoustic model (default: the one of the graph's recipe)")
    parser.add_argument(
        "--normalise", action="store_true", help="fold case and drop punctuation in transcripts"
    )
    parser.add_argument(
        "--no-g2p",
        action="store_true",
        help="do not guess the pronunciations of words that the lexicon lacks",
    )
    parser.add_argument("--phones", action="store_true", help="CTM of phones instead of words")
    parser.add_argument(
        "--times",
        choices=("hmm", "ctc"),
        default="hmm",
        help="hmm: boundaries by a hybrid HMM of English with frames of 10 ms, where the graph is "
        "CTC and has its phones; ctc: the frames in which the acoustic model has its phones "
        "(default: hmm)",
    )
    parser.add_argument("--channel", type=int, help="channel, from 0 (default: the average of all)")
    parser.add_argument(
        "--format", choices=_FORMATS, default="ctm", help="output format (default: ctm)"
    )
    parser.add_argument(
        "--output", metavar="FILE", help="file or folder (default: standard output)"
    )
    add_device(parser)
    parser.add_argument(
        "--quiet", action="store_true", help="no progress, no list of guessed words"
    )


def run(options: argparse.Namespace) -> int:
    """Align every recording that has a transcript."""
    if options.phones and options.format != "ctm":
        raise OptionError("--phones is for CTM; the other formats have words and phones")
    texts = text.read_transcripts(options.text)
    if options.normalise:
        texts = {name: text.normalise(line) for name, line in texts.items()}
    with paths_of_inputs(options) as paths:
        inputs = list(recordings(paths))
        if not inputs:
            raise OptionError("no recordings found", remedy="name sound files, folders or lists")
        return _align(options, inputs, texts)


def _align(options: argparse.Namespace, inputs: list[Recording], texts: dict[str, str]) -> int:
    """Align recordings and write the alignments; returns the exit status."""
    folder = graph_folder(options.graph)
    words = [w for r in inputs for w in texts.get(r.id, "").split()]
    aligner, guesses = Aligner.from_graph(folder, words, NoGuesses() if options.no_g2p else None)
    if not options.quiet and (guesses.pronunciations or guesses.left_out):
        print(guesses.report(), file=sys.stderr)
    meta = store.read_meta(folder)
    spec = options.model or store.acoustic_model(folder, meta)
    model = acoustic.load(spec, options.device)
    is_ctc = (meta["topology"] or {}).get("kind") == "ctc"
    times = TimeModel.shipped() if is_ctc and options.times == "hmm" else None
    failures = 0

    def report(recording: Recording, error: AsrHlgError) -> None:
        nonlocal failures
        failures += 1
        tqdm.write(f"asr-hlg: {recording.id}: {error}", file=sys.stderr)

    target = sys.stdout if options.output is None else options.output
    hidden = options.quiet or not sys.stderr.isatty()
    with output.writer(options.format, target, count=len(inputs)) as out:
        progress = tqdm(inputs, unit="file", disable=hidden, file=sys.stderr)
        alignments = align_recordings(
            aligner, model, progress, texts, options.channel, times, report
        )
        for alignment in alignments:
            out.write(alignment.phone_transcript() if options.phones else alignment)
    return 1 if failures else 0
