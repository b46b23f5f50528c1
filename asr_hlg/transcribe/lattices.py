"""Stage 4, lattices: the decoder searches the graph for each piece.

>>> decoded = search(decoder, piece)
>>> decoded.hypotheses.lattice.best_path()[0].text
'the cat and the hat'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.rescore.passes import Hypotheses
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
    return DecodedPiece(piece, Hypotheses(lattice, piece.samples), notes)


def search_together(decoder: Decoder, pieces: Sequence[Piece]) -> list[DecodedPiece]:
    """Decode pieces as one batch."""
    if not pieces:
        return []
    lattice = decoder.decode(Posteriors.collate([piece.posteriors for piece in pieces]))
    return [
        DecodedPiece(piece, Hypotheses(lattice.row(row), piece.samples))
        for row, piece in enumerate(pieces)
    ]
