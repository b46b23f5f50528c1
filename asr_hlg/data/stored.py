"""Filter banks that were computed once and are read from files.

For corpora that do not fit into memory and are not augmented but by masks; elsewhere computing
them anew is as fast as reading.

>>> stored = store_fbank(cuts("corpus/"), FbankOptions(num_filters=40), "corpus/fbank")
>>> stored.to_file("corpus/stored.jsonl.gz")
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import torch
from lhotse import CutSet, Features, MonoCut, NumpyFilesWriter
from lhotse.cut import Cut
from lhotse.utils import fastcopy
from torch import Tensor
from tqdm import tqdm

from asr_hlg.acoustic import features
from asr_hlg.acoustic.features import FbankOptions
from asr_hlg.data.sources import reason, samples_of
from asr_hlg.errors import AsrHlgError, DataError


def store_fbank(
    cuts: CutSet, fbank: FbankOptions, folder: str | Path, sample_rate: int = 16000
) -> CutSet:
    """Write the filter banks of all cuts to a folder, as Lhotse's uncompressed NumPy files.

    Parameters
    ----------
    cuts : CutSet
    fbank : FbankOptions
        Cuts keep these in mind: loaders with other options compute what they need.
    folder : path
        For the files; it is created.
    sample_rate : int
        Hz, to which sound is resampled.

    Returns
    -------
    CutSet
        The cuts with ``features``, for :func:`asr_hlg.data.loader`.

    Raises
    ------
    DataError
        If a recording cannot be read, or a cut is mixed of several.
    """
    with NumpyFilesWriter(Path(folder).resolve()) as writer:
        return CutSet(
            [
                _stored(cut, fbank, writer, sample_rate)
                for cut in tqdm(cuts, desc="filter banks", unit="cut", disable=None)
            ]
        )


def is_stored(cut: Cut, fbank: FbankOptions, sample_rate: int) -> bool:
    """Whether filter banks of exactly this kind are stored for a cut, in local files."""
    found = cut.features if isinstance(cut, MonoCut) else None
    return (
        found is not None
        and found.type == _kind(fbank, sample_rate)
        # Lhotse also has storages that are fetched or unpickled: manifests may come from anywhere.
        and found.storage_type == NumpyFilesWriter.name
        and os.path.isdir(found.storage_path)
    )


def stored_fbank(cut: Cut) -> Tensor:
    """The filter banks of a cut that has them, float32 ``(frames, num_filters)``.

    Raises
    ------
    DataError
        If their file cannot be read.
    """
    try:
        return torch.from_numpy(cut.load_features())
    except Exception as error:  # whatever a damaged file leads to
        raise DataError(
            f"the stored filter banks of cut {cut.id!r} cannot be read: {reason(error)}",
            path=cut.features.storage_path,
            remedy="store them again",
        ) from None


def computed_fbank(cut: Cut, samples: Tensor, fbank: FbankOptions, sample_rate: int) -> Tensor:
    """The filter banks of the sound of a cut, float32 ``(frames, num_filters)``.

    Raises
    ------
    DataError
        If it is too short for a frame.
    """
    try:
        return features.fbank([samples], sample_rate, fbank)[0]
    except AsrHlgError:
        raise DataError(
            f"cut {cut.id!r} has {len(samples)} samples, too few for a frame",
            remedy="leave it out of the training data",
        ) from None


def _stored(cut: Cut, fbank: FbankOptions, writer: NumpyFilesWriter, sample_rate: int) -> Cut:
    if not isinstance(cut, MonoCut):
        raise DataError(
            f"cut {cut.id!r} is not one part of one channel of a recording",
            remedy="write such cuts to files first, with cuts.save_audios(folder)",
        )
    frames = computed_fbank(cut, samples_of(cut, sample_rate), fbank, sample_rate).numpy()
    manifest = Features(
        type=_kind(fbank, sample_rate),
        num_frames=frames.shape[0],
        num_features=frames.shape[1],
        frame_shift=fbank.frame_shift,
        sampling_rate=cut.sampling_rate,
        start=cut.start,
        duration=cut.duration,
        storage_type=writer.name,
        storage_path=str(writer.storage_path),
        storage_key=writer.write(cut.id, frames),
        recording_id=cut.recording_id,
        channels=cut.channel,
    )
    return fastcopy(cut, features=manifest)


def _kind(fbank: FbankOptions, sample_rate: int) -> str:
    return json.dumps({"sample_rate": sample_rate, **dataclasses.asdict(fbank)})
