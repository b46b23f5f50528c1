"""``asr-hlg train``: train an acoustic model or a transducer as a config describes it."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_hlg.cli.arguments import add_device
from asr_hlg.train import config
from asr_hlg.train.run import train

EPILOG = f"""\
{config.__doc__}
Everything is checked before training: words that the lexicon lacks, utterances too short for their
transcript, unknown keys. Checkpoints are written every minute. After an interruption, the same
command continues from the last checkpoint and ends with the same model.

examples:
  asr-hlg train exp/digits.toml
  asr-hlg train exp/digits.toml --set training.epochs=40 --set network.dropout=0.2 --output exp/b
  torchrun --nproc-per-node 4 -m asr_hlg.cli train exp/large.toml --device cuda
  asr-hlg transcribe talk.wav --model exp/digits --graph digits
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``asr-hlg train``."""
    parser.epilog = EPILOG
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a .toml file, see below")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder of the results (default: beside the config, without .toml)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one key of the config: training.epochs=5; may be given several times",
    )
    add_device(parser)


def run(options: argparse.Namespace) -> int:
    """Train, or continue an interrupted training."""
    folder = options.output or options.config.with_suffix("")
    train(config.TrainingConfig.read(options.config, options.set), folder, options.device)
    return 0
