"""``asr-hlg lm``: estimate, prune, mix and evaluate n-gram language models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from asr_hlg import lm
from asr_hlg.cli.arguments import add_command
from asr_hlg.cli.parser import Parser
from asr_hlg.errors import LanguageModelError

EPILOG = """\
MODEL is an ARPA file (also .gz), a binary model of Sphinx (.bin), or pocketsphinx:lm, the English
trigram of the package pocketsphinx. TEXT has one sentence per line (UTF-8, also .gz). Recipes take
the result as  [lm] file = "mixed.arpa":  see `asr-hlg graph --help`.

examples:
  asr-hlg lm estimate sentences.txt --output mine.arpa
  asr-hlg lm prune pocketsphinx:lm --threshold 1e-6 --output general.arpa
  asr-hlg lm mix mine.arpa general.arpa --tune dev.txt --output mixed.arpa
  asr-hlg lm perplexity mixed.arpa dev.txt
"""
_ESTIMATE = """\
Kneser-Ney smoothing, interpolated and with three discounts for each order (modified). Every n-gram
of the text is kept: see `asr-hlg lm prune`.

examples:
  asr-hlg lm estimate sentences.txt --order 3 --output mine.arpa
  asr-hlg lm estimate sentences.txt --vocabulary lexicon.txt --output mine.arpa.gz
"""
_PRUNE = """\
An n-gram is removed if that increases the model's perplexity by a smaller share than the
threshold: 1e-8 removes few n-grams, 1e-6 most of them.

example:
  asr-hlg lm prune mine.arpa --threshold 1e-7 --output small.arpa
"""
_MIX = """\
The mixture's probability of a word is the weighted sum of the models' probabilities. Tune the
weights on a text that none of the models was estimated from.

examples:
  asr-hlg lm mix mine.arpa general.arpa --weights 0.7 0.3 --output mixed.arpa
  asr-hlg lm mix mine.arpa general.arpa --tune dev.txt --output mixed.arpa
"""
_PERPLEXITY = """\
Sentence ends are predicted too. Unknown words are left out and counted, as in SRILM's report.

example:
  asr-hlg lm perplexity mine.arpa dev.txt
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``asr-hlg lm``."""
    parser.epilog = EPILOG
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    command = add_command(actions, "estimate", "estimate a model from text", _ESTIMATE)
    command.add_argument("text", nargs="+", metavar="TEXT", help="sentences, one per line")
    command.add_argument("--order", type=int, default=3, help="length of the n-grams (default: 3)")
    command.add_argument(
        "--vocabulary",
        metavar="FILE",
        help="words that get a probability even if they are not in the text: the first word of "
        "each line, for instance of a lexicon",
    )
    command.add_argument(
        "--one-discount", action="store_true", help="one discount for each order, not three"
    )
    _add_output(command)

    command = add_command(
        actions, "prune", "remove the n-grams that change the perplexity least", _PRUNE
    )
    command.add_argument("model", metavar="MODEL")
    command.add_argument("--threshold", type=float, required=True, help="such as 1e-7")
    _add_output(command)

    command = add_command(
        actions, "mix", "interpolate models, with weights given or tuned on a text", _MIX
    )
    command.add_argument("models", nargs="+", metavar="MODEL")
    weights = command.add_mutually_exclusive_group(required=True)
    weights.add_argument(
        "--weights", type=float, nargs="+", metavar="W", help="one per model, with the sum 1"
    )
    weights.add_argument("--tune", metavar="TEXT", help="weights that fit this text best")
    _add_output(command)

    command = add_command(
        actions, "perplexity", "measure how well a model predicts texts", _PERPLEXITY
    )
    command.add_argument("model", metavar="MODEL")
    command.add_argument("text", nargs="+", metavar="TEXT", help="sentences, one per line")


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="the ARPA file to write; gzipped if its name ends in .gz",
    )


def run(options: argparse.Namespace) -> int:
    """Run one of the actions."""
    if options.action != "perplexity" and not options.output.parent.is_dir():
        # checked before minutes of work
        raise LanguageModelError("cannot be written: there is no such folder", path=options.output)
    actions = {"estimate": _estimate, "prune": _prune, "mix": _mix, "perplexity": _perplexity}
    actions[options.action](options)
    return 0


def _estimate(options: argparse.Namespace) -> None:
    sentences = [sentence for path in options.text for sentence in _sentences(path)]
    vocabulary = (
        [words[0] for words in _sentences(options.vocabulary)] if options.vocabulary else []
    )
    _stage(f"estimating {options.order}-grams from {len(sentences):,} sentences")
    model = lm.estimate(
        sentences, options.order, modified=not options.one_discount, vocabulary=vocabulary
    )
    _write(model, options.output)


def _prune(options: argparse.Namespace) -> None:
    model = _read(options.model)
    _stage(f"pruning {_counts(model)}")
    _write(lm.prune(model, options.threshold), options.output)


def _mix(options: argparse.Namespace) -> None:
    models = [_read(path) for path in options.models]
    weights = options.weights
    if weights is None:
        sentences = list(_sentences(options.tune))
        _stage(f"tuning weights on {len(sentences):,} sentences")
        weights = lm.tune_weights(models, sentences)
        for path, weight in zip(options.models, weights, strict=True):
            print(f"{path}: weight {weight:.4f}")
    _stage("mixing")
    _write(lm.interpolate(models, weights), options.output)


def _perplexity(options: argparse.Namespace) -> None:
    model = _read(options.model)
    for path in options.text:
        print(f"{options.model}, {path}: {lm.perplexity(model, _sentences(path))}")


def _read(path: str) -> lm.ArpaModel:
    _stage(f"reading {path}")
    return lm.read(path)


def _write(model: lm.ArpaModel, path: Path) -> None:
    _stage(f"writing {path}: {_counts(model)}")
    model.write(path)


def _sentences(path: str) -> Iterator[list[str]]:
    lines: Iterable[list[str]] = lm.read_sentences(path)
    yield from tqdm(
        lines,
        desc=f"reading {path}",
        unit=" lines",
        unit_scale=True,
        disable=not sys.stderr.isatty(),
        file=sys.stderr,
        leave=False,
    )


def _counts(model: lm.ArpaModel) -> str:
    return ", ".join(f"{count:,} {n}-grams" for n, count in enumerate(model.counts, start=1))


def _stage(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
