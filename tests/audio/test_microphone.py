"""The microphone, with a package in place of sounddevice."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from asr_hlg.audio.microphone import inputs, microphone
from asr_hlg.errors import AsrHlgError, OptionError


class PortAudioError(Exception):
    pass


class InputStream:
    """Records 1, 2, 3 as soon as it is entered."""

    def __init__(self, **options):
        self.options = options

    def __enter__(self):
        for value in (1, 2, 3):
            block = np.full((self.options["blocksize"], 1), value, np.int16)
            self.options["callback"](block, len(block), None, None)

    def __exit__(self, *_):
        pass


DEVICES = [
    {"name": "speaker", "max_input_channels": 0, "default_samplerate": 44100.0},
    {"name": "headset", "max_input_channels": 1, "default_samplerate": 48000.0},
]


def query_devices(device=None, kind=None):
    if kind is None:
        return DEVICES
    if device not in (None, 1, "headset"):
        raise ValueError(f"No input device matching {device!r}")
    return DEVICES[1]


@pytest.fixture(autouse=True)
def package(monkeypatch):
    module = SimpleNamespace(
        PortAudioError=PortAudioError, InputStream=InputStream, query_devices=query_devices
    )
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return module


@pytest.mark.parametrize("device", [None, "1", "headset"])
def test_blocks_come_at_the_rate_of_the_microphone(device):
    with microphone(device) as (rate, blocks):
        assert rate == 48000
        assert [set(next(blocks).tolist()) for _ in range(3)] == [{1}, {2}, {3}]


def test_inputs_are_what_can_be_recorded_from():
    assert inputs() == [(1, "headset")]


def test_no_such_microphone(package, monkeypatch):
    with pytest.raises(OptionError, match=r"'desk'.*--inputs"), microphone("desk"):
        pass

    def none(*_):
        raise PortAudioError("Error querying device -1")

    monkeypatch.setattr(package, "query_devices", none)
    with pytest.raises(OptionError, match="there is no microphone"), microphone():
        pass


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(AsrHlgError, match=r"asr-hlg\[live\]"), microphone():
        pass
