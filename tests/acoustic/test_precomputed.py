"""Precomputed log-probabilities are looked up by id; archives run nothing."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
import torch

from asr_hlg import acoustic
from asr_hlg.acoustic import PrecomputedModel
from asr_hlg.errors import ModelError
from tests.support.acoustic_files import TOKENS, Trap, describe, noise


@pytest.fixture
def matrices() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    weights = {"utt-1": generator.random((7, 4)), "utt-2": generator.random((4, 4))}
    logs = {k: np.log(v / v.sum(1, keepdims=True)).astype(np.float32) for k, v in weights.items()}
    logs["utt-2"][0, 1] = -np.inf
    return logs


def of_lhotse(folder: Path, kind: str, matrices) -> Path:
    """Cuts with one array each, in a manifest; lossy if compressed."""
    lhotse = pytest.importorskip("lhotse")
    from lhotse.features.io import LilcomChunkyWriter, NumpyFilesWriter

    writer_class = LilcomChunkyWriter if kind == "lilcom" else NumpyFilesWriter
    cuts = []
    with writer_class(folder / "arrays") as writer:
        for key, matrix in matrices.items():
            source = lhotse.audio.AudioSource("file", [0], "absent.wav")
            recording = lhotse.Recording(key, [source], 16000, 16000, 1.0)
            cut = lhotse.MonoCut(f"cut-{key}", 0, 1.0, 0, recording=recording)
            cut.posteriors = writer.store_array(key, matrix, frame_shift=0.02, temporal_dim=0)
            cuts.append(cut)
    path = folder / ("log_probs.jsonl" if kind == "jsonl" else "log_probs.jsonl.gz")
    lhotse.CutSet.from_cuts(cuts).to_jsonl(path)
    describe(folder / "log_probs.pt")
    return path


def stored(folder: Path, kind: str, matrices) -> Path:
    path = describe(folder / f"log_probs.{kind}")
    if kind == "npy":
        path = describe(folder / "log_probs")
        path.mkdir()
        for key, matrix in matrices.items():
            np.save(path / f"{key}.npy", matrix)
        return path
    if kind in ("jsonl", "jsonl.gz", "lilcom"):
        return of_lhotse(folder, kind, matrices)
    if kind == "npz":
        np.savez(path, **matrices)
        return path
    ark = folder / "log_probs.ark"
    where = f"ark:{ark}" if kind == "ark" else f"ark,scp:{ark},{path}"
    with kaldi_native_io.FloatMatrixWriter(where) as writer:
        for key, matrix in matrices.items():
            writer.write(key, matrix)
    return path


@pytest.mark.parametrize("kind", ["npz", "ark", "scp", "npy", "jsonl", "jsonl.gz"])
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
@pytest.mark.parametrize(("value", "reason"), [(np.nan, "not log-prob"), (np.inf, "not log-prob")])
def test_values_that_are_not_log_probabilities_are_errors(tmp_path, matrices, kind, value, reason):
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
def test_damaged_archives_are_errors(tmp_path, content):
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


def test_a_folder_holds_one_model(tmp_path, matrices):
    with pytest.raises(ModelError, match="contains none"):
        acoustic.load(tmp_path)
    stored(tmp_path, "scp", matrices)
    assert acoustic.load(tmp_path).posteriors_for(["utt-1"]).lengths.tolist() == [7]
    (tmp_path / "other.scp").write_text("")
    with pytest.raises(ModelError, match=r"contains log_probs\.scp, other\.scp"):
        acoustic.load(tmp_path)


def test_compressed_arrays_of_lhotse(tmp_path, matrices):
    matrices["utt-2"][0, 1] = -20  # lilcom takes no infinity
    model = acoustic.load(stored(tmp_path, "lilcom", matrices))
    for key in ("utt-1", "cut-utt-1"):
        rows = model.posteriors_for([key]).array[0]
        np.testing.assert_allclose(rows, matrices["utt-1"], atol=0.05)


def test_manifests_that_name_no_array_are_errors(tmp_path, matrices):
    path = of_lhotse(tmp_path, "jsonl", matrices)
    path.write_text('{"id": "utt-1", "custom": {}}\n')
    with pytest.raises(ModelError, match=r"jsonl:1: expected one array.*has 0"):
        acoustic.load(path)
    path.write_text("utt-1\n")
    with pytest.raises(ModelError, match=r"jsonl:1: expected a cut"):
        acoustic.load(path)
    entry = {"storage_type": "memory_raw", "storage_path": "", "storage_key": "aa"}
    path.write_text(json.dumps({"id": "utt-1", "custom": {"posteriors": {"array": entry}}}))
    with pytest.raises(ModelError, match="'memory_raw' is not read"):
        acoustic.load(path).posteriors_for(["utt-1"])
