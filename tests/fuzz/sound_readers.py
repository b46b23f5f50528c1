"""Readers of recordings, lists and manifests that are fuzzed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import lhotse
import numpy as np
import soundfile

from asr_hlg.audio import recordings
from asr_hlg.errors import AudioError
from tests.fuzz.reader import Reader, in_file, mutate_json_lines

RATE = 16000


def sound(rate: int = RATE, seconds: float = 0.05, channels: int = 1) -> np.ndarray:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (round(rate * seconds), channels))
    return samples.astype(np.float32)


def _sounds(format: str, *subtypes: str) -> Callable[[Path], Sequence[bytes]]:
    def make(_: Path) -> Sequence[bytes]:
        seeds = []
        for subtype in subtypes:
            for rate, channels in ((RATE, 1), (8000, 2)):
                stream = io.BytesIO()
                soundfile.write(stream, sound(rate, 0.05, channels), rate, subtype, None, format)
                seeds.append(stream.getvalue())
        return seeds

    return make


def _hear(path: Path) -> None:
    """Read what is found; a list is read if at least one of its recordings is."""
    good, fault = 0, None
    for recording in islice(recordings(path), 20):
        try:
            for _ in recording.blocks(RATE, max_seconds=60.0):
                good += 1
        except AudioError as error:
            if "\n" in str(error):
                raise ValueError(f"an error of several lines: {error}") from None
            fault = error
    if fault is not None and not good:
        raise fault


def _with_sounds(folder: Path) -> None:
    soundfile.write(folder / "a.wav", sound(), RATE)
    soundfile.write(folder / "b.flac", sound(8000, 0.1, 2), 8000)


def _lists(folder: Path) -> Sequence[bytes]:
    _with_sounds(folder)
    return [b"a.wav\nb.flac\n", b"a.wav\n"]


def _scp(folder: Path) -> Sequence[bytes]:
    _with_sounds(folder)
    return [b"one a.wav\ntwo b.flac\n", b"one a.wav\n"]


def _segments(folder: Path) -> Sequence[bytes]:
    _with_sounds(folder)
    (folder / "wav.scp").write_text(f"one {folder}/a.wav\ntwo {folder}/b.flac\n")
    return [b"s1 one 0.0 0.02\ns2 two 0.01 0.05\ns3 two 0.05 0.1\n"]


def _read_segments(data: bytes, folder: Path) -> None:
    (folder / "segments").write_bytes(data)
    _hear(folder)


def _manifest(folder: Path) -> Sequence[bytes]:
    _with_sounds(folder)
    one = lhotse.Recording.from_file(folder / "a.wav", recording_id="one")
    two = lhotse.Recording.from_file(folder / "b.flac", recording_id="two")
    cut = lhotse.MonoCut("cut", start=0.01, duration=0.03, channel=0, recording=one)
    items = [
        one,
        two.perturb_speed(0.9),
        two.resample(16000).perturb_volume(0.5),
        cut,
        cut.pad(0.05),
        cut.append(cut),
        cut.mix(one.to_cut(), snr=10),
        two.to_cut(),
    ]
    return [json.dumps(item.to_dict()).encode() + b"\n" for item in items]


SOUND_READERS = (
    Reader("list", _lists, in_file("all.lst", _hear)),
    Reader("wav.scp", _scp, in_file("wav.scp", _hear)),
    Reader("segments", _segments, _read_segments),
    Reader("lhotse", _manifest, in_file("cuts.jsonl", _hear), mutate_json_lines),
    Reader("wav", _sounds("WAV", "PCM_16", "PCM_U8", "FLOAT", "ULAW"), in_file("x.wav", _hear)),
    Reader("wavex", _sounds("WAVEX", "PCM_24"), in_file("x.wav", _hear)),
    Reader("rf64", _sounds("RF64", "PCM_16"), in_file("x.wav", _hear)),
    Reader("flac", _sounds("FLAC", "PCM_16"), in_file("x.flac", _hear)),
    Reader("ogg", _sounds("OGG", "VORBIS", "OPUS"), in_file("x.ogg", _hear)),
    Reader("mp3", _sounds("MP3", "MPEG_LAYER_III"), in_file("x.mp3", _hear)),
    Reader("aiff", _sounds("AIFF", "PCM_16"), in_file("x.aiff", _hear)),
    Reader("au", _sounds("AU", "PCM_16", "ULAW"), in_file("x.au", _hear)),
    Reader("w64", _sounds("W64", "PCM_16"), in_file("x.w64", _hear)),
    Reader("caf", _sounds("CAF", "PCM_16"), in_file("x.caf", _hear)),
    Reader("sph", _sounds("NIST", "PCM_16"), in_file("x.sph", _hear)),
)
