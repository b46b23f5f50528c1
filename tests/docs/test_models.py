"""What docs/models.md states: its commands run, and its table is that of the code."""

from __future__ import annotations

import re
import shlex

import pytest
import soundfile

from asr_hlg.acoustic.exported import kinds
from asr_hlg.acoustic.exported.loading import load
from asr_hlg.cli import main
from asr_hlg.graph.recipe import Recipe
from tests.acoustic.test_exported import KINDS
from tests.support.exported_models import icefall

ARPA = "\\data\\\nngram 1=5\n\n\\1-grams:\n{}\n\\end\\\n".format(
    "\n".join(f"-0.7 {word}" for word in ("<s>", "</s>", "cat", "hat", "and"))
)


@pytest.fixture
def page(root) -> str:
    return (root / "docs" / "models.md").read_text(encoding="utf-8")


def test_the_commands_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made = icefall(tmp_path / "zipformer")
    soundfile.write(tmp_path / "talk.wav", made.say("cat and hat"), 16000)
    (tmp_path / "talks.arpa").write_text(ARPA)
    commands = re.findall(r"^\$ \.venv/bin/asr-hlg (.*)$", page, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert main(shlex.split(command)) == 0, capsys.readouterr().err
    assert capsys.readouterr().out == "talk cat and hat\n"


def test_the_recipe_is_read(page, tmp_path):
    [recipe] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "talks.toml").write_text(recipe)
    lexicon = Recipe.read(tmp_path / "talks.toml").lexicon
    assert (lexicon.case, lexicon.segmentations) == ("upper", 2)


def rows(page: str) -> list[list[str]]:
    lines = page.partition("## Kinds")[2].partition("Filter banks are")[0].splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line][2:]


def test_the_table_has_the_kinds_of_the_code(page):
    named = set(re.findall(r"`([\w.-]+)`", " ".join(row[1] for row in rows(page))))
    assert {kind for kind in kinds.OPENED if kind != "conformer_ctc"} <= named


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_and_metadata_are_in_the_table(page, tmp_path, kind):
    """The networks of the tests have the tensors that a row of the table names, in that order."""
    import onnx

    made = KINDS[kind](tmp_path / "model")
    network = onnx.load(made.network)
    names = [node.name for node in network.graph.input]
    matching = [
        row
        for row in rows(page)
        if re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", row[2].split("→")[0]))[: len(names)]
        == names[: 9 if kind == "streaming zipformer" else len(names)]
        or kind in ("streaming nemo", "gigaam")
        or names == re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", row[2].split("→")[0]))[:1]
    ]
    assert matching, names
    assert load(made.folder).frame_shift > 0
