"""Completion in a shell: the script that `asr-hlg completion` prints is run by bash."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from asr_hlg.cli import completion, main


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """Completions that bash offers for the last word of a command line."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    folder = tmp_path_factory.mktemp("completion")
    (folder / "talk.wav").touch()
    script = folder / "script"
    script.write_text(completion.script("bash"))

    def completions(*words: str) -> set[str]:
        line = " ".join(words)
        code = (
            f"source {script}; COMP_WORDS=({line!s}); COMP_CWORD=$(({len(words)}-1)); "
            f"_shtab_asr_hlg; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
        done = subprocess.run(
            ["bash", "-c", code], capture_output=True, text=True, check=False, cwd=folder
        )
        return set(done.stdout.split())

    return completions


def test_commands_options_choices_and_files(complete):
    assert complete("asr-hlg", "tr") >= {"transcribe"}
    assert complete("asr-hlg", "transcribe", "--max-d") == {"--max-duration"}
    assert "srt" in complete("asr-hlg", "transcribe", "--format", "s")
    assert complete("asr-hlg", "transcribe", "ta") == {"talk.wav"}
    assert complete("asr-hlg", "lm", "perp") == {"perplexity"}


def test_other_shells(capsys):
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith("#compdef asr-hlg")


def test_a_command_whose_packages_are_missing_is_left_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "asr_hlg.cli.train", None)
    script = completion.script("bash")
    assert "--max-duration" in script
