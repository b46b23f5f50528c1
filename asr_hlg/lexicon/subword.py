"""Words spelled with the pieces of a sentencepiece model."""

from __future__ import annotations

from collections.abc import Iterable

from asr_hlg.errors import AsrHlgError, LexiconError
from asr_hlg.fst import symbols


def spell(model, words: Iterable[str]) -> tuple[list[tuple[str, tuple[str, ...]]], list[str]]:
    """The pieces of every word, and all pieces in the model's order, blank first.

    Parameters
    ----------
    model : str, Path or sentencepiece.SentencePieceProcessor
    words : iterable of str

    Raises
    ------
    LexiconError
        A word with a character that the model cannot spell, or a model that cannot be read.
    """
    processor = _load(model)
    entries = []
    for word in dict.fromkeys(words):
        ids = processor.encode(word)
        if processor.unk_id() in ids or not ids:
            raise LexiconError(f"the sentencepiece model cannot spell {word!r}")
        entries.append((word, tuple(processor.id_to_piece(index) for index in ids)))
    pieces = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    return entries, pieces if pieces[0] == symbols.BLANK else [symbols.BLANK, *pieces]


def _load(model):
    try:
        import sentencepiece
    except ImportError:
        raise AsrHlgError(
            "subword lexicons need the package sentencepiece",
            remedy="pip install 'asr-hlg[bpe]'",
        ) from None
    if isinstance(model, sentencepiece.SentencePieceProcessor):
        return model
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(model))
    except (OSError, RuntimeError) as error:
        raise LexiconError(f"is no sentencepiece model: {error}", path=model) from None
