"""Items of lists that cannot be used: left out and named, or the end with --strict."""

from __future__ import annotations

import pytest

from asr_hlg.cli import main
from asr_hlg.errors import AsrHlgError, GrammarError, HotwordError, ItemErrors, stop
from asr_hlg.files import text_lines
from asr_hlg.graph.adapt import hotwords
from asr_hlg.graph.adapt.runtime import with_grammar
from asr_hlg.output.text import read_transcripts
from tests.graph.test_hotwords import Spelling, write
from tests.graph.test_new_words import compile_toy
from tests.graph.test_runtime_grammar import make, scores
from tests.lattice.test_lattice import random_posteriors


def test_errors_are_shown_counted_or_raised():
    shown = []
    errors = ItemErrors(shown.append, limit=2)
    assert errors.summary() == ""
    for line in range(1, 4):
        errors(HotwordError("is bad", path="list", line=line))
    assert shown == ["list:1: is bad", "list:2: is bad"]
    assert errors.count == 3
    assert errors.summary().startswith("3 items were left out")
    assert "first 2 are named" in errors.summary()
    with pytest.raises(HotwordError):
        ItemErrors(shown.append, strict=True)(HotwordError("is bad"))
    with pytest.raises(AsrHlgError):
        stop(AsrHlgError("is bad"))


def test_lines_that_are_not_utf8_are_items(tmp_path):
    path = tmp_path / "list"
    path.write_bytes(b"one\n\xff\nthree\n")
    errors = []
    assert list(text_lines(path, on_error=errors.append)) == [(1, "one"), (3, "three")]
    assert [error.line for error in errors] == [2]
    with pytest.raises(AsrHlgError, match="not UTF-8"):
        list(text_lines(path))


def test_faulty_hotwords_are_left_out(tmp_path):
    path = write(
        tmp_path,
        b"takk\ncat\thigh\n\xff\ncat\ncat\t2\n#1\ncat takk\nzoo at\nat zoo\n"
        b"kat :2.5\nkat /1e-20/\n",
    )
    errors = []
    listed = hotwords.read(path, errors.append)
    assert [hotword.line for hotword in listed] == [1, 4, 7, 8, 9]
    assert [error.line for error in errors] == [2, 3, 5, 6, 10, 11]
    assert "follows a tab" in str(errors[-1])
    errors = []
    graph = compile_toy(tmp_path)
    changed, _ = hotwords.apply(graph, listed, Spelling(), errors.append)
    assert [error.line for error in errors] == [8, 9]
    assert "takk" in changed.words
    assert "zoo" not in changed.words
    good = [hotword for hotword in listed if hotword.line < 8]
    alone, _ = hotwords.apply(graph, good, Spelling())
    posteriors = random_posteriors(graph, [6])
    assert scores(changed, posteriors) == scores(alone, posteriors)


def test_a_list_of_faulty_lines_only_boosts_nothing(tmp_path):
    errors = []
    assert hotwords.read(write(tmp_path, "cat\tloud\n"), errors.append) == []
    assert len(errors) == 1
    with pytest.raises(HotwordError, match="no hotwords"):
        hotwords.read(write(tmp_path, "\n"), errors.append)


def test_sentences_with_words_that_cannot_be_pronounced_are_left_out(tmp_path):
    folder = make(tmp_path / "model", "ctc", False)
    text = "(cat | zoo) [a]\nzoo zoo\nat zoo* a\n"
    errors = []
    graph, _ = with_grammar(folder, text, "g.txt", Spelling(), errors.append)
    assert [(error.path, error.line) for error in errors] == [("g.txt", 1)]
    expected, _ = with_grammar(folder, "cat [a]\nat a\n", "g.txt", Spelling())
    posteriors = random_posteriors(graph, [7])
    found, wanted = scores(graph, posteriors), scores(expected, posteriors)
    assert found.keys() == wanted.keys()
    assert len(wanted) > 1
    with pytest.raises(GrammarError, match="none of its words can be pronounced"):
        with_grammar(folder, "zoo\n", "g.txt", Spelling(), errors.append)
    with pytest.raises(GrammarError, match="accepts no words"):
        with_grammar(folder, "zoo cat\n", "g.txt", Spelling(), errors.append)


@pytest.mark.parametrize(
    ("name", "content", "lines", "kept"),
    [
        ("text", b"a one\n b\na two\n\xff\nc three\n", [2, 3, 4], {"a": "one", "c": "three"}),
        ("x.trn", b"one (a)\nno id\ntwo (b)\n", [2], {"a": "one", "b": "two"}),
        ("x.ctm", b"a 1 0 1 one\na 1 x 1 y\nshort\n", [2, 3], {"a": "one"}),
        ("x.jsonl", b'{"id": "a", "text": "one"}\n{\n[]\n', [2, 3], {"a": "one"}),
    ],
)
def test_faulty_references_are_left_out(tmp_path, name, content, lines, kept):
    path = tmp_path / name
    path.write_bytes(content)
    errors = []
    assert read_transcripts(path, errors.append) == kept
    assert [(error.path, error.line) for error in errors] == [(str(path), n) for n in lines]
    with pytest.raises(AsrHlgError) as error:
        read_transcripts(path)
    assert error.value.line == lines[0]


@pytest.mark.real
def test_the_command_goes_on_and_ends_with_status_1(english, root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(root)
    monkeypatch.setenv("ASR_HLG_CACHE", str(tmp_path / "cache"))
    (tmp_path / "hot.txt").write_text("front of the house\nŁódź\nxanthippe\n")
    (tmp_path / "ref").write_text("01-slt he could not find his keys\n no id\n")
    (tmp_path / "list.txt").write_text("none.wav\nexamples/01-slt.wav\n")
    command = ["transcribe", str(tmp_path / "list.txt"), "--workers", "1"]
    command += ["--hotwords", str(tmp_path / "hot.txt"), "--ref", str(tmp_path / "ref")]
    for _ in range(2):  # the second time with the graph that was kept
        assert main(command) == 1
        shown = capsys.readouterr()
        assert shown.out.startswith("01-slt he could not find his keys")
        assert f"{tmp_path}/hot.txt:2: the graph lacks 'Łódź'" in shown.err
        assert f"{tmp_path}/ref:2:" in shown.err
        assert "none" in shown.err
        assert "guessed  xanthippe" in shown.err
        assert "2 items were left out" in shown.err
    assert main([*command, "--strict"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{tmp_path}/ref:2:" in shown.err
    assert main([*command[:4], "--strict"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "no such file" in shown.err.lower()
