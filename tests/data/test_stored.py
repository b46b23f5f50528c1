"""Stored filter banks stand for those computed from sound, and only where they are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from lhotse import CutSet

from asr_hlg import data
from asr_hlg.acoustic.features import FbankOptions
from asr_hlg.data import Augmentation, LoaderOptions
from asr_hlg.data.augmentation import joined
from asr_hlg.errors import DataError
from tests.data.test_data import assert_equal, make_cuts, write_wavs

FBANK = FbankOptions(num_filters=20)


@pytest.fixture
def cuts(tmp_path):
    write_wavs(tmp_path, "a", "b", "c")
    (tmp_path / "text").write_text("a one\nb two\nc three\n")
    return data.cuts(tmp_path)


@pytest.fixture
def stored(cuts, tmp_path):
    data.store_fbank(cuts, FBANK, tmp_path / "fbank").to_file(tmp_path / "stored.jsonl.gz")
    return data.cuts(tmp_path / "stored.jsonl.gz")


def test_stored_filter_banks_are_the_computed_ones(cuts, stored):
    assert_equal(data.loader(cuts, FBANK), data.loader(stored, FBANK))


def test_they_are_read_rather_than_the_sound(stored, tmp_path):
    for path in tmp_path.glob("*.wav"):
        path.unlink()
    [batch] = data.loader(stored, FBANK)
    assert sorted(batch.texts) == ["one", "three", "two"]
    assert_equal([batch], data.loader(stored, FBANK, LoaderOptions(memory=0.0)))


@pytest.mark.parametrize(
    ("fbank", "augmentation"),
    [
        (FbankOptions(num_filters=30), Augmentation()),
        (FbankOptions(num_filters=20, low_freq=60.0), Augmentation()),
        (None, Augmentation()),
        (FBANK, Augmentation(speeds=(0.9,))),
        (FBANK, Augmentation(noise=1.0)),
        (FBANK, Augmentation(volumes=(0.1, 0.2))),
        (FBANK, Augmentation(join=1.0)),
    ],
)
def test_other_inputs_are_computed(cuts, stored, fbank, augmentation):
    expected = data.loader(cuts, fbank, augmentation=augmentation)
    assert_equal(expected, data.loader(stored, fbank, augmentation=augmentation))


def test_other_storages_are_not_opened(cuts, stored):
    """Neither pickles nor what would be fetched; the sound is there instead."""
    expected = list(data.loader(cuts, FBANK))
    for field, value in (("storage_type", "numpy_hdf5"), ("storage_path", "https://example.org")):
        for cut in stored:
            setattr(cut.features, field, value)
        assert_equal(expected, data.loader(stored, FBANK))


def test_what_cannot_be_stored_or_read(stored, tmp_path):
    both = joined(list(make_cuts([0.2, 0.3])))
    with pytest.raises(DataError, match=r"'c0\+c1' is not one part"):
        data.store_fbank(CutSet([both]), FBANK, tmp_path / "other")
    features = stored["b"].features
    path = Path(features.storage_path) / features.storage_key
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match=r"of cut 'b' cannot be read.*store them again"):
        list(data.loader(stored, FBANK))


def test_a_cut_too_short_for_a_frame_is_named(tmp_path):
    cuts = make_cuts([0.2, 0.005])
    with pytest.raises(DataError, match=r"'c1' has 80 samples.*leave it out"):
        list(data.loader(cuts, FBANK))
    assert len(next(iter(data.loader(cuts, None))).ids) == 2
    assert torch.is_tensor(next(iter(data.loader(cuts.subset(first=1), FBANK))).inputs)
