"""Files of every suffix with any content are read or refused in words, never by a class's name."""

from __future__ import annotations

import re
from random import Random

import pytest
import soundfile

from asr_hlg.audio import Recording
from asr_hlg.audio.formats import SUFFIXES
from asr_hlg.errors import AudioError
from tests.fuzz import mutation
from tests.support.encoded import encode
from tests.support.sounds import RATE, tone, write

pytest.importorskip("av")

NUM_HEADERS = 10_000
CLASS_NAME = re.compile(
    r"\b[A-Z][a-z]+[A-Za-z]*(Error|Exception|Warning)\b|Traceback|\bobject at 0x"
)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> list[bytes]:
    """The first bytes of files of many formats, long enough for some samples, and other content."""
    folder = tmp_path_factory.mktemp("seeds")
    found = [b"", b"dear reader\n" * 40, b"PK\3\4" + bytes(400), bytes(400), b"#EXTM3U\nx.wav\n"]
    for suffix, format in {".wav": "WAV", ".aiff": "AIFF", ".au": "AU", ".caf": "CAF",
                           ".flac": "FLAC", ".voc": "VOC", ".w64": "W64", ".sph": "NIST",
                           ".rf64": "RF64"}.items():  # fmt: skip
        path = write(folder / f"x{suffix}", tone(0.02), format=format, subtype="PCM_16")
        found.append(path.read_bytes())
    for format, subtype in (("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")):
        path = folder / "x.ogg"
        soundfile.write(path, tone(0.1), RATE, format=format, subtype=subtype)
        found.append(path.read_bytes())
    for suffix, codec in {".m4a": "aac", ".aac": "aac", ".mkv": "libopus", ".avi": "mp2",
                          ".wma": "wmav2", ".ts": "aac", ".flv": "aac"}.items():  # fmt: skip
        path = encode(folder / f"x{suffix}", tone(0.1, 48000)[:, None], codec)
        found.append(path.read_bytes())
    return found


def test_ten_thousand_headers_under_every_suffix(seeds, tmp_path):
    suffixes = ["", ".bin", ".txt", ".gz", *sorted(SUFFIXES)]
    num_read = 0
    for number in range(NUM_HEADERS):
        random = Random(number)
        content = random.choice(seeds)
        if random.random() < 0.9:
            content = mutation.mutate(random, content)
        if random.random() < 0.3:
            content = content[: random.randrange(len(content) + 1)]
        path = tmp_path / f"x{suffixes[number % len(suffixes)]}"
        path.write_bytes(content)
        try:
            for _ in Recording("x", path).blocks(RATE, max_seconds=60.0):
                num_read += 1
        except AudioError as error:
            text = str(error)
            assert str(path) in text, (number, text)
            assert not CLASS_NAME.search(text.replace(str(path), "")), (number, text)
            assert "\n" not in text
        path.unlink()
    assert num_read > 500
