"""`asr-hlg` itself: version, help, and the examples that the commands' help shows."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import asr_hlg
from asr_hlg.cli import main
from asr_hlg.cli.commands import COMMANDS


def help_of(*command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_the_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"asr-hlg {version('asr-hlg')}\n"
    assert asr_hlg.__version__ == version("asr-hlg")


def test_every_command_has_one_line_of_help(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.strip() for line in help_of(capsys=capsys).splitlines()]
    for name, summary in COMMANDS.items():
        assert any(re.fullmatch(f"{name} +{re.escape(summary)}", line) for line in lines), name


def test_help_imports_nothing_heavy():
    code = (
        "import sys, asr_hlg.cli\n"
        "try: asr_hlg.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'k2', 'numpy', 'pydantic', 'lhotse'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def examples() -> list[str]:
    """Commands in the help of all commands, without the remarks behind them."""
    found = []
    for name in COMMANDS:
        module = __import__(f"asr_hlg.cli.{name}", fromlist=["EPILOG"])
        found += re.findall(r"^  (asr-hlg .*?)(?:  .*)?$", module.EPILOG, re.MULTILINE)
    return found


OUTPUTS = ("--output", "--alignments", "--lattices")


def missing_inputs(command: list[str]) -> list[str]:
    """Files and folders that a command reads and that are not there."""
    outputs = {command[i + 1] for i, word in enumerate(command[:-1]) if word in OUTPUTS}
    if command[1] == "draw":
        outputs.add(command[3])
    names = [word for word in command[2:] if re.search(r"[/.][a-z]|/$", word) or word == "text"]
    return [word for word in names if word not in outputs and not Path(word).exists()]


@pytest.fixture(scope="module")
def shipped(root, tmp_path_factory) -> Path:
    """Copy of what ships with the project, beside recordings with the names of the examples."""
    folder = tmp_path_factory.mktemp("shipped")
    for name in ("examples", "lang"):
        shutil.copytree(root / name, folder / name)
    (folder / "graphs").mkdir()
    for path in (root / "graphs").glob("*.toml"):
        shutil.copy(path, folder / "graphs")
    if (root / "graphs" / "en" / "graph.json").is_file():
        (folder / "graphs" / "en").symlink_to(root / "graphs" / "en")
    # What a user brings, by the names that the examples give it.
    references = (folder / "examples" / "text").read_text().splitlines()[:2]
    recordings = sorted((folder / "examples").glob("*.wav"))[:2]
    shutil.copy(recordings[0], folder / "talk.wav")
    (folder / "talk.txt").write_text("talk " + references[0].partition(" ")[2] + "\n")
    (folder / "text").write_text("\n".join(references) + "\n")
    (folder / "wav.scp").write_text("".join(f"{path.stem} {path}\n" for path in recordings))
    shutil.copy(folder / "examples" / "text", folder / "hyp.txt")
    lines = [line.split(maxsplit=1) for line in references]
    lists = [{"id": id, "text": text, "alternatives": [{"text": text}]} for id, text in lines]
    (folder / "hyp.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lists))
    return folder


@pytest.mark.parametrize("example", examples())
def test_examples_in_help_texts_run(example, shipped, monkeypatch, capsys):
    monkeypatch.chdir(shipped)
    command = shlex.split(example)
    if missing := missing_inputs(command):
        pytest.skip(f"names what does not ship: {', '.join(missing)}")
    uses_english = command[1] in ("transcribe", "align", "bench") or "en" in command
    if uses_english and not Path("graphs/en").exists():
        pytest.skip("graphs/en is not compiled: make graph GRAPH=en")
    slow_bench = command[1] == "bench" and "--limit" not in command
    if slow_bench or command[1:3] == ["graph", "graphs/en.toml"]:
        pytest.skip("takes minutes")
    if command[1] == "info":
        assert main(["graph", "cat_hat"]) == 0
    capsys.readouterr()
    assert main(command[1:]) == 0, capsys.readouterr().err
