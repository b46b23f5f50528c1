"""Files that appear whole or not at all, and the folder for caches."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

from asr_hlg import files
from asr_hlg.files import (
    cache_folder,
    file_hash,
    parse_json,
    replaced,
    save_array,
    write_json,
)


@pytest.mark.parametrize("durable", [False, True])
def test_an_error_leaves_the_old_file_and_no_other(tmp_path, durable):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half() -> None:
        with replaced(path, durable) as part:
            part.write_text("ne")
            raise ValueError("half written")

    with pytest.raises(ValueError, match="half"):
        write_half()
    assert path.read_text() == "old"
    with replaced(path, durable) as part:
        part.write_text("new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_mapped_array_keeps_its_content(tmp_path):
    path = tmp_path / "a.npy"
    save_array(path, np.arange(3))
    mapped = np.load(path, mmap_mode="r")
    save_array(path, np.zeros(3))
    assert mapped.tolist() == [0, 1, 2]
    assert np.load(path).tolist() == [0, 0, 0]


def test_hash_and_json(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"ε": 1})
    content = '{\n "ε": 1\n}\n'
    assert path.read_text(encoding="utf-8") == content
    assert file_hash(path) == hashlib.sha256(content.encode()).hexdigest()


def test_the_cache_folder_is_the_users_own(tmp_path, monkeypatch):
    monkeypatch.delenv("ASR_HLG_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "asr-hlg"
    monkeypatch.setenv("ASR_HLG_CACHE", str(tmp_path / "a" / "b"))
    assert cache_folder() == tmp_path / "a" / "b"
    assert stat.S_IMODE(cache_folder().stat().st_mode) == 0o700


@pytest.mark.parametrize("planted", ["nothing", "open folder", "link"])
def test_an_unusable_cache_folder_is_replaced_after_one_warning(tmp_path, monkeypatch, planted):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files._temporary_cache.cache_clear()
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("ASR_HLG_CACHE", str(tmp_path / "file" / "cache"))
    common = tmp_path / f"asr-hlg-{os.getuid()}"
    if planted == "open folder":
        common.mkdir()
        common.chmod(0o777)
    elif planted == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        common.symlink_to(tmp_path / "elsewhere")
    with pytest.warns(UserWarning, match="file/cache cannot be used"):
        folder = cache_folder()
    assert folder.parent == tmp_path
    assert (folder == common) == (planted == "nothing")
    assert stat.S_IMODE(folder.lstat().st_mode) == 0o700
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache_folder() == folder


def test_no_home_is_no_folder_named_tilde(tmp_path, monkeypatch):
    import platformdirs

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files._temporary_cache.cache_clear()
    monkeypatch.delenv("ASR_HLG_CACHE", raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: f"~/.cache/{name}")
    with pytest.warns(UserWarning, match="no home folder"):
        assert cache_folder().is_relative_to(tmp_path)
    assert not Path("~").exists()


@pytest.mark.parametrize("text", ["[" * 100_000, b'{"a":' * 100_000])
def test_json_that_is_nested_too_deeply_is_a_value_error(text):
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(text)
