"""Run the Python blocks of docs/lecture.md, which draw its pictures, and check their output.

python scripts/draw_lecture.py            # from the project's root; `make docs`
python scripts/draw_lecture.py --update   # write the new output into the lecture
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import sys
from pathlib import Path

LECTURE = Path(__file__).resolve().parents[1] / "docs" / "lecture.md"
# A block of Python and, where it prints, the block of text that follows it.
BLOCK = re.compile(r"```python\n(.*?)```\n(?:(\n```text\n)(.*?)```\n)?", re.DOTALL)


def run(text: str) -> str:
    """Text of a lecture with the current output of its blocks, which share one namespace."""
    namespace: dict[str, object] = {}

    def replace(match: re.Match[str]) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(match[1], f"lecture, after {match.start()}", "exec"), namespace)
        output = f"\n```text\n{printed.getvalue()}```\n" if printed.getvalue() else ""
        return f"```python\n{match[1]}```\n{output}"

    return BLOCK.sub(replace, text)


def main() -> int:
    """Run the lecture, and check or update its output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write new output into the lecture")
    update = parser.parse_args().update
    Path("docs/pictures").mkdir(parents=True, exist_ok=True)
    text = LECTURE.read_text(encoding="utf-8")
    after = run(text)
    if after == text:
        return 0
    if update:
        LECTURE.write_text(after, encoding="utf-8")
        return 0
    print("the output in docs/lecture.md is out of date: see --update", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
