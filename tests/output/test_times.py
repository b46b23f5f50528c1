"""Errors of word times."""

from __future__ import annotations

import json

import pytest

from asr_hlg.cli import main
from asr_hlg.errors import AsrHlgError, DataError
from asr_hlg.output.times import compare, read_times

TRUTH = """;; a comment
a 1 0.10 0.20 the
a 1 0.30 0.50 cat
b 1 1.00 0.50 hat
"""
FOUND = """a 1 0.80 0.10 sat 0.5
a 1 0.36 0.47 Cat 0.9
a 1 0.12 0.18 the 1.0
b 1 1.02 0.48 hat 1.0
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "truth.ctm").write_text(TRUTH)
    (tmp_path / "found.ctm").write_text(FOUND)
    return tmp_path / "truth.ctm", tmp_path / "found.ctm"


def test_errors_are_those_of_equal_words(files):
    errors = compare(*map(read_times, files))
    assert errors.starts == pytest.approx([0.02, 0.06, 0.02])
    assert errors.ends == pytest.approx([0.0, 0.03, 0.0])
    assert errors.num_reference == 3


def test_the_command_prints_a_table_or_json(files, capsys):
    assert main(["score", "--times", *map(str, files)]) == 0
    out = capsys.readouterr().out
    assert "starts        +20 ms       20 ms          66.7%          66.7%" in out
    assert "ends           +0 ms        0 ms          66.7%         100.0%" in out
    assert main(["score", "--times", "--json", *map(str, files)]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["compared"] == 3
    assert values["ends"]["within_0.05"] == 1.0


def test_files_that_do_not_fit_are_refused(files, tmp_path):
    (tmp_path / "text").write_text("a the cat\n")
    with pytest.raises(AsrHlgError, match="expected 'id channel start"):
        read_times(tmp_path / "text")
    (tmp_path / "other.ctm").write_text("x 1 0 1 the\n")
    with pytest.raises(DataError, match="no word of the same recording"):
        compare(read_times(files[0]), read_times(tmp_path / "other.ctm"))
