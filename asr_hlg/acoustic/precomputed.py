"""Log-probabilities that another program has computed, looked up by utterance id.

Either a Kaldi archive (``.ark``, or ``.scp`` that points into archives) of float matrices, or an
``.npz`` file, with one array ``(frames, num_tokens)`` for each utterance id.  The JSON file beside
it is described in :mod:`asr_hlg.acoustic.external`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import kaldi_native_io
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr_hlg.acoustic.external import Description
from asr_hlg.acoustic.model import AcousticModel
from asr_hlg.errors import ModelError
from asr_hlg.posteriors import Posteriors


class PrecomputedModel(AcousticModel):
    """A table of log-probabilities in place of a network.

    Ask it with :meth:`posteriors_for`: sound alone does not say which utterance it is.
    """

    def __init__(self, path: Path, description: Description, device: str | torch.device = "cpu"):
        super().__init__(
            description.tokens, description.frame_shift, description.sample_rate, device
        )
        self.path = path
        self._look_up = _npz(path) if path.suffix == ".npz" else _kaldi(path)

    def posteriors_for(self, ids: Sequence[str]) -> Posteriors:
        """The stored posteriors of some utterances, in the order given.

        Raises
        ------
        ModelError
            If an utterance is missing, has another number of columns than there are tokens, or
            holds values that are no log-probabilities.
        """
        rows = [self._matrix(utterance) for utterance in ids]
        if not rows:
            raise ModelError("no utterances asked for", path=self.path)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int32)
        padded = pad_sequence(rows, batch_first=True).to(self.device)
        return Posteriors(padded, lengths, self.frame_shift, self.tokens)

    def log_probs(self, waveforms: list[Tensor]) -> list[Tensor]:
        raise ModelError(
            "precomputed log-probabilities are looked up by utterance id, not by sound",
            path=self.path,
            remedy="call posteriors_for(ids)",
        )

    def _matrix(self, utterance: str) -> Tensor:
        try:
            matrix = np.asarray(self._look_up(utterance))
        except KeyError:
            raise ModelError(f"no utterance {utterance!r}", path=self.path) from None
        except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"cannot read {utterance!r}: {reason}", path=self.path) from None
        if matrix.ndim != 2 or matrix.shape[1] != len(self.tokens):
            raise ModelError(
                f"{utterance!r} has shape {matrix.shape}, expected (frames, {len(self.tokens)})",
                path=self.path,
            )
        if not np.issubdtype(matrix.dtype, np.floating) or not (matrix < np.inf).all():
            raise ModelError(
                f"{utterance!r} holds values that are no log-probabilities", path=self.path
            )
        return torch.from_numpy(matrix.astype(np.float32))


def _npz(path: Path) -> Callable[[str], np.ndarray]:
    try:
        return np.load(path, allow_pickle=False).__getitem__
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"not an .npz file: {error}", path=path) from None


def _kaldi(path: Path) -> Callable[[str], np.ndarray]:
    kind = path.suffix[1:]
    if kind == "scp":
        _refuse_commands(path)
    try:
        reader = kaldi_native_io.RandomAccessFloatMatrixReader(f"{kind}:{path}")
    except RuntimeError as error:
        raise ModelError(f"not a Kaldi {kind} file: {error}", path=path) from None
    return reader.__getitem__


def _refuse_commands(path: Path) -> None:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if "|" in line:
            raise ModelError(
                "an entry is a command; files are read, commands are not run",
                path=path,
                line=number,
                remedy="write the matrices to an archive first",
            )
