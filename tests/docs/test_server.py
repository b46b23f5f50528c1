"""What docs/server.md states: its clients run, its options exist."""

from __future__ import annotations

import argparse
import json
import re
import shutil

import openai  # noqa: F401 - its client is in the page
import pytest

from asr_hlg.cli import serve as command
from asr_hlg.serve.app import make_app
from asr_hlg.serve.graphs import Graphs
from asr_hlg.serve.metrics import Metrics
from asr_hlg.serve.options import ServeOptions
from asr_hlg.serve.service import Service
from tests.support.live_toys import ToyGraphs, running


@pytest.fixture(scope="module")
def page(root) -> str:
    return (root / "docs" / "server.md").read_text(encoding="utf-8")


@pytest.mark.real
def test_the_clients_run(page, root, english, tmp_path, monkeypatch, capsys):
    shutil.copy(root / "examples" / "03-awb.wav", tmp_path / "talk.wav")
    monkeypatch.chdir(tmp_path)
    graphs = Graphs(ServeOptions(graphs=(str(root / "graphs" / "en"),), fast=True))
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    with running(graphs) as server:
        address = server.http.removeprefix("http://").rstrip("/")
        for block in blocks:
            exec(block.replace("127.0.0.1:2700", address), {})
    printed = capsys.readouterr().out
    answers = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    words = " ".join(answer["text"] for answer in answers if answer.get("text"))
    assert words.startswith("the cat slept on the chair")
    assert re.search(r"^the \d\.\d+ \d\.\d+$", printed, re.MULTILINE)


def test_the_options_exist(page):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    known = {name for action in parser._actions for name in action.option_strings}
    of_others = {"--no-cache-dir", "--create-home", "--streams", "--seconds"}
    assert set(re.findall(r"--[a-z][a-z-]+", page)) - of_others <= known


def test_the_routes_and_metrics_are_those_of_the_code(page):
    routes = {route.path for route in make_app(Service(ServeOptions(), ToyGraphs())).routes}
    listed = re.findall(r"^\| `(?:GET |POST )?(/[\w/]*)` \|", page, re.MULTILINE)
    assert len(listed) == 6
    assert set(listed) <= routes
    metrics = Metrics().text().decode()
    for name in re.findall(r"`(asr_hlg_\w+)", page):
        assert f"# TYPE {name} " in metrics, name
