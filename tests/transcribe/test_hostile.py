"""Files made to do harm: nothing in them runs, nothing is fetched, nothing leaves its folder."""

from __future__ import annotations

import ast
import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import lhotse
import numpy as np
import pytest
import soundfile
import torch

from asr_hlg import acoustic, cli, data
from asr_hlg.audio import recordings
from asr_hlg.errors import AsrHlgError, AudioError, DataError, ModelError
from asr_hlg.graph.build import build
from asr_hlg.graph.recipe import Recipe
from asr_hlg.output import writers as output
from asr_hlg.output.transcript import Transcript
from tests.fuzz.readers import READERS

TEXTS = (
    "transcripts",
    "list",
    "segments",
    "reco2file",
    "lexicon",
    "hotwords",
    "alternatives",
)
"""Readers of texts so free that some bytes of a pickle are one; they make strings of it."""

SOURCES = sorted((Path(__file__).parents[2] / "asr_hlg").rglob("*.py"))


class Trap:
    """Whoever unpickles it makes a file of that name."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def pickles(trap: Path) -> dict[str, bytes]:
    """The forms in which pickles travel."""
    array, weights, zipped = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(array, np.array([Trap(trap)], dtype=object), allow_pickle=True)
    torch.save({"weight": Trap(trap)}, weights)
    np.savez(zipped, utt=np.array([Trap(trap)], dtype=object), priors=np.array([Trap(trap)]))
    return {
        "pickle": pickle.dumps(Trap(trap)),
        "npy": array.getvalue(),
        "torch": weights.getvalue(),
        "npz": zipped.getvalue(),
        "kaldi": b"utt PKL" + pickle.dumps(Trap(trap)),
    }


OF_SEVERAL_FILES = ("tokens", "lang-folder", "hugging-face", "scripts")


# ---------------------------------------------------------------- code in data


def test_the_trap_works(tmp_path):
    pickle.loads(pickles(tmp_path / "trap")["pickle"])
    assert (tmp_path / "trap").exists()


@pytest.fixture(scope="module")
def seeds_of(tmp_path_factory) -> dict[str, tuple[Path, Sequence[bytes]]]:
    """For each reader a folder and valid files."""
    folders = {name: tmp_path_factory.mktemp("seeds") for name in READERS}
    return {name: (folders[name], READERS[name].make_seeds(folders[name])) for name in READERS}


@pytest.mark.parametrize("form", ["pickle", "npy", "torch", "npz", "kaldi"])
def test_no_reader_unpickles(seeds_of, tmp_path, form):
    trap = tmp_path / "trap"
    content = pickles(trap)[form]
    for name, reader in READERS.items():
        folder, seeds = seeds_of[name]
        if name == "metadata":  # strings in an ONNX file
            continue
        if name == "graph":  # one of whose files this may be
            for part in ("packed/arcs.npy", "lg/src.npy", "graph.json", "hlg/words.npy"):
                with pytest.raises(AsrHlgError):
                    reader.read(part.encode() + b"\0" + content, folder)
            continue
        contents = [content]
        if name in OF_SEVERAL_FILES:
            contents = [seed.partition(b"\0")[0] + b"\0" + content for seed in seeds]
        for one in contents:
            read = False
            with suppress(AsrHlgError):
                reader.read(one, folder)
                read = True
            assert not read or name in TEXTS, name
    assert not trap.exists()


def test_a_pickled_model_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(pickles(tmp_path / "trap")["torch"])
    fields = {"tokens": ["<blk>", "a"], "frame_shift": 0.02, "sample_rate": 16000}
    (tmp_path / "model.json").write_text(json.dumps(fields))
    with pytest.raises(ModelError, match=r"can run code \(export the model with torch\.jit"):
        acoustic.load(path)
    assert not (tmp_path / "trap").exists()


# What runs code, a shell or an archive's own idea of where its files go; and how it may be called.
_FORBIDDEN = {
    *("pickle.load", "pickle.loads", "torch.load", "joblib.load", "eval", "exec", "os.system"),
    *("os.popen", "yaml.load", "yaml.unsafe_load", "shutil.unpack_archive", "tempfile.mktemp"),
    *("tarfile.open", "urllib.request.urlopen", "marshal.loads", "np.lib.format.read_array"),
}
_AMONG_OURSELVES = {("cluster.py", "pickle.loads")}  # what Ray carries between our processes


def test_the_library_calls_nothing_that_would_run_or_unpack_a_file():
    assert len(SOURCES) > 50
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            place = f"{path.name}:{node.lineno}: {called}"
            assert called not in _FORBIDDEN or (path.name, called) in _AMONG_OURSELVES, place
            assert not called.endswith((".extractall", "archive.extract")), place
            options = {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert options.get("shell", "False") == "False", place
            assert options.get("allow_pickle", "False") == "False", place
            if called == "np.load":
                assert options["allow_pickle"] == "False", place


@pytest.mark.parametrize("suffix", [".opus", ".sph", ".SPH"])
def test_names_do_not_reach_a_shell(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "corpus"
    folder.mkdir()
    name = f"a$(touch trap){suffix}"
    (folder / name).write_bytes(b"NIST_1A\n   1024\n")
    (folder / "text").write_text(f"{Path(name).stem.replace(' ', '_')} word\n")
    with pytest.raises(DataError, match="shell"):
        data.cuts(folder)
    [recording] = recordings([folder / name])
    with pytest.raises(AudioError):
        recording.load(16000)
    assert os.listdir(tmp_path) == ["corpus"]


def test_yaml_manifests_are_not_even_parsed(tmp_path):
    path = tmp_path / "cuts.yaml"
    path.write_text(f"!!python/object/apply:os.mkdir ['{tmp_path / 'trap'}']\n")
    [recording] = recordings([path])
    with pytest.raises(AudioError):
        recording.load(16000)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("kind", ["command", "url", "shar", "memory"])
def test_manifests_run_and_fetch_nothing(tmp_path, kind):
    trap = tmp_path / "trap"
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, 1600), 16000)
    entry = lhotse.Recording.from_file(path).to_dict()
    entry["sources"] = [{"type": kind, "channels": [0], "source": f"mkdir {trap}"}]
    (tmp_path / "recordings.jsonl").write_text(json.dumps(entry) + "\n")
    [recording] = recordings([tmp_path / "recordings.jsonl"])
    with pytest.raises(AudioError, match="not read, only files are"):
        recording.load(16000)
    assert not trap.exists()


def test_a_rate_in_a_manifest_does_not_fill_the_memory(tmp_path):
    """Lhotse would mix 30 ms at 4 GHz before it found that the sound is at 16 kHz."""
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 800), 16000)
    recording = lhotse.Recording.from_file(tmp_path / "a.wav")
    cut = lhotse.MonoCut("cut", start=0.01, duration=0.03, channel=0, recording=recording)
    entry = cut.append(cut).to_dict()
    entry["tracks"][1]["cut"]["recording"]["sampling_rate"] = 2**32 - 1
    (tmp_path / "cuts.jsonl").write_text(json.dumps(entry) + "\n")
    [found] = recordings(tmp_path / "cuts.jsonl")
    with pytest.raises(AudioError, match="sampling rate is out of range"):
        found.load(16000)


def test_a_rate_of_a_transform_does_not_fill_the_memory(tmp_path):
    """Lhotse would resample to 16 MHz before it found that there are too many samples."""
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 800), 16000)
    entry = lhotse.Recording.from_file(tmp_path / "a.wav").to_dict()
    rates = {"source_sampling_rate": 16000, "target_sampling_rate": 2**24}
    entry["transforms"] = [{"name": "Resample", "kwargs": rates}]
    (tmp_path / "recordings.jsonl").write_text(json.dumps(entry) + "\n")
    [found] = recordings(tmp_path / "recordings.jsonl")
    with pytest.raises(AudioError, match="sampling rate is out of range"):
        found.load(16000)


@pytest.mark.parametrize(
    "transform",
    [
        ("Resample", {"source_sampling_rate": 15999, "target_sampling_rate": 16000}),
        ("Speed", {"factor": 0.99991}),
        ("Speed", {"factor": 1e6}),
    ],
)
def test_filters_of_lhotse_do_not_fill_the_memory(tmp_path, transform):
    """Between rates without a common divisor, Lhotse's filter takes gigabytes."""
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 800), 16000)
    entry = lhotse.Recording.from_file(tmp_path / "a.wav").to_dict()
    entry["transforms"] = [{"name": transform[0], "kwargs": transform[1]}]
    (tmp_path / "recordings.jsonl").write_text(json.dumps(entry) + "\n")
    [found] = recordings(tmp_path / "recordings.jsonl")
    with pytest.raises(AudioError, match="too large a filter"):
        found.load(16000)


@pytest.mark.parametrize("factor", [0.9, 1.1, 0.973])
def test_usual_speeds_of_lhotse_are_read(tmp_path, factor):
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, 16000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    entry = lhotse.Recording.from_file(tmp_path / "a.wav").perturb_speed(factor)
    (tmp_path / "recordings.jsonl").write_text(json.dumps(entry.to_dict()) + "\n")
    [found] = recordings(tmp_path / "recordings.jsonl")
    np.testing.assert_array_equal(found.load(16000), entry.load_audio()[0])


# ---------------------------------------------------------------- folders and temporary files


@pytest.mark.parametrize("id", ["../../up", "/etc/passwd", "..", "a/../../b", "x\0y", "a\nb"])
def test_ids_do_not_lead_out_of_the_folder(tmp_path, id):
    listed = tmp_path / "wav.scp"
    listed.write_bytes(id.replace("\n", " ").encode() + b" a.wav\n")
    name = next(recordings(listed)).id
    target = tmp_path / "out" / "texts"
    target.mkdir(parents=True)
    with output.writer("srt", str(target), count=1) as out:
        out.write(Transcript(name, ""))
    assert [path.parent for path in tmp_path.rglob("*.srt")] == [target]


def test_temporary_files_are_private(tmp_path, monkeypatch):
    """Others must neither read what is compiled nor put something in its place."""
    modes = []
    remove = tempfile.TemporaryDirectory.cleanup

    def cleanup(self):
        modes.append(os.stat(self.name).st_mode & 0o777)
        remove(self)

    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile.TemporaryDirectory, "cleanup", cleanup)
    (tmp_path / "lexicon.txt").write_text("cat K AE T\n")
    (tmp_path / "toy.toml").write_text('[lexicon]\nfiles = ["lexicon.txt"]\n')
    before = os.umask(0)
    try:
        build(Recipe.read(tmp_path / "toy.toml"))
    finally:
        os.umask(before)
    assert modes
    assert set(modes) == {0o700}
    assert not list((tmp_path / "temporary").iterdir())


def test_nothing_waits_for_pipes(tmp_path):
    for name in ("wav.scp", "all.txt", "cuts.jsonl", "cuts.jsonl.gz", "a.wav"):
        os.mkfifo(tmp_path / name)
        [recording] = recordings([tmp_path / name])
        with pytest.raises(AudioError, match="not a regular file"):
            recording.load(16000)
    fields = {"tokens": ["<blk>"], "frame_shift": 0.02, "sample_rate": 16000}
    (tmp_path / "m.json").write_text(json.dumps(fields))
    (tmp_path / "m.scp").write_text(f"utt {tmp_path / 'a.wav'}:0\n")
    with pytest.raises(ModelError, match="damaged or missing"):
        acoustic.load(tmp_path / "m.scp").posteriors_for(["utt"])


@pytest.mark.parametrize("command", ["info", "graph", "transcribe a.wav --graph"])
def test_names_that_no_system_takes_are_named(capsys, command):
    assert cli.main([*command.split(), "x" * 300]) == 1
    assert "File name too long" in capsys.readouterr().err


def test_a_list_may_name_its_own_folder_again_and_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "all.txt").write_text(".\n.\n..\n/\n")
    for recording in recordings(tmp_path / "all.txt"):
        with pytest.raises(AudioError, match="not a regular file"):
            recording.load(16000)


# ---------------------------------------------------------------- the network


_NO_NETWORK = """
import os, socket
def refuse(*arguments, **options):
    with open(os.environ["CALLS"], "a") as file:
        file.write(f"network {arguments}\\n")
    raise OSError("there is no network here")
whole = socket.socket.__init__
def only_local(self, family=socket.AF_INET, *arguments, **options):
    if family in (socket.AF_INET, socket.AF_INET6, -1):
        refuse(family)
    whole(self, family, *arguments, **options)
socket.socket.__init__ = only_local
socket.create_connection = socket.getaddrinfo = socket.gethostbyname = refuse
with open(os.environ["CALLS"], "a") as file:
    file.write("started\\n")
"""


def test_transcribing_needs_no_network(tmp_path, root):
    """With Python's sockets switched off in all processes, which is noted by each of them."""
    (tmp_path / "lexicon.txt").write_text("cat K AE T\nand AE N D\nhat HH AE T\n")
    (tmp_path / "toy.toml").write_text('[lexicon]\nfiles = ["lexicon.txt"]\n')
    folder = build(Recipe.read(tmp_path / "toy.toml"))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(_NO_NETWORK)
    calls = tmp_path / "calls"
    wavs = sorted((root / "examples").glob("0[12]*.wav"))
    command = [sys.executable, "-m", "asr_hlg.cli", "transcribe", "--graph", folder, "--quiet"]
    run = subprocess.run(
        [*command, "--workers", "2", *wavs],
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **os.environ,
            "PYTHONPATH": str(tmp_path / "site"),
            "CALLS": str(calls),
            "OMP_NUM_THREADS": "1",
        },
    )
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == 2
    lines = calls.read_text().splitlines()
    assert lines.count("started") >= 3
    assert set(lines) == {"started"}
