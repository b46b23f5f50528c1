"""Recordings from standard input."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from asr_hlg.audio import recordings
from asr_hlg.audio.standard_input import standard_input
from asr_hlg.errors import OptionError
from tests.support.sounds import RATE, tone, write


class Chunks(io.BytesIO):
    """A pipe from which each read returns at most three bytes."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(3, size or 0))


def test_a_sound_file_is_copied_and_removed(tmp_path):
    content = write(tmp_path / "a.flac", format="FLAC").read_bytes()
    with standard_input(io.BytesIO(content)) as path:
        assert path.read_bytes() == content
        [recording] = recordings(path)
        assert recording.id == "stdin"
        assert len(recording.load(RATE)) == len(tone())
    assert not path.parent.exists()


@pytest.mark.parametrize("stream", [io.BytesIO, Chunks])
@pytest.mark.parametrize("rest", [b"", b"\x01"])
def test_raw_samples(stream, rest):
    samples = (np.asarray(tone()) * 32767).astype("<i2")
    with standard_input(stream(samples.tobytes() + rest), raw_rate=8000) as path:
        read, rate = soundfile.read(path, dtype="int16")
        assert rate == 8000
        np.testing.assert_array_equal(read, samples)


def test_a_list_of_recordings(tmp_path):
    path = write(tmp_path / "a.wav")
    with standard_input(io.BytesIO(f"{path}\n".encode())) as listed:
        assert [r.path for r in recordings(listed)] == [path]


def test_what_is_no_recording(tmp_path):
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    with pytest.raises(OptionError, match="terminal"), standard_input(Terminal()):
        pass
    with pytest.raises(OptionError, match="out of range"), standard_input(io.BytesIO(), 10):
        pass
    header = io.BytesIO(write(tmp_path / "a.wav").read_bytes())
    with pytest.raises(OptionError, match="leave out --raw"), standard_input(header, 16000):
        pass
