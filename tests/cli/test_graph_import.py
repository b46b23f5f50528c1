"""``asr-hlg graph export`` and ``import``: the examples of their help, and what they refuse."""

from __future__ import annotations

import pytest

from asr_hlg.cli import main
from asr_hlg.graph import DecodingGraph
from tests.fuzz.folders import make_graph


@pytest.fixture
def here(tmp_path, monkeypatch):
    make_graph(tmp_path)
    (tmp_path / "graphs").mkdir()
    (tmp_path / "toy").rename(tmp_path / "graphs/toy")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_exported_is_imported_again(here, capsys):
    assert main(["graph", "export", "toy", "--format", "openfst", "--output", "exported"]) == 0
    assert "exported/HLG.fst" in capsys.readouterr().out
    assert main(["graph", "import", "exported/HLG.fst", "again"]) == 0
    told = capsys.readouterr()
    assert "labels: shifted" in told.err
    assert "words: exported/words.txt" in told.err
    assert "graphs/again" in told.out
    assert DecodingGraph.load(here / "graphs/again").is_imported
    assert main(["info", "again"]) == 0
    assert "imported          ctc" in capsys.readouterr().out


def test_a_graph_is_not_replaced_unasked(here, capsys):
    assert main(["graph", "export", "toy", "--output", "exported"]) == 0
    assert main(["graph", "import", "exported/HLG.fst", "toy"]) == 1
    assert "--force" in capsys.readouterr().err
    assert main(["graph", "import", "exported/HLG.fst", "toy", "--force"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.fst", "new"], "does not exist"),
        (["graphs/toy/graph.json", "new"], "not a binary OpenFst file"),
        (["graphs", "new"], "final.mdl"),
    ],
)
def test_errors_name_the_file_and_a_remedy(here, capsys, arguments, message):
    assert main(["graph", "import", *arguments]) == 1
    told = capsys.readouterr().err
    assert arguments[0].split("/")[0] in told
    assert message in told
