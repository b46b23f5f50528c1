"""Checks of a graph folder that are not repeated while its files stay the same."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from asr_hlg.errors import GraphError
from asr_hlg.graph import DecodingGraph, checks, store, verified
from asr_hlg.graph.build import build
from asr_hlg.graph.recipe import Recipe


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ASR_HLG_CACHE", str(tmp_path / "cache"))
    made = tmp_path / "graph"
    made.mkdir()
    for name in ("graph.json", "arcs"):
        (made / name).write_text("content")
    return made


@pytest.fixture
def settled(monkeypatch):
    """Let the time since a file was written count as long enough."""
    monkeypatch.setattr(verified, "_SETTLED_SECONDS", 0.0)


def number_of_checks(folder, times: int = 1, name: str = "hash") -> int:
    done = []
    for _ in range(times):
        verified.once(folder, name, ["arcs"], lambda: done.append(1))
    return len(done)


def test_a_check_is_made_once(folder, settled):
    assert number_of_checks(folder, times=3) == 1
    assert number_of_checks(folder, name="another") == 1
    assert number_of_checks(folder) == 0


def test_a_changed_file_is_checked_again(folder, settled):
    number_of_checks(folder)
    status = (folder / "arcs").stat()
    with (folder / "arcs").open("r+b") as file:
        file.write(b"Content")
    os.utime(folder / "arcs", ns=(status.st_atime_ns, status.st_mtime_ns))  # as a tool may do
    assert (folder / "arcs").stat().st_mtime_ns == status.st_mtime_ns
    assert number_of_checks(folder) == 1
    (folder / "graph.json").write_text("other")
    assert number_of_checks(folder) == 1
    shutil.copy(folder / "arcs", folder / "copy")
    (folder / "copy").replace(folder / "arcs")
    assert number_of_checks(folder, times=2) == 1


def test_a_file_that_has_just_been_written_is_checked_every_time(folder, monkeypatch):
    monkeypatch.setattr(verified, "_SETTLED_SECONDS", 3600.0)
    assert number_of_checks(folder, times=2) == 2


def test_a_failed_check_is_repeated(folder, settled):
    def fail() -> None:
        raise GraphError("is damaged")

    for _ in range(2):
        with pytest.raises(GraphError):
            verified.once(folder, "hash", ["arcs"], fail)


def test_a_damaged_or_missing_record(folder, settled, tmp_path):
    number_of_checks(folder)
    [record] = (tmp_path / "cache" / "verified-graphs").iterdir()
    for content in ("", "[1, 2]", "\udcff"):
        record.write_bytes(content.encode("utf-8", "surrogateescape"))
        assert number_of_checks(folder, times=2) == 1
    assert number_of_checks(folder.with_name("none"), times=2) == 2


def test_a_graph_is_read_once_for_its_checks(tmp_path, root, monkeypatch, settled):
    monkeypatch.setenv("ASR_HLG_CACHE", str(tmp_path))
    graph = build(Recipe.read(root / "graphs" / "cat_hat.toml"), folder=tmp_path / "cat_hat")
    time.sleep(0.01)  # the clock of files may lag behind
    calls = []
    monkeypatch.setattr(checks, "check_packed", lambda *_: calls.append("indices"))
    hash_file = store.file_hash
    monkeypatch.setattr(store, "file_hash", lambda path: calls.append("hash") or hash_file(path))
    DecodingGraph.load(graph)
    assert {"hash", "indices"} <= set(calls)
    calls.clear()
    DecodingGraph.load(graph)
    assert calls == []
