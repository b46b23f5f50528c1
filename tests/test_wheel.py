"""The package as users install it: the wheel with its dependencies, in any folder.

``ASR_HLG_TEST_PYTHON`` names the Python of the fresh environment; by default it is this one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import soundfile

from tests.support.encoded import encode

pytestmark = pytest.mark.slow
PYTHON = os.environ.get("ASR_HLG_TEST_PYTHON", sys.executable)
_MEGABYTE = 1e6


def run(*command: str | Path, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "ASR_HLG_CACHE")}
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**inherited, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def tracked(root: Path, *folders: str) -> list[str]:
    """Files of the repository, without what was compiled or written beside them."""
    done = run("git", "ls-files", "-z", *folders, folder=root)
    if done.returncode != 0:
        pytest.skip("not a git repository")
    return [name for name in done.stdout.split("\0") if (root / name).is_file()]


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory) -> Path:
    """Wheel that is built from the sdist, and so shows that the sdist is complete."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    for name in tracked(root):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, source / name)
    done = run(sys.executable, "-m", "build", "--outdir", folder / "dist", source, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = (folder / "dist").glob("*.whl")
    assert len(list((folder / "dist").glob("*.tar.gz"))) == 1
    return path


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """Environment with the wheel and its dependencies, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    done = run(PYTHON, "-m", "venv", folder / "venv", folder=folder)
    assert done.returncode == 0, done.stderr
    python = folder / "venv" / "bin" / "python"
    done = run(python, "-m", "pip", "install", "-q", wheel, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "venv"


def test_the_wheel_contains_what_the_repository_ships(wheel, root):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if "/shipped/" in name}
    expected = tracked(root, "graphs", "lang", "examples")
    assert names == {f"asr_hlg/shipped/{name}" for name in expected}


def test_the_base_has_neither_torch_nor_k2_and_fits(environment):
    done = run(environment / "bin" / "pip", "list", "--format=freeze", folder=environment)
    packages = {line.partition("==")[0].lower() for line in done.stdout.splitlines()}
    assert "asr-hlg" in packages or "asr_hlg" in packages
    assert not packages & {"torch", "k2", "lhotse"}
    done = run(environment / "bin" / "pip", "check", folder=environment)
    assert done.returncode == 0, done.stdout
    size = sum(p.stat().st_size for p in environment.rglob("*") if p.is_file())
    assert size <= 700 * _MEGABYTE, f"{size / _MEGABYTE:.0f} MB"


def test_it_transcribes_in_an_empty_folder(environment, root, tmp_path):
    folder, cache = tmp_path / "empty", tmp_path / "cache"
    folder.mkdir()
    shutil.copy(root / "examples" / "02-rms.wav", folder / "talk.wav")
    command = environment / "bin" / "asr-hlg"
    done = run(command, "transcribe", "talk.wav", folder=folder, ASR_HLG_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "talk the train leaves at seven so we need to hurry\n"
    assert "compiling the graph en once" in done.stderr
    assert "compose" in done.stderr
    again = run(command, "transcribe", "talk.wav", folder=folder, ASR_HLG_CACHE=str(cache))
    assert again.stdout == done.stdout
    assert "compiling" not in again.stderr
    script = "import asr_hlg; t = asr_hlg.Transcriber.from_graph('en'); " + (
        "print(next(t.transcribe(['talk.wav'])).text)"
    )
    python = environment / "bin" / "python"
    library = run(python, "-c", script, folder=folder, ASR_HLG_CACHE=str(cache))
    assert library.stdout == done.stdout.partition(" ")[2], library.stderr
    listed = run(command, "graph", "--list", folder=folder, ASR_HLG_CACHE=str(cache))
    assert f"compiled: {cache}" in listed.stdout
    doctor = run(command, "doctor", folder=folder, ASR_HLG_CACHE=str(cache))
    assert doctor.returncode == 0, doctor.stdout
    needs_torch = run(command, "transcribe", "talk.wav", "--device", "cuda", folder=folder)
    assert needs_torch.returncode == 1
    assert "asr-hlg[" in needs_torch.stderr
    assert "Traceback" not in needs_torch.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["talk.wav"]


def test_the_remedy_for_a_missing_package_works(environment, root, tmp_path):
    """With the newest version of the package that is to be had, not that of the lock file."""
    samples, rate = soundfile.read(root / "examples" / "02-rms.wav")
    film = encode(tmp_path / "talk.mp4", samples[:, None], "aac", rate, video=True)
    command = [environment / "bin" / "asr-hlg", "transcribe", film]
    refused = run(*command, folder=tmp_path)
    assert refused.returncode == 1
    assert "pip install 'asr-hlg[av]'" in refused.stderr
    python = environment / "bin" / "python"
    done = run(python, "-m", "pip", "install", "-q", "asr-hlg[av]", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run(*command, folder=tmp_path)
    assert done.stdout == "talk the train leaves at seven so we need to hurry\n", done.stderr
