"""The scripts that turn data sets into cuts."""

from __future__ import annotations

import importlib
from collections import Counter

import numpy as np
import pytest
import soundfile

from asr_hlg import audio, data
from asr_hlg.errors import AudioError, DataError

PARTS = ("train", "dev", "seen", "train-strings", "dev-strings", "seen-strings")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.fixture
def prepare_fsdd(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "scripts"))
    return importlib.import_module("prepare_fsdd").prepare


@pytest.fixture
def prepare_ljspeech(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "scripts"))
    return importlib.import_module("prepare_ljspeech").prepare


@pytest.fixture
def recordings(tmp_path):
    """Digits 0 and 7 of three speakers, at 8 kHz, as the data set names them."""
    folder = tmp_path / "wav"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for digit in (0, 7):
        for speaker in ("george", "lucas", "theo"):
            for index in (0, 4, 5, 6):
                samples = generator.uniform(-0.5, 0.5, generator.integers(1600, 4000))
                soundfile.write(folder / f"{digit}_{speaker}_{index}.wav", samples, 8000)
    return folder


def test_digits_are_parted_by_speaker_and_index(recordings, prepare_fsdd, tmp_path):
    prepare_fsdd(recordings, tmp_path / "out", train_strings=6, strings=4, seed=0)
    parts = {part: data.cuts(tmp_path / "out" / f"{part}.jsonl.gz") for part in PARTS}
    expected = {
        "train": {f"{d}_{s}_{i}" for d in (0, 7) for s in ("george", "lucas") for i in (5, 6)},
        "seen": {f"{d}_{s}_{i}" for d in (0, 7) for s in ("george", "lucas") for i in (0, 4)},
        "dev": {f"{d}_theo_{i}" for d in (0, 7) for i in (0, 4, 5, 6)},
    }
    for part, ids in expected.items():
        assert {cut.id for cut in parts[part]} == ids
        for cut in parts[part]:
            digit, speaker, _ = cut.id.split("_")
            assert data.text_of(cut) == WORDS[int(digit)]
            assert cut.supervisions[0].speaker == speaker
            assert cut.sampling_rate == 16000
            original = audio.Recording(cut.id, recordings / f"{cut.id}.wav").load(16000)
            np.testing.assert_allclose(cut.load_audio()[0], original, atol=2**-23, rtol=0)
    assert {part: len(cuts) for part, cuts in parts.items() if "strings" in part} == {
        "train-strings": 6,
        "dev-strings": 4,
        "seen-strings": 4,
    }
    everywhere = [cut.id for cuts in parts.values() for cut in cuts]
    assert len(everywhere) == len(set(everywhere))


def test_strings_are_one_speakers_recordings_with_pauses(recordings, prepare_fsdd, tmp_path):
    prepare_fsdd(recordings, tmp_path / "out", train_strings=20, strings=10, seed=0)
    for part in ("train", "dev", "seen"):
        digits = {
            cut.id: (cut.supervisions[0].speaker, data.text_of(cut), cut.load_audio()[0])
            for cut in data.cuts(tmp_path / "out" / f"{part}.jsonl.gz")
        }
        speakers, lengths = Counter(), Counter()
        for cut in data.cuts(tmp_path / "out" / f"{part}-strings.jsonl.gz"):
            speaker = cut.supervisions[0].speaker
            words = data.text_of(cut).split()
            speakers[speaker] += 1
            lengths[len(words)] += 1
            place, samples = 0, cut.load_audio()[0]
            for number, word in enumerate(words):
                if number:
                    pause = int(np.flatnonzero(samples[place:])[0])
                    assert 0.05 * 16000 - 1 <= pause <= 0.5 * 16000 + 1
                    assert not samples[place : place + pause].any()
                    place += pause
                lengths_found = [
                    len(sound)
                    for who, text, sound in digits.values()
                    if (who, text) == (speaker, word)
                    and np.array_equal(sound, samples[place : place + len(sound)])
                ]
                assert len(lengths_found) == 1
                place += lengths_found[0]
            assert place == len(samples)
        assert len(set(speakers.values())) == 1  # an equal share each
        assert set(lengths) <= {3, 4, 5, 6, 7}
        assert len(lengths) > 2


def test_the_seed_decides_the_strings(recordings, prepare_fsdd, tmp_path):
    def texts(name, seed):
        prepare_fsdd(recordings, tmp_path / name, train_strings=5, strings=5, seed=seed)
        cuts = data.cuts(tmp_path / name / "train-strings.jsonl.gz")
        return [(cut.duration, data.text_of(cut)) for cut in cuts]

    assert texts("a", 1) == texts("b", 1) != texts("c", 2)


def test_digits_that_cannot_be_prepared(recordings, prepare_fsdd, tmp_path):
    with pytest.raises(DataError, match="no recordings named"):
        prepare_fsdd(tmp_path, tmp_path / "out", train_strings=1, strings=1, seed=0)
    (recordings / "0_theo_0.wav").write_bytes(b"")
    with pytest.raises(AudioError, match=r"0_theo_0\.wav"):
        prepare_fsdd(recordings, tmp_path / "out", train_strings=1, strings=1, seed=0)


def test_sentences_are_parted_by_their_order(prepare_ljspeech, tmp_path):
    folder = tmp_path / "lj"
    folder.mkdir()
    lines = []
    for number in (3, 1, 5, 2, 4):
        samples = np.random.default_rng(number).uniform(-0.5, 0.5, 1600)
        soundfile.write(folder / f"LJ-{number}.flac", samples, 16000)
        lines.append(f"LJ-{number} “Caxton’s wood-blocks”, {number}.\n")
    (folder / "text").write_text("".join(lines), encoding="utf-8")
    prepare_ljspeech(folder, tmp_path / "out", 2)
    transcripts = {
        part: [(c.id, data.text_of(c)) for c in data.cuts(tmp_path / "out" / f"{part}.jsonl.gz")]
        for part in ("train", "dev")
    }
    assert transcripts == {
        "train": [(f"LJ-{n}", f"caxton's wood blocks {n}") for n in (1, 2, 3)],
        "dev": [(f"LJ-{n}", f"caxton's wood blocks {n}") for n in (4, 5)],
    }
    with pytest.raises(DataError, match="5 of 5 sentences"):
        prepare_ljspeech(folder, tmp_path / "out", 5)


def test_the_data_beside_the_project(speech, prepare_ljspeech, tmp_path):
    prepare_ljspeech(speech / "ljspeech", tmp_path, 46)
    train, dev = (data.cuts(tmp_path / f"{part}.jsonl.gz") for part in ("train", "dev"))
    assert (len(train), len(dev)) == (140, 46)
    assert train[0].id == "LJ001-0001"
    assert dev[45].id == "LJ001-0186"
