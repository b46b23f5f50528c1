"""Memory and time of the transducer's losses, for growing T, U and V.

    .venv/bin/python benchmarks/transducer_loss.py
    .venv/bin/python benchmarks/transducer_loss.py --plot memory.svg        # needs matplotlib

One utterance of T frames and U tokens out of V types, in float32: joiner, loss, and all gradients.
Every case runs in a separate process. *Memory* is the difference between its peak resident memory
and that before the case, after the weights were created and a tiny case was run; *time* is CPU
time.

    full    logits of all frames and tokens, and k2.rnnt_loss
    k2      two passes: k2.rnnt_loss_simple, then k2.rnnt_loss_pruned
    pruned  two passes, as in training here (asr_hlg.transducer.loss)

The last case is that of the lecture: 15 s of sound (750 frames of 20 ms), 30 characters, 10,000
types, whose logits alone take 0.45 GB in half precision, 0.9 GB in float32.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

METHODS = ("full", "k2", "pruned")
LECTURE = (750, 30, 10_000)
DIM = 256
PRUNE_RANGE = 5


@dataclass(frozen=True)
class Case:
    """Method and size: numbers of frames, of tokens, and of token types."""

    method: str
    frames: int
    tokens: int
    types: int

    @property
    def size(self) -> tuple[int, int, int]:
        """(T, U, V)."""
        return self.frames, self.tokens, self.types


@dataclass(frozen=True)
class Measured:
    """Memory in bytes above the baseline, CPU seconds, and the loss in nats."""

    memory: int
    seconds: float
    loss: float


def main() -> None:
    """Measure all cases and print a table, or measure one case and print JSON."""
    options = _parser().parse_args()
    if options.case:
        method, *size = options.case.split(",")
        measured = run(Case(method, *map(int, size)))
        print(json.dumps(vars(measured)))
        return
    results: dict[Case, Measured] = {}
    for size in sizes():
        for method in METHODS:
            case = Case(method, *size)
            results[case] = in_own_process(case)
            memory, seconds = results[case].memory / 1e6, results[case].seconds
            print(f"{method:7} {size}  {memory:8,.0f} MB {seconds:7.2f} s", file=sys.stderr)
    print(table(results))
    if options.plot:
        plot(results, options.plot)


def sizes() -> list[tuple[int, int, int]]:
    """Sizes in which one of T, U and V grows while the others are half the lecture's."""
    half = [extent // 2 for extent in LECTURE]
    grown = []
    for axis in range(3):
        for divisor in (8, 4, 2, 1):
            size = list(half)
            size[axis] = LECTURE[axis] // divisor
            grown.append(tuple(size))
    return [*dict.fromkeys(grown), LECTURE]


def in_own_process(case: Case) -> Measured:
    """Measure a case in a new process, since a peak of memory never decreases."""
    text = ",".join(map(str, (case.method, *case.size)))
    command = [sys.executable, __file__, "--case", text]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{text} failed: {done.stderr.strip().splitlines()[-1:]}")
    return Measured(**json.loads(done.stdout))


def run(case: Case) -> Measured:
    """Measure a case in this process."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    work = {"full": _full, "k2": _k2, "pruned": _pruned}[case.method]
    weights = torch.nn.ModuleList(torch.nn.Linear(DIM, case.types) for _ in range(3))
    tiny = torch.nn.ModuleList(torch.nn.Linear(DIM, 50) for _ in range(3))
    _once(work, tiny, 30, 6)
    before, start = _peak(), time.process_time()
    loss = _once(work, weights, case.frames, case.tokens)
    return Measured(_peak() - before, time.process_time() - start, loss)


def _once(work, weights, frames: int, tokens: int) -> float:
    import torch

    from asr_hlg.transducer import Targets

    encoded = torch.randn(1, frames, DIM, requires_grad=True)
    predicted = torch.randn(1, tokens + 1, DIM, requires_grad=True)
    labels = torch.randint(1, weights[0].out_features, (1, tokens))
    targets = Targets(labels, torch.tensor([tokens]), torch.tensor([frames]))
    loss = work(weights, encoded, predicted, targets)
    loss.backward()
    return float(loss.detach())


def _full(weights, encoded, predicted, targets):
    import torch

    from asr_hlg.transducer import loss

    logits = weights[0](torch.tanh(encoded[:, :, None] + predicted[:, None]))
    return loss.full(logits, targets).sum()


def _pruned(weights, encoded, predicted, targets):
    import torch

    from asr_hlg.transducer import loss

    am, lm = weights[1](encoded), weights[2](predicted)
    simple, ranges = loss.prune_ranges(am, lm, targets, PRUNE_RANGE)
    pruned = loss.pruned(
        encoded, predicted, ranges, lambda joined: weights[0](torch.tanh(joined)), targets
    )
    return (0.5 * simple + pruned).sum()


def _k2(weights, encoded, predicted, targets):
    import k2
    import torch

    am, lm = weights[1](encoded), weights[2](predicted)
    options = {
        "termination_symbol": 0,
        "boundary": targets.boundary(),
        "rnnt_type": targets.lattice,
        "reduction": "sum",
    }
    simple, (px_grad, py_grad) = k2.rnnt_loss_simple(
        lm, am, targets.tokens, return_grad=True, **options
    )
    ranges = k2.get_rnnt_prune_ranges(px_grad, py_grad, targets.boundary(), PRUNE_RANGE)
    am, lm = k2.do_rnnt_pruning(encoded, predicted, ranges)
    logits = weights[0](torch.tanh(am + lm))
    return 0.5 * simple + k2.rnnt_loss_pruned(logits, targets.tokens, ranges, **options)


def _peak() -> int:
    """Peak resident memory of this process, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def table(results: dict[Case, Measured]) -> str:
    """Markdown table with memory and time of every method, a line for every size."""
    head = ["T", "U", "V", *(f"{m}, MB" for m in METHODS), "full ÷ pruned"]
    head += [f"{m}, s" for m in METHODS]
    rows = [head, ["---:"] * len(head)]
    for size in dict.fromkeys(case.size for case in results):
        row = [results[Case(method, *size)] for method in METHODS]
        memory = [f"{measured.memory / 1e6:,.0f}" for measured in row]
        ratio = f"{row[0].memory / max(1, row[-1].memory):.1f}"
        seconds = [f"{measured.seconds:.2f}" for measured in row]
        rows.append([*(f"{extent:,}" for extent in size), *memory, ratio, *seconds])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", _machine()])


def _machine() -> str:
    from importlib.metadata import version

    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "k2"))
    return f"{platform.machine()}, Python {platform.python_version()}, {packages}, one thread"


def plot(results: dict[Case, Measured], path: Path) -> None:
    """Plot memory against T, U and V."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    half = [extent // 2 for extent in LECTURE]
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.6), sharey=True, layout="constrained")
    for axis, (name, panel) in enumerate(zip("TUV", axes, strict=True)):
        others = [k for k in range(3) if k != axis]
        for method in METHODS:
            points = sorted(
                (case.size[axis], measured.memory / 1e6)
                for case, measured in results.items()
                if case.method == method and all(case.size[k] == half[k] for k in others)
            )
            panel.plot(*zip(*points, strict=True), marker="o", label=method)
        panel.set(xlabel=name, xlim=(0, None), ylim=(0, None))
        panel.set_title(", ".join(f"{'TUV'[k]} = {half[k]:,}" for k in others), fontsize=9)
    axes[0].set_ylabel("peak memory, MB")
    axes[0].legend()
    figure.savefig(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plot", type=Path, help="a picture to write: .svg, .png, …")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
