"""TorchScript and ONNX models with their descriptions; nothing in them runs code."""

from __future__ import annotations

import pickle
import sys

import pytest
import torch

from asr_hlg import acoustic
from asr_hlg.errors import ModelError
from asr_hlg.fst import symbols
from tests.support.acoustic_files import TOKENS, Trap, describe, expected, network, noise, same

# ---------------------------------------------------------------- TorchScript


def test_torchscript_gives_the_same_posteriors(tmp_path):
    model = network(merge=(0, 1, -1, 2, 3, 1))
    path = describe(tmp_path / "m.pt")
    torch.jit.script(model).save(str(path))
    waveforms = noise(8000, 5000, 150)
    same(acoustic.load(path).posteriors(waveforms, 16000), expected(model, waveforms), 1e-4)


def test_a_pickled_model_is_refused_and_not_run(tmp_path):
    trap = tmp_path / "trap"
    path = describe(tmp_path / "m.pt")
    for legacy in (False, True):
        torch.save({"w": Trap(trap)}, path, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(ModelError, match=r"not a TorchScript file.*torch\.jit\.script"):
            acoustic.load(path)
    path.write_bytes(pickle.dumps(Trap(trap)))
    with pytest.raises(ModelError, match="not a TorchScript file"):
        acoustic.load(path)
    assert not trap.exists()


class Logits(torch.nn.Module):
    """Takes energies ``(B, frames, mels)``; every second frame's first bands are its scores."""

    def forward(self, features: torch.Tensor, lengths: torch.Tensor):
        return features[:, ::2, :4], (lengths + 1) // 2


def test_models_get_filter_banks_and_their_logits_are_normalised(tmp_path):
    path = describe(tmp_path / "m.pt", fbank={"num_filters": 23})
    torch.jit.script(Logits()).save(str(path))
    [waveform] = noise(8000)
    ours = acoustic.load(path).posteriors([waveform], 16000)
    [energies] = acoustic.external.fbank(
        [waveform], 16000, acoustic.external.FbankOptions(num_filters=23)
    )
    assert ours.lengths.tolist() == [25]
    torch.testing.assert_close(ours.log_probs[0], energies[::2, :4].log_softmax(1))


class Wrong(torch.nn.Module):
    def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor):
        return waveforms, lengths


class Alone(torch.nn.Module):
    def forward(self, waveforms: torch.Tensor):
        return waveforms


@pytest.mark.parametrize(
    ("module", "reason"), [(Wrong(), "scores of shape"), (Alone(), "wrong inputs or outputs")]
)
def test_models_with_other_inputs_or_outputs_are_errors(tmp_path, module, reason):
    path = describe(tmp_path / "m.pt")
    torch.jit.script(module).save(str(path))
    with pytest.raises(ModelError, match=reason):
        acoustic.load(path).posteriors(noise(800), 16000)


# ---------------------------------------------------------------- ONNX


@pytest.mark.filterwarnings("ignore")
def test_onnx_gives_the_same_posteriors(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model = network(merge=(0, 1, -1, 2, 3, 1))
    path = describe(tmp_path / "m.onnx")
    example = (torch.stack(noise(4000, 4000)), torch.tensor([4000, 3000]))
    torch.onnx.export(
        model,
        example,
        str(path),
        input_names=["waveforms", "lengths"],
        output_names=["log_probs", "frames"],
        dynamic_axes={
            "waveforms": {0: "batch", 1: "samples"},
            "lengths": {0: "batch"},
            "log_probs": {0: "batch", 1: "frames"},
            "frames": {0: "batch"},
        },
        opset_version=14,
    )
    for waveforms in (noise(8000, 5000), noise(3000)):
        same(acoustic.load(path).posteriors(waveforms, 16000), expected(model, waveforms), 1e-3)


def test_a_file_that_is_not_onnx_is_an_error(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    path = describe(tmp_path / "m.onnx")
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="not a usable ONNX file"):
        acoustic.load(path)


def test_a_missing_onnxruntime_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    path = describe(tmp_path / "m.onnx")
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="pip install onnxruntime"):
        acoustic.load(path)


# ---------------------------------------------------------------- descriptions


def test_tokens_may_be_a_table_or_an_argument(tmp_path):
    symbols.write(symbols.table([*TOKENS, "#0", "#1"]), tmp_path / "tokens.txt")
    for tokens, argument in [("tokens.txt", None), (None, TOKENS), (["x"], TOKENS)]:
        path = describe(tmp_path / "m.pt", tokens=tokens)
        torch.jit.script(network()).save(str(path))
        assert acoustic.load(path, tokens=argument).tokens == TOKENS


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tokens": None}, "lacks 'tokens'"),
        ({"frame_shift": None}, "lacks 'frame_shift'"),
        ({"sample_rate": None}, "lacks 'sample_rate'"),
        ({"tokens": "gone.txt"}, "cannot read its tokens"),
        ({"tokens": 3}, "wrong value"),
        ({"frame_shift": "often"}, "wrong value"),
        ({"frame_shift": 0}, "not positive"),
        ({"sample_rate": -1}, "sample rate of -1 Hz is out of range"),
        ({"sample_rate": 768000}, "sample rate of 768000 Hz is out of range"),
        ({"fbank": {"filters": 3}}, "wrong value"),
        ({"fbank": 3}, "wrong value"),
    ],
)
def test_descriptions_that_are_wrong_are_errors(tmp_path, fields, reason):
    path = describe(tmp_path / "m.pt", **fields)
    torch.jit.script(network()).save(str(path))
    with pytest.raises(ModelError, match=reason) as caught:
        acoustic.load(path)
    assert str(caught.value).startswith(str(path.with_suffix(".json")))


@pytest.mark.parametrize("content", ["{", "[1]", "3", b"\xff\xfe"])
def test_descriptions_that_are_not_json_objects_are_errors(tmp_path, content):
    path = describe(tmp_path / "m.pt")
    torch.jit.script(network()).save(str(path))
    path.with_suffix(".json").write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    with pytest.raises(ModelError, match=r"m\.json"):
        acoustic.load(path)


def test_the_error_for_a_missing_description_shows_one(tmp_path):
    path = tmp_path / "m.pt"
    torch.jit.script(network()).save(str(path))
    with pytest.raises(ModelError, match=r"no description.*frame_shift.*m\.json"):
        acoustic.load(path)
