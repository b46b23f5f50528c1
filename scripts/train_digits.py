"""Train models of spoken digits, from the recordings to word error rates.

    python scripts/train_digits.py                    the pretrained Conformer, fine-tuned
    python scripts/train_digits.py blstm tdnn         from scratch: CTC, and a hybrid HMM
    python scripts/train_digits.py tdnn_tree lf_mmi   a hybrid HMM in context, and a chain model
    python scripts/train_digits.py transducer         a transducer on the pretrained Conformer

Recordings of theo, and indices 0 to 4 of the other speakers, are not in the training data. The
config of a model is scripts/digits/MODEL.toml; models and results are written to
.work/digits/MODEL, where an interrupted training continues. Afterwards:

    asr-hlg transcribe recordings/ --graph digit-loop --model .work/digits/conformer
"""

from __future__ import annotations

from pathlib import Path

import prepare_fsdd
import recipes

from asr_hlg.train.config import TrainingConfig
from asr_hlg.train.run import train

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "scripts" / "digits"
WORK = ROOT / ".work"
MODELS = tuple(sorted(path.stem for path in CONFIGS.glob("*.toml")))


def main() -> None:
    """Prepare the data if need be, then train one model after the other."""
    parser = recipes.parser(__doc__)
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
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change keys of the configs"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    options = parser.parse_args()
    if not (WORK / "fsdd" / "train.jsonl.gz").is_file():
        prepare_fsdd.prepare(options.wav, WORK / "fsdd")
    for model in options.models:
        config = TrainingConfig.read(CONFIGS / f"{model}.toml", options.set)
        train(config, WORK / "digits" / model, options.device)


if __name__ == "__main__":
    recipes.run(main)
