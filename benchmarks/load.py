"""Load test of ``asr-hlg serve`` on this machine: streams at real time, and clients that misbehave.

    python benchmarks/load.py ../shared/data/ljspeech/flac --streams 8 --seconds 60

Starts a server on a free port of this machine and measures it from another process. A table has

- live streams at real time: the delay of an answer, from sending a message of sound to its answer;
  connections that broke; CPU time and memory of the server;
- abrupt disconnects, clients that read nothing, and garbage: memory and open files before and
  after, and whether the words of a stream beside them are those that it has alone.

Everything is bounded: --streams, --seconds, --disconnects. Only addresses of this machine are used.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
import numpy as np
import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from asr_hlg.audio import recordings

RATE = 16000
BLOCK = RATE // 10  # samples in a message
GARBAGE = (b"\x00" * 3, "{", '{"config": []}', '"eof"', "\x00", b"x" * 99_999, "[" * 10_000)


@dataclass
class Measured:
    """What the clients of one part of the test have seen."""

    delays: list[float] = field(default_factory=list)
    results: int = 0
    dropped: int = 0
    words: list[str] = field(default_factory=list)


async def speak(address: str, pcm: bytes, measured: Measured, pace: float = 1.0) -> str:
    """Send sound in messages of 0.1 s, at real time or ``pace`` times as fast; returns the text.

    Sound is sent when it is due, whether or not the answers to what was sent before have come.
    """
    text: list[str] = []
    sent: deque[float] = deque()
    size = 2 * BLOCK

    async def send(socket: ClientConnection) -> None:
        began = time.perf_counter()
        for number, at in enumerate(range(0, len(pcm), size)):
            due = began + number * 0.1 / pace
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            sent.append(time.perf_counter())
            await socket.send(pcm[at : at + size])
        await socket.send('{"eof": 1}')

    try:
        async with connect(address, max_queue=None) as socket:
            await socket.send(json.dumps({"config": {"sample_rate": RATE}}))
            sending = asyncio.create_task(send(socket))
            async for message in socket:
                answer = json.loads(message)
                if sent:  # the last answer is that to the eof
                    measured.delays.append(time.perf_counter() - sent.popleft())
                if answer.get("text"):
                    text.append(answer["text"])
                    measured.results += 1
            await sending
    except (ConnectionClosed, OSError):
        measured.dropped += 1
    return " ".join(text)


async def streams(address: str, pcms: list[bytes], number: int) -> Measured:
    """Streams side by side, each of another recording, their starts spread over a second."""
    measured = Measured()

    async def one(index: int) -> None:
        await asyncio.sleep(index / number)
        measured.words.append(await speak(address, pcms[index % len(pcms)], measured))

    await asyncio.gather(*(one(index) for index in range(number)))
    return measured


async def disconnect(address: str, pcm: bytes) -> None:
    """Send some sound and cut the connection without a word, in the middle of its answer."""
    with contextlib.suppress(ConnectionClosed, OSError):
        socket = await connect(address)
        await socket.send(json.dumps({"config": {"sample_rate": RATE}}))
        await socket.send(pcm[: random.randrange(2, 4 * BLOCK, 2)])
        linger = struct.pack("ii", 1, 0)  # a reset instead of a polite end
        socket.transport.get_extra_info("socket").setsockopt(1, 13, linger)
        socket.transport.abort()


async def garbage(address: str) -> None:
    """Send what is not of the protocol."""
    for message in GARBAGE:
        with contextlib.suppress(ConnectionClosed, OSError):
            async with connect(address) as socket:
                await socket.send(message)
                await asyncio.wait_for(socket.recv(), 10)


async def read_nothing(address: str, pcm: bytes, seconds: float) -> None:
    """Send sound faster than real time and read no answer."""
    with contextlib.suppress(ConnectionClosed, OSError, asyncio.TimeoutError):
        async with connect(address, max_queue=1, close_timeout=0.1) as socket:
            config = {"sample_rate": RATE, "partial_words": True}
            await socket.send(json.dumps({"config": config}))
            end, at = time.monotonic() + seconds, 0
            while time.monotonic() < end:
                await asyncio.wait_for(socket.send(pcm[at : at + 2 * BLOCK]), 1.0)
                at = (at + 2 * BLOCK) % len(pcm)


async def misbehave(address: str, pcm: bytes, disconnects: int) -> tuple[Measured, str]:
    """A stream at twice real time while others misbehave; returns its text."""
    measured = Measured()
    good = asyncio.create_task(speak(address, pcm, measured, pace=2.0))
    deaf = [asyncio.create_task(read_nothing(address, pcm, 5.0)) for _ in range(3)]
    for _ in range(disconnects):
        await disconnect(address, pcm)
        await asyncio.sleep(0.01)
    await garbage(address)
    text = await good
    await asyncio.gather(*deaf)
    return measured, text


def sound(paths: list[str], seconds: float) -> list[bytes]:
    """Recordings as 16-bit samples, joined until each is long enough."""
    pcms: list[bytes] = []
    rest = np.zeros(0, np.int16)
    for recording in recordings(paths):
        samples = (recording.load(RATE) * 32767).astype("<i2")
        rest = np.concatenate([rest, samples, np.zeros(RATE, "<i2")])
        if len(rest) >= seconds * RATE:
            pcms.append(rest[: int(seconds * RATE)].tobytes())
            rest = np.zeros(0, np.int16)
        if len(pcms) == 16:
            break
    return pcms or [rest.tobytes()]


@contextlib.contextmanager
def server(options: argparse.Namespace):
    """The server as a process: its address and its process."""
    command = [sys.executable, "-m", "asr_hlg.cli", "serve", "--port", "0", "--fast"]
    command += ["--graph", options.graph, "--max-streams", str(options.streams + 40)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process.stdout.readline().strip(), psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def state(process: psutil.Process) -> tuple[float, int, int]:
    """Memory in MB, open files and threads of a process."""
    return process.memory_info().rss / 1e6, process.num_fds(), process.num_threads()


def percentiles(values: list[float]) -> str:
    """Median, 95th and 99th percentile and maximum in milliseconds."""
    marks = statistics.quantiles(values, n=100)
    chosen = (statistics.median(values), marks[94], marks[98], max(values))
    return " / ".join(f"{1000 * value:.0f}" for value in chosen)


def main() -> None:
    """Run both parts and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recordings", nargs="+")
    parser.add_argument("--graph", default="en")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--disconnects", type=int, default=200)
    options = parser.parse_args()
    if not Path(options.recordings[0]).exists():
        parser.error(f"there is no {options.recordings[0]}")
    pcms = sound(options.recordings, min(options.seconds, 600.0))
    random.seed(0)
    rows: list[tuple[str, str]] = []
    with server(options) as (http, process):
        ws = http.replace("http", "ws", 1)
        alone = asyncio.run(streams(ws, pcms[:1], 1)).words[0]
        cpu, began = process.cpu_times(), time.perf_counter()
        busy = asyncio.run(streams(ws, pcms, options.streams))
        wall = time.perf_counter() - began
        used = sum(process.cpu_times()[:2]) - sum(cpu[:2])
        rows += [
            (f"{options.streams} streams, answers (50 / 95 / 99 / 100 %)",
             f"{percentiles(busy.delays)} ms"),
            ("segments with words", f"{busy.results}"),
            ("dropped connections", f"{busy.dropped}"),
            ("CPU time", f"{used:.0f} s in {wall:.0f} s"),
            ("memory", f"{state(process)[0]:.0f} MB"),
        ]  # fmt: skip
        for repetition in ("first", "second"):
            before = state(process)
            fair, text = asyncio.run(misbehave(ws, pcms[0], options.disconnects))
            time.sleep(15.0)  # the server gives memory back some seconds after a stream
            after = state(process)
            is_same = text == alone and not fair.dropped
            title = f"{repetition} {options.disconnects} disconnects, garbage, 3 readers of nothing"
            rows += [
                (title, "words beside them unchanged" if is_same else "WORDS CHANGED"),
                ("  memory", f"{before[0]:.0f} to {after[0]:.0f} MB"),
                ("  open files, threads", f"{before[1:]} to {after[1:]}"),
            ]
        ended = [
            line
            for line in httpx.get(f"{http}metrics").text.splitlines()
            if line.startswith("asr_hlg_streams_ended_total")
        ]
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:<{width}}  {value}" for name, value in rows))
    print("\n".join(ended))


if __name__ == "__main__":
    main()
