"""Acoustic models: from sound to the log-probabilities of tokens in every frame.

>>> model = load("hama")
>>> posteriors = model.posteriors([waveform], sample_rate=16000)
>>> posteriors.log_probs.shape, posteriors.frame_shift
(torch.Size([1, 332, 41]), 0.02)

A model file is recognised by its ending:

========================  ========================================================================
``hama``                  the pretrained English model (no file; the default)
``.npz``                  a network of :mod:`~asr_hlg.acoustic.nets` that its ``save`` wrote, or
                          precomputed log-probabilities; transducers only where a search for
                          them is at hand, as in ``asr-hlg transcribe``
``.pt``                   a TorchScript network
``.onnx``                 an ONNX network; needs onnxruntime
``.scp``, ``.ark``        precomputed log-probabilities in Kaldi's format
a folder                  the one such file in it
========================  ========================================================================

All but the first two come with a JSON file: see :mod:`asr_hlg.acoustic.external`;
:func:`asr_hlg.acoustic.nets.export` writes both.  Where onnxruntime is installed, the CPU computes
networks of the first two kinds with it, in about half the time that torch needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from asr_hlg.acoustic import blas, hama, nets
from asr_hlg.acoustic.conformer import Conformer, ConformerConfig
from asr_hlg.acoustic.external import Description, OnnxModel, TorchScriptModel
from asr_hlg.acoustic.model import AcousticModel, ConformerModel, NetworkModel
from asr_hlg.acoustic.precomputed import PrecomputedModel
from asr_hlg.errors import ModelError

__all__ = [
    "AcousticModel",
    "Conformer",
    "ConformerConfig",
    "ConformerModel",
    "NetworkModel",
    "PrecomputedModel",
    "load",
]

blas.allow_avx2()

_KINDS: dict[str, Callable[[Path, Description, str | torch.device], AcousticModel]] = {
    ".pt": TorchScriptModel,
    ".onnx": OnnxModel,
    ".npz": PrecomputedModel,
    ".scp": PrecomputedModel,
    ".ark": PrecomputedModel,
}


def load(
    spec: str | Path = "hama",
    device: str | torch.device = "cpu",
    tokens: Sequence[str] | None = None,
    transducer: Callable[[Path, str | torch.device], AcousticModel] | None = None,
) -> AcousticModel:
    """Load an acoustic model.

    Parameters
    ----------
    spec : str or Path
        ``"hama"``, or a file or folder as in the table above.
    device : str or torch.device
        Where to compute.
    tokens : sequence of str, optional
        Names of the model's columns, for a file whose description does not give them.
    transducer : callable, optional
        What makes a model of a transducer's file, for a caller that has a search for it:
        :meth:`asr_hlg.transducer.Recogniser.load`. By default such a file is refused.

    Raises
    ------
    ModelError
        If there is no such model, its file is damaged or its description incomplete.
    """
    if str(spec) == "hama":
        return ConformerModel(hama.conformer(), device, frozen=True)
    path = _model_file(Path(spec))
    if path.suffix == ".npz" and (kind := nets.kind_of(path)):
        if kind == nets.TRANSDUCER:
            if transducer is None:
                raise ModelError(
                    "a transducer has no probabilities of frames by themselves",
                    path=path,
                    remedy="use it with asr-hlg transcribe, or name a CTC or hybrid model here",
                )
            return transducer(path, device)
        model = ConformerModel if kind == Conformer.kind else NetworkModel
        return model(nets.load(path), device, frozen=True)
    return _KINDS[path.suffix](path, Description.beside(path, tokens), device)


def _model_file(path: Path) -> Path:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in _KINDS)
        # A Kaldi script file points into the archives that lie beside it.
        files = [f for f in files if f.suffix == ".scp"] or files
        if len(files) != 1:
            names = ", ".join(file.name for file in files) or "none"
            raise ModelError(
                f"a model folder holds one model file, this one holds {names}",
                path=path,
                remedy="name the file itself",
            )
        return files[0]
    if not path.is_file():
        raise ModelError("no such model", path=path, remedy="use hama, or an existing file")
    if path.suffix not in _KINDS:
        raise ModelError(
            f"unknown kind of model file {path.suffix!r}",
            path=path,
            remedy="known are " + ", ".join(_KINDS),
        )
    return path
