"""Sound files for tests of recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_hlg.audio import recordings
from asr_hlg.errors import AudioError

RATE = 16000


def tone(seconds: float = 0.5, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write(path: Path, samples: np.ndarray | None = None, rate: int = RATE, **kwargs) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone() if samples is None else samples, rate, **kwargs)
    return path


def only(inputs):
    [recording] = recordings(inputs)
    return recording


def fault(inputs, channel: int | None = None) -> str:
    with pytest.raises(AudioError) as caught:
        only(inputs).load(RATE, channel)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def cut(path: Path, keep: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: round(len(content) * keep)])
    return path


def noise(seconds: float = 4.0) -> np.ndarray:
    return np.random.default_rng(1).uniform(-0.1, 0.1, round(seconds * RATE))


def ids(inputs) -> list[str]:
    return [recording.id for recording in recordings(inputs)]
