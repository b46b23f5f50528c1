"""Sentences of text files and of lists."""

from __future__ import annotations

import gzip

import pytest

from asr_hlg import lm
from asr_hlg.errors import LanguageModelError


@pytest.mark.parametrize("name", ["text", "text.gz"])
def test_reads_one_sentence_per_line(tmp_path, name):
    content = "\ufeffgrüß  gott\r\n\n \nja".encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert list(lm.read_sentences(tmp_path / name)) == [["grüß", "gott"], ["ja"]]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"a\n\nb </s>\n", 3, "the sentence contains </s>"),
        (b"a\nb\xff\n", 2, "is not UTF-8"),
        (b"\n \n", None, "has no sentence"),
    ],
)
def test_errors_have_file_and_line(tmp_path, content, line, message):
    path = tmp_path / "text"
    path.write_bytes(content)
    with pytest.raises(LanguageModelError, match=message) as caught:
        list(lm.read_sentences(path))
    assert (caught.value.path, caught.value.line) == (str(path), line)


def test_unreadable_files(tmp_path):
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"a b\n" * 1000)[:-12])
    for path in (tmp_path / "absent", tmp_path, tmp_path / "cut.gz"):
        with pytest.raises(LanguageModelError, match="cannot be read"):
            list(lm.read_sentences(path))
