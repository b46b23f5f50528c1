"""Transcript files are read strictly, and folding leaves words alone."""

from __future__ import annotations

import io

import pytest

from asr_hlg.errors import AsrHlgError
from asr_hlg.output.text import normalise, read_alternatives, read_transcripts
from asr_hlg.output.transcript import Transcript, Word
from asr_hlg.output.writers import writer


def file(tmp_path, content: str | bytes, name: str = "text"):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_kaldi_order(tmp_path):
    path = file(tmp_path, "a  cat and\that \r\n\nb\nzürich grüezi")
    assert read_transcripts(path) == {"a": "cat and hat", "b": "", "zürich": "grüezi"}


def test_a_byte_order_mark_is_not_part_of_the_first_id(tmp_path):
    assert read_transcripts(file(tmp_path, b"\xef\xbb\xbfa cat\n")) == {"a": "cat"}


def test_trn(tmp_path):
    path = file(tmp_path, "cat (um) hat (spk_1)\n(spk_2)\n", "x.trn")
    assert read_transcripts(path) == {"spk_1": "cat (um) hat", "spk_2": ""}


def test_ctm_words_follow_their_times(tmp_path):
    path = file(
        tmp_path,
        ";; made by hand\na 1 0.5 0.1 hat 0.9\na 1 0.1 0.2 cat\nb A 0 1 and 1.0\n",
        "x.ctm",
    )
    assert read_transcripts(path) == {"a": "cat hat", "b": "and"}


@pytest.mark.parametrize(("format", "name"), [("text", "x"), ("trn", "x.trn"), ("json", "x.json")])
def test_what_was_written_is_read(tmp_path, format, name):
    stream = io.StringIO()
    with writer(format, stream) as out:
        out.write(Transcript("a", "cat hat", [Word("cat", 0, 1, 1.0), Word("hat", 1, 2, 1.0)]))
        out.write(Transcript("b", ""))
    assert read_transcripts(file(tmp_path, stream.getvalue(), name)) == {"a": "cat hat", "b": ""}


@pytest.mark.parametrize(
    ("content", "name", "line", "message"),
    [
        ("a cat\na hat\n", "text", 2, "'a' is given twice"),
        ("a cat\n hat\n", "text", 2, "begins with a blank"),
        (b"a cat\n\nb h\xe4t\n", "text", 3, "not UTF-8"),
        ("cat hat\n", "x.trn", 1, "in parentheses"),
        ("cat ( )\n", "x.trn", 1, "in parentheses"),
        ("a 1 0.5 cat\n", "x.ctm", 1, "id channel start"),
        ("a 1 soon 0.1 cat\n", "x.ctm", 1, "id channel start"),
        ('{"id": "a"}\n', "x.json", 1, "id and a text"),
        ("[]\n", "x.json", 1, "id and a text"),
        ("a cat\n", "x.jsonl", 1, "Expecting value"),
    ],
)
def test_faults_name_file_and_line(tmp_path, content, name, line, message):
    path = file(tmp_path, content, name)
    with pytest.raises(AsrHlgError, match=message) as caught:
        read_transcripts(path)
    assert (caught.value.path, caught.value.line) == (str(path), line)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AsrHlgError, match="nowhere: cannot be read: No such file"):
        read_transcripts(tmp_path / "nowhere")


def test_alternatives(tmp_path):
    path = file(
        tmp_path,
        '{"id": "a", "alternatives": [{"text": "cat"}, {"text": "hat"}]}\n'
        '{"id": "b", "alternatives": []}\n{"id": "c"}\n',
    )
    assert read_alternatives(path) == {"a": ["cat", "hat"]}


@pytest.mark.parametrize("line", ["[]", "cat", '{"alternatives": ["cat"]}', '{"alternatives": 1}'])
def test_malformed_alternatives(tmp_path, line):
    path = file(tmp_path, "{}\n" + line)
    with pytest.raises(AsrHlgError, match="--nbest") as caught:
        read_alternatives(path)
    assert caught.value.line == 2


@pytest.mark.parametrize(
    ("raw", "folded"),
    [
        ("“Caxton’s wood-blocks,” he said.", "caxton's wood blocks he said"),
        ("The printers' 'art' – so-called", "the printers art so called"),
        ("rock 'n' roll", "rock n roll"),
        ("ＦＵＬＬ Straße", "full strasse"),
        ("3.5 $ ...", "35"),
        ("नमस्ते दुनिया", "नमस्ते दुनिया"),
    ],
)
def test_normalise(raw, folded):
    assert normalise(raw) == folded
