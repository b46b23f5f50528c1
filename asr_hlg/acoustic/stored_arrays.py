"""Log-probabilities in numpy's files and in arrays of Lhotse, looked up by utterance id.

==================  ==============================================================================
a folder, ``.npy``  ``ID.npy`` for each utterance
``.jsonl``, ``.gz`` Lhotse's cuts with one array as a custom field or as features, or a manifest of
                    features; found by the id of the cut and of its recording
==================  ==============================================================================

Arrays that Lhotse stored as ``numpy_files`` are read without it; compressed ones need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from asr_hlg.acoustic.kaldi_matrix import Matrix
from asr_hlg.errors import ModelError
from asr_hlg.files import parse_json, text_lines

LookUp = Callable[[str], Matrix]

_OF_LHOTSE = (
    "lilcom_chunky",
    "lilcom_files",
    "lilcom_hdf5",
    "chunked_lilcom_hdf5",
    "numpy_hdf5",
)
"""Storage types that Lhotse reads; others, such as pipes and addresses, are refused."""


def npy(path: Path) -> LookUp:
    """Lookup of ``.npy`` files in a folder, or of one such file."""
    files = {path.stem: path} if path.is_file() else {p.stem: p for p in path.glob("*.npy")}

    def look_up(utterance: str) -> Matrix:
        matrix: Matrix = np.load(files[utterance], allow_pickle=False)
        return matrix

    return look_up


def lhotse(path: Path) -> LookUp:
    """Lookup of arrays that a manifest of Lhotse lists.

    Raises
    ------
    ModelError
        If it is no manifest, or a cut has none or several arrays.
    """
    arrays = dict(_entries(path))

    def look_up(utterance: str) -> Matrix:
        array = arrays[utterance]
        kind, folder, key = (str(array[f"storage_{part}"]) for part in ("type", "path", "key"))
        if kind == "numpy_files":
            matrix: Matrix = np.load(_place(path, folder) / key, allow_pickle=False)
            return matrix
        if kind not in _OF_LHOTSE:
            raise ModelError(f"storage type {kind!r} is not read", path=path)
        try:
            from lhotse.features.io import get_reader
        except ImportError:
            raise ModelError(
                f"arrays of type {kind} need lhotse",
                path=path,
                remedy="pip install lhotse lilcom, or store them with NumpyFilesWriter",
            ) from None
        read: Matrix = get_reader(kind)(_place(path, folder)).read(key)
        return read

    return look_up


def _place(manifest: Path, name: str) -> Path:
    """Path of a storage, which may be relative to the working folder or to the manifest."""
    beside = manifest.parent / name
    return beside if beside.exists() else Path(name)


def _entries(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Ids and arrays of a manifest."""
    for number, line in text_lines(path, ModelError):
        try:
            content = parse_json(line)
            arrays = [content] if "storage_key" in content else list(_arrays_of(content))
            ids = [content[name] for name in ("id", "recording_id") if name in content]
            ids += [content["recording"]["id"]] if "recording" in content else []
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ModelError(
                "expected a cut or features of Lhotse", path=path, line=number
            ) from None
        if len(arrays) != 1:
            raise ModelError(
                f"expected one array of log-probabilities, the cut has {len(arrays)}",
                path=path,
                line=number,
            )
        yield from ((str(name), arrays[0]) for name in ids)


def _arrays_of(cut: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Arrays of the custom fields of a cut; without them its features."""
    custom = [
        field.get("array", field)
        for field in (cut.get("custom") or {}).values()
        if isinstance(field, dict) and ("array" in field or "storage_key" in field)
    ]
    features = cut.get("features")
    yield from custom or ([features] if features else [])
