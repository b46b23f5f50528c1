from __future__ import annotations

import re
import runpy

import pytest


@pytest.fixture
def copy(root, tmp_path, monkeypatch):
    """An empty folder that looks like the project to the lecture's relative paths."""
    (tmp_path / "docs" / "pictures").mkdir(parents=True)
    (tmp_path / "lang").symlink_to(root / "lang")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("dot")
def test_the_lecture_runs_and_prints_the_output_in_its_text(root, copy):
    script = runpy.run_path(str(root / "scripts" / "draw_lecture.py"))
    text = (root / "docs" / "lecture.md").read_text(encoding="utf-8")
    assert script["run"](text) == text
    shown = set(re.findall(r"!\[.*?\]\((pictures/[\w.]+)\)", text))
    drawn = {f"pictures/{path.name}" for path in (copy / "docs" / "pictures").iterdir()}
    assert len(shown) > 10
    assert drawn == shown


def test_output_that_changed_is_seen(root):
    script = runpy.run_path(str(root / "scripts" / "draw_lecture.py"))
    text = "```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n\n```python\nx = 1\n```\n"
    assert script["run"](text) == text.replace("3", "2")
