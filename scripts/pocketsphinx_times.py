"""Alignment of words and phones by pocketsphinx, which the alignment model is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pocketsphinx import Decoder

RATE = 16000  # Hz
FRAME = 0.01  # seconds
LATE = 0.0078
"""Seconds from the start of a frame's time to its middle, which its window of 25.6 ms has 12.8 ms
after its first sample: so much do boundaries between frames lie before what they separate."""

Span = tuple[str, float, float]
"""Name, start and end in seconds."""

_PADDING = 0.2  # seconds of silence around the sound, without which no end is found
_FILLERS = ("<s>", "</s>", "<sil>", "(NULL)")
_WIDE = {name: 1e-100 for name in ("beam", "wbeam", "pbeam")}


class Pocketsphinx:
    """Forced alignment with the model of English that pocketsphinx contains.

    Where its default beams lose the text, wide ones are tried.
    """

    def __init__(self) -> None:
        self._decoders = [
            Decoder(lm=None, loglevel="FATAL", dither=True, **beams) for beams in ({}, _WIDE)
        ]

    def align(
        self, samples: npt.NDArray[np.float32], words: Sequence[str]
    ) -> tuple[list[Span], list[list[Span]]] | None:
        """Words, and the phones of each, none where only words could be aligned.

        ``samples`` are float32 at :data:`RATE`. None if the words cannot be aligned.
        """
        sound = np.pad(samples, int(_PADDING * RATE))
        encoded = (np.clip(sound, -1, 1) * 32767).astype(np.int16).tobytes()
        for decoder in self._decoders:
            try:
                return _align(decoder, encoded, words)
            except (RuntimeError, TypeError, ValueError):  # TypeError: no result at all
                continue
        return None


def _align(decoder: Any, sound: bytes, words: Sequence[str]) -> tuple[list[Span], list[list[Span]]]:
    def search() -> None:
        decoder.start_utt()
        decoder.process_raw(sound, full_utt=True)
        decoder.end_utt()

    decoder.set_align_text(" ".join(words))
    search()
    spans = [
        _span(segment.word, segment.start_frame, segment.end_frame + 1)
        for segment in decoder.seg()
        if segment.word not in _FILLERS
    ]
    if len(spans) != len(words):
        raise ValueError("not all words are aligned")
    try:
        decoder.set_alignment()
        search()
        phones = [
            [_span(phone.name, phone.start, phone.start + phone.duration) for phone in word]
            for word in decoder.get_alignment()
            if word.name not in _FILLERS
        ]
    except (RuntimeError, TypeError):
        phones = []  # the beams lost them
    return spans, phones


def _span(name: str, begin: int, end: int) -> Span:
    return name, begin * FRAME - _PADDING, end * FRAME - _PADDING
