"""Log-probabilities that another program has computed, looked up by utterance id.

They are in a Kaldi archive (``.ark``, or ``.scp`` that points into archives) of matrices, which
may be compressed, in an ``.npz`` file, one array ``(num_frames, num_tokens)`` for each utterance
id, in a folder of ``.npy`` files, or where a manifest of Lhotse says
(:mod:`asr_hlg.acoustic.stored_arrays`). The JSON file beside it is described in
:mod:`asr_hlg.acoustic.external`.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from asr_hlg.acoustic import stored_arrays
from asr_hlg.acoustic.arrays import pad
from asr_hlg.acoustic.external import Description
from asr_hlg.acoustic.kaldi_matrix import Matrix, read_header, read_matrix
from asr_hlg.acoustic.model import AcousticModel, Samples
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import ModelError


class PrecomputedModel(AcousticModel):
    """Acoustic model that returns stored log-probabilities by utterance id.

    Call :meth:`posteriors_for`; :meth:`posteriors` is an error, since waveforms have no ids.
    """

    def __init__(self, path: Path, description: Description, device: str = "cpu"):
        super().__init__(
            description.tokens, description.frame_shift, description.sample_rate, device
        )
        self.path = path
        self.priors = description.priors
        self._look_up = _reader(path)(path)

    def posteriors_for(self, ids: Sequence[str]) -> Posteriors:
        """Stored posteriors of some utterances, in the order given.

        Raises
        ------
        ModelError
            If an utterance is missing, has another number of columns than there are tokens, or has
            values that are not log-probabilities.
        """
        rows = [self._matrix(utterance) for utterance in ids]
        if not rows:
            raise ModelError("no utterance ids given", path=self.path)
        lengths = [len(row) for row in rows]
        return Posteriors(pad(rows), lengths, self.frame_shift, self.tokens, self.priors)

    def log_probs(self, waveforms: list[Samples]) -> list[Samples]:
        """Raise a ModelError, since a waveform has no utterance id."""
        raise ModelError(
            "precomputed log-probabilities are looked up by utterance id, not by waveform",
            path=self.path,
            remedy="call posteriors_for(ids)",
        )

    def _matrix(self, utterance: str) -> Samples:
        try:
            matrix = np.asarray(self._look_up(utterance))
        except ModelError:
            raise
        except KeyError:
            raise ModelError(f"no utterance {utterance!r}", path=self.path) from None
        except Exception:  # numpy's readers raise what zipfile and Python's parser do
            raise ModelError(
                f"the matrix of {utterance!r} is damaged or missing", path=self.path
            ) from None
        if matrix.ndim != 2 or matrix.shape[1] != len(self.tokens):
            raise ModelError(
                f"{utterance!r} has shape {matrix.shape}, expected (frames, {len(self.tokens)})",
                path=self.path,
            )
        if not np.issubdtype(matrix.dtype, np.floating) or not (matrix < np.inf).all():
            raise ModelError(
                f"{utterance!r} has values that are not log-probabilities", path=self.path
            )
        return matrix.astype(np.float32)


def _reader(path: Path) -> Callable[[Path], Callable[[str], Matrix]]:
    """The function that reads a file or folder of log-probabilities."""
    if path.suffix in (".scp", ".ark"):
        return _kaldi
    if path.suffix == ".npz":
        return _npz
    return stored_arrays.lhotse if path.suffix in (".jsonl", ".gz") else stored_arrays.npy


def _npz(path: Path) -> Callable[[str], Matrix]:
    """Lookup of arrays in an ``.npz`` file."""
    try:
        arrays: Mapping[str, Matrix] = np.load(path, allow_pickle=False)
    except Exception as error:  # numpy's readers raise what zipfile and Python's parser do
        raise ModelError(f"not an .npz file: {error}", path=path) from None
    return arrays.__getitem__


def _kaldi(path: Path) -> Callable[[str], Matrix]:
    """Lookup of matrices in an archive, or in those that a script file points into.

    The format is read here, since an archive may come from anywhere: of the packages that read
    it, kaldi_native_io crashes on a wrong header and kaldiio unpickles objects.
    """
    try:
        positions = dict(_script(path) if path.suffix == ".scp" else _archive(path))
    except (OSError, ValueError, struct.error) as error:
        raise ModelError(f"not a Kaldi {path.suffix[1:]} file: {error}", path=path) from None

    def look_up(utterance: str) -> Matrix:
        archive, offset = positions[utterance]
        if not os.path.isfile(archive):  # reading a pipe could wait forever
            raise OSError("not a regular file")
        with open(archive, "rb") as file:
            file.seek(offset)
            return read_matrix(file)

    return look_up


def _archive(path: Path) -> Iterator[tuple[str, tuple[Path, int]]]:
    """Id, file and offset of every matrix in an archive."""
    with open(path, "rb") as file:
        while name := _name(file):
            start = file.tell()
            file.seek(read_header(file).num_bytes, os.SEEK_CUR)
            yield name, (path, start)


def _script(path: Path) -> Iterator[tuple[str, tuple[Path, int]]]:
    """Id, file and offset of every matrix that a script file lists as ``id file:offset``."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if "|" in line:
            raise ModelError(
                "an entry is a command, and commands are not run",
                path=path,
                line=number,
                remedy="write the matrices to an archive first",
            )
        match = re.fullmatch(r"(\S+)\s+(.+?)(?::(\d+))?\s*", line)
        if match is None:
            raise ModelError("expected 'id file:offset'", path=path, line=number)
        name, archive, offset = match.groups()
        yield name, (Path(archive), int(offset or 0))


def _name(file: BinaryIO) -> str:
    """Read the utterance id before a matrix; empty at the end of the file."""
    name = bytearray()
    while (byte := file.read(1)) not in (b"", b" "):
        name += byte
        if len(name) > 1000:
            raise ValueError("an utterance id is not followed by a space")
    return name.decode("utf-8")
