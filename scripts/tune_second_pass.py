r"""Find the weights of the second pass with Whisper on development sets.

    python scripts/tune_second_pass.py --cache .work/second-pass \
        lj=../shared/data/ljspeech/flac:../shared/data/ljspeech/text \
        wild=../shared/data/wild-dev/audio:../shared/data/wild-dev/text

A set is NAME=RECORDINGS:TEXT, with what `asr-hlg transcribe` takes and a transcript file. All
recordings are decoded once; the candidates of every piece and their scores are kept in the cache,
from which weights are found in seconds. The criterion is the sum over sets of word errors divided
by those of Whisper's best hypothesis, so that no set outweighs the others. Printed are the errors
with the weights found, with each set left out of the search (errors of that set), the spread of the
weights over sets drawn with replacement (bootstrap), and the calibration of confidences.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import kaldialign
import numpy as np

from asr_hlg import Transcriber
from asr_hlg.audio import recordings
from asr_hlg.output.english import normalise
from asr_hlg.output.text import read_transcripts
from asr_hlg.rescore.confidence import Calibration, word_posteriors
from asr_hlg.rescore.joint import Candidate, JointPass
from asr_hlg.rescore.passes import PassOptions, joint_pass
from asr_hlg.rescore.weights import JointWeights
from asr_hlg.rescore.whisper import WhisperModel
from asr_hlg.transcribe import TranscribeOptions
from asr_hlg.transcribe.lattices import search
from asr_hlg.transcribe.pieces import cut

STEPS = {"acoustic": 0.05, "lm": 0.05, "word": 0.15}
Utterance = dict[str, Any]


def main() -> None:
    """Decode, search, report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="+", metavar="NAME=RECORDINGS:TEXT")
    parser.add_argument("--cache", type=Path, default=Path(".work/second-pass"))
    parser.add_argument("--graph", default="graphs/en")
    parser.add_argument("--whisper", default="tiny.en")
    parser.add_argument("--draws", type=int, default=20, help="of the bootstrap")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    sets = {}
    for item in args.sets:
        name, _, paths = item.partition("=")
        sound, _, text = paths.rpartition(":")
        file = args.cache / f"{name}.jsonl"
        if not file.is_file():
            decode(args.graph, args.whisper, sound, text, file)
        sets[name] = [json.loads(line) for line in file.read_text().splitlines()]
    report(sets, args.draws)


def decode(graph: str, model: str, sound: str, text: str, file: Path) -> None:
    """Write the candidates of every piece of the recordings that have a reference."""
    references = read_transcripts(text)
    options = TranscribeOptions(passes=PassOptions())
    transcriber = Transcriber.from_graph(graph, options=options)
    whisper = WhisperModel.load(model, threads=1)
    second = joint_pass(
        PassOptions(whisper=model), whisper, transcriber.graph, transcriber.model.sample_rate
    )
    part = file.with_suffix(".part")
    with part.open("w", encoding="utf-8") as out:
        for recording in recordings([sound]):
            if recording.id not in references:
                continue
            pieces = [
                entries(second, search(transcriber.decoder, piece).hypotheses)
                for piece in cut(transcriber.pipeline.source.frames(recording))
            ]
            record = {"id": recording.id, "reference": references[recording.id], "pieces": pieces}
            print(json.dumps(record), file=out)
    part.rename(file)


def entries(second: JointPass, hypotheses: Any) -> list[dict[str, Any]]:
    """The exact candidates of a piece: words, scores, and the acoustic gaps of the words."""
    _, scorer, candidates, _ = second.candidates(hypotheses)
    best = max((c.whisper for c in candidates if c.is_exact), default=0.0)
    limit = Calibration()
    return [
        {
            "words": " ".join(c.words),
            "scores": [c.whisper, c.acoustic, c.lm],
            "is_whispers_best": c.whisper == best,
            "gaps": limit.gaps(scorer.align(c.words)),
        }
        for c in candidates
        if c.is_exact
    ]


def chosen(utterance: Utterance, weights: JointWeights) -> list[dict[str, Any]]:
    """Best candidate of each piece."""
    return [max(piece, key=lambda e: total(e, weights)) for piece in utterance["pieces"] if piece]


def total(entry: dict[str, Any], weights: JointWeights) -> float:
    """Score of a candidate."""
    words = tuple(entry["words"].split())
    return Candidate(words, "", *entry["scores"], 0.0).total(weights)


def num_errors(utterance: Utterance, entries: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """Word errors, and the length of the reference."""
    reference = normalise(utterance["reference"]).split()
    hypothesis = normalise(" ".join(entry["words"] for entry in entries)).split()
    return kaldialign.edit_distance(reference, hypothesis)["total"], len(reference)


class Objective:
    """Sum over sets of errors relative to those of Whisper's best hypothesis; results are kept."""

    def __init__(self, sets: dict[str, list[Utterance]]):
        self.sets = sets
        self._kept: dict[tuple[str, str], tuple[int, int]] = {}
        self.whisper = {name: self._sum(name, self._whispers(us)) for name, us in sets.items()}

    def errors(self, name: str, weights: JointWeights) -> tuple[int, int]:
        """Word errors of a set, and its number of words."""
        return self._sum(name, [chosen(u, weights) for u in self.sets[name]])

    def __call__(self, names: Sequence[str], weights: JointWeights) -> float:
        """The sum over some sets, of which one may occur several times."""
        return sum(self.errors(n, weights)[0] / max(1, self.whisper[n][0]) for n in names)

    def _sum(self, name: str, choices: list[list[dict[str, Any]]]) -> tuple[int, int]:
        total_errors = length = 0
        for utterance, entries in zip(self.sets[name], choices, strict=True):
            key = utterance["id"], " | ".join(entry["words"] for entry in entries)
            if key not in self._kept:
                self._kept[key] = num_errors(utterance, entries)
            total_errors += self._kept[key][0]
            length += self._kept[key][1]
        return total_errors, length

    @staticmethod
    def _whispers(utterances: list[Utterance]) -> list[list[dict[str, Any]]]:
        return [
            [next(e for e in piece if e["is_whispers_best"]) for piece in u["pieces"] if piece]
            for u in utterances
        ]


def descend(objective: Objective, names: Sequence[str]) -> JointWeights:
    """Coordinate descent from the present defaults, with shrinking steps."""
    best = JointWeights()
    value = objective(names, best)
    for shrink in (2.0, 1.0, 0.5):
        improved = True
        while improved:
            improved = False
            for field, step in STEPS.items():
                for move in (-shrink * step, shrink * step):
                    number = getattr(best, field) + move
                    if number < 0:
                        continue
                    candidate = replace(best, **{field: number})
                    if (new := objective(names, candidate)) < value - 1e-9:
                        best, value, improved = candidate, new, True
    return best


def report(sets: dict[str, list[Utterance]], draws: int) -> None:
    """Print errors, weights and calibration."""
    objective, names = Objective(sets), list(sets)
    found = descend(objective, names)
    shown = {f.name: round(getattr(found, f.name), 3) for f in fields(found) if f.name in STEPS}
    print("weights", shown)
    print("set          words  Whisper  defaults  found  found without this set")
    for name in names:
        others = [other for other in names if other != name] or names
        length = objective.whisper[name][1]
        counts = [
            objective.whisper[name][0],
            objective.errors(name, JointWeights())[0],
            objective.errors(name, found)[0],
            objective.errors(name, descend(objective, others))[0],
        ]
        print(f"{name:12} {length:5}", *(f"{100 * n / max(1, length):7.2f} %" for n in counts))
    generator = random.Random(1)
    spread = [descend(objective, generator.choices(names, k=len(names))) for _ in range(draws)]
    for field in STEPS:
        values = [getattr(weights, field) for weights in spread]
        print(f"bootstrap {field}: {np.mean(values):.3f} ± {np.std(values):.3f}")
    calibrate(sets, found)


def calibrate(sets: dict[str, list[Utterance]], weights: JointWeights) -> None:
    """Fit the logistic regression of confidences; print it, its error and its curve."""
    tables = {name: np.array(list(features(us, weights))) for name, us in sets.items()}
    pooled = np.concatenate([table for table in tables.values() if len(table)])
    coefficients = logistic(pooled[:, :4], pooled[:, 4])
    print("calibration", coefficients.round(3))
    for name, table in {**tables, "all": pooled}.items():
        if len(table):
            predicted = 1 / (1 + np.exp(-table[:, :4] @ coefficients))
            error, curve = calibration_error(predicted, table[:, 4])
            print(f"expected calibration error, {name}: {error:.3f}")
    print("curve (predicted, right, words):", curve)


def features(utterances: list[Utterance], weights: JointWeights) -> Iterator[list[float]]:
    """For every word 1, logit of posterior, log gaps, and whether it is right."""
    scale = Calibration().scale
    for utterance in utterances:
        rows = []
        for piece in utterance["pieces"]:
            ranked = sorted(piece, key=lambda e: -total(e, weights))
            if not ranked:
                continue
            scores = np.array([total(e, weights) for e in ranked]) * scale
            words = [tuple(e["words"].split()) for e in ranked]
            mean = float(np.mean(ranked[0]["gaps"])) if ranked[0]["gaps"] else 0.0
            posteriors = word_posteriors(words, scores)
            for word, p, gap in zip(words[0], posteriors, ranked[0]["gaps"], strict=True):
                p = min(max(p, 1e-6), 1 - 1e-6)
                logit = float(np.clip(np.log(p / (1 - p)), -6, 6))
                rows.append((word, [1.0, logit, np.log1p(gap), np.log1p(mean)]))
        reference, position = utterance["reference"].split(), 0
        for own, word in kaldialign.align(reference, [word for word, _ in rows], ""):
            if word:
                yield [*rows[position][1], float(own == word)]
                position += 1


def logistic(inputs: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Coefficients of a logistic regression, by Newton's method."""
    coefficients = np.zeros(inputs.shape[1])
    ridge = 1e-3 * np.eye(len(coefficients))
    for _ in range(30):
        predicted = 1 / (1 + np.exp(-inputs @ coefficients))
        hessian = (inputs * (predicted * (1 - predicted))[:, None]).T @ inputs + ridge
        gradient = inputs.T @ (right - predicted) - ridge @ coefficients
        coefficients += np.linalg.solve(hessian, gradient)
    return coefficients


def calibration_error(
    predicted: np.ndarray, right: np.ndarray, bins: int = 10
) -> tuple[float, list[tuple[float, float, int]]]:
    """Expected calibration error, and mean prediction, share right and size of every bin."""
    index = np.minimum((predicted * bins).astype(int), bins - 1)
    error, curve = 0.0, []
    for number in np.unique(index):
        here = index == number
        means = float(predicted[here].mean()), float(right[here].mean())
        error += here.mean() * abs(means[0] - means[1])
        curve.append((round(means[0], 3), round(means[1], 3), int(here.sum())))
    return error, curve


if __name__ == "__main__":
    main()
