"""Kinds of networks, and the kind of a file, which can be read without torch."""

from __future__ import annotations

import zipfile
from pathlib import Path

from asr_hlg.acoustic.config import config_key
from asr_hlg.errors import ModelError

NAMES = ("cnn", "cnn_lstm", "blstm", "tdnn", "conformer")
"""Names of the networks for CTC and hybrid decoding."""

TRANSDUCER = "transducer"
"""Kind of :class:`asr_hlg.transducer.Transducer`, whose scores depend on the tokens before."""


def network_kind(path: str | Path) -> str | None:
    """Kind of the network in an ``.npz`` file: one of ``NAMES``, ``TRANSDUCER``, or None.

    Raises
    ------
    ModelError
        If it is not an ``.npz`` file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception as error:  # zipfile raises several kinds of errors
        raise ModelError(f"not an .npz file: {error}", path=path) from None
    return next((kind for kind in (*NAMES, TRANSDUCER) if config_key(kind) + ".npy" in names), None)
