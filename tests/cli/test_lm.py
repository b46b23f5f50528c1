"""``asr-hlg lm`` through the command line: results, help, documentation, errors."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

from asr_hlg import lm
from asr_hlg.cli import lm as command
from asr_hlg.cli import main
from tests.support.reference_lm import listed

TEXT = "the cat sat on the mat\nthe hat\n\na cat and a hat\nthe cat in the hat sat\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory with two texts and a lexicon."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sentences.txt").write_text(TEXT)
    (tmp_path / "dev.txt").write_text("the cat and the hat\na dog\n")
    (tmp_path / "lexicon.txt").write_text("dog d o g\ncat k a t\n")
    return tmp_path


def run(line: str) -> None:
    assert main(shlex.split(line)) == 0


def test_estimate_is_the_librarys(folder):
    run("lm estimate sentences.txt --order 2 --output mine.arpa")
    expected = lm.estimate(TEXT.splitlines(), 2)
    assert listed(lm.ArpaModel.read("mine.arpa")).keys() == listed(expected).keys()
    run("lm estimate sentences.txt --one-discount --vocabulary lexicon.txt --output plain.arpa.gz")
    model = lm.read("plain.arpa.gz")
    assert model.order == 3
    expected = lm.estimate(TEXT.splitlines(), modified=False, vocabulary=["dog", "cat"])
    for gram, numbers in listed(expected).items():
        assert listed(model)[gram] == pytest.approx(numbers, abs=1e-6)


def test_several_texts_are_one_corpus(folder):
    run("lm estimate sentences.txt dev.txt --order 1 --output both.arpa")
    assert {"mat", "dog"} <= set(lm.read("both.arpa").words)


def test_prune(folder, capsys):
    run("lm estimate sentences.txt --output mine.arpa")
    run("lm prune mine.arpa --threshold 1e-2 --output small.arpa")
    small, expected = lm.read("small.arpa"), lm.prune(lm.read("mine.arpa"), 1e-2)
    assert small.counts == expected.counts
    assert sum(small.counts) < sum(lm.read("mine.arpa").counts)
    assert f"writing small.arpa: {small.counts[0]} 1-grams" in capsys.readouterr().err


def test_mix_and_perplexity(folder, capsys):
    run("lm estimate sentences.txt --order 2 --output mine.arpa")
    run("lm estimate dev.txt --order 2 --output dev.arpa")
    run("lm mix mine.arpa dev.arpa --weights 0.7 0.3 --output mixed.arpa")
    models = [lm.read("mine.arpa"), lm.read("dev.arpa")]
    mixed, expected = lm.read("mixed.arpa"), lm.interpolate(models, [0.7, 0.3])
    assert listed(mixed).keys() == listed(expected).keys()
    capsys.readouterr()
    run("lm mix mine.arpa dev.arpa --tune dev.txt --output tuned.arpa")
    assert capsys.readouterr().out == "mine.arpa: weight 0.0000\ndev.arpa: weight 1.0000\n"
    run("lm perplexity mixed.arpa dev.txt sentences.txt")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"mixed.arpa, dev.txt: {lm.perplexity(mixed, lm.read_sentences('dev.txt'))}"
    assert lines[1].startswith("mixed.arpa, sentences.txt: perplexity ")
    assert lines[1].endswith("4 sentences, 19 words, 0 unknown")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lm estimate no.txt --output x.arpa", "no.txt: cannot be read: No such file"),
        ("lm estimate bad.txt --output x.arpa", "bad.txt:2: is not UTF-8 (convert"),
        ("lm estimate marked.txt --output x.arpa", "marked.txt:1: the sentence contains <s>"),
        ("lm estimate empty.txt --output x.arpa", "empty.txt: has no sentence"),
        ("lm estimate sentences.txt --order 0 --output x.arpa", "cannot have order 0"),
        ("lm estimate sentences.txt --output no/x.arpa", "no/x.arpa: cannot be written"),
        ("lm prune bad.arpa --threshold 1e-7 --output x.arpa", "bad.arpa:2: expected 'ngram"),
        ("lm prune good.arpa --threshold -1 --output x.arpa", "threshold -1.0 is negative"),
        ("lm mix good.arpa good.arpa --weights 0.7 --output x.arpa", "2 models cannot have 1"),
        ("lm mix good.arpa good.arpa --weights 0.7 0.7 --output x.arpa", "add up to 1"),
        ("lm mix good.arpa good.arpa --tune empty.txt --output x.arpa", "empty.txt: has no"),
        ("lm perplexity good.arpa empty.txt", "empty.txt: has no sentence"),
        ("lm perplexity good.bin sentences.txt", "good.bin: cannot be read"),
    ],
)
def test_errors_have_file_and_line(folder, capsys, line, message):
    (folder / "bad.txt").write_bytes(b"a\n\xff\n")
    (folder / "marked.txt").write_text("<s> a </s>\n")
    (folder / "empty.txt").write_text("\n \n")
    (folder / "bad.arpa").write_text("\\data\\\nwrong\n")
    lm.estimate(["a b"], 2).write("good.arpa")
    assert main(shlex.split(line)) == 1
    assert message in capsys.readouterr().err
    assert not (folder / "x.arpa").exists()


def test_examples_of_the_help_run(folder, capsys):
    run("lm estimate dev.txt --output general.arpa")
    helps = (command._ESTIMATE, command._PRUNE, command._MIX, command._PERPLEXITY)
    examples = [
        line for text in helps for line in text.splitlines() if line.startswith("  asr-hlg")
    ]
    assert len(examples) == 6
    for example in examples:
        run(example.strip().removeprefix("asr-hlg "))


def test_commands_of_the_documentation(root, tmp_path):
    text = (root / "docs" / "language-models.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(sh|text)\n(.*?)```", text, re.DOTALL)
    (tmp_path / "examples").symlink_to(root / "examples")
    script = f'asr-hlg() {{ "{sys.executable}" -m asr_hlg.cli "$@"; }}\n'
    script += "".join(block for language, block in blocks if language == "sh")
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(block for language, block in blocks if language == "text")
