"""Stage 4, lattices: the decoder searches the graph for each piece.

>>> decoded = search(decoder, piece)
>>> decoded.hypotheses.lattice.best_path()[0].text
'the cat and the hat'
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from asr_hlg import lattice as lattices
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.files import replaced
from asr_hlg.output.writers import file_name
from asr_hlg.rescore.hypotheses import Hypotheses
from asr_hlg.search import Decoder
from asr_hlg.transcribe.pieces import Piece


@dataclass(frozen=True)
class DecodedPiece:
    """A piece of a recording and the hypotheses for it.

    Attributes
    ----------
    piece : Piece
    hypotheses : Hypotheses
        First those of the search; every second pass replaces them.
    notes : tuple of str
        Where the search was less exact than asked for.
    """

    piece: Piece
    hypotheses: Hypotheses
    notes: tuple[str, ...] = ()


def search(decoder: Decoder, piece: Piece, notes: tuple[str, ...] = ()) -> DecodedPiece:
    """Decode one piece."""
    lattice = decoder.decode(piece.posteriors)
    return DecodedPiece(piece, Hypotheses(lattice, piece.samples, piece.posteriors), notes)


def search_together(decoder: Decoder, pieces: Sequence[Piece]) -> list[DecodedPiece]:
    """Decode pieces as one batch."""
    if not pieces:
        return []
    lattice = decoder.decode(Posteriors.collate([piece.posteriors for piece in pieces]))
    return [
        DecodedPiece(piece, Hypotheses(lattice.row(row), piece.samples, piece.posteriors))
        for row, piece in enumerate(pieces)
    ]


@contextmanager
def lattice_archive(folder: str | None, id: str) -> Iterator[Callable[[DecodedPiece], None]]:
    """A function that appends the lattice of each piece of a recording to a Kaldi archive.

    The archive has its name once it is complete. Without a folder the function does nothing.
    """
    if folder is None:
        yield lambda _: None
        return
    with replaced(Path(folder) / (file_name(id) + ".ark"), durable=True) as part:

        def append(decoded: DecodedPiece) -> None:
            piece = decoded.piece
            is_whole = piece.number == 1 and piece.is_last
            name = id if is_whole else f"{id}-{piece.number}"
            lattices.write(decoded.hypotheses.lattice, [name], part, append=piece.number > 1)

        yield append
