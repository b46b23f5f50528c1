"""Readers of recordings, lists and manifests that are fuzzed."""

from __future__ import annotations

import importlib.util
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
from tests.support.encoded import encode

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


def _encoded(suffix: str, codec: str, rate: int = 48000) -> Callable[[Path], Sequence[bytes]]:
    """Files that FFmpeg writes, of one channel and of two."""

    def make(folder: Path) -> Sequence[bytes]:
        seeds = []
        for channels in (1, 2):
            path = folder / f"seed{suffix}"
            encode(path, sound(rate, 0.2, channels), codec, rate)
            seeds.append(path.read_bytes())
            path.unlink()
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


def _reco2file(folder: Path) -> Sequence[bytes]:
    _with_sounds(folder)
    (folder / "wav.scp").write_text(f"one {folder}/a.wav\ntwo {folder}/b.flac\n")
    return [b"one x A\ntwo x B\n"]


def _read_reco2file(data: bytes, folder: Path) -> None:
    (folder / "reco2file_and_channel").write_bytes(data)
    _hear(folder)


def _wav_ark(folder: Path) -> Sequence[bytes]:
    stream = io.BytesIO()
    soundfile.write(stream, sound(), RATE, "PCM_16", None, "WAV")
    (folder / "wav.scp").write_text(f"one {folder}/wav.ark:4\ntwo {folder}/wav.ark:9\n")
    return [b"one " + stream.getvalue()]


def _read_wav_ark(data: bytes, folder: Path) -> None:
    (folder / "wav.ark").write_bytes(data)
    _hear(folder / "wav.scp")


_CONTAINERS = tuple(
    Reader(name, _encoded(f".{suffix}", codec), in_file(f"x.{suffix}", _hear))
    for name, suffix, codec in (
        ("m4a", "m4a", "aac"),
        ("adts", "aac", "aac"),
        ("mkv", "mkv", "libopus"),
        ("webm", "webm", "libopus"),
        ("avi", "avi", "mp2"),
        ("wma", "wma", "wmav2"),
        ("mpegts", "ts", "aac"),
        ("flv", "flv", "aac"),
        ("ac3", "ac3", "ac3"),
        ("wavpack", "wv", "wavpack"),
        ("tta", "tta", "tta"),
        ("wav-wma", "wav", "wmav2"),
    )
)


SOUND_READERS = (
    *(_CONTAINERS if importlib.util.find_spec("av") else ()),
    Reader("reco2file", _reco2file, _read_reco2file),
    Reader("wav.ark", _wav_ark, _read_wav_ark),
    Reader("voc", _sounds("VOC", "PCM_16"), in_file("x.voc", _hear)),
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
