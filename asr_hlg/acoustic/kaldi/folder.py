"""Where the files of a Kaldi model are in its folder, and which kind of model it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asr_hlg.acoustic.kaldi.gmm import holds_mixtures
from asr_hlg.acoustic.kaldi.transition_model import TransitionModel, read_transition_model

GMM_ACOUSTIC_SCALE = 1 / 12
"""Weight of the log-likelihoods of mixtures in Kaldi's recipes; that of chain models is 1."""


def model_file(folder: Path) -> Path | None:
    """``final.mdl`` of a folder of Kaldi's or Vosk's; None if there is none."""
    for name in ("am/final.mdl", "final.mdl"):
        if (folder / name).is_file():
            return folder / name
    return None


def conf_folder(folder: Path) -> Path:
    """Folder with the configuration of a model."""
    return folder / "conf" if (folder / "conf").is_dir() else folder


@dataclass(frozen=True)
class GraphProperties:
    """What a model's ``final.mdl`` says about the graph of its folder.

    Attributes
    ----------
    transitions : TransitionModel
        Meaning of the graph's labels.
    acoustic_scale : float
        Weight of the log-likelihoods, unless ``model.conf`` gives another.
    """

    transitions: TransitionModel
    acoustic_scale: float


def graph_properties(path: Path) -> GraphProperties:
    """Read the part of ``final.mdl`` that concerns the graph.

    Raises
    ------
    ModelError
        If the file cannot be read or is damaged.
    """
    scale = GMM_ACOUSTIC_SCALE if holds_mixtures(path) else 1.0
    return GraphProperties(read_transition_model(path), scale)
