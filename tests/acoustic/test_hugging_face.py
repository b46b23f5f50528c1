"""Weights of Hugging Face against transformers; skipped where that is not installed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from asr_hlg import acoustic

NAMES = ["<pad>", "<s>", "</s>", "<unk>", "|", "A", "C", "D", "H", "N", "T"]


@pytest.mark.parametrize("kind", ["Wav2Vec2", "Hubert", "WavLM"])
def test_posteriors_equal_those_of_transformers(tmp_path, kind):
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
    model.save_pretrained(tmp_path, safe_serialization=True)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    extractor.save_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps({name: k for k, name in enumerate(NAMES)}))
    settings = {"pad_token": "<pad>", "word_delimiter_token": "|"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))

    samples = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
    ours = acoustic.load(tmp_path)
    values = extractor(samples, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        expected = model(**values).logits.log_softmax(-1)
    np.testing.assert_allclose(ours.posteriors([samples], 16000).array, expected, atol=1e-5)
    assert (ours.boundary, ours.frame_shift) == ("|", 0.02)
