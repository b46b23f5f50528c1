"""Words of recordings in unusual forms: rates, sample types, channels, levels; notes on them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from asr_hlg.cli import main
from asr_hlg.output.text import read_transcripts
from asr_hlg.output.transcript import Word
from asr_hlg.transcribe.transcript import doubts

RATE = 16000


@pytest.fixture(scope="module")
def talk(root):
    """Two sentences with their words."""
    references = read_transcripts(root / "examples" / "text")
    return {
        name: (soundfile.read(root / "examples" / f"{name}.wav")[0], references[name])
        for name in ("01-slt", "06-awb")
    }


def errors(hypothesis: str, reference: str) -> int:
    import kaldialign

    return kaldialign.edit_distance(reference.split(), hypothesis.split())["total"]


def at_rate(samples: np.ndarray, rate: int) -> np.ndarray:
    """Samples at a higher rate, by padding the spectrum."""
    size = len(samples) * rate // RATE
    return np.fft.irfft(np.fft.rfft(samples), size) * (rate / RATE)


def overdriven(samples: np.ndarray) -> np.ndarray:
    return np.clip(samples / np.abs(samples).max() * 2, -1, 1)


FORMS = {
    "192khz": lambda x: (at_rate(x, 192000), 192000, "PCM_16"),
    "48khz-24bit": lambda x: (at_rate(x, 48000), 48000, "PCM_24"),
    "8bit": lambda x: (x / np.abs(x).max(), RATE, "PCM_U8"),
    "float": lambda x: (x, RATE, "FLOAT"),
    "loud-float": lambda x: (50 * x, RATE, "FLOAT"),
    "integers-as-floats": lambda x: (32768 * x, RATE, "FLOAT"),
    "double": lambda x: (x, RATE, "DOUBLE"),
    "offset": lambda x: (0.5 * x + 0.4, RATE, "PCM_16"),
    "quiet": lambda x: (0.01 * x, RATE, "PCM_16"),
    "clipped": lambda x: (overdriven(x), RATE, "PCM_16"),
    "inverted": lambda x: (np.stack([x, -x], 1), RATE, "PCM_16"),
    "nearly-inverted": lambda x: (np.stack([x, -0.9 * x], 1), RATE, "PCM_16"),
    "one-side": lambda x: (np.stack([x, 0 * x], 1), RATE, "PCM_16"),
    "eight-channels": lambda x: (np.stack([0 * x] * 7 + [x], 1), RATE, "PCM_16"),
}


@pytest.fixture(scope="module")
def transcribed(root, talk, tmp_path_factory, request):
    """Transcripts of all forms of one sentence, by name."""
    request.getfixturevalue("english")
    folder = tmp_path_factory.mktemp("forms")
    for name, form in FORMS.items():
        samples, rate, subtype = form(talk["06-awb"][0])
        soundfile.write(folder / f"{name}.wav", samples, rate, subtype)
    output = folder / "out.jsonl"
    graph = str(root / "graphs" / "en")
    command = ["transcribe", "--graph", graph, "--workers", "1", "--quiet", "--format", "json"]
    assert main([*command, "--fast", "--output", str(output), str(folder)]) == 0
    return {one["id"]: one for one in map(json.loads, output.read_text().splitlines())}


@pytest.mark.parametrize("name", FORMS)
def test_words_are_those_of_the_plain_file(transcribed, talk, name):
    assert errors(transcribed[name]["text"], talk["06-awb"][1]) <= 1


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("clipped", "clipped: "),
        ("inverted", "channel 0 alone was used"),
        ("nearly-inverted", "channel 0 alone was used"),
        ("float", None),
        ("loud-float", "times full scale"),
        ("integers-as-floats", "times full scale"),
        ("one-side", None),
        ("192khz", None),
        ("8bit", None),
    ],
)
def test_notes_name_what_is_wrong_and_nothing_else(transcribed, name, note):
    notes = transcribed[name].get("notes", [])
    assert len(notes) == (note is not None)
    assert note is None or note in notes[0]


@pytest.fixture(scope="module")
def call(talk, tmp_path_factory):
    """A call with one speaker on each channel, one after the other."""
    (first, words), (second, other_words) = talk.values()
    gap = np.zeros(RATE // 2)
    left = np.concatenate([first, gap, np.zeros(len(second))])
    right = np.concatenate([np.zeros(len(first)), gap, second])
    path = tmp_path_factory.mktemp("call") / "a call.wav"
    noise = np.random.default_rng(0).normal(0, 1e-4, (len(left), 2))
    soundfile.write(path, np.stack([left, right], 1) + noise, RATE)
    return path, words, other_words


def transcribe(root, capsys, *arguments) -> tuple[str, str]:
    graph = str(root / "graphs" / "en")
    assert (
        main(["transcribe", "--graph", graph, "--fast", "--workers", "1", *map(str, arguments)])
        == 0
    )
    return capsys.readouterr()


def test_all_channels_by_themselves(root, english, call, capsys, tmp_path):
    path, *words = call
    out, _ = transcribe(root, capsys, "--channel", "all", "--format", "ctm", path)
    assert {tuple(line.split()[:2]) for line in out.splitlines()} == {
        ("a_call", "1"),
        ("a_call", "2"),
    }
    (tmp_path / "out.ctm").write_text(out)
    texts = read_transcripts(tmp_path / "out.ctm")
    assert list(texts) == ["a_call-1", "a_call-2"]
    for hypothesis, reference in zip(texts.values(), words, strict=True):
        assert errors(hypothesis, reference) <= 1
    out, _ = transcribe(root, capsys, "--channel", "all", "--format", "json", path)
    for channel, line in enumerate(out.splitlines(), start=1):
        record = json.loads(line)
        assert record["id"] == f"a_call-{channel}"
        assert (record["recording"], record["channel"]) == ("a_call", str(channel))


def test_different_speakers_on_the_channels_are_noticed(root, english, call, capsys):
    path, *words = call
    out, messages = transcribe(root, capsys, path)
    assert errors(out, "a_call " + " ".join(words)) <= 2
    assert "the channels contain different speech" in messages
    assert "--channel all" in messages


def test_skipped_files_are_counted_in_the_summary(root, english, call, capsys):
    path = call[0]
    (path.parent / "x.raw").write_bytes(bytes(100))
    _, messages = transcribe(root, capsys, path.parent)
    assert "1 transcribed, 0 failed, 1 files that look like sound skipped (x.raw)" in messages


def test_uncertain_words_are_noticed():
    def words(*confidences):
        return [Word("x", 0, 1, confidence) for confidence in confidences]

    assert doubts([]) == []
    assert doubts(words(0.1, 0.1, 0.1)) == []
    assert doubts(words(*[0.7] * 10)) == []
    assert "mean confidence of its words is 0.55" in doubts(words(*[0.55] * 10))[0]
    assert doubts(words(*[0.55] * 5)) == []


def test_another_language_is_noticed(root, english, speech, capsys):
    _, messages = transcribe(root, capsys, speech / "ko" / "ko-leopard.wav")
    assert "perhaps it is not of the graph's language" in messages
