"""Models of other toolkits, opened as they are: equal to onnxruntime and to sherpa-onnx."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest

from asr_hlg import acoustic
from asr_hlg.errors import ModelError
from tests.support import exported_models as made_by
from tests.support.exported_models import Made

SENTENCES = ["cat and hat", "hat hat cat", "and"]
KINDS = {
    "icefall": made_by.icefall,
    "wenet": made_by.wenet,
    "nemo": made_by.nemo,
    "nemo without metadata": made_by.nemo_without_metadata,
    "telespeech": made_by.telespeech,
    "sense_voice": made_by.sense_voice,
    "omnilingual": made_by.omnilingual,
    "hugging_face": made_by.hugging_face,
    "streaming zipformer": made_by.streaming_zipformer,
    "streaming nemo": made_by.streaming_nemo,
    "gigaam": made_by.gigaam,
}


@pytest.fixture(scope="module", params=KINDS)
def made(request, tmp_path_factory) -> Made:
    return KINDS[request.param](tmp_path_factory.mktemp("model") / "folder")


def greedy(columns: np.ndarray, names: list[str], blank: int) -> list[str]:
    changes = np.flatnonzero(np.diff(columns, prepend=-1))
    return [names[k] for k in columns[changes] if k != blank]


def of_project(model, samples: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Best tokens of every frame, repetitions and blanks left out; and the log-probabilities."""
    posteriors = model.posteriors([samples], 16000)
    rows = posteriors.array[0][: posteriors.lengths[0]]
    return greedy(rows.argmax(1), model.tokens, 0), rows


def of_onnxruntime(made: Made, samples: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The same by onnxruntime alone, with features of other code, in the network's columns."""
    session = onnxruntime.InferenceSession(str(made.network), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    features = made.features(samples)
    if "embed_states" in names or "cache_last_time" in names:
        scores = _in_chunks(session, features)
    else:
        first = features.T if names[0] in ("audio_signal", "features") else features
        arrays = {names[0]: first[None].astype(np.float32)}
        length = np.array([len(features)], np.int32 if "language" in names else np.int64)
        if len(names) > 1:
            arrays[names[1]] = length
        if "language" in names:
            arrays |= {"language": np.array([0], np.int32), "text_norm": np.array([15], np.int32)}
        scores = session.run(None, arrays)[0]
        is_time_first = session.get_outputs()[0].shape[1] == 1
        scores = scores[:, 0] if is_time_first else scores[0]
        scores = scores[4:] if "language" in names else scores
    return greedy(scores.argmax(1), made.symbols, made.blank), scores


def _in_chunks(session, features: np.ndarray) -> np.ndarray:
    """Scores of a streaming network, for as many whole chunks as there are."""
    nodes = session.get_inputs()
    is_nemo = nodes[0].name == "audio_signal"
    size, first = (41, 2) if is_nemo else (45, 1)
    states = {
        node.name: np.zeros(
            [size if isinstance(size, int) else 1 for size in node.shape],
            np.int64 if node.type == "tensor(int64)" else np.float32,
        )
        for node in nodes[first:]
    }
    names, scores = [node.name for node in session.get_outputs()], []
    for begin in range(0, len(features) - size + 1, 32):
        chunk = features[None, begin : begin + size]
        arrays = {"x": chunk}
        if is_nemo:
            arrays = {"audio_signal": chunk.transpose(0, 2, 1), "length": np.array([size])}
        outputs = dict(zip(names, session.run(None, arrays | states), strict=True))
        scores.append(outputs[names[0]][0])
        states = {name: outputs[names[first + k]] for k, name in enumerate(states)}
    return np.concatenate(scores)


def test_tokens_equal_those_of_onnxruntime_called_directly(made):
    model = acoustic.load(made.folder)
    assert sorted(model.tokens[1:]) == sorted(set(made.symbols) - {made.symbols[made.blank]})
    for seed, sentence in enumerate(SENTENCES):
        samples = made.say(sentence, seed)
        ours, rows = of_project(model, samples)
        theirs, scores = of_onnxruntime(made, samples)
        assert ours == theirs
        assert "".join(ours).upper().replace("▁", "|").strip("|") == sentence.upper().replace(
            " ", "|"
        )
        # Their columns in our order, normalised.
        order = [made.blank] + [made.symbols.index(name) for name in model.tokens[1:]]
        expected = scores[:, order] - np.log(np.exp(scores).sum(1, keepdims=True))
        frames = min(len(rows), len(expected))
        assert abs(len(rows) - len(expected)) <= (9 if len(rows) > len(expected) else 0)
        np.testing.assert_allclose(rows[:frames], expected[:frames], atol=0.05)


def test_a_file_is_opened_like_its_folder(made):
    samples = made.say("cat")
    assert (
        of_project(acoustic.load(made.network), samples)[0]
        == of_project(acoustic.load(made.folder), samples)[0]
    )


def test_short_and_silent_waveforms_have_frames(made):
    model = acoustic.load(made.folder)
    for samples in (np.zeros(100, np.float32), np.zeros(9000, np.float32)):
        _, rows = of_project(model, samples)
        assert len(rows)
        assert np.isfinite(rows).all()
        assert len(rows) * model.frame_shift < len(samples) / 16000 + 0.2


# ---------------------------------------------------------------- sherpa-onnx


def recogniser(kind: str, made: Made):
    sherpa = pytest.importorskip("sherpa_onnx")
    offline, online = sherpa.OfflineRecognizer, sherpa.OnlineRecognizer
    create = {
        "icefall": offline.from_zipformer_ctc,
        "wenet": offline.from_wenet_ctc,
        "nemo": offline.from_nemo_ctc,
        "telespeech": offline.from_telespeech_ctc,
        "sense_voice": offline.from_sense_voice,
        "omnilingual": offline.from_omnilingual_asr_ctc,
        "streaming zipformer": online.from_zipformer2_ctc,
    }
    tokens = str(made.folder / "tokens.txt")
    return create[kind](model=str(made.network), tokens=tokens, num_threads=1)


def text_of_sherpa(recognizer, samples: np.ndarray) -> str:
    stream = recognizer.create_stream()
    stream.accept_waveform(16000, samples)
    if not hasattr(recognizer, "is_ready"):
        recognizer.decode_stream(stream)
        return stream.result.text.strip()
    silence = np.random.default_rng(2).normal(0, 1e-3, 16000).astype(np.float32)
    stream.accept_waveform(16000, silence)  # in which the last chunk ends
    stream.input_finished()
    while recognizer.is_ready(stream):
        recognizer.decode_stream(stream)
    return recognizer.get_result(stream).strip()


# sherpa-onnx computes other features than GigaAM and streaming NeMo
OTHERS = ("nemo without metadata", "hugging_face", "streaming nemo", "gigaam")
OF_SHERPA = [kind for kind in KINDS if kind not in OTHERS]


@pytest.mark.parametrize("kind", OF_SHERPA)
def test_words_equal_those_of_sherpa_onnx(tmp_path, kind):
    made = KINDS[kind](tmp_path / "model")
    model = acoustic.load(made.folder)
    recognizer = recogniser(kind, made)
    for seed, sentence in enumerate(SENTENCES):
        samples = made.say(sentence, seed)
        ours = "".join(of_project(model, samples)[0]).replace("▁", " ").strip()
        assert ours == text_of_sherpa(recognizer, samples) == sentence


# sherpa-onnx adds random noise (dither) to what WeNet gets
@pytest.mark.parametrize("kind", [kind for kind in OF_SHERPA if kind != "wenet"])
def test_tokens_of_noise_equal_those_of_sherpa_onnx(tmp_path, kind):
    """Noise brings the scores of tokens close together, so that other features would show."""
    made = KINDS[kind](tmp_path / "model")
    model = acoustic.load(made.folder)
    rng = np.random.default_rng(11)
    noise = rng.normal(0, np.repeat([0.05, 1e-3], [40000, 8000])).astype(np.float32)
    sound = made.say("cat and hat") * 0.2
    noise[: len(sound)] += sound[:48000]
    ours = "".join(of_project(model, noise)[0]).replace("▁", " ").strip()
    theirs = text_of_sherpa(recogniser(kind, made), noise)
    assert ours == theirs


# ---------------------------------------------------------------- streams


@pytest.mark.parametrize("kind", ["streaming zipformer", "streaming nemo"])
@pytest.mark.parametrize("size", [100, 3000, 10**6])
def test_frames_of_a_stream_equal_those_of_the_recording(tmp_path, kind, size):
    made = KINDS[kind](tmp_path)
    model = acoustic.load(made.folder)
    for samples in (made.say("cat and hat", 2), made.say("and")[:9011]):
        stream, parts = model.frame_stream(), []
        for begin in range(0, len(samples), size):
            parts += stream.accept(samples[begin : begin + size])
        parts += stream.finish()
        rows = of_project(model, samples)[1]
        np.testing.assert_allclose(np.concatenate(parts), rows, atol=2e-3)


def test_other_models_are_no_streams(tmp_path):
    assert acoustic.load(made_by.icefall(tmp_path).folder).frame_stream() is None


# ---------------------------------------------------------------- Hugging Face


def test_a_network_in_the_folder_onnx_is_found(tmp_path):
    made = made_by.hugging_face(tmp_path / "hub", "onnx/model.onnx")
    model = acoustic.load(made.folder)
    assert of_project(model, made.say("hat"))[0] == ["H", "A", "T"]
    assert model.boundary == "|"


def test_tokens_in_text_instead_of_json(tmp_path):
    made = made_by.hugging_face(tmp_path)
    lines = [f"{name} {k}\n" for k, name in enumerate(made.symbols)]
    (tmp_path / "tokens.txt").write_text("".join(lines))
    for name in ("vocab.json", "preprocessor_config.json"):
        (tmp_path / name).unlink()
    model = acoustic.load(tmp_path)
    assert (model.kind, model.boundary) == ("wav2vec2", "|")
    assert of_project(model, made.say("hat cat"))[0] == list("HAT|CAT")


def test_weights_of_torch_need_transformers(tmp_path):
    made = made_by.hugging_face(tmp_path / "hub")
    made.network.unlink()
    (made.folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"transformers"):
        acoustic.load(made.folder)


def test_features_of_another_extractor_are_refused(tmp_path):
    made = made_by.hugging_face(tmp_path / "hub")
    settings = {"feature_extractor_type": "SeamlessM4TFeatureExtractor"}
    (made.folder / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=r"SeamlessM4TFeatureExtractor.*wav2vec 2\.0"):
        acoustic.load(made.folder)


# ---------------------------------------------------------------- what is refused


def change(made: Made, **metadata: str) -> None:
    """Give a network other metadata."""
    network = onnx.load(made.network)
    for entry in network.metadata_props:
        entry.value = metadata.pop(entry.key, entry.value)
    for key, value in metadata.items():
        network.metadata_props.add(key=key, value=value)
    onnx.save(network, made.network)


def test_tokens_that_do_not_fit_are_refused(tmp_path):
    made = made_by.icefall(tmp_path)
    (tmp_path / "tokens.txt").write_text("<blk> 0\na 1\n")
    with pytest.raises(ModelError, match=r"tokens\.txt.*2 tokens.*10 outputs"):
        acoustic.load(made.folder)


def test_another_subsampling_factor_is_refused(tmp_path):
    made = made_by.wenet(tmp_path)
    change(made, subsampling_factor="8")
    with pytest.raises(ModelError, match=r"80 ms.*subsampling_factor"):
        acoustic.load(made.folder).posteriors([made.say("cat")], 16000)


@pytest.mark.parametrize(
    ("model_type", "reason"),
    [
        ("paraformer", "no frame posteriors"),
        ("dolphin", "Dolphin"),
        ("EncDecRNNTBPEModel", "a transducer"),
    ],
)
def test_models_of_other_kinds_are_refused(tmp_path, model_type, reason):
    made = made_by.icefall(tmp_path)
    change(made, model_type=model_type)
    with pytest.raises(ModelError, match=rf"{reason}.*docs/models\.md"):
        acoustic.load(made.folder)


@pytest.mark.parametrize(
    ("kind", "key", "value", "reason"),
    [
        ("wenet", "subsampling_factor", "inf", "not a number"),
        ("wenet", "subsampling_factor", "0", "must be 1 to 64"),
        ("sense_voice", "lfr_window_size", "2147483647", "must be 1 to 64"),
        ("sense_voice", "neg_mean", "1,2,3", "has 3 numbers, expected 560"),
        ("omnilingual", "sample_rate", "-1", "must be 4000 to 48000"),
        ("streaming_zipformer", "T", "16777216", "must be 1 to 10000"),
        ("streaming_nemo", "chunk_shift", "0", "must be 1 to 10000"),
        ("streaming_nemo", "cache_last_channel_dim2", "2147483647", "state cache_last_channel"),
        ("streaming_nemo", "cache_last_channel_dim2", "-1", "state cache_last_channel"),
    ],
)
def test_metadata_out_of_bounds_are_refused(tmp_path, kind, key, value, reason):
    made = getattr(made_by, kind)(tmp_path)
    change(made, **{key: value})
    with pytest.raises(ModelError, match=rf"onnx: .*{reason}"):
        acoustic.load(made.folder)


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("preprocessor_config.json", '{"sampling_rate": "fast"}', "sampling_rate fast is out of"),
        ("preprocessor_config.json", '{"sampling_rate": 0}', "sampling_rate 0 is out of range"),
        ("preprocessor_config.json", '{"sampling_rate": 2000000000}', "is out of range"),
        ("config.json", '{"conv_stride": ["a"]}', "conv_stride must be"),
        ("config.json", '{"conv_stride": [0]}', "conv_stride must be"),
        ("config.json", '{"vocab_size": "all"}', "vocab_size must be a number"),
        ("config.json", "[" * 100_000, "nested too deeply"),
    ],
)
def test_settings_of_hugging_face_out_of_bounds_are_refused(tmp_path, name, settings, reason):
    made = made_by.hugging_face(tmp_path / "hub")
    (made.folder / name).write_text(settings)
    with pytest.raises(ModelError, match=rf"{name}.*{reason}"):
        acoustic.load(made.folder)


def test_metadata_that_are_missing_are_named(tmp_path):
    made = made_by.wenet(tmp_path)
    network = onnx.load(made.network)
    [factor] = [e for e in network.metadata_props if e.key == "subsampling_factor"]
    network.metadata_props.remove(factor)
    onnx.save(network, made.network)
    with pytest.raises(ModelError, match="lack subsampling_factor"):
        acoustic.load(made.folder)


def test_a_transducer_is_refused_by_its_files(tmp_path):
    for name in ("encoder", "decoder", "joiner"):
        (tmp_path / f"{name}-epoch-9.onnx").write_bytes(b"")
    (tmp_path / "tokens.txt").write_text("<blk> 0\na 1\n")
    with pytest.raises(ModelError, match="transducer"):
        acoustic.load(tmp_path)


def test_a_choice_of_networks_is_asked_for(tmp_path):
    made = made_by.icefall(tmp_path)
    made.network.rename(tmp_path / "a.onnx")
    (tmp_path / "b.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match=r"several networks: a\.onnx, b\.onnx.*name one"):
        acoustic.load(tmp_path)
    (tmp_path / "b.onnx").rename(tmp_path / "b.int8.onnx")
    assert acoustic.load(tmp_path).kind == "icefall"


def test_a_file_without_tokens_is_refused(tmp_path):
    made = made_by.icefall(tmp_path / "model")
    (made.folder / "tokens.txt").unlink()
    for path in (made.network, made.folder):
        with pytest.raises(ModelError, match=r"put tokens\.txt beside model\.onnx"):
            acoustic.load(path)


def test_a_network_whose_file_leaves_its_outputs_open(tmp_path):
    made = made_by.icefall(tmp_path)
    network = onnx.load(made.network)
    network.graph.output[0].type.tensor_type.shape.dim[2].dim_param = "V"
    onnx.save(network, made.network)
    model = acoustic.load(made.folder)
    assert of_project(model, made.say("cat"))[0] == ["▁c", "a", "t"]


def test_damaged_networks_are_refused(tmp_path):
    made = made_by.icefall(tmp_path)
    made.network.write_bytes(made.network.read_bytes()[:500])
    with pytest.raises(ModelError, match="not a usable ONNX file"):
        acoustic.load(made.folder)
