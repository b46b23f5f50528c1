"""Weights of Hugging Face against transformers; most are skipped where that is not installed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from asr_hlg import acoustic
from asr_hlg.errors import ModelError

NAMES = ["<pad>", "<s>", "</s>", "<unk>", "|", "A", "C", "D", "H", "N", "T"]


def write_model(folder, kind):
    """A small network with random weights; returns it with what makes its features."""
    transformers = pytest.importorskip("transformers")
    import torch

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(NAMES),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        pad_token_id=0,
    )
    model = getattr(transformers, f"{kind}ForCTC")(config).eval()
    model.save_pretrained(folder, safe_serialization=True)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    extractor.save_pretrained(folder)
    write_tokens(folder)
    return model, extractor


def write_tokens(folder):
    (folder / "vocab.json").write_text(json.dumps({name: k for k, name in enumerate(NAMES)}))
    settings = {"pad_token": "<pad>", "word_delimiter_token": "|"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize("kind", ["Wav2Vec2", "Hubert", "WavLM"])
@pytest.mark.parametrize("max_shard_size", ["1GB", "10KB"])
def test_posteriors_equal_those_of_transformers(tmp_path, kind, max_shard_size):
    model, extractor = write_model(tmp_path, kind)
    import torch

    (tmp_path / "model.safetensors").unlink()
    model.save_pretrained(tmp_path, max_shard_size=max_shard_size, safe_serialization=True)
    assert (tmp_path / "model.safetensors").is_file() == (max_shard_size == "1GB")
    samples = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
    ours = acoustic.load(tmp_path)
    values = extractor(samples, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        expected = model(**values).logits.log_softmax(-1)
    np.testing.assert_allclose(ours.posteriors([samples], 16000).array, expected, atol=1e-5)
    assert (ours.boundary, ours.frame_shift) == ("|", 0.02)


def test_a_network_without_its_last_layer_is_refused(tmp_path):
    write_model(tmp_path, "Wav2Vec2")
    from safetensors.torch import load_file, save_file

    path = tmp_path / "model.safetensors"
    weights = {name: w for name, w in load_file(path).items() if name != "lm_head.weight"}
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks weights of a CTC network: lm_head\.weight"):
        acoustic.load(tmp_path)


def test_pickled_weights_are_refused(tmp_path):
    write_tokens(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin: .*pickle.*save_pretrained"):
        acoustic.load(tmp_path)
