"""Models in files: ours, TorchScript, ONNX and precomputed; nothing in them can run code."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from asr_hlg import acoustic
from asr_hlg.acoustic import Conformer, ConformerConfig, PrecomputedModel
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import ModelError
from asr_hlg.fst import symbols

TOKENS = ("<blk>", "a", "b", "c")


def network(**fields) -> Conformer:
    torch.manual_seed(0)
    config = ConformerConfig(TOKENS, dim=16, num_blocks=1, num_heads=2, ffn_dim=32, **fields)
    return Conformer(config).eval()


def describe(path: Path, **fields) -> Path:
    description = {"tokens": list(TOKENS), "frame_shift": 0.02, "sample_rate": 16000, **fields}
    known = {key: value for key, value in description.items() if value is not None}
    path.with_suffix(".json").write_text(json.dumps(known))
    return path


def noise(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [0.1 * torch.randn(length, generator=generator) for length in lengths]


def expected(model: Conformer, waveforms) -> Posteriors:
    """What the network says of each waveform by itself."""
    with torch.no_grad():
        rows = [model(w[None], torch.tensor([len(w)]))[0][0] for w in waveforms]
    lengths = torch.tensor([len(row) for row in rows])
    return Posteriors(pad_sequence(rows, batch_first=True), lengths, 0.02, model.config.tokens)


def same(ours, theirs, tolerance: float) -> None:
    assert ours.tokens == theirs.tokens
    assert ours.frame_shift == theirs.frame_shift
    assert ours.lengths.tolist() == theirs.lengths.tolist()
    for a, b, length in zip(ours.log_probs, theirs.log_probs, ours.lengths, strict=True):
        torch.testing.assert_close(a[:length], b[:length], atol=tolerance, rtol=0)


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


# ---------------------------------------------------------------- our own


@pytest.mark.parametrize("merge", [(), (0, 1, -1, 2, 3, 1)])
def test_what_is_saved_loads_as_it_was(tmp_path, merge):
    model = network(merge=merge)
    model.save(tmp_path / "adapted.npz")
    loaded = acoustic.load(tmp_path / "adapted.npz")
    assert loaded.network.config == model.config
    waveforms = noise(8000, 5000)
    same(
        loaded.posteriors(waveforms, 16000),
        acoustic.NetworkModel(model, frozen=True).posteriors(waveforms, 16000),
        0.0,
    )


def test_an_adapted_pretrained_model_loads_wherever_the_original_does(tmp_path):
    original = acoustic.load("hama")
    with torch.no_grad():
        original.network.projection.bias[0] += 1.0
    original.network.save(tmp_path / "adapted.npz")
    adapted = acoustic.load(str(tmp_path / "adapted.npz"))
    assert adapted.tokens == original.tokens
    assert adapted.frame_shift == original.frame_shift
    same(adapted.posteriors(noise(8000), 16000), original.posteriors(noise(8000), 16000), 0.0)


@pytest.mark.parametrize("keep", [0, 10, 1000, -30])
def test_a_truncated_model_is_an_error(tmp_path, keep):
    path = tmp_path / "m.npz"
    network().save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"m\.npz"):
        acoustic.load(path)


def test_weights_that_do_not_fit_are_an_error(tmp_path):
    network().save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as arrays:
        contents = dict(arrays)
    contents["projection.bias"] = np.zeros(7, np.float32)
    np.savez(tmp_path / "wrong.npz", **contents)
    with pytest.raises(ModelError, match="not a saved Conformer"):
        acoustic.load(tmp_path / "wrong.npz")
    contents["conformer.json"] = np.array('{"tokens": ["a"], "size": 3}')
    np.savez(tmp_path / "unknown.npz", **contents)
    with pytest.raises(ModelError, match=r"unknown\.npz: unknown key size"):
        acoustic.load(tmp_path / "unknown.npz")


def test_a_pickle_in_an_npz_is_refused(tmp_path):
    path, trap = tmp_path / "m.npz", tmp_path / "trap"
    network().save(path)
    with np.load(path) as arrays:
        contents = dict(arrays)
    contents["projection.bias"] = np.array([Trap(trap)], dtype=object)
    np.savez(path, **contents)
    with pytest.raises(ModelError):
        acoustic.load(path)
    assert not trap.exists()


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


def test_models_of_filter_banks_get_them_and_logits_are_normalised(tmp_path):
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


@pytest.mark.parametrize(("module", "reason"), [(Wrong(), "scores of shape"), (Alone(), "take or")])
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


def test_a_file_that_is_no_onnx_is_an_error(tmp_path):
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


# ---------------------------------------------------------------- precomputed


@pytest.fixture
def matrices() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    weights = {"utt-1": generator.random((7, 4)), "utt-2": generator.random((4, 4))}
    logs = {k: np.log(v / v.sum(1, keepdims=True)).astype(np.float32) for k, v in weights.items()}
    logs["utt-2"][0, 1] = -np.inf
    return logs


def stored(folder: Path, kind: str, matrices) -> Path:
    path = describe(folder / f"log_probs.{kind}")
    if kind == "npz":
        np.savez(path, **matrices)
        return path
    ark = folder / "log_probs.ark"
    where = f"ark:{ark}" if kind == "ark" else f"ark,scp:{ark},{path}"
    with kaldi_native_io.FloatMatrixWriter(where) as writer:
        for key, matrix in matrices.items():
            writer.write(key, matrix)
    return path


@pytest.mark.parametrize("kind", ["npz", "ark", "scp"])
def test_precomputed_posteriors_are_looked_up(tmp_path, matrices, kind):
    model = acoustic.load(stored(tmp_path, kind, matrices))
    assert isinstance(model, PrecomputedModel)
    for order in (["utt-1", "utt-2"], ["utt-2", "utt-1"], ["utt-2"]):
        posteriors = model.posteriors_for(order)
        assert posteriors.lengths.tolist() == [len(matrices[key]) for key in order]
        assert posteriors.frame_shift == 0.02
        assert posteriors.tokens == TOKENS
        for row, key in zip(posteriors.log_probs, order, strict=True):
            np.testing.assert_array_equal(row[: len(matrices[key])], matrices[key])
    with pytest.raises(ModelError, match="no utterance 'utt-3'"):
        model.posteriors_for(["utt-1", "utt-3"])
    with pytest.raises(ModelError, match=r"posteriors_for\(ids\)"):
        model.posteriors(noise(800), 16000)


@pytest.mark.parametrize("kind", ["npz", "ark"])
@pytest.mark.parametrize(("value", "reason"), [(np.nan, "no log-prob"), (np.inf, "no log-prob")])
def test_values_that_are_no_log_probabilities_are_errors(tmp_path, matrices, kind, value, reason):
    matrices["utt-1"][2, 2] = value
    model = acoustic.load(stored(tmp_path, kind, matrices))
    with pytest.raises(ModelError, match=reason):
        model.posteriors_for(["utt-1"])


def test_matrices_of_another_width_are_errors(tmp_path, matrices):
    matrices["utt-1"] = matrices["utt-1"][:, :3]
    model = acoustic.load(stored(tmp_path, "npz", matrices))
    with pytest.raises(ModelError, match=r"shape \(7, 3\), expected \(frames, 4\)"):
        model.posteriors_for(["utt-1"])


def test_a_pickle_among_the_matrices_is_refused(tmp_path):
    trap = tmp_path / "trap"
    path = describe(tmp_path / "p.npz")
    np.savez(path, utt=np.array([Trap(trap)], dtype=object))
    with pytest.raises(ModelError):
        acoustic.load(path).posteriors_for(["utt"])
    assert not trap.exists()


@pytest.mark.parametrize("entry", ["touch {} |", "|touch {}"])
def test_a_script_file_never_runs_a_command(tmp_path, entry):
    trap = tmp_path / "trap"
    path = describe(tmp_path / "p.scp")
    path.write_text(f"utt {entry.format(trap)}\n")
    with pytest.raises(ModelError, match=r"p\.scp:1: an entry is a command"):
        acoustic.load(path)
    assert not trap.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"garbage garbage",
        b"x" * 3000,
        b"utt \0BFM \4\7\0\0\0\4\4\0\0",
        b"utt \0BFM \4\xff\xff\xff\xff\4\xff\xff\xff\xff",
        b"utt \0BFM \4\xff\xff\xff\x7f\4\4\0\0\0",
        b"utt \0BCM " + bytes(100),
        b"utt PKL" + pickle.dumps(print),
        b"utt  [\n 1 2 ]\n",
    ],
)
def test_archives_that_are_damaged_or_lie_are_errors(tmp_path, content):
    path = describe(tmp_path / "p.ark")
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"p\.ark"):
        acoustic.load(path).posteriors_for(["utt"])


def test_archives_of_doubles_are_read(tmp_path, matrices):
    path = describe(tmp_path / "p.ark")
    with kaldi_native_io.DoubleMatrixWriter(f"ark:{path}") as writer:
        writer.write("utt", matrices["utt-1"].astype(np.float64))
    found = acoustic.load(path).posteriors_for(["utt"]).log_probs
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found[0], matrices["utt-1"])


def test_a_script_file_that_points_nowhere_is_an_error(tmp_path):
    path = describe(tmp_path / "p.scp")
    path.write_text(f"utt {tmp_path}/gone.ark:4\n")
    with pytest.raises(ModelError, match=r"p\.scp"):
        acoustic.load(path).posteriors_for(["utt"])


# ---------------------------------------------------------------- descriptions and names


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
        ({"sample_rate": -1}, "not one of speech"),
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
def test_descriptions_that_are_no_json_object_are_errors(tmp_path, content):
    path = describe(tmp_path / "m.pt")
    torch.jit.script(network()).save(str(path))
    path.with_suffix(".json").write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    with pytest.raises(ModelError, match=r"m\.json"):
        acoustic.load(path)


def test_a_missing_description_says_what_to_write(tmp_path):
    path = tmp_path / "m.pt"
    torch.jit.script(network()).save(str(path))
    with pytest.raises(ModelError, match=r"no description.*frame_shift.*m\.json"):
        acoustic.load(path)


def test_a_folder_holds_one_model(tmp_path, matrices):
    with pytest.raises(ModelError, match="holds none"):
        acoustic.load(tmp_path)
    stored(tmp_path, "scp", matrices)
    assert acoustic.load(tmp_path).posteriors_for(["utt-1"]).lengths.tolist() == [7]
    (tmp_path / "other.scp").write_text("")
    with pytest.raises(ModelError, match=r"holds log_probs\.scp, other\.scp"):
        acoustic.load(tmp_path)


def test_names_that_are_no_model_are_errors(tmp_path):
    with pytest.raises(ModelError, match="no such model"):
        acoustic.load(tmp_path / "gone.pt")
    (tmp_path / "m.ckpt").write_text("")
    with pytest.raises(ModelError, match=r"unknown kind of model file '.ckpt'"):
        acoustic.load(tmp_path / "m.ckpt")
    with pytest.raises(ModelError, match="no such model"):
        acoustic.load("humu")
