"""Files of sound and video that FFmpeg's libraries write, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def encode(path: Path, samples: np.ndarray, codec: str, rate: int = 48000, video=False) -> Path:
    """Write ``(n, channels)`` samples by FFmpeg, after a second of pictures if required."""
    import av

    channels = {1: "mono", 2: "stereo"}[samples.shape[1]]
    with av.open(str(path), "w") as container:
        if video:
            pictures = container.add_stream("mpeg4", rate=5)
            pictures.width = pictures.height = 64
            pictures.pix_fmt = "yuv420p"
        stream = container.add_stream(codec, rate=rate)
        stream.codec_context.layout = channels
        stream.bit_rate = 128_000
        if video:
            for number in range(5):
                picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
                picture.pts = number
                container.mux(pictures.encode(picture))
            container.mux(pictures.encode(None))
        values = np.ascontiguousarray(samples.T, dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(values, "fltp", channels)
        frame.sample_rate, frame.pts = rate, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
