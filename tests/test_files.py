"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from asr_hlg.files import file_hash, replaced, save_array, write_json


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
