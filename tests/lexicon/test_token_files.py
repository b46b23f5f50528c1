"""Tables of tokens of other toolkits: blank first, spaces, boundaries, faults."""

from __future__ import annotations

import json

import pytest

from asr_hlg.errors import ModelError
from asr_hlg.lexicon.token_files import blank_named, read_tokens, tokens_file


def table(path, text: str, **options):
    path.write_text(text, encoding="utf-8")
    return read_tokens(path, **options)


@pytest.mark.parametrize("blank", ["<blk>", "<blank>", "<eps>", "[PAD]"])
def test_blank_comes_first_wherever_it_is(tmp_path, blank):
    first = table(tmp_path / "tokens.txt", f"{blank} 0\na 1\nb 2\n", num_outputs=3)
    assert (first.names, first.columns) == (("<blk>", "a", "b"), (0, 1, 2))
    last = table(tmp_path / "tokens.txt", f"b 1\na 0\n{blank} 2\n", num_outputs=3)
    assert (last.names, last.columns) == (("<blk>", "a", "b"), (2, 0, 1))
    given = table(tmp_path / "tokens.txt", "<s> 0\na 1\n<pad> 2\n", blank=0)
    assert given.columns == (0, 1, 2)


def test_a_line_with_an_id_alone_is_the_space(tmp_path):
    tokens = table(tmp_path / "tokens.txt", "  0\na 1\n3 2\n<blk> 3\n")
    assert tokens.names == ("<blk>", "▁", "a", "3")
    assert tokens.boundary == "▁"
    assert table(tmp_path / "tokens.txt", "▁ 0\n▁a 1\n<blk> 2\n").boundary is None
    assert table(tmp_path / "tokens.txt", "| 0\na 1\n<blk> 2\n").boundary == "|"


def test_disambiguation_symbols_are_no_outputs(tmp_path):
    text = "<eps> 0\na 1\n#0 2\n#1 3\n"
    assert table(tmp_path / "tokens.txt", text, num_outputs=2).names == ("<blk>", "a")
    assert table(tmp_path / "tokens.txt", text).names == ("<blk>", "a")
    assert table(tmp_path / "tokens.txt", text, num_outputs=4).names[2:] == ("#0", "#1")


def test_vocabularies_of_nemo_lack_blank(tmp_path):
    tokens = table(tmp_path / "vocab.txt", "<unk>\nthe\n##s\n", num_outputs=4)
    assert (tokens.names, tokens.columns) == (("<blk>", "<unk>", "▁the", "s"), (3, 0, 1, 2))
    assert tokens.pieces == {"▁the", "s"}


def test_vocabularies_of_hugging_face(tmp_path):
    (tmp_path / "vocab.json").write_text(json.dumps({"[PAD]": 2, "|": 0, "a": 1}))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<s>": 3}))
    tokens = read_tokens(tmp_path / "vocab.json", num_outputs=4)
    assert (tokens.names, tokens.columns) == (("<blk>", "|", "a", "<s>"), (2, 0, 1, 3))
    tokens = read_tokens(tmp_path / "vocab.json", num_outputs=3)
    assert (tokens.names, tokens.columns) == (("<blk>", "|", "a"), (2, 0, 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 0\nb 1\n", "no blank"),
        ("<blk> 0\na 2\n", "without a gap"),
        ("<blk> 0\na 0\n", "given twice"),
        ("<blk> 0\na 1\na 2\n", "listed twice"),
        ("<blk> 0\na\n", "expected 'symbol id'"),
        ("", "without a gap"),
    ],
)
def test_faulty_tables_are_refused(tmp_path, text, message):
    with pytest.raises(ModelError, match=rf"tokens\.txt.*{message}"):
        table(tmp_path / "tokens.txt", text, num_outputs=max(2, len(text.split("\n")) - 1))


@pytest.mark.parametrize("ids", ["-1, 1", "0, Infinity", "0, 2", "[], 1"])
def test_faulty_ids_of_a_vocabulary_are_refused(tmp_path, ids):
    first, second = ids.split(", ")
    text = f'{{"<pad>": {first}, "a": {second}}}'
    with pytest.raises(ModelError, match=r"vocab\.json: .*ids"):
        table(tmp_path / "vocab.json", text)


def test_another_number_of_outputs_is_refused(tmp_path):
    with pytest.raises(ModelError, match="2 tokens, but the network has 5 outputs"):
        table(tmp_path / "tokens.txt", "<blk> 0\na 1\n", num_outputs=5)


def test_folders_are_searched(tmp_path):
    assert tokens_file(tmp_path / "onnx") is None
    (tmp_path / "onnx").mkdir()
    (tmp_path / "vocab.json").write_text("{}")
    assert tokens_file(tmp_path / "onnx") == tmp_path / "vocab.json"
    (tmp_path / "onnx/tokens.txt").write_text("")
    assert tokens_file(tmp_path / "onnx") == tmp_path / "onnx/tokens.txt"


def test_blank_of_other_toolkits_is_named_as_here():
    assert blank_named(["a", "<blank>"]) == ("a", "<blk>")
    assert blank_named(["<pad>", "a", "<blk>"]) == ("<pad>", "a", "<blk>")
    assert blank_named(["<eps>", "a", "<pad>"]) == ("<eps>", "a", "<pad>")
    assert blank_named(["a", "b"]) == ("a", "b")
