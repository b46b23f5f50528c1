"""A monophone system that is trained here on spoken digits, in a folder as Kaldi writes it."""

from __future__ import annotations

import json
import shutil

import kaldifst
import numpy as np
import pytest
import soundfile
from kaldialign import edit_distance

from asr_hlg import acoustic
from asr_hlg.acoustic.kaldi import features
from asr_hlg.acoustic.kaldi.gmm_model import KaldiGmmModel
from asr_hlg.cli import main
from asr_hlg.errors import AsrHlgError
from asr_hlg.transcribe import Transcriber
from tests.support import kaldi_gmm
from tests.support.kaldi_files import Writer, write_transition_model

CONF = "--sample-frequency=8000\n--use-energy=false\n--high-freq=3800\n--num-ceps=13\n"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo")
WORDS = list(kaldi_gmm.WORDS)


def path_of(speech, digit, speaker, index):
    return speech / "fsdd" / "wav" / f"{digit}_{speaker}_{index}.wav"


def features_of(path):
    """Cepstra of mean 0 and their derivatives by regression, from the formulas."""
    samples = soundfile.read(path, dtype="float32")[0]
    options = features.FeatureOptions(
        sample_frequency=8000.0, use_energy=False, high_freq=3800.0, num_ceps=13
    )
    parts = [features.compute(32768 * samples, options).astype(np.float64)]
    parts[0] -= parts[0].mean(axis=0)
    padded = np.pad(parts[0], ((4, 4), (0, 0)), mode="edge")
    for _ in range(2):
        count = len(padded) - 4
        padded = sum(k * padded[2 + k : 2 + k + count] for k in (-2, -1, 1, 2)) / 10
        margin = (len(padded) - len(parts[0])) // 2
        parts.append(padded[margin : len(padded) - margin])
    return np.concatenate(parts, axis=1)


@pytest.fixture(scope="module")
def trained(speech):
    recordings = [
        (features_of(path_of(speech, digit, speaker, index)), word)
        for digit, word in enumerate(WORDS)
        for speaker in SPEAKERS
        for index in range(5, 13)  # 0 to 4 are for tests
    ]
    return kaldi_gmm.train(recordings)


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    made = tmp_path_factory.mktemp("gmm") / "mono"
    kaldi_gmm.write_folder(made, trained, conf=CONF)
    return made


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ASR_HLG_CACHE", str(tmp_path / "cache"))


def test_recordings_of_the_test_part_have_the_right_words(
    folder, speech, cache, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    paths = [
        str(path_of(speech, digit, speaker, index))
        for digit in range(10)
        for speaker in SPEAKERS
        for index in (0, 1)
    ]
    command = ["transcribe", *paths, "--model", str(folder), "--format", "json"]
    assert main([*command, "--output", "out.jsonl"]) == 0
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(found) == 100
    right = [item["text"] == WORDS[int(item["id"].split("_")[0])] for item in found]
    assert sum(right) >= 95


def test_strings_of_digits_have_their_words_and_times(folder, speech, cache):
    transcriber = Transcriber.from_graph(folder)
    assert transcriber.decoder.options.acoustic_scale == pytest.approx(1 / 12)
    random = np.random.default_rng(0)
    errors = 0
    for speaker in SPEAKERS * 2:
        digits = random.integers(0, 10, 5)
        parts = [
            soundfile.read(path_of(speech, digit, speaker, index), dtype="float32")[0]
            for index, digit in enumerate(digits)
        ]
        posteriors = transcriber.model.posteriors([np.concatenate(parts)], 8000)
        lattice = transcriber.decoder.decode(posteriors)
        words = lattice.words(lattice.best_path())[0]
        expected = [WORDS[digit] for digit in digits]
        missed = edit_distance(expected, [word.text for word in words])["total"]
        errors += missed
        if not missed:
            ends = np.cumsum([len(part) for part in parts]) / 8000
            np.testing.assert_allclose([word.end for word in words], ends, atol=0.25)
    assert errors <= 5  # of 50 words


def test_the_search_finds_what_that_of_kaldi_decoder_finds(folder, speech, cache):
    kaldi_decoder = pytest.importorskip("kaldi_decoder")
    transcriber = Transcriber.from_graph(folder)
    options = transcriber.decoder.options
    fst = kaldifst.StdConstFst(kaldifst.StdVectorFst.read(str(folder / "graph" / "HCLG.fst")))
    settings = kaldi_decoder.FasterDecoderOptions(
        beam=options.search_beam, max_active=options.max_active, min_active=options.min_active
    )
    for digit in range(10):
        samples = soundfile.read(path_of(speech, digit, "theo", 4), dtype="float32")[0]
        posteriors = transcriber.model.posteriors([samples], 8000)
        columns = transcriber.model.transitions.pdf_of[1:]  # of each transition-id
        scores = np.ascontiguousarray(posteriors.array[0][:, columns] * options.acoustic_scale)
        decoder = kaldi_decoder.FasterDecoder(fst, settings)
        decoder.decode(kaldi_decoder.DecodableCtc(scores.astype(np.float32)))
        found, path = decoder.get_best_path()
        assert found
        _, _, labels, weight = kaldifst.get_linear_symbol_sequence(path)
        best = transcriber.decoder.decode(posteriors).best_path()[0]
        assert list(best.words) == [WORDS[label - 1] for label in labels]
        assert best.score == pytest.approx(-(weight.value1 + weight.value2), abs=0.01)


def test_posteriors_are_the_log_likelihoods_of_the_features(folder, trained, speech):
    path = path_of(speech, 3, "lucas", 2)
    found = acoustic.load(folder).posteriors([soundfile.read(path, dtype="float32")[0]], 8000)
    expected = kaldi_gmm.scores(features_of(path), trained)
    np.testing.assert_allclose(found.array[0], expected, rtol=1e-3, atol=0.02)
    assert found.frame_shift == pytest.approx(0.01)
    assert found.tokens[:2] == ("pdf_0", "pdf_1")


def random_folder(path, width=39, **files):
    """A folder without recordings: a model with random mixtures."""
    random = np.random.default_rng(4)
    count = kaldi_gmm.STATES * len(kaldi_gmm.PHONES)
    mixtures = [
        (np.ones(1), random.normal(size=(1, width)), np.ones((1, width))) for _ in range(count)
    ]
    kaldi_gmm.write_folder(path, mixtures, conf=CONF)
    for name, text in files.items():
        (path / name).write_text(text)
    return path


def noise():
    return np.random.default_rng(1).normal(size=8000).astype(np.float32)


def test_a_system_for_adapted_features_has_mixtures_for_others(tmp_path):
    made = random_folder(tmp_path / "tri3b")
    plain = acoustic.load(made)
    mixtures = [(np.ones(1), np.zeros((1, 39)), np.ones((1, 39)))] * plain.mixtures.num_pdfs
    writer = Writer(False)
    write_transition_model(writer, **kaldi_gmm.topology())
    kaldi_gmm.write_mixtures(writer, mixtures)
    (made / "final.alimdl").write_bytes(writer.content)
    found = acoustic.load(made).posteriors([noise()], 8000).array[0]
    assert np.ptp(found, axis=1).max() < 1e-3  # all mixtures are the same
    assert np.ptp(plain.posteriors([noise()], 8000).array[0], axis=1).min() > 0


def test_silence_phones_come_from_the_graph_or_model_conf(tmp_path):
    made = random_folder(tmp_path / "mono")
    assert KaldiGmmModel(made).silence_phones.tolist() == [1]
    (made / "conf" / "model.conf").write_text("--endpoint.silence-phones=1:2\n")
    assert KaldiGmmModel(made).silence_phones.tolist() == [1, 2]
    (made / "conf" / "model.conf").unlink()
    (made / "graph" / "phones" / "silence.csl").write_text("1:x\n")
    with pytest.raises(AsrHlgError, match=r"silence\.csl"):
        KaldiGmmModel(made)


def test_a_recording_shorter_than_a_frame_has_no_frames(tmp_path):
    model = acoustic.load(random_folder(tmp_path / "mono"))
    assert model.posteriors([noise()[:150]], 8000).lengths.tolist() == [0]


def test_files_of_another_model_are_refused(tmp_path):
    made = random_folder(tmp_path / "mono", width=40)
    with pytest.raises(AsrHlgError, match=r"take 40 columns of features, but the files give 39"):
        acoustic.load(made)
    shutil.rmtree(made / "conf")
    with pytest.raises(AsrHlgError, match=r"neither mfcc\.conf nor fbank\.conf"):
        acoustic.load(made)
