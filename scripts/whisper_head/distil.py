"""Train the Conformer `hama` to give hama-whisper's posteriors, for a given time.

The loss is, per frame, the divergence of the network's posteriors on a distorted recording from
those of `hama-whisper` on the undistorted one (sounds.py). Frames in which the blank is certain
weigh a seventh. The weights are an exponential average over the steps, averaged with the original
ones, which keeps what the network knew.

    .venv/bin/python scripts/whisper_head/distil.py .work/whisper_head/sounds conformer.npz
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asr_hlg.acoustic import blas

blas.allow_avx2()  # before the first matrix product: half the time on AMD's processors

import numpy as np  # noqa: E402
import torch  # noqa: E402
from steps import Steps, mix  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from asr_hlg.acoustic import hama  # noqa: E402
from asr_hlg.acoustic.conformer import Conformer  # noqa: E402

SHARES = {"spoken": 4.0, "prompts": 1.0, "digits": 0.7, "accented": 3.5}  # of the time
DRAWN = 0.5  # hours that are drawn and sorted by length together
BATCH = 60.0  # seconds, with padding
DROPOUT = 0.05
BLANK_WEIGHT = 0.15
SHARE = 0.6  # of the new weights in those that are written


@dataclass(frozen=True)
class Utterance:
    """A distorted recording, and the log-probabilities of the undistorted one."""

    samples: np.ndarray
    log_probs: np.ndarray


def read(folder: Path) -> dict[str, list[Utterance]]:
    """All utterances of sounds.py, memory-mapped, by source."""
    found = {}
    for path in sorted(folder.glob("*.jsonl")):
        sounds = np.memmap(path.with_suffix(".i16"), np.int16, "r")
        scores = np.memmap(path.with_suffix(".f16"), np.float16, "r").reshape(-1, len(hama.TOKENS))
        sample = frame = 0
        utterances = []
        for text in path.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            ends = sample + line["samples"], frame + line["frames"]
            utterances.append(Utterance(sounds[sample : ends[0]], scores[frame : ends[1]]))
            sample, frame = ends
        found[path.stem] = utterances
    return found


def batches(sources: dict[str, list[Utterance]], rng: random.Random) -> Iterator[list[Utterance]]:
    """Utterances of similar lengths together, from all sources by their shares, for ever."""
    total = sum(SHARES[name] for name in sources)
    left: dict[str, list[Utterance]] = {name: [] for name in sources}
    while True:
        drawn = []
        for name, utterances in sources.items():
            wanted = DRAWN * 3600 * 16000 * SHARES[name] / total
            while wanted > 0:
                if not left[name]:
                    left[name] = rng.sample(utterances, len(utterances))
                drawn.append(left[name].pop())
                wanted -= len(drawn[-1].samples)
        drawn.sort(key=lambda utterance: len(utterance.samples) + 8000 * rng.random())
        groups: list[list[Utterance]] = [[]]
        for utterance in drawn:
            if groups[-1] and (len(groups[-1]) + 1) * len(utterance.samples) > BATCH * 16000:
                groups.append([])
            groups[-1].append(utterance)
        rng.shuffle(groups)
        yield from groups


def loss_of(network: Conformer, batch: list[Utterance]) -> Tensor:
    """Mean over the frames of a batch of their weighted divergence."""
    samples = [torch.from_numpy(u.samples.astype(np.float32) / 32767) for u in batch]
    targets = [torch.from_numpy(u.log_probs.astype(np.float32)) for u in batch]
    lengths = torch.tensor([len(sound) for sound in samples])
    waveforms = nn.utils.rnn.pad_sequence(samples, batch_first=True)
    target = nn.utils.rnn.pad_sequence(targets, batch_first=True)
    log_probs, frames = network(waveforms, lengths)
    divergence = (target.exp() * (target - log_probs)).sum(-1)
    is_frame = torch.arange(target.shape[1]) < frames[:, None]
    weight = (BLANK_WEIGHT + 1 - target[..., 0].exp()) * is_frame
    return (divergence * weight).sum() / is_frame.sum()


class Mask:
    """SpecAugment: two bands of frequencies and some spans of time take their mean."""

    def __init__(self, rng: random.Random):
        self._rng = rng

    def __call__(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Masked copy of ``(B, frames, bands)``."""
        features = features.clone()
        for row, length in zip(features, lengths.tolist(), strict=True):
            for _ in range(2):
                band = self._span(features.shape[2], 12)
                row[:, band] = row[:length, band].mean() if band.stop > band.start else 0.0
            for _ in range(max(1, length // 150)):
                row[self._span(length, 20)] = row[:length].mean()
        return features

    def _span(self, size: int, most: int) -> slice:
        width = self._rng.randint(0, min(most, size))
        begin = self._rng.randint(0, size - width)
        return slice(begin, begin + width)


def train(sources: dict[str, list[Utterance]], seconds: float, rate: float) -> Conformer:
    """The averaged network after so many seconds."""
    torch.manual_seed(0)
    rng = random.Random(0)
    network = hama.conformer()
    network.augment = Mask(rng)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = DROPOUT
    steps = Steps(seconds, rate, warm_up=100, decay=0.01, largest_norm=1.0)
    return steps.train(network, batches(sources, rng), lambda batch, _: loss_of(network, batch))


def main() -> None:
    """Train, average with the original weights, and write them in half precision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="sounds of sounds.py")
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=72.0)
    parser.add_argument("--rate", type=float, default=5e-4, help="highest learning rate")
    parser.add_argument("--share", type=float, default=SHARE, help=f"of the new weights ({SHARE})")
    options = parser.parse_args()
    sources = read(options.folder)
    for name, utterances in sources.items():
        hours = sum(len(u.samples) for u in utterances) / 16000 / 3600
        print(f"{name}: {len(utterances)} utterances, {hours:.1f} hours")
    network = hama.conformer()
    mix(network, train(sources, 60 * options.minutes, options.rate), options.share)
    state = network.state_dict()
    arrays = {name: weight.numpy().astype(np.float16) for name, weight in state.items()}
    np.savez_compressed(options.output, **arrays)


if __name__ == "__main__":
    main()
