"""ARPA files: round trips through the reader here and through kaldingram; errors with lines."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kaldingram.prune import ArpaParser

from asr_hlg import lm
from asr_hlg.errors import AsrHlgError, LanguageModelError
from tests.support.examples import examples
from tests.support.reference_lm import listed, texts

GOOD = """\\data\\
ngram 1=4
ngram 2=3

\\1-grams:
-0.5\ta\t-0.25
-0.6\tb
-99\t<s>\t-0.1
-0.9\t</s>

\\2-grams:
-0.1\t<s> a
-0.3\ta b
-0.2\tb </s>

\\end\\
"""
LINES = GOOD.split("\n")


@given(texts(), st.integers(1, 4))
@examples(20)
def test_round_trip(tmp_path_factory, sentences, order):
    model = lm.estimate(sentences, order)
    path = tmp_path_factory.mktemp("lm") / "lm.arpa"
    model.write(path)
    again = lm.ArpaModel.read(path)
    assert again.words == model.words
    before, after = listed(model), listed(again)
    assert before.keys() == after.keys()
    for gram, numbers in before.items():
        assert after[gram] == pytest.approx(numbers, abs=2e-7)


def test_kaldingram_reads_what_we_write(tmp_path):
    model = lm.estimate(["grüß gott", "grüß dich", "ja"], 3)
    model.write(tmp_path / "lm.arpa")
    (theirs,) = ArpaParser().loadf(tmp_path / "lm.arpa", encoding="utf-8")
    ours = listed(model)
    assert dict(theirs.counts()) == dict(enumerate(model.counts, start=1))
    for gram, (score, _) in ours.items():
        assert theirs.log_p_raw(gram) == pytest.approx(score / np.log(10), abs=1e-6)


def test_gzip(tmp_path):
    model = lm.estimate(["a b", "b"], 2)
    model.write(tmp_path / "lm.arpa.gz")
    text = gzip.decompress((tmp_path / "lm.arpa.gz").read_bytes()).decode()
    assert text.startswith("\\data\\\nngram 1=4\n")
    assert text.endswith("\n\\end\\\n")
    assert lm.ArpaModel.read(tmp_path / "lm.arpa.gz").counts == model.counts


def read(tmp_path, text: str | bytes) -> lm.ArpaModel:
    path = tmp_path / "lm.arpa"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return lm.ArpaModel.read(path)


def test_reads_numbers_as_natural_logs(tmp_path):
    ngrams = listed(read(tmp_path, GOOD))
    assert ngrams[("a",)] == pytest.approx((-0.5 * np.log(10), -0.25 * np.log(10)))
    assert ngrams[("a", "b")] == pytest.approx((-0.3 * np.log(10), 0.0))
    assert ngrams[("b",)][1] == 0.0


def test_skips_white_space_and_text_around_the_model(tmp_path):
    loose = "made by hand\n" + GOOD.replace("\t", "  ").replace("\n", "\r\n") + "the end"
    assert listed(read(tmp_path, loose)) == listed(read(tmp_path, GOOD))


def test_announced_orders_may_be_empty(tmp_path):
    text = GOOD.replace("ngram 2=3", "ngram 2=3\nngram 3=0").replace("\\end", "\\3-grams:\n\n\\end")
    assert read(tmp_path, text).counts == (4, 3)


def changed(line: int, text: str) -> str:
    """GOOD with another text in a line, counted from 1."""
    return "\n".join([*LINES[: line - 1], text, *LINES[line:]])


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (changed(2, "ngram 1=5"), 2, "the header has 5 1-grams, the file 4"),
        (changed(3, "ngram 2=2"), 3, "the header has 2 2-grams, the file 3"),
        (changed(3, "ngram 3=3"), 3, "expected the count of 2-grams"),
        (changed(3, "ngrams: many"), 3, "expected 'ngram ORDER=COUNT'"),
        (changed(2, "ngram 1=0"), 5, "no unigrams"),
        (changed(5, "\\2-grams:"), 5, "expected \\1-grams:"),
        (changed(6, "-0.5"), 6, "expected a log-probability, 1 word"),
        (changed(6, "-0.5\ta\t-0.1\t-0.1"), 6, "expected a log-probability, 1 word"),
        (changed(6, "a\tb\t-0.1"), 6, "'a' is not a number"),
        (changed(6, "-0.5\ta\tb"), 6, "'b' is not a number"),
        (changed(7, "-0.6\ta"), 7, "'a' is listed twice"),
        (changed(6, "0.5\ta"), 6, "not at most 0"),
        (changed(6, "nan\ta"), 6, "not at most 0"),
        (changed(6, "-0.5\ta\tnan"), 6, "not at most 99"),
        (changed(6, "-0.5\ta\tinf"), 6, "not at most 99"),
        (changed(13, "-0.3\ta c"), 13, "not among the unigrams"),
        (changed(13, "-0.3\t<s> a"), 13, "'<s> a' is listed twice"),
        (changed(13, "-0.3\ta b\t-0.1"), 13, "expected a log-probability, 2 words"),
        (changed(16, ""), 17, "without \\end\\"),
        (changed(16, "\\3-grams:"), 16, "expected \\end\\"),
        ("\n".join(LINES[:4]), 3, "ends in its header"),
        ("", 0, "not an ARPA file"),
    ],
)
def test_errors_have_file_and_line(tmp_path, text, line, message):
    with pytest.raises(LanguageModelError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert caught.value.path == str(tmp_path / "lm.arpa")
    assert abs(caught.value.line - line) <= (message == "without \\end\\")


def test_missing_history_is_named(tmp_path):
    text = GOOD.replace("ngram 2=3", "ngram 2=3\nngram 3=2").replace(
        "\\end\\", "\\3-grams:\n-0.1\t<s> a b\n-0.1\tb b </s>\n\n\\end\\"
    )
    with pytest.raises(LanguageModelError, match="'b b </s>' has a history") as caught:
        read(tmp_path, text)
    assert caught.value.line == 19


def test_not_utf8(tmp_path):
    with pytest.raises(LanguageModelError, match="UTF-8") as caught:
        read(tmp_path, GOOD.replace("-0.6\tb", "-0.6\tü").encode("latin-1"))
    assert caught.value.line == 7


def test_unreadable_files(tmp_path):
    (tmp_path / "not.gz").write_bytes(b"no gzip")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(GOOD.encode())[:-12])
    for path in (tmp_path / "absent.arpa", tmp_path, tmp_path / "not.gz", tmp_path / "cut.gz"):
        with pytest.raises(LanguageModelError):
            lm.ArpaModel.read(path)
    with pytest.raises(LanguageModelError):
        lm.estimate(["a"], 1).write(tmp_path / "no such folder" / "lm.arpa")


@given(st.data())
@examples(300)
def test_damaged_files_never_crash(tmp_path_factory, data):
    text = GOOD.encode()
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        stop = data.draw(st.integers(start, min(len(text), start + 8)))
        piece = st.sampled_from([b"-1 ", b"\\", b"\n", b"a", b"nan", b"9", b"\t", b"inf", b"\xff"])
        text = text[:start] + data.draw(piece | st.binary(max_size=3)) + text[stop:]
    path = tmp_path_factory.getbasetemp() / "damaged.arpa"
    path.write_bytes(text)
    try:
        model = lm.ArpaModel.read(path)
    except AsrHlgError:
        return
    for table in model.orders:
        assert np.isfinite(table.log_prob).all()
        assert np.isfinite(table.log_backoff).all()


@given(st.binary(max_size=200))
@example(b"\\data\\\nngram 1=1\n\\1-grams:\n-1 a\n\\end\\")
@examples(100)
def test_any_bytes(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.arpa"
    path.write_bytes(content)
    caught = None
    try:
        lm.ArpaModel.read(path)
    except AsrHlgError as error:
        caught = error
    assert caught is None or caught.path == str(path)
