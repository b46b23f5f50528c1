"""``asr-hlg align``: times of the words and phones of known transcripts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from asr_hlg import acoustic
from asr_hlg.align import Aligner, NoGuesses, Script, TimeModel, align_recordings, texts
from asr_hlg.align.formats import ALIGNMENT_FORMATS
from asr_hlg.align.optional import EXACT
from asr_hlg.align.summary import summary
from asr_hlg.audio import Recording, recordings
from asr_hlg.cli.arguments import add_device, add_graph, add_inputs, paths_of_inputs
from asr_hlg.errors import AsrHlgError, OptionError
from asr_hlg.graph import metadata, store
from asr_hlg.graph.lookup import graph_folder
from asr_hlg.output import text
from asr_hlg.output import writers as output

EPILOG = """\
inputs: as for `asr-hlg transcribe`, of any length. The text of a recording is a file of plain text,
a line for each fragment, subtitles, or a Praat TextGrid whose intervals are utterances and whose
tiers are speakers. Texts of several recordings are a file of Kaldi text (id word word …), trn, CTM
or JSON lines, where an id is a file's name without its ending or the id in the list of recordings;
or a folder. Without --text, talk.txt, talk.lab or talk.TextGrid is looked for beside talk.wav.

Numbers, abbreviations and punctuation need no preparation: $25 is aligned as twenty five dollars,
and stays $25 in subtitles, lines and sync maps; CTM and the tier of words have what is said.

examples:
  asr-hlg align talk.wav --text talk.txt                        CTM on standard output
  asr-hlg align talk.wav --text talk.txt --output talk.TextGrid
  asr-hlg align book.flac --text book.txt --output book.srt     a line of the text, a subtitle
  asr-hlg align book.flac --text book.txt --format syncmap --output book.json
  asr-hlg align recordings/ --text text --format textgrid --output grids/
  asr-hlg align wav.scp --text text --phones --output phones.ctm
  asr-hlg align talk.wav --text talk.txt --states --format json

Text and sound may differ. Words that are not spoken have no times: JSON marks them, the other
formats leave them out. Sound that the text lacks is reported with its times, and is the tier
`unmatched` of a TextGrid. How much there is of either is on standard error.

A recording that cannot be aligned (no text, too short, something else is said in it) is named on
standard error and the others are aligned; the exit status is then 1. A confidence is near 1 if the
recording contains the word, and near 0 if it contains something else there.
"""

_FORMATS = tuple(name for name in ALIGNMENT_FORMATS if "-" not in name or name[0] == "s")
_OF_SUFFIX = {
    "": "ctm",
    ".ctm": "ctm",
    ".json": "json",
    ".jsonl": "json",
    ".textgrid": "textgrid",
    ".srt": "srt",
    ".vtt": "vtt",
    ".smil": "smil",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg align``."""
    parser.epilog = EPILOG
    add_inputs(parser)
    parser.add_argument(
        "--text",
        type=Path,
        metavar="PATH",
        help="text, transcripts, or a folder of texts (default: beside each recording)",
    )
    parser.add_argument(
        "--text-format",
        choices=texts.KINDS,
        default="auto",
        help="how a file of text is read (default: as Kaldi text if its lines begin with the ids "
        "of recordings)",
    )
    add_graph(parser)
    parser.add_argument("--model", help="acoustic model (default: the one of the graph's recipe)")
    parser.add_argument(
        "--verbatim",
        action="store_true",
        help="every word of the text is spoken, and nothing else is",
    )
    parser.add_argument(
        "--normalise", action="store_true", help="fold case and drop punctuation in the output, too"
    )
    parser.add_argument(
        "--no-g2p",
        action="store_true",
        help="do not guess the pronunciations of words that the lexicon lacks",
    )
    parser.add_argument("--phones", action="store_true", help="CTM of phones instead of words")
    parser.add_argument(
        "--states",
        action="store_true",
        help="the three states of every phone, too; CTM of states instead of words",
    )
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
        "--format", choices=_FORMATS, help="output format (default: as --output ends, or ctm)"
    )
    parser.add_argument(
        "--output", metavar="FILE", help="file or folder (default: standard output)"
    )
    add_device(parser)
    parser.add_argument(
        "--quiet", action="store_true", help="no progress, summary or list of guessed words"
    )


def run(options: argparse.Namespace) -> int:
    """Align every recording that has a text."""
    with paths_of_inputs(options) as paths:
        inputs = list(recordings(paths))
        if not inputs:
            raise OptionError("no recordings found", remedy="name sound files, folders or lists")
        return _align(options, inputs)


def _format(options: argparse.Namespace) -> str:
    """Name of the output format, that of phones or states if they were requested as CTM."""
    suffix = Path(options.output or "").suffix.lower()
    name: str = options.format or _OF_SUFFIX.get(suffix, "ctm")
    if name == "ctm" and (options.states or options.phones):
        return "ctm-states" if options.states else "ctm-phones"
    if options.phones and name not in ("json", "textgrid", "short-textgrid", "lhotse"):
        raise OptionError(f"{name} has no phones", remedy="use --format ctm, json or textgrid")
    if options.states and name not in ("json", "textgrid", "short-textgrid"):
        raise OptionError(f"{name} has no states", remedy="use --format ctm, json or textgrid")
    return name


def _align(options: argparse.Namespace, inputs: list[Recording]) -> int:
    """Align recordings and write the alignments; returns the exit status."""
    name = _format(options)
    target = sys.stdout if options.output is None else options.output
    output.check(name, target, len(inputs), ALIGNMENT_FORMATS)
    folder = graph_folder(options.graph)
    meta = metadata.read(folder)
    is_ctc = (meta["topology"] or {}).get("kind") == "ctc"
    times = TimeModel.shipped() if is_ctc and options.times == "hmm" else None
    if options.states and times is None:
        raise OptionError("states are those of the hybrid HMM", remedy="leave --times ctc out")
    scripts = texts.read_scripts(
        inputs,
        options.text,
        options.text_format,
        text.normalise if options.normalise else str,
        Aligner.words_of(folder).__contains__,
    )
    aligner = _aligner(options, folder, scripts)
    model = acoustic.load(options.model or store.acoustic_model(folder, meta), options.device)
    failures = 0

    def report(recording: Recording, error: AsrHlgError) -> None:
        nonlocal failures
        failures += 1
        if recording.id not in scripts:
            error = texts.missing(recording, options.text)
        tqdm.write(f"asr-hlg: {recording.id}: {error}", file=sys.stderr)

    hidden = options.quiet or not sys.stderr.isatty()
    costs = EXACT if options.verbatim else None
    with output.writer(name, target, count=len(inputs), formats=ALIGNMENT_FORMATS) as out:
        progress = tqdm(inputs, unit="file", disable=hidden, file=sys.stderr)
        for alignment in align_recordings(
            aligner, model, progress, scripts, options.channel, times, report,
            costs=costs, states=options.states,
        ):  # fmt: skip
            out.write(alignment)
            if not options.quiet:
                for line in summary(alignment):
                    tqdm.write(line, file=sys.stderr)
    return 1 if failures else 0


def _aligner(options: argparse.Namespace, folder: Path, scripts: dict[str, Script]) -> Aligner:
    """Aligner with the pronunciations of all words; prints which of them were guessed."""
    words = [word for script in scripts.values() for word in script.words()]
    others = {word for script in scripts.values() for word in script.alternatives()}
    aligner, guesses = Aligner.from_graph(
        folder, words, NoGuesses() if options.no_g2p else None, known_words=others
    )
    if not options.quiet and (guesses.pronunciations or guesses.left_out):
        print(guesses.report(limit=20), file=sys.stderr)
    return aligner
