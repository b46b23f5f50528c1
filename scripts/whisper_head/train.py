"""Train the head on the features of features.py, for a given time, and write its weights.

The loss is CTC of both outputs plus cross-entropy with the aligned phones, which keeps the phones
where the Conformer puts them. Spans of either encoder's features are masked, so that the head
trusts none of them alone. The written weights are an exponential average over the steps.

    .venv/bin/python scripts/whisper_head/train.py .work/whisper_head whisper_head.npz
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from features import phone_sequence
from head import CONFORMER_DIM, NUM_TOKENS, Head
from steps import Steps
from torch import Tensor
from torch.nn import functional as F

BATCH = 5000  # frames, with padding
MASKED = -math.log(NUM_TOKENS)  # log-probability of every phone where the Conformer is masked
WORST = {"spoken": 1.0, "prompts": 1.0}  # nats a phone, above which a transcript is not believed
WORST_OF_OTHERS = 3.0


@dataclass(frozen=True)
class Utterance:
    """Where an utterance's features are, and its phone in every frame."""

    features: np.ndarray
    labels: list[int]

    @property
    def phones(self) -> list[int]:
        """Its phones in order."""
        return phone_sequence(self.labels)


def read(folder: Path) -> list[Utterance]:
    """All utterances whose transcript fits, with memory-mapped features."""
    utterances = []
    for path in sorted(folder.glob("*.jsonl")):
        worst = WORST.get(path.stem.partition("-")[0], WORST_OF_OTHERS)
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not lines:
            continue
        frames = sum(len(line["labels"]) for line in lines)
        stored = np.memmap(path.with_suffix(".f16"), dtype=np.float16, mode="r")
        features = stored.reshape(frames, -1)
        for line in lines:
            size = len(line["labels"])
            if line["loss"] <= worst and 2 * len(phone_sequence(line["labels"])) <= size:
                rows = features[line["first"] : line["first"] + size]
                utterances.append(Utterance(rows, line["labels"]))
    return utterances


def batches(utterances: list[Utterance], rng: random.Random) -> Iterator[list[Utterance]]:
    """Utterances of similar lengths together, in random order, for ever."""
    while True:
        ordered = sorted(utterances, key=lambda u: len(u.labels) + 40 * rng.random())
        groups: list[list[Utterance]] = [[]]
        for utterance in ordered:
            if (len(groups[-1]) + 1) * len(utterance.labels) > BATCH and groups[-1]:
                groups.append([])
            groups[-1].append(utterance)
        rng.shuffle(groups)
        yield from groups


def padded(batch: list[Utterance]) -> tuple[Tensor, Tensor, Tensor]:
    """Features with zeros, labels with -100 at padding, and lengths."""
    lengths = [len(utterance.labels) for utterance in batch]
    width = batch[0].features.shape[1]
    features = torch.zeros(len(batch), max(lengths), width)
    labels = torch.full((len(batch), max(lengths)), -100)
    for row, (utterance, length) in enumerate(zip(batch, lengths, strict=True)):
        features[row, :length] = torch.from_numpy(utterance.features.astype(np.float32))
        labels[row, :length] = torch.tensor(utterance.labels)
    return features, labels, torch.tensor(lengths)


def mask(features: Tensor, rng: random.Random) -> None:
    """Mask spans of Whisper's features, and of the Conformer's or all of them."""
    frames, scores = features.shape[1], features.shape[2] - NUM_TOKENS
    whisper = scores - CONFORMER_DIM

    def span(most: int) -> slice:
        size = rng.randint(0, most)
        begin = rng.randint(0, max(0, frames - size))
        return slice(begin, begin + size)

    for row in features:
        spans = [slice(None)] if rng.random() < 0.15 else []
        for _ in range(2):
            row[span(15), :whisper] = 0
        if rng.random() < 0.5:
            spans.append(span(25))
        for masked in spans:
            row[masked, whisper:scores] = 0
            row[masked, scores:] = MASKED


def loss_of(head: Head, batch: list[Utterance], progress: float, rng: random.Random) -> Tensor:
    """Loss per phone."""
    features, labels, lengths = padded(batch)
    mask(features, rng)
    corrected, alone = (logits.log_softmax(-1) for logits in head(features, lengths))
    sizes = torch.tensor([len(utterance.phones) for utterance in batch])
    targets = torch.tensor([phone for utterance in batch for phone in utterance.phones])

    def ctc(scores: Tensor) -> Tensor:
        by_time = scores.transpose(0, 1)
        loss = F.ctc_loss(by_time, targets, lengths, sizes, reduction="sum", zero_infinity=True)
        return loss / sizes.sum()

    def cross_entropy(scores: Tensor) -> Tensor:
        return F.nll_loss(scores.flatten(0, 1), labels.flatten(), ignore_index=-100)

    weight = 1.5 if progress < 0.3 else 0.5
    aligned = 0.3 * cross_entropy(corrected) + weight * cross_entropy(alone)
    return ctc(corrected) + 0.6 * ctc(alone) + aligned


def train(utterances: list[Utterance], seconds: float, rate: float) -> Head:
    """The averaged head after so many seconds."""
    torch.manual_seed(0)
    rng = random.Random(0)
    head = Head()
    steps = Steps(seconds, rate, warm_up=150, decay=0.02, largest_norm=2.0)
    return steps.train(
        head, batches(utterances, rng), lambda batch, done: loss_of(head, batch, done, rng)
    )


def main() -> None:
    """Train and write the head."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=1.2e-3, help="highest learning rate")
    options = parser.parse_args()
    utterances = read(options.folder)
    frames = sum(len(utterance.labels) for utterance in utterances)
    print(f"{len(utterances)} utterances, {frames / 180_000:.1f} hours")
    train(utterances, 60 * options.minutes, options.rate).save(options.output)


if __name__ == "__main__":
    main()
