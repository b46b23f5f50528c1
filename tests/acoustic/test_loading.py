"""Saved networks load as acoustic models; damaged and unknown files are refused."""

from __future__ import annotations

import numpy as np
import pytest

from asr_hlg import acoustic
from asr_hlg.acoustic import hama
from asr_hlg.errors import ModelError
from tests.support.acoustic_files import Trap, network, noise, same


@pytest.mark.parametrize("merge", [(), (0, 1, -1, 2, 3, 1)])
def test_saved_networks_load_unchanged(tmp_path, merge):
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


def test_an_adapted_pretrained_model_loads_like_the_original(tmp_path):
    original = acoustic.NetworkModel(hama.conformer(), frozen=True)
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


def test_unknown_model_names_are_errors(tmp_path):
    with pytest.raises(ModelError, match="no such model"):
        acoustic.load(tmp_path / "gone.pt")
    (tmp_path / "m.ckpt").write_text("")
    with pytest.raises(ModelError, match=r"unknown kind of model file '.ckpt'"):
        acoustic.load(tmp_path / "m.ckpt")
    with pytest.raises(ModelError, match="no such model"):
        acoustic.load("humu")
