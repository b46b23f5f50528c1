"""`asr-hlg` itself: version, help, and the examples that the commands' help shows."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import asr_hlg
from asr_hlg.cli import main
from asr_hlg.cli.commands import COMMANDS
from tests.support.project import make_project


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


@pytest.fixture(scope="module")
def project(root, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_project(root, folder)
    return folder


def takes_minutes(command: list[str]) -> bool:
    """Whether an example trains, compiles English anew or runs the whole benchmark."""
    return (
        command[1] == "train"
        or "exp/digits" in command  # a trained model
        or command[1:3] == ["graph", "graphs/en.toml"]
        or command == ["asr-hlg", "doctor"]  # imports every package
        or command[1] == "live"  # a microphone: tests/cli/test_live.py
        or command[1] == "serve"  # until a signal: tests/serve/test_command.py
        or (command[1] == "bench" and "--limit" not in command)
    )


@pytest.mark.parametrize("example", examples())
def test_examples_in_help_texts_run(example, project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    command = shlex.split(example)
    if takes_minutes(command):
        pytest.skip("takes minutes")
    uses_english = command[1] in ("transcribe", "align", "bench") or "en" in command
    if uses_english and not Path("graphs/en").exists():
        pytest.skip("graphs/en is not compiled: make graph GRAPH=en")
    if "<" in command:
        *command, _, name = command
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(name).read_bytes())))
    if command[1] == "info":
        assert main(["graph", "cat_hat"]) == 0
    capsys.readouterr()
    try:
        status = main(command[1:])
    except SystemExit as end:
        status = int(str(end.code))
    assert status == 0, capsys.readouterr().err
