"""Train the alignment model, which gives words and phones their times (asr_hlg/align/times.py).

    .venv/bin/python scripts/prepare_alignment.py ../shared/data
    .venv/bin/python scripts/train_alignment.py

A CTC network knows where phones are, but not where they begin. So the first labels of the frames
come from the peaks of its phones; then networks of scripts/alignment/*.toml are trained by
cross-entropy, and each aligns the data anew for the next. A wide context reproduces the labels that
it is given; a narrow one, which the last network has, finds the boundaries that the sound shows.
The result is .work/alignment/model.npz, in half precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import recipes
from lhotse import CutSet
from lhotse.cut import Cut
from tqdm import tqdm

from asr_hlg import acoustic, data
from asr_hlg.acoustic.numpy_tdnn import NumpyTdnn
from asr_hlg.align import Aligner, TimeModel, chain
from asr_hlg.align.times import SELF_LOOP
from asr_hlg.errors import AsrHlgError
from asr_hlg.graph.recipe import Recipe
from asr_hlg.train import checks
from asr_hlg.train.config import TrainingConfig
from asr_hlg.train.prepare import make_network
from asr_hlg.train.run import train

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "scripts" / "alignment"
ROUNDS = (("wide", 3, False), ("wide", 3, True), ("wide", 4, True), ("narrow", 2, False))
"""Config, epochs, and whether a round starts from the network of the one before."""

SHIFT = 0.01  # seconds from frame to frame


def main() -> None:
    """Train all rounds and write the last network."""
    parser = recipes.parser(__doc__)
    parser.add_argument("--work", type=Path, default=Path(".work/alignment"), help="[%(default)s]")
    parser.add_argument("--graph", default="en", help="a CTC graph of English [%(default)s]")
    options = parser.parse_args()
    work = options.work.resolve()
    config = TrainingConfig.read(CONFIGS / "wide.toml")
    network, lexicon, _ = make_network(config, Recipe.read(config.graph))
    columns = network.config.tokens
    cuts = list(checks.read_cuts(config.data.train))
    frames = dict(zip((cut.id for cut in cuts), checks.frames(network, cuts), strict=True))
    model: Path | None = None
    for number, (name, epochs, goes_on) in enumerate(ROUNDS, start=1):
        if model is None:
            labels = dict(from_ctc(cuts, columns, options.graph))
        else:
            times = TimeModel(NumpyTdnn.read(model))
            labels = dict(realigned(cuts, times, lexicon.spellings, set(lexicon.words)))
        manifest = work / f"labels-{number}.jsonl.gz"
        CutSet(
            data.with_alignment(cut, resized(labels[cut.id], frames[cut.id]), columns, SHIFT)
            for cut in cuts
            if cut.id in labels
        ).to_file(manifest)
        changes = [f'data.train=["{manifest}"]', f"training.epochs={epochs}"]
        changes += ["optimiser.learning_rate=1e-3"] if goes_on else []
        round_config = TrainingConfig.read(CONFIGS / f"{name}.toml", changes)
        if goes_on and model is not None:
            round_config = round_config.starting_from(model)
        train(round_config, work / f"round-{number}", "cpu")
        model = work / f"round-{number}" / "model.npz"
    assert model is not None
    with np.load(model) as arrays:
        halved = {
            key: arrays[key].astype(np.float16)
            if arrays[key].dtype == np.float32 and key != "priors"
            else arrays[key]
            for key in arrays.files
        }
    np.savez(work / "model.npz", **halved)


def from_ctc(
    cuts: list[Cut], columns: tuple[str, ...], graph: str
) -> Iterator[tuple[str, list[int]]]:
    """Labels of the frames of every cut from the peaks of a CTC network's phones."""
    model = acoustic.load("hama")
    words = sorted({word for cut in cuts for word in data.text_of(cut).split()})
    aligner, _ = Aligner.from_graph(ROOT / "graphs" / graph, words)
    column = {name: index for index, name in enumerate(columns)}
    for cut in tqdm(cuts, desc="first labels"):
        samples = np.ascontiguousarray(cut.load_audio()[0], dtype=np.float32)
        try:
            posteriors = model.posteriors([samples], model.sample_rate)
            phones = aligner.align(cut.id, posteriors, data.text_of(cut)).phones
        except AsrHlgError:
            continue  # an utterance without an alignment is left out
        num_frames = round(cut.duration / SHIFT)
        labels: list[int] = []
        for name, end in segments([(p.text, p.start, p.end) for p in phones], cut.duration):
            length = min(round(end / SHIFT), num_frames) - len(labels)
            labels += [column[f"{name}_{3 * k // length}"] for k in range(length)]
        yield cut.id, labels


def segments(peaks: list[tuple[str, float, float]], duration: float) -> Iterator[tuple[str, float]]:
    """Phones and silences with their ends, estimated from the frames in which CTC has the phones.

    A phone begins 50 ms before its peak and the earlier the longer the gap before it; the
    coefficients are a robust fit to sentences of flite, whose segments are known. Where 0.12 s
    after a peak nothing has begun, there is silence.
    """
    starts, before = [], 0.0
    for number, (_, start, end) in enumerate(peaks):
        gap = start - before if number else 0.15
        starts.append(max(start - 0.05 - 0.42 * min(max(gap, 0.0), 0.15), before - 0.02, 0.0))
        before = end
    starts.append(duration)
    if starts[0] >= 3 * SHIFT:
        yield "SIL", starts[0]
    for number, (name, _, end) in enumerate(peaks):
        following = starts[number + 1]
        is_close = following - end < 0.12
        yield name, following if is_close else end + 0.03
        if not is_close:
            yield "SIL", following


def realigned(
    cuts: list[Cut],
    times: TimeModel,
    spellings: Callable[[str], list[tuple[str, ...]]],
    known: set[str],
) -> Iterator[tuple[str, list[int]]]:
    """Labels of the frames of every cut by a network; those with unknown words are left out."""
    for cut in tqdm(cuts, desc="align"):
        words = data.text_of(cut).split()
        if not known.issuperset(words):
            continue
        samples = cut.load_audio()[0].astype(np.float32)
        scores = times.scores(samples, times.network.sample_rate)
        spelled = [[times.columns(phones) for phones in spellings(word)] for word in words]
        linked, _ = chain.make(spelled, [(0, len(scores))] * len(words), times.silence, len(scores))
        path, _ = linked.align(scores, SELF_LOOP)
        labels: list[int] = []
        for hmm, frames in path:
            states = linked.columns[linked.first[hmm] : linked.first[hmm + 1]]
            labels += np.repeat(states, np.diff(frames)).tolist()
        if labels:
            yield cut.id, labels


def resized(labels: list[int], num_frames: int) -> list[int]:
    """Labels for so many frames: those of features may be one more or less."""
    return (labels + [labels[-1]] * num_frames)[:num_frames]


if __name__ == "__main__":
    recipes.run(main)
