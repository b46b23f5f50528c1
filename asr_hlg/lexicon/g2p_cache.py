"""Transcriptions of the grapheme-to-phoneme network that are kept on disk.

The file ``g2p-HASH.tsv`` in the cache folder has a spelling, a tab and its IPA symbols, separated
by blanks (``_`` stands for the symbol that is a blank) and with a full stop at the end, in each
line. HASH is :func:`model_hash`. Lines are only appended, under a lock, so several
processes may write at the same time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from asr_hlg.files import cache_folder
from asr_hlg.lexicon import hama_weights
from asr_hlg.lexicon.g2p_network import G2PNetwork

_VERSION = b"2"
"""Changes with the pronunciations that the code makes with the network."""

_END = "."
"""Last field of a line, without which it is incomplete."""

_MAX_BYTES = 1 << 26
"""Size, about two million words, beyond which the file is begun anew."""


class G2PCache:
    """The network, and the transcriptions that it has made before.

    Parameters
    ----------
    folder : Path, optional
        By default :func:`asr_hlg.files.cache_folder`. Where it cannot be read or written, every
        word is transcribed by the network.
    """

    def __init__(self, folder: Path | None = None):
        self._folder = folder

    def transcribe(
        self, spellings: Sequence[str], on_progress: Callable[[int], None] = lambda _: None
    ) -> Mapping[str, Sequence[str]]:
        """IPA symbols of spellings in the letters a to z, none of them empty."""
        if not spellings:
            return {}
        known = self._known
        missing = [spelling for spelling in spellings if spelling not in known]
        on_progress(len(spellings) - len(missing))
        if missing:
            symbols = self._network.transcribe(missing, on_progress)
            known.update(zip(missing, symbols, strict=True))
            self._append(missing)
        return known

    @cached_property
    def _network(self) -> G2PNetwork:
        return G2PNetwork.load()

    @cached_property
    def _path(self) -> Path:
        return (self._folder or cache_folder()) / f"g2p-{model_hash()[:16]}.tsv"

    @cached_property
    def _known(self) -> dict[str, Sequence[str]]:
        """Transcriptions in the file; a damaged or incomplete line is skipped."""
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return {}
        lines = (line.partition("\t") for line in text.split("\n")[:-1])
        return {
            spelling: [" " if symbol == "_" else symbol for symbol in symbols.split()[:-1]]
            for spelling, tab, symbols in lines
            if tab and symbols.endswith(_END)
        }

    def _append(self, spellings: Sequence[str]) -> None:
        """Add transcriptions to the file, if it can be written."""
        known = self._known
        lines = [f"{spelling}\t{_fields(known[spelling])}\n" for spelling in spellings]
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                size = os.fstat(descriptor).st_size
                if size > _MAX_BYTES:
                    os.ftruncate(descriptor, 0)
                elif size and os.pread(descriptor, 1, size - 1) != b"\n":
                    lines.insert(0, "\n")  # after a line that was cut off by a full disk
                os.write(descriptor, "".join(lines).encode("utf-8"))
            finally:
                os.close(descriptor)
        except OSError:
            return


def model_hash() -> str:
    """Hash of all that transcriptions depend on: the network's files, and how it is computed."""
    digest = hashlib.sha256(_VERSION)
    for name in hama_weights.G2P_FILES:
        digest.update(hama_weights.asset(name))
    return digest.hexdigest()


def _fields(symbols: Sequence[str]) -> str:
    return " ".join([*("_" if symbol == " " else symbol for symbol in symbols), _END])
