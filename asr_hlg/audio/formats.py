"""Formats of sound: which files are read by which library, by the ending of the name or by content.

libsndfile reads files of sound alone; FFmpeg's libraries (the package ``av``) read the rest, among
them AAC and the sound of videos. Raw samples have no header, so that nobody can know their rate.
"""

from __future__ import annotations

import mimetypes
import os
import shlex
from pathlib import Path

_SNDFILE = """
    wav wave bwf rf64 w64 flac ogg oga opus mp1 mp2 mp3 aif aiff aifc au snd sph nist caf voc svx
    8svx paf pvf ircam avr htk
"""
_AV = """
    aac adts m4a m4b m4r mp4 m4v mov qt 3gp 3gpp 3g2 amr awb webm weba mkv mka avi wma wmv asf flv
    f4v mpg mpeg mpa m2v ts mts m2ts m2t vob ogv ogm ogx spx ac3 eac3 ec3 dts ape wv tta tak mpc rm
    ra rmvb gsm g722 dsf mxf oma aa3 shn nut dv qcp loas latm mlp thd wtv
"""
_RAW = "raw pcm lpcm sln s16 ulaw ul mulaw alaw al vox"
_OTHER = "aa aax m4p cda sd2 dss ds2 mid midi"  # that nothing here reads
_AMBIGUOUS = "ts dts ra rm oma dv al ul s16 snd sph paf avr htk mpa"  # other files have them, too


def _suffixes(names: str) -> frozenset[str]:
    return frozenset("." + name for name in names.split())


SNDFILE_SUFFIXES = _suffixes(_SNDFILE)
"""Endings of files that libsndfile reads."""

AV_SUFFIXES = _suffixes(_AV)
"""Endings of files that FFmpeg's libraries read."""

RAW_SUFFIXES = _suffixes(_RAW)
"""Endings of samples without a header."""

SUFFIXES = SNDFILE_SUFFIXES | AV_SUFFIXES | RAW_SUFFIXES
"""Endings of files that are sound or video, whatever their content seems to be."""

_OTHER_SUFFIXES = _suffixes(_OTHER)
_AMBIGUOUS_SUFFIXES = _suffixes(_AMBIGUOUS)

_BYTES = 400  # that tell the content of a file: two packets of MPEG-TS

CONVERT = "convert it to FLAC or WAV, with ffmpeg for instance"
"""Remedy for sound that cannot be read."""


def is_listed(path: Path) -> bool:
    """Whether a file of a folder is taken for a recording, by its name or else by its content."""
    suffix = path.suffix.lower()
    if suffix in SNDFILE_SUFFIXES or suffix in AV_SUFFIXES:
        return suffix not in _AMBIGUOUS_SUFFIXES or is_sound(head(path))
    return not _is_known(path) and is_sound(head(path))


def is_skipped(path: Path) -> bool:
    """Whether the name of a file that is not listed is that of sound or video."""
    suffix = path.suffix.lower()
    if suffix in _AMBIGUOUS_SUFFIXES:
        return False
    kind = mimetypes.guess_type("x" + suffix)[0] or ""
    return (
        suffix in RAW_SUFFIXES
        or suffix in _OTHER_SUFFIXES
        or (kind.startswith(("audio/", "video/")) and "mpegurl" not in kind)
    )


def _is_known(path: Path) -> bool:
    """Whether the ending of a name tells what the file is."""
    return is_skipped(path) or mimetypes.guess_type("x" + path.suffix.lower())[0] is not None


def head(path: Path) -> bytes:
    """First bytes of a regular file; none if it cannot be read."""
    try:
        if not os.path.isfile(path):  # opening a pipe could wait for ever
            return b""
        with path.open("rb") as file:
            return file.read(_BYTES)
    except OSError:
        return b""


def is_sound(first: bytes) -> bool:
    """Whether a file that begins with these bytes is of a format that is read."""
    return _is_sndfile(first) or is_container(first)


def _is_sndfile(first: bytes) -> bool:
    kind = first[8:12]
    return (
        (first[:4] in (b"RIFF", b"RIFX", b"RF64") and kind == b"WAVE")
        or (first[:4] == b"FORM" and kind in (b"AIFF", b"AIFC", b"8SVX", b"16SV"))
        or first[:4] in (b"fLaC", b"OggS", b".snd", b"dns.", b"caff", b" paf", b"fap ")
        or first.startswith((b"NIST_1A", b"riff\x2e\x91\xcf\x11", b"Creative Voice File"))
        or first[:3] == b"ID3"
        or _is_mpeg(first)
    )


def _is_mpeg(first: bytes) -> bool:
    """Whether a file begins with a header of MPEG layers I to III, of a valid rate and bit rate."""
    return (
        len(first) >= 4
        and first[0] == 0xFF
        and first[1] & 0xE0 == 0xE0
        and first[1] & 0x18 != 0x08
        and first[1] & 0x06 != 0
        and first[2] & 0xF0 not in (0x00, 0xF0)
        and first[2] & 0x0C != 0x0C
    )


def is_shared(first: bytes) -> bool:
    """Whether libsndfile and FFmpeg both read a format, each with codecs that the other lacks."""
    return first[:4] in (b"OggS", b"caff") or first[8:12] in (b"WAVE", b"AIFF", b"AIFC")


def is_container(first: bytes) -> bool:
    """Whether a file that begins with these bytes is of a format that FFmpeg alone reads."""
    return (
        first[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # MP4, QuickTime
        or first.startswith(_MAGIC)
        or (first[:4] == b"RIFF" and first[8:12] in (b"AVI ", b"AMV ", b"QLCM"))
        or (len(first) >= 4 and first[0] == 0xFF and first[1] & 0xF6 == 0xF0)  # AAC, ADTS
        or (len(first) > 376 and first[0] == first[188] == first[376] == 0x47)  # MPEG-TS
        or (len(first) > 388 and first[4] == first[196] == first[388] == 0x47)  # M2TS
    )


_MAGIC = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"#!AMR",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMA, WMV
    b"FLV\x01",
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"\x0b\x77",  # AC-3
    b"\x7f\xfe\x80\x01",  # DTS
    b"MAC ",  # Monkey's Audio
    b"wvpk",
    b"TTA1",
    b"tBaK",
    b"MPCK",
    b"MP+",
    b".RMF",
    b".ra\xfd",
    b"DSD ",
    b"ajkg",  # Shorten
    b"nut/multimedia container",
    b"\x06\x0e\x2b\x34",  # MXF
)


def how_to_convert(path: Path) -> str:
    """Remedy for a file that only FFmpeg reads, where the package ``av`` is missing."""
    names = shlex.quote(path.name), shlex.quote(path.stem + ".wav")
    return "pip install 'asr-hlg[av]', or: ffmpeg -i {} {}".format(*names)
