"""Nothing is lost, and nothing done twice, whatever stops a transcription."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from asr_hlg.cli import main
from asr_hlg.errors import AsrHlgError, OptionError
from asr_hlg.output.transcript import Alternative, Transcript, Word
from asr_hlg.transcribe.journal import Journal
from tests.support import doomed

FULL = Transcript(
    "a b/c", "grüezi", [Word("grüezi", 0.1, 1 / 3, 1e-9)], -1 / 3, 2.5,
    [Alternative("x", float("-inf"), -1.0, 0.1)], ["searched with beam 3"],
)  # fmt: skip


# ---------------------------------------------------------------- the journal by itself


def test_what_is_recorded_comes_back_as_it_was(tmp_path):
    path = tmp_path / "new folder" / "out.journal"
    with Journal.open(path, {"beam": 1.5, "graph": ("en",)}) as journal:
        journal.add(FULL)
        journal.add_failure("bad", "no such file")
        journal.add(Transcript("other", ""))
        assert journal.transcript("a b/c") == FULL
    with Journal.open(path, {"beam": 1.5, "graph": ("en",)}, resume=True) as journal:
        assert "a b/c" in journal
        assert "bad" in journal
        assert "new" not in journal
        assert journal.transcript("a b/c") == FULL
        assert journal.failures == {"bad": "no such file"}
        journal.add(Transcript("bad", "it was heard at last"))
        assert not journal.failures
        journal.finish()
    assert not path.exists()


def test_a_journal_cut_anywhere_keeps_all_whole_lines(tmp_path):
    """Of many lengths, and with the zeros or the noise that a power cut can leave."""
    path = tmp_path / "journal"
    with Journal.open(path, {}) as journal:
        header = path.stat().st_size
        for name in "abc":
            journal.add(Transcript(name, name * 10))
    whole = path.read_bytes()
    for length in range(header, len(whole), 7):
        for rest in (b"", bytes(50), b'"}\n{"transcript": "'):
            path.write_bytes(whole[:length] + rest)
            lines = whole[:length].count(b"\n") - 1
            with Journal.open(path, {}, resume=True) as journal:
                assert [name for name in "abc" if name in journal] == list("abc"[:lines])
                for name in "abc"[lines:]:
                    journal.add(Transcript(name, name * 10))
            assert path.read_bytes() == whole


def test_an_unfinished_journal_is_not_overwritten_by_chance(tmp_path):
    path = tmp_path / "journal"
    with Journal.open(path, {"beam": 1}) as journal:
        journal.add(FULL)
        with pytest.raises(OptionError, match="another process"), Journal.open(path, {}):
            pass
    with (
        pytest.raises(OptionError, match=r"--resume.*--overwrite"),
        Journal.open(path, {"beam": 1}),
    ):
        pass
    with (
        pytest.raises(OptionError, match="begun with beam 1, not 2"),
        Journal.open(path, {"beam": 2}, resume=True),
    ):
        pass
    with Journal.open(path, {"beam": 2}, overwrite=True) as journal:
        assert journal.is_empty
    # Nothing worth keeping is in there now.
    with Journal.open(path, {"beam": 3}) as journal:
        journal.add_failure("bad", "empty")
        journal.finish()
    # It has come to its end: another call begins anew, unless told to go on.
    with Journal.open(path, {"beam": 3}, resume=True) as journal:
        assert "bad" in journal
        journal.finish()
    with Journal.open(path, {"beam": 4}) as journal:
        assert journal.is_empty


def test_other_files_are_left_alone(tmp_path):
    path = tmp_path / "journal"
    path.write_text("my notes\n")
    for how in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(AsrHlgError, match="not a journal"), Journal.open(path, {}, **how):
            pass
    assert path.read_text() == "my notes\n"
    with pytest.raises(AsrHlgError, match="cannot be written"), Journal.open("/proc/x/y", {}):
        pass


# ---------------------------------------------------------------- killed at random moments


def run_until_killed(
    command: Sequence[str], journal: Path, generator: random.Random, seconds: float
) -> bool:
    """Kill a program after a few more lines of its journal and up to so many seconds.

    Half of the times its processes are killed with it, as by a power cut; a third of those times
    what was written last is lost or damaged. Returns whether it came to its end before.
    """
    size = journal.stat().st_size if journal.exists() else 0
    wanted = generator.choice([0, 0, 400, 2000, 4000])
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if journal.exists() and journal.stat().st_size >= size + wanted:
            break
        time.sleep(0.001)
    time.sleep(generator.uniform(0, seconds))
    ended = process.poll() is not None
    if generator.random() < 0.5:
        kill_group(process.pid)
        if generator.random() < 0.33 and journal.exists():
            damage(journal, generator)
    else:
        process.kill()
    process.wait()
    return ended


def kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def damage(journal: Path, generator: random.Random) -> None:
    """Lose or spoil what a power cut might: lines behind the first, which was synced."""
    content = journal.read_bytes()
    header = content.index(b"\n") + 1
    length = max(header, len(content) - generator.randint(0, 300))
    journal.write_bytes(content[:length] + generator.choice([b"", bytes(100), b"\xff{"]))


def test_25_kills_change_nothing(tmp_path):
    command = [sys.executable, doomed.__file__]
    subprocess.run([*command, str(tmp_path / "calm.jsonl")], check=True)
    calm = (tmp_path / "calm.jsonl").read_bytes()
    out, journal = tmp_path / "out.jsonl", tmp_path / "out.jsonl.journal"
    generator = random.Random(25)
    kills = ends = 0
    while kills < 25:
        if run_until_killed([*command, str(out)], journal, generator, seconds=0.03):
            # It came to its end, which is one more thing to go on from.
            ends += 1
            assert out.read_bytes() == calm
            out.unlink()
            journal.unlink()
        else:
            kills += 1
    subprocess.run([*command, str(out)], check=True)
    assert sorted(out.read_bytes().splitlines()) == sorted(calm.splitlines())
    failed = json.loads(journal.read_text().splitlines()[-2])
    assert len(calm.splitlines()) < len(doomed.IDS)
    assert failed
    assert ends < 5  # the kills came in time


def test_a_full_disk_is_named_and_survived(tmp_path):
    """A file may not grow beyond a limit: the system writes half a line and then refuses."""
    out = tmp_path / "out.jsonl"
    command = [sys.executable, doomed.__file__, str(out)]

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))

    full = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True)
    assert full.returncode == 1
    assert "out.jsonl.journal: cannot be written: File too large" in full.stderr
    assert (tmp_path / "out.jsonl.journal").stat().st_size == 5000
    subprocess.run(command, check=True)
    subprocess.run([*command[:2], str(tmp_path / "calm.jsonl")], check=True)
    assert out.read_bytes() == (tmp_path / "calm.jsonl").read_bytes()


# ---------------------------------------------------------------- the command itself


@pytest.fixture(scope="module")
def stored(root, tmp_path_factory) -> Path:
    """Posteriors of the cat, the hat and noise, and a list of their ids; no sound is needed."""
    if not (root / "graphs" / "cat_hat" / "graph.json").is_file():
        pytest.skip("graphs/cat_hat is not compiled: make graph GRAPH=cat_hat")
    from asr_hlg.graph import DecodingGraph

    folder = tmp_path_factory.mktemp("stored")
    tokens = list(DecodingGraph.load(root / "graphs" / "cat_hat").columns)
    generator = np.random.default_rng(8)
    matrices = {}
    for number in range(40):
        scores = generator.normal(0, 2, (generator.integers(20, 400), len(tokens)))
        scores = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        matrices[f"utt{number:02}"] = scores.astype(np.float32)
    np.savez(folder / "model.npz", **matrices)
    description = {"tokens": tokens, "frame_shift": 0.02, "sample_rate": 16000}
    (folder / "model.json").write_text(json.dumps(description))
    names = [*list(matrices)[:20], "absent", *list(matrices)[20:]]
    (folder / "all.txt").write_text("".join(f"{name}.wav\n" for name in names))
    return folder


@pytest.fixture(scope="module")
def command(stored, root) -> list[str]:
    """The command with a cheap model; run where the output shall be."""
    given = ["transcribe", str(stored / "all.txt"), "--graph", str(root / "graphs" / "cat_hat")]
    given += ["--model", str(stored / "model.npz"), "--format", "json", "--nbest", "2"]
    return [*given, "--lattices", "lattices", "--output", "out.jsonl", "--workers", "1"]


@pytest.fixture(scope="module")
def calm(command, tmp_path_factory) -> Path:
    """What comes of an undisturbed call with two workers, in a folder of its own."""
    folder = tmp_path_factory.mktemp("calm")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*command, "--workers", "2"]) == 1  # one has no posteriors
    return folder


@pytest.fixture
def beside(tmp_path, monkeypatch) -> Path:
    """The working folder of a call."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_resume_ends_in_the_same_bytes(command, calm, beside, capsys):
    lines = (calm / "out.jsonl.journal").read_bytes().splitlines(keepends=True)
    assert len((calm / "out.jsonl").read_bytes().splitlines()) == 40
    assert len(lines) == 1 + 41 + 1
    journal = beside / "out.jsonl.journal"
    unfinished = b"".join(lines[:15]) + lines[15][:40]
    journal.write_bytes(unfinished)
    assert main(command) == 1
    assert "--resume" in capsys.readouterr().err
    assert journal.read_bytes().startswith(b"".join(lines[:15]))
    assert main([*command, "--resume", "--search-beam", "3"]) == 1
    assert "begun with search" in capsys.readouterr().err
    assert not (beside / "out.jsonl").exists()
    assert main([*command, "--resume"]) == 1
    shown = capsys.readouterr().err
    assert "14 of 41 are done already" in shown
    assert "--retry-failed" in shown
    assert (beside / "out.jsonl").read_bytes() == (calm / "out.jsonl").read_bytes()
    done = [json.loads(line)["transcript"]["id"] for line in lines[1:15] if b"failure" not in line]
    lattices = {path.stem: path.read_bytes() for path in (calm / "lattices").iterdir()}
    assert len(lattices) == 40
    again = {path.stem: path.read_bytes() for path in (beside / "lattices").iterdir()}
    assert again == {name: lattices[name] for name in lattices if name not in done}


def test_only_what_failed_is_tried_again_and_only_if_asked_for(command, calm, beside, capsys):
    shutil.copy(calm / "out.jsonl.journal", beside)
    assert main([*command, "--resume"]) == 1
    assert "41 of 41" in capsys.readouterr().err
    assert main([*command, "--resume", "--retry-failed"]) == 1
    shown = capsys.readouterr().err
    assert "40 of 41" in shown
    assert "absent" in shown
    assert (beside / "out.jsonl").read_bytes() == (calm / "out.jsonl").read_bytes()


def test_every_format_comes_from_the_journal(command, calm, beside):
    records = [json.loads(line) for line in (calm / "out.jsonl").read_text().splitlines()]
    for target, format in {"out.txt": "text", "grids": "textgrid"}.items():
        shutil.copy(calm / "out.jsonl.journal", beside / f"{target}.journal")
        main([*command, "--resume", "--format", format, "--output", target])
    found = (beside / "out.txt").read_text().splitlines()
    assert found == [f"{record['id']} {record['text']}".rstrip() for record in records]
    assert len(list((beside / "grids").glob("*.TextGrid"))) == 40


def test_worker_numbers_change_no_byte(command, calm, beside):
    main([*command, "--workers", "4"])
    assert (beside / "out.jsonl").read_bytes() == (calm / "out.jsonl").read_bytes()


def test_what_cannot_be_resumed_is_said(command, beside, capsys):
    (beside / "done.jsonl").write_text("")
    assert main([*command, "--resume", "--output", "done.jsonl"]) == 0
    assert "complete" in capsys.readouterr().err
    assert main(["transcribe", "a.wav", "--resume"]) == 1
    assert "--output" in capsys.readouterr().err


def test_ctrl_c_finishes_what_is_in_flight(command, calm, beside):
    journal = beside / "out.jsonl.journal"
    process = subprocess.Popen(
        [sys.executable, "-m", "asr_hlg.cli", *command],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not journal.exists():
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    _, shown = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Ctrl-C again" in shown
    assert "--resume" in shown
    assert "Traceback" not in shown
    assert not (beside / "out.jsonl").exists()
    assert main([*command, "--resume"]) == 1
    assert (beside / "out.jsonl").read_bytes() == (calm / "out.jsonl").read_bytes()


@pytest.mark.slow
def test_25_kills_of_the_real_command_change_nothing(english, root, speech, tmp_path):
    graph = ["--graph", str(root / "graphs" / "en"), "--workers", "2", "--format", "json"]
    inputs = [str(path) for path in sorted((speech / "fsdd").rglob("*.wav"))[:400]]
    command = [sys.executable, "-m", "asr_hlg.cli", "transcribe", *inputs, *graph, "--quiet"]
    calm, out = tmp_path / "calm.jsonl", tmp_path / "out.jsonl"
    subprocess.run([*command, "--output", str(calm)], check=True)
    generator = random.Random(8)
    kills = 0
    while kills < 25:
        journal = tmp_path / "out.jsonl.journal"
        if run_until_killed([*command, "--output", str(out), "--resume"], journal, generator, 0.3):
            out.unlink(missing_ok=True)
        else:
            kills += 1
    subprocess.run([*command, "--output", str(out), "--resume"], check=True)
    assert sorted(out.read_bytes().splitlines()) == sorted(calm.read_bytes().splitlines())
