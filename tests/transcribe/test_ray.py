"""The same transcripts from a Ray cluster, even when an actor is killed."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from asr_hlg.audio import recordings
from asr_hlg.cli import main
from asr_hlg.errors import AsrHlgError, AudioError, OptionError, WorkerError
from asr_hlg.output import writers as output
from asr_hlg.output.transcript import Alternative, Transcript, Word
from asr_hlg.transcribe import Job, Transcriber, cluster
from asr_hlg.transcribe.cluster import RayWorkers

# Not by importing it: what surrounds an import of Ray is under test, too.
if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not installed: make test-ray", allow_module_level=True)
parquet = pytest.importorskip("pyarrow.parquet")

NUMBER = 60  # of recordings


@pytest.fixture(scope="module")
def ray():
    """A Ray of two cores for all tests, whose processes can import this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        ray, _ = cluster._connected(2)
        yield ray
        ray.shutdown()


@pytest.fixture(scope="module")
def digits(speech) -> list[Path]:
    return sorted((speech / "fsdd" / "wav").glob("*_theo_*.wav"))[:NUMBER]


@dataclass(frozen=True)
class WatchedJob(Job):
    """Leaves the number of the actor's process in a folder, once its worker has loaded."""

    folder: str = ""

    def transcriber(self):
        loaded = super().transcriber()
        (Path(self.folder) / str(os.getppid())).touch()
        return loaded


@pytest.mark.slow
def test_a_killed_actor_loses_and_doubles_nothing(ray, english, root, digits, tmp_path):
    folder = str(root / "graphs" / "en")
    alone = Transcriber.from_graph(folder)
    found = list(recordings([*digits, tmp_path / "absent.wav"]))
    results, killed, actors_then = [], 0, set()
    with RayWorkers(WatchedJob(folder, folder=str(tmp_path))) as workers:
        for recording, result in workers.run(found):
            results.append((recording.id, result))
            actors = {int(path.name) for path in tmp_path.iterdir()}
            if len(results) >= NUMBER // 3 and not killed:
                killed, actors_then = min(actors), actors
                os.kill(killed, signal.SIGKILL)
    assert killed
    assert len(list(tmp_path.iterdir())) > len(actors_then), "none took its place"
    assert [id for id, _ in results] == [recording.id for recording in found]
    heard = {id: result for id, result in results if isinstance(result, Transcript)}
    assert isinstance(dict(results)["absent"], AudioError)
    assert heard == {t.id: t for t in alone.transcribe(digits)}


def test_only_this_machine_reaches_a_ray_of_our_own(ray):
    assert ray.get_runtime_context().gcs_address.startswith("127.0.0.1:")
    assert ray.cluster_resources()["CPU"] == 2


@pytest.mark.slow
def test_the_command_goes_on_from_a_journal_and_ends_in_the_same_bytes(
    ray, english, root, digits, tmp_path, monkeypatch, capsys
):
    """Half of the recordings are known from a call without Ray; relative paths are understood."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "all.txt").write_text("".join(f"{path}\n" for path in [*digits[:12], "absent.wav"]))
    command = ["transcribe", "all.txt", "--graph", str(root / "graphs" / "en")]
    command += ["--format", "json", "--workers", "1", "--output"]
    assert main([*command, "here.jsonl"]) == 1  # one is absent
    lines = Path("here.jsonl.journal").read_bytes().splitlines(keepends=True)
    Path("there.jsonl.journal").write_bytes(b"".join(lines[:6]))
    assert main([*command, "there.jsonl", "--resume", "--engine", "ray"]) == 1
    assert "5 of 13 are done already" in capsys.readouterr().err
    assert Path("there.jsonl").read_bytes() == Path("here.jsonl").read_bytes()


def test_an_actor_that_cannot_start_ends_the_job_with_its_reason(ray, english, root, digits):
    with RayWorkers(Job(str(root / "graphs" / "en"), model="absent.npz"), 1) as workers:
        assert list(workers.run([])) == []
        with pytest.raises(WorkerError, match=r"cannot start.*absent\.npz"):
            list(workers.run(recordings(digits)))


@pytest.mark.parametrize(("job", "number"), [(Job("no/such/graph"), 1), (Job("unread"), 0)])
def test_mistakes_show_before_there_is_a_cluster(job, number):
    with pytest.raises(AsrHlgError, match=r"no/such/graph|at least 1"):
        RayWorkers(job, number)


def test_parquet_holds_what_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr("asr_hlg.output.parquet._ROWS", 2)
    full = Transcript(
        "a/b", "grüezi", [Word("grüezi", 0.1, 1 / 3, 0.5)], -1 / 3, 2.5,
        [Alternative("x", float("-inf"), -1.0, 0.1)], ["searched with beam 3"],
    )  # fmt: skip
    path = tmp_path / "new" / "out.parquet"
    with output.writer("parquet", path) as out:
        for transcript in (full, Transcript("empty", ""), Transcript("other", "words only")):
            out.write(transcript)
        assert not path.exists()
    first, empty, other = parquet.read_table(path).to_pylist()
    words = [{"word": "grüezi", "start": 0.1, "end": 1 / 3, "confidence": 0.5}]
    assert first == {**asdict(full), "words": words}
    assert (empty["words"], other["text"]) == ([], "words only")
    with pytest.raises(OptionError, match="--output"):
        output.check("parquet", sys.stdout, 1)
    with pytest.raises(OptionError, match="--output"):
        output.check("parquet", tmp_path, 1)

    def fail_while_writing():
        with output.writer("parquet", tmp_path / "none") as out:
            out.write(full)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_writing()
    assert not list(tmp_path.glob("none*"))
