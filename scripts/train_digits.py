"""Train models of spoken digits, from the recordings to word error rates.

    python scripts/train_digits.py                    the pretrained Conformer, fine-tuned
    python scripts/train_digits.py blstm tdnn         from scratch: CTC, and a hybrid HMM
    python scripts/train_digits.py transducer         a transducer on the pretrained Conformer

Recordings of theo, and indices 0 to 4 of the other speakers, are not in the training data. The
config of a model is scripts/digits/MODEL.toml; models and results are written to
.work/digits/MODEL, where an interrupted training continues. Afterwards:

    asr-hlg transcribe recordings/ --graph digit-loop --model .work/digits/conformer
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import prepare_fsdd

from asr_hlg.errors import AsrHlgError
from asr_hlg.train.config import TrainingConfig
from asr_hlg.train.run import train

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "scripts" / "digits"
WORK = ROOT / ".work"
MODELS = tuple(sorted(path.stem for path in CONFIGS.glob("*.toml")))


def main() -> int:
    """Prepare the data if need be, then train one model after the other."""
    options = _parser().parse_args()
    try:
        if not (WORK / "fsdd" / "train.jsonl.gz").is_file():
            prepare_fsdd.prepare(options.wav, WORK / "fsdd")
        for model in options.models:
            config = TrainingConfig.read(CONFIGS / f"{model}.toml", options.set)
            train(config, WORK / "digits" / model, options.device)
    except AsrHlgError as error:
        print(f"train_digits.py: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "models", nargs="*", default=["conformer"], help=f"of {', '.join(MODELS)} (conformer)"
    )
    parser.add_argument(
        "--wav",
        type=Path,
        default=ROOT.parent / "shared" / "data" / "fsdd" / "wav",
        help="recordings of the Free Spoken Digit Dataset (%(default)s)",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of configs"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (cpu)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
