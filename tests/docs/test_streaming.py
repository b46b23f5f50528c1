"""The Python of docs/streaming.md runs as it stands, and its options have the stated defaults."""

from __future__ import annotations

import re
from dataclasses import asdict

from asr_hlg.transcribe import EndpointOptions


def test_the_python_runs(root, english, monkeypatch, capsys):
    monkeypatch.chdir(root)
    text = (root / "docs" / "streaming.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(code, {})
    shown = capsys.readouterr().out.split()
    assert " ".join(shown) == "he could not find his keys and waited in front of the house"


def test_the_defaults_of_the_rules(root):
    text = (root / "docs" / "streaming.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"\| `--([a-z-]+)` \| ([0-9.]+) \|", text))
    defaults = asdict(EndpointOptions())
    assert {name.replace("-", "_"): float(value) for name, value in stated.items()} == defaults
