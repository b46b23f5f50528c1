"""Train the alignment model, which gives words and phones their times (asr_hlg/align/times.py).

    .venv/bin/python scripts/prepare_times.py ../shared/data
    .venv/bin/python scripts/train_times.py

Round 1 learns from synthesised speech, whose segments are known. Read speech, for which nobody
knows them, is added for round 2: its boundaries within speech are those of pocketsphinx, its pauses
those of round 1. Sentences on which the two disagree are left out. Every recording is used in other
speeds, loudnesses, rooms, telephone bands and noises. The result is .work/times/model.npz, in half
precision; every round is saved as round-N.npz.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import recipes
import soundfile
import times_data
import torch
from pocketsphinx_times import LATE, Pocketsphinx
from torch import Tensor, nn
from tqdm import tqdm

from asr_hlg.acoustic.features import FbankOptions
from asr_hlg.acoustic.nets.tdnn import Tdnn, TdnnConfig
from asr_hlg.acoustic.numpy_tdnn import NumpyTdnn
from asr_hlg.align import Aligner, TimeModel, chain
from asr_hlg.align.times import SELF_LOOP

ROOT = Path(__file__).resolve().parents[1]
FBANK = FbankOptions(num_filters=40)
TOKENS = tuple(f"{phone}_{state}" for phone in times_data.PHONES for state in range(3))
CONFIG = TdnnConfig(
    tokens=TOKENS, fbank=FBANK, dim=160, subsampling=1, dilations=(1, 2, 3), dropout=0.1
)
CHUNK, BATCH = 600, 8  # frames, chunks
SYNTHESISED = {"ked": 2, "espeak": 1}
READ = {"read": 2, "accented": 1}
"""Folders, and how often each recording is used."""
EPOCHS = (8, 8)  # of both rounds
LEARNING_RATE = 2.5e-3  # the highest
MIN_AGREEMENT = 0.7  # share of starts and ends of words within 50 ms

Segments = list[tuple[tuple[str, ...], float, float]]


@dataclass(frozen=True)
class Sentence:
    """Sound of a folder with its text; segments where they are known."""

    path: Path
    words: tuple[str, ...]
    segments: Segments

    def samples(self) -> npt.NDArray[np.float32]:
        """float32 ``(num_samples,)`` at 16 kHz."""
        return np.asarray(soundfile.read(self.path, dtype="float32")[0])


def main() -> None:
    """Train all rounds and write the last network."""
    parser = recipes.parser(__doc__)
    parser.add_argument("--work", type=Path, default=Path(".work/times"), help="[%(default)s]")
    parser.add_argument("--graph", default="graphs/en", help="a CTC graph [%(default)s]")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    known = {name: list(sentences(options.work / name)) for name in SYNTHESISED}
    read = {name: list(sentences(options.work / name)) for name in READ}
    spoken = features(known, SYNTHESISED, rng)
    taught = taught_by_pocketsphinx([sentence for row in read.values() for sentence in row])
    words = sorted({word for row in read.values() for s in row for word in s.words})
    aligner, _ = Aligner.from_graph(ROOT / options.graph, words)
    network = Tdnn(CONFIG)
    for number, epochs in enumerate(EPOCHS, start=1):
        frames, labels, lengths = spoken
        if number > 1:
            model = TimeModel(NumpyTdnn.read(options.work / f"round-{number - 1}.npz"))
            labelled = {
                name: list(relabelled(row, taught, model, aligner)) for name, row in read.items()
            }
            print({name: len(row) for name, row in labelled.items()}, flush=True)
            more = features(labelled, READ, rng)
            frames, labels, lengths = (
                np.concatenate(pair) for pair in zip(spoken, more, strict=True)
            )
        if number == 1:
            part = frames[::7].astype(np.float32)
            network.normalise_with(torch.tensor(part.mean(0)), torch.tensor(part.std(0)))
        fit(network, frames, labels, lengths, epochs, rng)
        network.save(options.work / f"round-{number}.npz")
    write_halved(options.work / f"round-{len(EPOCHS)}.npz", options.work / "model.npz")


def sentences(folder: Path) -> Iterator[Sentence]:
    """The sentences of a folder that scripts/prepare_times.py wrote."""
    for line in (folder / "sentences.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        segments = [(tuple(phones), b, e) for phones, b, e in record["segments"]]
        yield Sentence(folder / f"{record['id']}.flac", tuple(record["text"].split()), segments)


def features(
    folders: dict[str, list[Sentence]], copies: dict[str, int], rng: np.random.Generator
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Filter banks (float16) and labels of all frames, and the frames of every recording."""
    rows = [
        times_data.augmented(sentence.samples(), sentence.segments, FBANK, copy, rng)
        for name, row in folders.items()
        for sentence in tqdm(row, desc=name)
        for copy in range(copies[name])
    ]
    frames = np.concatenate([frames.astype(np.float16) for frames, _ in rows])
    return (
        frames,
        np.concatenate([labels for _, labels in rows]),
        np.array([len(r[1]) for r in rows]),
    )


def taught_by_pocketsphinx(row: Sequence[Sentence]) -> dict[Path, list[list[Any]]]:
    """Phones of every word of the sentences that pocketsphinx can align, by the file."""
    teacher = Pocketsphinx()
    found = {}
    for sentence in tqdm(row, desc="pocketsphinx"):
        aligned = teacher.align(sentence.samples(), sentence.words)
        if aligned is not None and aligned[1]:
            found[sentence.path] = aligned[1]
    return found


def relabelled(
    row: Sequence[Sentence],
    taught: dict[Path, list[list[Any]]],
    model: TimeModel,
    aligner: Aligner,
) -> Iterator[Sentence]:
    """Sentences with segments from the teacher and the model of the round before."""
    for sentence in row:
        theirs = taught.get(sentence.path)
        if theirs is None:
            continue
        samples = sentence.samples()
        ours = aligned_phones(model, samples, sentence.words, aligner)
        if not ours or len(ours) != len(theirs):
            continue
        edges = [
            (a[0][1] + LATE - b[0][1], a[-1][2] + LATE - b[-1][2])
            for a, b in zip(theirs, ours, strict=True)
        ]
        if np.mean(np.abs(edges) <= 0.05) >= MIN_AGREEMENT:
            segments = times_data.merged(theirs, ours, LATE)
            duration = len(samples) / times_data.RATE
            yield Sentence(
                sentence.path, sentence.words, [*segments, (("SIL",), segments[-1][2], duration)]
            )


def aligned_phones(
    model: TimeModel, samples: npt.NDArray[np.float32], words: Sequence[str], aligner: Aligner
) -> list[list[tuple[str, float, float]]]:
    """Phones of every word on the best path of the whole sentence; empty where there is none."""
    if any(word not in aligner.lexicon for word in words):
        return []
    scores = model.scores(samples, times_data.RATE)
    spelled = [aligner.lexicon.spellings(word) for word in words]
    columns = [[model.columns(phones) for phones in options] for options in spelled]
    linked, owner = chain.make(columns, [(0, len(scores))] * len(words), model.silence, len(scores))
    found = []
    for hmm, frames in linked.align(scores, SELF_LOOP)[0]:
        number, choice = owner[hmm]
        if number >= 0:
            bounds = (frames[::3] * FBANK.frame_shift).tolist()
            found.append(list(zip(spelled[number][choice], bounds, bounds[1:], strict=False)))
    return found


def fit(
    network: Tdnn,
    frames: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    lengths: npt.NDArray[Any],
    epochs: int,
    rng: np.random.Generator,
) -> None:
    """Train by cross-entropy on chunks of recordings; frames with the label -1 are ignored."""
    ends = np.cumsum(lengths)
    chunks = [
        (begin, min(end, begin + CHUNK))
        for end, length in zip(ends, lengths, strict=True)
        for begin in range(end - length, end, CHUNK)
        if end - begin > 20
    ]
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=1e-4)
    steps = epochs * (len(chunks) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=steps + 1, pct_start=0.1
    )
    network.train()
    for epoch in range(1, epochs + 1):
        order = rng.permutation(len(chunks))
        right = total = 0
        for first in range(0, len(order) - BATCH + 1, BATCH):
            x, y, sizes = batch(
                [chunks[k] for k in order[first : first + BATCH]], frames, labels, rng
            )
            log_probs, _ = network(x, sizes)
            loss = nn.functional.nll_loss(log_probs.transpose(1, 2), y, ignore_index=-1)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            is_known = y >= 0
            right += int((log_probs.argmax(-1)[is_known] // 3 == y[is_known] // 3).sum())
            total += int(is_known.sum())
        print(f"epoch {epoch}: {right / total:.1%} of the frames' phones are right", flush=True)
    counts = np.bincount(labels[labels >= 0].astype(int), minlength=len(TOKENS)) + 50.0
    network.priors = torch.tensor((counts / counts.sum()).astype(np.float32))
    network.eval()


def batch(
    chunks: Sequence[tuple[int, int]],
    frames: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Padded and disturbed features, labels, and numbers of frames, of some chunks."""
    longest = max(end - begin for begin, end in chunks)
    x = np.zeros((len(chunks), longest, FBANK.num_filters), np.float32)
    y = np.full((len(chunks), longest), -1, np.int64)
    for row, (begin, end) in enumerate(chunks):
        x[row, : end - begin] = times_data.disturbed(frames[begin:end].astype(np.float32), rng)
        y[row, : end - begin] = labels[begin:end]
    sizes = torch.tensor([end - begin for begin, end in chunks])
    return torch.from_numpy(x), torch.from_numpy(y), sizes


def write_halved(source: Path, target: Path) -> None:
    """Copy a network, its weights in half precision."""
    with np.load(source) as arrays:
        halved = {
            key: arrays[key].astype(np.float16)
            if arrays[key].dtype == np.float32 and key != "priors"
            else arrays[key]
            for key in arrays.files
        }
    np.savez(target, **halved)


if __name__ == "__main__":
    recipes.run(main)
