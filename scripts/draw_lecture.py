"""Run the Python of docs/lecture.md, which draws its pictures, and check what it prints.

python scripts/draw_lecture.py            # from the project's root; `make docs`
python scripts/draw_lecture.py --update   # write what was printed into the lecture
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
    """The lecture with what its blocks print now; they share one namespace, in order."""
    namespace: dict = {}

    def replace(match: re.Match) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(match[1], f"lecture, after {match.start()}", "exec"), namespace)
        output = f"\n```text\n{printed.getvalue()}```\n" if printed.getvalue() else ""
        return f"```python\n{match[1]}```\n{output}"

    return BLOCK.sub(replace, text)


def main() -> int:
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
    print("docs/lecture.md prints something else now: see --update", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
