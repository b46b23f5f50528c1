"""``asr-hlg train``: train an acoustic model or a transducer as a config describes it."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_hlg.train.config import TrainingConfig
from asr_hlg.train.run import train

EPILOG = """\
A config is a TOML file. This one trains a BLSTM with CTC on the lexicon, the topology and, for the
error rate on the dev set, the graph of a recipe (see `asr-hlg graph --help`):

  graph = "../graphs/digits.toml"
  [data]
  train = ["train.jsonl.gz"]         Lhotse cuts, a Kaldi data folder, or a folder of recordings
  dev = ["dev.jsonl.gz"]             with a file `text`; the dev set may be left out
  [network]
  kind = "blstm"                     cnn, cnn_lstm, blstm, tdnn, conformer, with their fields;
                                     or  init = "hama"  or a model's file, to adapt it;
                                     or transducer, new or with  init  on a trained encoder
  [loss]
  kind = "ctc"                       ctc, hmm, lf_mmi; cross_entropy for cuts with alignments;
                                     transducer, with [pruned_loss] prune_range, warm_up, …
  regularise = 0.2                   for adaptation: stay close to the initial network
  [augment]                          speeds, volumes, noise, snr, join, join_most
  [spec_augment]                     frequency_masks, time_masks, …
  [loader]                           max_duration: seconds of sound in a batch; workers
  [optimiser]                        learning_rate, warm_up, weight_decay, clip
  [hybrid]                           with cross_entropy, to start from transcripts alone:
  rounds = [2, 3, 15]                epochs before each new alignment
  [[stage]]                          trainings in turn, each from the model before: other values
  training.epochs = 5                of any keys
  [training]                         epochs, patience, average, seed, checkpoint_seconds
  [[test]]                           name, cuts, graph: what the final model is tested on

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
        help="for the model, its log and checkpoints (default: beside the config, without .toml)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one key of the config: training.epochs=5; may be given several times",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (cpu)")


def run(options: argparse.Namespace) -> int:
    """Train, or continue an interrupted training."""
    config = TrainingConfig.read(options.config, options.set)
    folder = options.output or options.config.with_suffix("")
    train(config, folder, options.device)
    return 0
