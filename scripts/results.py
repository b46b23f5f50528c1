"""Write the tables of results in docs/training.md from the result files of trainings.

    python scripts/results.py digits                 runs below .work/ whose task is `digits`
    python scripts/results.py digits --runs exp/ --check

The table replaces the text between `<!-- results:digits -->` and `<!-- /results:digits -->`. Every
folder of a training has a result.json, which `asr-hlg train` writes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import recipes

from asr_hlg.errors import AsrHlgError, OptionError
from asr_hlg.train.result import NAME, Result


def main() -> int:
    """Update the tables of a file, or check that they are up to date."""
    parser = recipes.parser(__doc__)
    parser.add_argument("task", nargs="+", help="task of the results, and name of the table")
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path(".work"),
        help="folder with the trainings, at any depth (.work)",
    )
    parser.add_argument(
        "--file",
        type=Path,
        default=Path("docs/training.md"),
        help="file with the markers (docs/training.md)",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit status 1 if a table differs"
    )
    options = parser.parse_args()
    try:
        before = options.file.read_text(encoding="utf-8")
        after = before
        for task in options.task:
            after = replaced(after, task, table(collect(options.runs, task)), options.file)
    except AsrHlgError as error:
        print(f"results.py: {error}", file=sys.stderr)
        return 1
    if options.check:
        return int(before != after)
    options.file.write_text(after, encoding="utf-8")
    return 0


def collect(folder: Path, task: str) -> list[Result]:
    """Results of a task, sorted by the name of the model."""
    read = (Result.read(path) for path in sorted(folder.rglob(NAME)))
    results = [result for result in read if result.task == task]
    if not results:
        raise OptionError(f"no result of task {task!r}", path=folder, remedy="run the recipe first")
    return sorted(results, key=lambda result: result.model)


def table(results: list[Result]) -> str:
    """Markdown table of results, with a row for each model and a column for each test set.

    The dev set, on which epochs were selected, is shown only if there is no test set.
    """
    names = dict.fromkeys(name for result in results for name in result.tests)
    tests = [name for name in names if name != "dev"] or list(names)
    head = ["model", "network", "loss", "parameters", *tests, "CPU time", "training"]
    rows = [head, ["---", "---", "---", "---:", *["---:"] * len(tests), "---:", "---:"]]
    for result in results:
        rows.append(
            [
                result.model,
                result.network,
                result.loss,
                f"{result.parameters:,}",
                *(_rate(result, name) for name in tests),
                f"{result.cpu_seconds / 60:.1f} min",
                f"{result.wall_seconds / 60:.1f} min on {_machine(result)}",
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def replaced(text: str, task: str, content: str, path: Path) -> str:
    """Replace what is between the markers of a task in a text."""
    begin, end = f"<!-- results:{task} -->", f"<!-- /results:{task} -->"
    before, opening, rest = text.partition(begin)
    _, closing, after = rest.partition(end)
    if not opening or not closing:
        raise OptionError(f"lacks the lines {begin} and {end}", path=path, remedy="add them")
    return f"{before}{begin}\n{content}\n{end}{after}"


def _rate(result: Result, name: str) -> str:
    errors = result.tests.get(name)
    if errors is None:
        return ""
    return f"{100 * errors.rate:.1f} % ({errors.total} of {errors.length})"


def _machine(result: Result) -> str:
    if result.device != "cpu":
        return result.device if result.processes == 1 else f"{result.processes} {result.device}"
    threads = result.threads * result.processes
    return f"{threads} CPU thread{'s' if threads > 1 else ''}"


if __name__ == "__main__":
    sys.exit(main())
