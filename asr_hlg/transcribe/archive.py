"""Archives of lattices, one per recording, which are written beside the transcripts on request."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from asr_hlg.files import replaced
from asr_hlg.lattice import io as lattice_io
from asr_hlg.output.writers import file_name
from asr_hlg.transcribe.lattices import DecodedPiece


@contextmanager
def lattice_archive(folder: str | None, id: str) -> Iterator[Callable[[DecodedPiece], None]]:
    """A function that appends the lattice of each piece of a recording to a Kaldi archive.

    The archive has its name once it is complete. Without a folder the function does nothing.
    """
    if folder is None:
        yield lambda _: None
        return
    with replaced(Path(folder) / (file_name(id) + ".ark")) as part:

        def append(decoded: DecodedPiece) -> None:
            piece = decoded.piece
            is_whole = piece.number == 1 and piece.is_last
            name = id if is_whole else f"{id}-{piece.number}"
            lattice_io.write(decoded.hypotheses.lattice, [name], part, append=piece.number > 1)

        yield append
        with part.open("rb") as file:
            os.fsync(file.fileno())
