"""Small CTC models in the forms in which other toolkits export theirs, made by onnx.helper.

Every token is a tone. A linear classifier of the toolkit's features, which kaldi-native-fbank
computes, is fitted to a few utterances; the network has the toolkit's inputs, outputs and metadata.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asr_hlg.acoustic.exported import kinds
from tests.support.tone_networks import (
    CHARACTERS,
    FLOAT,
    FREQUENCIES,
    INT32,
    INT64,
    PIECES,
    RATE,
    Features,
    Graph,
    fit,
    native,
    native_normalised,
    normalised_waveform,
    say,
    spell_aloud,
)


@dataclass(frozen=True)
class Made:
    """A model in a folder.

    Attributes
    ----------
    folder, network : Path
    features : callable
        The network's input for a waveform, by other code than the project's.
    symbols : list of str
        Token of every output of the network.
    blank : int
    say : callable
        Waveform of a sentence of "cat", "hat" and "and".
    """

    folder: Path
    network: Path
    features: Features
    symbols: list[str]
    blank: int
    say: Callable[..., np.ndarray] = say


def _tokens(folder: Path, names: list[str], file: str = "tokens.txt") -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{name} {k}\n" for k, name in enumerate(names)]
    (folder / file).write_text("".join(lines), encoding="utf-8")
    return names


def _subsampled(factor: int, features: Features) -> Features:
    return lambda samples: features(samples)[factor // 2 :: factor]


def _time_first(folder, features, symbols, blank, factor, metadata, lengths="log_probs_len"):
    """Network ``x, x_lens → log_probs, lengths``."""
    offset = factor // 2
    layers = fit(_subsampled(factor, features), symbols, blank, 0.01 * factor, 0.01 * offset)
    graph = Graph()
    rows = graph.every("x", 1, factor, offset)
    graph.node("LogSoftmax", graph.classified(rows, layers), axis=-1, output="log_probs")
    more = graph.node("Add", "x_lens", graph.constant([factor - 1 - offset]))
    graph.node("Div", more, graph.constant([factor]), output=lengths)
    path = folder / "model.onnx"
    graph.save(
        path,
        {"x": (FLOAT, ["N", "T", 80]), "x_lens": (INT64, ["N"])},
        {"log_probs": (FLOAT, ["N", "T2", len(symbols)]), lengths: (INT64, ["N"])},
        metadata,
    )
    return Made(folder, path, features, symbols, blank)


def icefall(folder: Path) -> Made:
    symbols = _tokens(folder, ["<blk>", "<sos/eos>", "<unk>", *PIECES])
    # icefall's lang folders end in symbols that are no outputs
    _append(folder / "tokens.txt", ["#0", "#1"], len(symbols))
    metadata = {"model_type": "zipformer2_ctc", "version": "1", "model_author": "k2-fsa"}
    return _time_first(folder, native(kinds.ICEFALL), symbols, 0, 4, metadata)


def wenet(folder: Path) -> Made:
    symbols = _tokens(folder, ["<blank>", "<unk>", *PIECES, "<sos/eos>"])
    metadata = {
        "model_type": "wenet_ctc",
        "subsampling_factor": 4,
        "vocab_size": len(symbols),
        "comment": "non-streaming",
    }
    features = native(kinds.WENET)
    return _time_first(folder, features, symbols, 0, 4, metadata, "log_probs_lens")


def _append(path: Path, names: list[str], first: int) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{name} {first + k}\n" for k, name in enumerate(names))


def nemo(folder: Path, metadata: dict | None = None, file: str = "tokens.txt") -> Made:
    symbols = _tokens(folder, ["<unk>", *PIECES, "<blk>"], file)
    features, factor = native_normalised(kinds.NEMO), 4
    blank = len(symbols) - 1

    def averages(samples: np.ndarray) -> np.ndarray:
        rows = features(samples)
        return rows[: len(rows) // factor * factor].reshape(-1, factor, 80).mean(1)

    layers = fit(averages, symbols, blank, 0.01 * factor, 0.02, count=60)
    graph = Graph()
    shape = {"kernel_shape": [factor], "strides": [factor]}
    rows = graph.node(
        "Transpose", graph.node("AveragePool", "audio_signal", **shape), perm=[0, 2, 1]
    )
    graph.node("LogSoftmax", graph.classified(rows, layers), axis=-1, output="logprobs")
    if metadata is None:
        metadata = {
            "vocab_size": blank,
            "normalize_type": "per_feature",
            "subsampling_factor": factor,
            "model_type": "EncDecCTCModelBPE",
            "model_author": "NeMo",
        }
    path = folder / "model.onnx"
    graph.save(
        path,
        {"audio_signal": (FLOAT, ["B", 80, "T"]), "length": (INT64, ["B"])},
        {"logprobs": (FLOAT, ["B", "T2", len(symbols)])},
        metadata,
    )
    return Made(folder, path, features, symbols, blank)


def nemo_without_metadata(folder: Path) -> Made:
    return nemo(folder, {}, "vocab.txt")


def telespeech(folder: Path) -> Made:
    symbols = _tokens(folder, ["<blk>", *PIECES])
    features, factor = native_normalised(kinds.TELESPEECH), 4
    layers = fit(_subsampled(factor, features), symbols, 0, 0.04, 0.0325)
    graph = Graph()
    scores = graph.classified(graph.every("feats", 1, factor, 2), layers)
    graph.node("Transpose", scores, perm=[1, 0, 2], output="logits")
    path = folder / "model.int8.onnx"
    graph.save(
        path,
        {"feats": (FLOAT, [1, "T", 40])},
        {"logits": (FLOAT, ["T2", 1, len(symbols)])},
        {"model_type": "telespeech_ctc", "version": "1", "model_author": "Tele-AI"},
    )
    return Made(folder, path, features, symbols, 0)


def sense_voice(folder: Path) -> Made:
    marks = ["<|zh|>", "<|NEUTRAL|>", "<|Speech|>", "<|woitn|>", "<|withitn|>"]
    symbols = _tokens(folder, ["<unk>", *PIECES, *marks])
    rng = np.random.default_rng(5)
    shift, scale = (rng.uniform(-12, -8, 560), rng.uniform(0.2, 0.3, 560))
    shift, scale = (np.array([f"{v:.6f}" for v in row], np.float32) for row in (shift, scale))
    banks = native(replace(kinds.SENSE_VOICE, scale=32768.0))

    def features(samples: np.ndarray) -> np.ndarray:
        rows = banks(samples)
        padded = [rows[0]] * 3 + list(rows) + [rows[-1]] * 12
        count = -(-len(rows) // 6)
        side = np.stack([np.concatenate(padded[6 * k : 6 * k + 7]) for k in range(count)])
        return (side + shift) * scale

    layers = fit(features, symbols, 0, 0.06, 0.0125)
    graph = Graph()
    scores = graph.classified("x", layers)
    first = []
    for mark, value, name in (
        ("<|zh|>", 0, "language"),
        ("<|NEUTRAL|>", 0, "language"),
        ("<|Speech|>", 15, "text_norm"),
        ("<|woitn|>", 15, "text_norm"),
    ):
        table = np.zeros((16, len(symbols)), np.float32)
        table[value, symbols.index(mark)] = 9
        row = graph.node("Gather", graph.constant(table, np.float32), name)
        first.append(graph.node("Unsqueeze", row, graph.constant([1])))
    used = graph.node(
        "Cast", graph.node("Mul", "x_length", graph.constant([0], np.int32)), to=FLOAT
    )
    scores = graph.node("Add", scores, used)
    graph.node("Concat", *first, scores, axis=1, output="logits")
    path = folder / "model.onnx"
    text = {"neg_mean": shift, "inv_stddev": scale}
    graph.save(
        path,
        {
            "x": (FLOAT, ["N", "T", 560]),
            "x_length": (INT32, ["N"]),
            "language": (INT32, ["N"]),
            "text_norm": (INT32, ["N"]),
        },
        {"logits": (FLOAT, ["N", "T2", len(symbols)])},
        {
            "lfr_window_size": 7,
            "lfr_window_shift": 6,
            "normalize_samples": 0,
            "model_type": "sense_voice_ctc",
            "vocab_size": len(symbols),
            "comment": "iic/SenseVoiceSmall",
            **{f"lang_{name}": k for k, name in enumerate(["auto", "x", "y", "zh", "en", "ja"])},
            "lang_yue": 7,
            "lang_ko": 12,
            "with_itn": 14,
            "without_itn": 15,
            **{key: ",".join(f"{v:.6f}" for v in row) for key, row in text.items()},
        },
    )
    return Made(folder, path, features, symbols, 0)


def _tone_powers(graph: Graph, waveform: str) -> tuple[str, Features]:
    """Logarithms of the power at the tones' frequencies, as a network and as a function."""
    window, stride = 400, 320
    angle = 2 * np.pi * np.array([*FREQUENCIES.values()])[:, None] * np.arange(window) / RATE
    filters = np.concatenate([np.cos(angle), np.sin(angle)]).astype(np.float32) / window
    channel = graph.node("Unsqueeze", waveform, graph.constant([1]))
    kernel = graph.constant(filters[:, None], np.float32)
    found = graph.node("Conv", channel, kernel, strides=[stride], kernel_shape=[window])
    square = graph.node("Mul", found, found)
    count = len(FREQUENCIES)
    power = graph.node("Add", graph.every(square, 1, 1, 0, count), graph.every(square, 1, 1, count))
    log = graph.node("Log", graph.node("Add", power, graph.constant(1e-6, np.float32)))

    def powers(samples: np.ndarray) -> np.ndarray:
        frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::stride]
        squares = (frames @ filters.T) ** 2
        return np.log(squares[:, :count] + squares[:, count:] + 1e-6)

    return graph.node("Transpose", log, perm=[0, 2, 1]), powers


def _of_waveforms(folder, symbols, blank, metadata, names, speak=say, path="model.onnx") -> Made:
    graph = Graph()
    source, output = names
    rows, powers = _tone_powers(graph, source)
    inputs = lambda samples: powers(normalised_waveform(samples))  # noqa: E731
    layers = fit(inputs, symbols, blank, 0.02, 0.0125, speak)
    graph.node("Identity", graph.classified(rows, layers), output=output)
    graph.save(
        folder / path,
        {source: (FLOAT, ["N", "samples"])},
        {output: (FLOAT, ["N", "frames", len(symbols)])},
        metadata,
    )
    return Made(folder, folder / path, normalised_waveform, symbols, blank, speak)


def omnilingual(folder: Path) -> Made:
    symbols = _tokens(folder, ["<s>", *PIECES, "<pad>", "</s>", "<unk>"])
    metadata = {"vocab_size": len(symbols), "model_type": "omnilingual-asr", "sample_rate": RATE}
    return _of_waveforms(folder, symbols, 0, metadata, ("x", "logits"))


def hugging_face(folder: Path, path: str = "model.onnx") -> Made:
    symbols = ["<pad>", "<s>", "</s>", "<unk>", *(c.upper() for c in CHARACTERS)]
    spoken = ["<pad>", "<s>", "</s>", "<unk>", *CHARACTERS]
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "vocab.json": {name: k for k, name in enumerate(symbols)},
        "preprocessor_config.json": {
            "do_normalize": True,
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "sampling_rate": RATE,
        },
        "tokenizer_config.json": {"pad_token": "<pad>", "word_delimiter_token": "|"},
        "config.json": {"conv_stride": [5, 2, 2, 2, 2, 2, 2], "model_type": "wav2vec2"},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    names = ("input_values", "logits")
    made = _of_waveforms(folder, spoken, 0, {}, names, spell_aloud, path)
    return replace(made, symbols=symbols)


def streaming_zipformer(folder: Path) -> Made:
    """Scores of a frame are smoothed by those of the frame before, which a state carries."""
    symbols = _tokens(folder, ["<blk>", *PIECES])
    features, size = native(kinds.ICEFALL), len(symbols)
    layers = fit(lambda samples: features(samples)[6::4], symbols, 0, 0.04, 0.06)
    states = {
        "cached_key_0": [4, "N", 4],
        "cached_nonlin_attn_0": [1, "N", 4, 6],
        "cached_val1_0": [4, "N", 4],
        "cached_val2_0": [4, "N", 4],
        "cached_conv1_0": ["N", size, 1],
        "cached_conv2_0": ["N", size, 1],
        "embed_states": ["N", 128, 3, 19],
    }
    graph = Graph()
    raw = graph.classified(graph.every("x", 1, 4, 6, 38), layers)
    before = graph.node("Transpose", "cached_conv1_0", perm=[0, 2, 1])
    shifted = graph.node("Concat", before, graph.every(raw, 1, 1, 0, 7), axis=1)
    mixed = graph.node(
        "Add",
        graph.node("Mul", raw, graph.constant(0.6, np.float32)),
        graph.node("Mul", shifted, graph.constant(0.4, np.float32)),
    )
    graph.node("LogSoftmax", mixed, axis=-1, output="log_probs")
    last = graph.every(raw, 1, 1, 7)
    graph.node("Transpose", last, perm=[0, 2, 1], output="new_cached_conv1_0")
    for name in states:
        if name != "cached_conv1_0":
            graph.node("Identity", name, output=f"new_{name}")
    graph.node("Add", "processed_lens", graph.constant([32]), output="new_processed_lens")
    path = folder / "ctc-epoch-9-avg-1-chunk-16-left-128.onnx"
    sizes = {name: (FLOAT, shape) for name, shape in states.items()}
    lens = (INT64, ["N"])
    graph.save(
        path,
        {"x": (FLOAT, ["N", 45, 80]), **sizes, "processed_lens": lens},
        {
            "log_probs": (FLOAT, ["N", 8, size]),
            **{f"new_{name}": value for name, value in sizes.items()},
            "new_processed_lens": lens,
        },
        {
            "model_type": "zipformer2",
            "comment": "streaming ctc zipformer2",
            "decode_chunk_len": 32,
            "T": 45,
            "num_encoder_layers": 1,
            "encoder_dims": size,
            "cnn_module_kernels": 3,
            "left_context_len": 4,
            "query_head_dims": 4,
            "value_head_dims": 4,
            "num_heads": 1,
        },
    )
    return Made(folder, path, features, symbols, 0)


def gigaam(folder: Path) -> Made:
    """Characters, of which the first is the space, as in GigaAM."""
    symbols = _tokens(folder, [" ", *CHARACTERS[1:], "<blk>"])
    spoken = ["|", *symbols[1:]]
    features, factor, blank = native(kinds.GIGAAM), 4, len(symbols) - 1
    inputs = _subsampled(factor, features)
    layers = fit(inputs, spoken, blank, 0.04, 0.02, speak=spell_aloud)
    graph = Graph()
    rows = graph.every(graph.node("Transpose", "features", perm=[0, 2, 1]), 1, factor, 2)
    graph.node("LogSoftmax", graph.classified(rows, layers), axis=-1, output="log_probs")
    path = folder / "v2_ctc.onnx"
    graph.save(
        path,
        {"features": (FLOAT, ["B", 64, "T"]), "feature_lengths": (INT64, ["B"])},
        {"log_probs": (FLOAT, ["B", "T2", len(symbols)])},
        {
            "vocab_size": len(symbols),
            "normalize_type": "",
            "subsampling_factor": factor,
            "model_type": "EncDecCTCModel",
            "is_giga_am": 1,
        },
    )
    return Made(folder, path, features, ["▁", *symbols[1:]], blank, spell_aloud)


def streaming_nemo(folder: Path) -> Made:
    """Scores of a frame are smoothed by those of the frame before, which a cache carries."""
    symbols = _tokens(folder, [*PIECES, "<blk>"])
    features, size = native(kinds.NEMO), len(symbols)
    layers = fit(lambda samples: features(samples)[6::4], symbols, size - 1, 0.04, 0.06)
    graph = Graph()
    rows = graph.node("Transpose", "audio_signal", perm=[0, 2, 1])
    raw = graph.classified(graph.every(rows, 1, 4, 6, 38), layers)
    before = graph.node("Squeeze", "cache_last_time", graph.constant([1]))
    shifted = graph.node("Concat", before, graph.every(raw, 1, 1, 0, 7), axis=1)
    mixed = graph.node(
        "Add",
        graph.node("Mul", raw, graph.constant(0.6, np.float32)),
        graph.node("Mul", shifted, graph.constant(0.4, np.float32)),
    )
    graph.node("LogSoftmax", mixed, axis=-1, output="logprobs")
    graph.node("Div", "length", graph.constant([4]), output="encoded_lengths")
    last = graph.every(raw, 1, 1, 7)
    graph.node("Unsqueeze", last, graph.constant([1]), output="cache_last_time_next")
    graph.node("Identity", "cache_last_channel", output="cache_last_channel_next")
    graph.node(
        "Add", "cache_last_channel_len", graph.constant([1]), output="cache_last_channel_next_len"
    )
    caches = {
        "cache_last_channel": (FLOAT, ["B", 2, 3, 4]),
        "cache_last_time": (FLOAT, ["B", 1, 1, size]),
        "cache_last_channel_len": (INT64, ["B"]),
    }
    path = folder / "model.onnx"
    graph.save(
        path,
        {"audio_signal": (FLOAT, ["B", 80, "T"]), "length": (INT64, ["B"]), **caches},
        {
            "logprobs": (FLOAT, ["B", 8, size]),
            "encoded_lengths": (INT64, ["B"]),
            "cache_last_channel_next": caches["cache_last_channel"],
            "cache_last_time_next": caches["cache_last_time"],
            "cache_last_channel_next_len": (INT64, ["B"]),
        },
        {
            "vocab_size": size - 1,
            "window_size": 41,
            "chunk_shift": 32,
            "normalize_type": "",
            "subsampling_factor": 4,
            "model_type": "EncDecHybridRNNTCTCBPEModel",
            **{f"cache_last_channel_dim{k}": k + 1 for k in (1, 2, 3)},
            **{f"cache_last_time_dim{k}": (1, 1, size)[k - 1] for k in (1, 2, 3)},
        },
    )
    return Made(folder, path, features, symbols, size - 1)
