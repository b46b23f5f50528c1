"""Speech whose words and phones have known times: flite, espeak-ng and Festival.

Each engine returns the samples of a sentence and the segments that it spoke, with the number of the
word of each. All three are Debian packages; Festival's voice is festvox-kdlpc16k. Neither engine
reads the sentence aloud as it is recorded: the times are the engine's own, to the sample.

>>> spoken = Flite("slt").say("the quick brown fox")
>>> spoken.segments[1]
Segment(phones=('DH',), start=0.184, end=0.236, word=0)
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from scipy.signal import resample_poly

RATE = 16000  # Hz, of all samples
PAUSE = ("SIL",)


@dataclass(frozen=True)
class Segment:
    """One sound: its phones (two where an engine has one name for both), seconds, its word.

    ``word`` is -1 for pauses.
    """

    phones: tuple[str, ...]
    start: float
    end: float
    word: int


@dataclass(frozen=True)
class Spoken:
    """Samples (float32, at :data:`RATE`) and the segments from the first sample to the last."""

    samples: npt.NDArray[np.float32]
    segments: tuple[Segment, ...]

    def words(self) -> dict[int, tuple[float, float]]:
        """Start and end of every word that was spoken, by its number."""
        times: dict[int, tuple[float, float]] = {}
        for segment in self.segments:
            if segment.word >= 0:
                start = times.get(segment.word, (segment.start,))[0]
                times[segment.word] = (start, segment.end)
        return times


RADIO = {
    "ax": "AH", "axr": "ER", "ah": "AH", "el": "AH L", "em": "AH M", "en": "AH N", "nx": "N",
    "dx": "T", "pau": "SIL", "h#": "SIL", "brth": "SIL", "hv": "HH", "ix": "IH", "ux": "UW",
}  # fmt: skip
"""ARPAbet of the phones of flite and Festival that differ from it by more than their case."""


def radio(name: str) -> tuple[str, ...]:
    """ARPAbet of a phone of flite or Festival."""
    return tuple(RADIO.get(name, name.upper()).split())


class Flite:
    """A voice of the flite library: slt, rms, awb, kal16.

    The segments come from its utterance structure, in which every segment has a word.
    """

    def __init__(self, voice: str):
        self.name = voice
        self._library = _flite()
        library = ctypes.CDLL(f"libflite_cmu_us_{voice}.so.1", mode=ctypes.RTLD_GLOBAL)
        register = getattr(library, f"register_cmu_us_{voice}")
        register.restype, register.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
        self._voice = register(None)

    def say(self, text: str) -> Spoken:
        """Speak a text whose words are parted by blanks."""
        f = self._library
        utterance = f.flite_synth_text(text.encode(), self._voice)
        wave = ctypes.cast(f.utt_wave(utterance), ctypes.POINTER(_FliteWave))[0]
        samples = np.ctypeslib.as_array(wave.samples, (wave.count,)).astype(np.float32) / 32768
        samples, rate = samples.copy(), wave.rate
        segments, tokens, start = [], [], 0.0
        item = f.relation_head(f.utt_relation(utterance, b"Segment"))
        while item:
            name, end = f.item_feat_string(item, b"name"), f.item_feat_float(item, b"end")
            parent = f.item_as(item, b"SylStructure")
            for _ in range(2):
                parent = f.item_parent(parent) if parent else None
            token = f.item_parent(f.item_as(parent, b"Token")) if parent else None
            if token and token not in tokens:
                tokens.append(token)
            word = tokens.index(token) if token else -1
            segments.append(Segment(radio(name.decode()), start, end, word))
            start, item = end, f.item_next(item)
        f.delete_utterance(utterance)
        return Spoken(_at_rate(samples, rate), tuple(segments))


class _FliteWave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("rate", ctypes.c_int),
        ("count", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


@cache
def _flite() -> ctypes.CDLL:
    library = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
    for name in ("usenglish", "cmulex"):
        ctypes.CDLL(f"libflite_{name}.so.1", mode=ctypes.RTLD_GLOBAL)
    pointer, string = ctypes.c_void_p, ctypes.c_char_p
    for name, result, arguments in (
        ("flite_synth_text", pointer, [string, pointer]),
        ("utt_relation", pointer, [pointer, string]),
        ("relation_head", pointer, [pointer]),
        ("item_next", pointer, [pointer]),
        ("item_parent", pointer, [pointer]),
        ("item_as", pointer, [pointer, string]),
        ("item_feat_string", string, [pointer, string]),
        ("item_feat_float", ctypes.c_float, [pointer, string]),
        ("utt_wave", pointer, [pointer]),
        ("delete_utterance", None, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    library.flite_init()
    return library


MNEMONICS = {
    "p": "P", "b": "B", "t": "T", "d": "D", "k": "K", "g": "G", "f": "F", "v": "V", "T": "TH",
    "D": "DH", "s": "S", "z": "Z", "S": "SH", "Z": "ZH", "h": "HH", "m": "M", "n": "N", "N": "NG",
    "l": "L", "l#": "L", "r": "R", "r-": "R", "r/": "R", "w": "W", "w#": "W", "j": "Y", "tS": "CH",
    "dZ": "JH", "t#": "T", "t2": "T", "?": "T", "d#": "D", "z#": "Z", "z/2": "Z", "x": "K",
    "n-": "AH N", "@": "AH", "@2": "AH", "@5": "AH", "@-": "AH", "@#": "AH", "a#": "AH", "V": "AH",
    "V#": "AH", "a": "AE", "aa": "AE", "A:": "AA", "A#": "AA", "A@": "AA R", "0": "AA", "0#": "AA",
    "O": "AO", "O:": "AO", "O2": "AO", "O@": "AO R", "o@": "AO R", "o:": "OW", "oU": "OW",
    "oU#": "OW", "OI": "OY", "E": "EH", "E#": "EH", "E2": "EH", "e@": "EH R", "e": "EH",
    "eI": "EY", "I": "IH", "I2": "IH", "I#": "IH", "i": "IY", "i:": "IY", "i@": "IY R",
    "i@3": "IH R", "aI": "AY", "aI2": "AY", "IR": "ER", "aI@": "AY ER", "aI3": "AY ER", "aU": "AW",
    "aU@": "AW ER", "U": "UH", "U@": "UH R", "u": "UW", "u:": "UW", "3": "ER", "3:": "ER",
    "@L": "AH L", "VR": "AH R", "@r": "ER",
}  # fmt: skip
"""ARPAbet of espeak-ng's mnemonics of English."""


class _EspeakId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("string", ctypes.c_char * 8))


class _EspeakEvent(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("id", _EspeakId),
    )


_END, _WORD, _PHONEME = 0, 1, 7
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_EspeakEvent)
)


class Espeak:
    """A voice of the espeak-ng library, as ``en-us`` or ``en-gb+f2``.

    Its phoneme events come after the closure of a stop, which is digital silence, and which
    belongs to the stop: a segment begins with the zeros before its event.

    Parameters
    ----------
    voice : str
    speed : int
        Words a minute.
    pitch : int
        0 to 100.
    """

    def __init__(self, voice: str, speed: int = 160, pitch: int = 50):
        self.name, self._speed, self._pitch = voice, speed, pitch

    def say(self, text: str) -> Spoken:
        """Speak a text whose words are parted by blanks.

        Raises
        ------
        KeyError
            At a phoneme that English has not.
        """
        library, rate = _espeak()
        blocks: list[npt.NDArray[np.int16]] = []
        events: list[tuple[int, int, int, str]] = []

        def receive(wave: Any, count: int, event: Any) -> int:
            if count and wave:
                blocks.append(np.ctypeslib.as_array(wave, (count,)).copy())
            number = 0
            while event[number].type != _END:
                e = event[number]
                name = e.id.string.decode() if e.type == _PHONEME else ""
                events.append((e.type, e.position, e.sample, name))
                number += 1
            return 0

        callback = _CALLBACK(receive)
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(self.name.encode()):
            raise ValueError(f"espeak-ng has no voice {self.name}")
        library.espeak_SetParameter(1, self._speed, 0)
        library.espeak_SetParameter(3, self._pitch, 0)
        encoded = text.encode()
        library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, 1, None, None)
        library.espeak_Synchronize()
        samples = np.concatenate(blocks).astype(np.float32) / 32768
        begins = np.cumsum([0] + [len(word) + 1 for word in text.split()])
        marks: list[tuple[tuple[str, ...], int, int]] = []
        position = 0
        for kind, at, sample, name in events:
            if kind == _WORD:
                position = at - 1
            if kind == _PHONEME and name not in ("", ";") and not name.startswith("_"):
                word = int(np.searchsorted(begins, position, "right")) - 1
                sound = _zeros_before(samples, sample, 0.1 * rate)
                if marks and marks[-1][1] > sound:
                    sound = sample
                marks.append((tuple(MNEMONICS[name].split()), sound, word))
            elif kind == _PHONEME and name.startswith("_"):
                marks.append((PAUSE, sample, -1))
        return Spoken(_at_rate(samples, rate), tuple(_between(marks, len(samples), rate)))


def _zeros_before(samples: npt.NDArray[np.float32], at: int, most: float) -> int:
    """The first sample of the silence that ends a little after a sample, if there is one."""
    at = min(at, len(samples) - 1)
    begin = at
    while begin > 0 and at - begin < most and abs(samples[begin - 1]) <= 1 / 32768:
        begin -= 1
    return begin if begin < at - 20 else at


def _between(
    marks: Sequence[tuple[tuple[str, ...], int, int]], length: int, rate: int
) -> Iterator[Segment]:
    """Segments from marks to the next."""
    if marks and marks[0][1] > 0:
        yield Segment(PAUSE, 0.0, marks[0][1] / rate, -1)
    for number, (phones, start, word) in enumerate(marks):
        end = marks[number + 1][1] if number + 1 < len(marks) else length
        if end > start:
            yield Segment(phones, start / rate, end / rate, word)


@cache
def _espeak() -> tuple[ctypes.CDLL, int]:
    library = ctypes.CDLL("libespeak-ng.so.1")
    return library, library.espeak_Initialize(2, 0, None, 1)


_SCHEME = """(define (dump utt file)
  (let ((out (fopen file "w")))
    (mapcar
      (lambda (s) (format out "%s %s %s\\n" (item.feat s "end") (item.name s)
                     (item.feat s "R:SylStructure.parent.parent.R:Token.parent.id")))
      (utt.relation.items utt 'Segment))
    (fclose out)))
"""


def festival(
    sentences: Sequence[tuple[str, float, int]], voice: str = "ked_diphone"
) -> Iterator[Spoken]:
    """Sentences that a voice of Festival speaks: text, stretch of durations, pitch in Hz."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [f"(voice_{voice})", _SCHEME]
        for number, (text, stretch, pitch) in enumerate(sentences):
            lines += [
                f"(Parameter.set 'Duration_Stretch {stretch})",
                f"(set! int_lr_params '((target_f0_mean {pitch}) (target_f0_std 14)"
                " (model_f0_mean 170) (model_f0_std 34)))",
                f"(set! u (utt.synth (Utterance Text {json.dumps(text)})))",
                f'(dump u "{folder}/{number}.segs")',
                f'(utt.save.wave u "{folder}/{number}.wav" \'riff)',
            ]
        (folder / "all.scm").write_text("\n".join(lines), encoding="utf-8")
        subprocess.run(["festival", "-b", folder / "all.scm"], check=True)
        for number in range(len(sentences)):
            samples, rate = soundfile.read(folder / f"{number}.wav", dtype="float32")
            segments, tokens, start = [], ["0"], 0.0
            for line in (folder / f"{number}.segs").read_text().splitlines():
                end, phone, token = line.split()
                if token not in tokens:
                    tokens.append(token)
                word = tokens.index(token) - 1
                if phone == "r" and word < 0 and segments[-1].phones == ("ER",):
                    segments[-1] = replace(segments[-1], end=float(end))  # er r: one phone
                else:
                    segments.append(Segment(radio(phone), start, float(end), word))
                start = float(end)
            yield Spoken(_at_rate(samples, rate), tuple(segments))


def _at_rate(samples: npt.NDArray[np.float32], rate: int) -> npt.NDArray[np.float32]:
    if rate == RATE:
        return samples
    common = np.gcd(rate, RATE)
    resampled: npt.NDArray[np.float32] = resample_poly(samples, RATE // common, rate // common)
    return resampled.astype(np.float32)
