"""Byte-level BPE as in icefall: pieces whose characters stand for the bytes of UTF-8.

A byte is written as its own character if that is printable ASCII; the others are the characters
from U+0100 on that NFKC leaves as they are, in order (``icefall/byte_utils.py``). There, too,
characters of East Asian scripts are separated by spaces first (``tokenize_by_CJK_char``).

>>> forms("né")
['nũŏ']
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_SEPARATED = re.compile(
    "([\u1100-\u11ff\u2e80-\ua4cf\ua840-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff65-\uffdc"
    "\U00020000-\U0002ffff])"
)


def _characters() -> str:
    """The character of every byte."""
    others = (chr(c) for c in range(0x100, 0x200) if unicodedata.is_normalized("NFKC", chr(c)))
    return "".join(chr(byte) if 32 <= byte < 127 else next(others) for byte in range(256))


_CHARACTERS = _characters()
_CONTINUATIONS = frozenset(_CHARACTERS[0x80:0xC0])
_FIRST = frozenset(_CHARACTERS[0xC2:0xF5])  # bytes that begin a character of several


def is_byte_level(pieces: Iterable[str]) -> bool:
    """Whether all characters beyond ASCII stand for bytes of characters beyond ASCII."""
    found = {character for piece in pieces for character in piece if not character.isascii()}
    found.discard("▁")
    return bool(found & _FIRST and found & _CONTINUATIONS) and found <= _FIRST | _CONTINUATIONS


def encode(text: str) -> str:
    """The bytes of a text as characters."""
    return "".join(_CHARACTERS[byte] for byte in text.encode())


def forms(word: str) -> list[str]:
    """The bytes of a word as characters: with spaces between East Asian characters, and without."""
    separated = " ".join(filter(None, _SEPARATED.split(word)))
    return [encode(text) for text in dict.fromkeys((separated, word))]
