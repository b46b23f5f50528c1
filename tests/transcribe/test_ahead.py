"""The posteriors of a batch are computed in a thread while the batch before it is searched."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_hlg import threads
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.audio import Recording
from asr_hlg.errors import AudioError
from asr_hlg.output.transcript import Transcript
from asr_hlg.rescore.passes import PassOptions
from asr_hlg.search import SearchOptions, make_decoder
from asr_hlg.transcribe import TranscribeOptions
from asr_hlg.transcribe.ahead import PosteriorsAhead
from asr_hlg.transcribe.pipeline import Pipeline
from asr_hlg.transcribe.posteriors import Frames
from tests.support.random_graphs import random_graph, random_posteriors

SECONDS = 60  # after which what should happen has not happened
GRAPH = random_graph(3)
POSTERIORS = random_posteriors(GRAPH, [12, 7, 9, 14, 8, 11, 10], 1)
RECORDINGS = [Recording(str(row), Path(f"{row}.wav")) for row in range(7)]
BATCHES = [RECORDINGS[:3], RECORDINGS[3:5], RECORDINGS[5:]]


def no_progress() -> None:
    pass


class Source:
    """Posteriors by the number of a recording; notes which batches are asked for, and where."""

    def __init__(self):
        self.batches: list[list[str]] = []
        self.threads: list[str] = []

    def _frames(self, recording: Recording) -> Frames:
        return Frames(np.zeros(0, np.float32), POSTERIORS.utterance(int(recording.id)))

    def frames(self, recording: Recording):
        yield self._frames(recording)

    def batch(self, recordings: Sequence[Recording], report_progress):
        self.batches.append([recording.id for recording in recordings])
        self.threads.append(threading.current_thread().name)
        report_progress()
        return [self._frames(recording) for recording in recordings]


def pipeline(source, decode=None, engine="tokens") -> Pipeline:
    decoder = make_decoder(GRAPH, SearchOptions(engine=engine, search_beam=20.0))
    if decode is not None:
        original, decoder.decode = decoder.decode, lambda p: decode(original, p)
    options = TranscribeOptions(passes=PassOptions(), times="ctc")
    return Pipeline(PosteriorsAhead(source, "cpu"), decoder, (), options, 16_000)


def threads_left() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("posteriors")]


@pytest.mark.parametrize("engine", ["tokens", "tensors"])
def test_results_and_order_are_those_of_single_recordings(engine):
    source = Source()
    found = list(pipeline(source, engine=engine).transcribe_batches(BATCHES, no_progress))
    assert [batch for batch, _ in found] == BATCHES
    alone = pipeline(Source(), engine=engine)
    expected = [alone.transcribe(recording, no_progress) for recording in RECORDINGS]
    assert [result for _, results in found for result in results] == expected
    assert len({result.text for result in expected}) > 3
    assert source.batches == [["0", "1", "2"], ["3", "4"], ["5", "6"]]
    assert source.threads[0] == threading.current_thread().name
    assert all(name.startswith("posteriors") for name in source.threads[1:])
    assert threads_left() == []


def test_the_network_of_a_batch_runs_during_the_search_of_the_one_before():
    computing, searched = threading.Event(), threading.Event()

    class Waiting(Source):
        def batch(self, recordings, report_progress):
            if recordings == BATCHES[1]:
                computing.set()
                assert searched.wait(SECONDS)
            return super().batch(recordings, report_progress)

    def decode(original, posteriors: Posteriors):
        assert computing.wait(SECONDS)  # the thread is in the middle of its computation
        lattice = original(posteriors)
        searched.set()
        return lattice

    machine = pipeline(Waiting(), decode)
    results = machine.transcribe_together(BATCHES[0], no_progress, BATCHES[1])
    assert searched.is_set()
    results += machine.transcribe_together(BATCHES[1], no_progress)
    assert [result.id for result in results] == ["0", "1", "2", "3", "4"]


def test_another_batch_than_expected_is_computed_when_it_comes():
    source = Source()
    machine = pipeline(source)
    machine.transcribe_together(BATCHES[0], no_progress, BATCHES[1])
    found = machine.transcribe_together(BATCHES[2], no_progress)
    assert [result.id for result in found] == ["5", "6"]
    assert source.batches[-1] == ["5", "6"]
    assert source.threads[-1] == threading.current_thread().name


def test_an_error_in_the_thread_is_raised_for_its_own_batch():
    class Broken(Source):
        def batch(self, recordings, report_progress):
            if recordings == BATCHES[1]:
                raise ZeroDivisionError("in the network")
            return super().batch(recordings, report_progress)

    results = pipeline(Broken()).transcribe_batches(BATCHES, no_progress)
    assert next(results)[0] == BATCHES[0]
    with pytest.raises(ZeroDivisionError, match="in the network"):
        next(results)
    assert threads_left() == []


@pytest.mark.parametrize("returned", [True, False], ids=["returned", "raised"])
def test_the_error_of_a_recording_stays_with_it(returned):
    error = AudioError("4 is damaged")

    class Damaged(Source):
        def frames(self, recording):
            if recording.id == "4":
                raise error
            return super().frames(recording)

        def batch(self, recordings, report_progress):
            items = super().batch(recordings, report_progress)
            for i, recording in enumerate(recordings):
                if recording.id == "4":
                    if not returned:
                        raise error
                    items[i] = error
            return items

    found = pipeline(Damaged()).transcribe_batches(BATCHES, no_progress)
    results = [result for _, results in found for result in results]
    assert results[4] is error
    assert [r.id for r in results if isinstance(r, Transcript)] == ["0", "1", "2", "3", "5", "6"]


class AllocationFailed(Exception):
    """As onnxruntime's, which has no base class but Exception."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        AllocationFailed("Failed to allocate memory for requested buffer of size 4096"),
    ],
)
@pytest.mark.parametrize("where", ["network", "search"])
def test_a_batch_for_which_memory_does_not_suffice_is_halved(error, where):
    class Small(Source):
        def batch(self, recordings, report_progress):
            items = super().batch(recordings, report_progress)
            if where == "network" and len(recordings) > 1:
                raise error
            return items

    def decode(original, posteriors: Posteriors):
        if where == "search" and len(posteriors.lengths) > 1:
            raise error
        return original(posteriors)

    source = Small()
    found = list(pipeline(source, decode).transcribe_batches(BATCHES, no_progress))
    alone = pipeline(Source())
    expected = [alone.transcribe(recording, no_progress) for recording in RECORDINGS]
    assert [result for _, results in found for result in results] == expected
    assert source.batches.count(["3", "4"]) == 1  # once in the thread, not again
    assert source.batches.index(["3"]) > source.batches.index(["3", "4"])
    assert threads_left() == []


def test_closed_early_it_leaves_no_thread():
    computing, goes_on = threading.Event(), threading.Event()

    class Waiting(Source):
        def batch(self, recordings, report_progress):
            if recordings == BATCHES[1]:
                computing.set()
                assert goes_on.wait(SECONDS)
            return super().batch(recordings, report_progress)

    results = pipeline(Waiting()).transcribe_batches(BATCHES, no_progress)
    next(results)
    assert computing.wait(SECONDS)
    assert len(threads_left()) == 1
    threading.Timer(0.05, goes_on.set).start()
    results.close()
    assert threads_left() == []


def test_ctrl_c_during_the_search_leaves_no_thread():
    def decode(original, posteriors):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(pipeline(Source(), decode).transcribe_batches(BATCHES, no_progress))
    assert threads_left() == []


def test_on_cuda_the_thread_has_a_stream_of_its_own_and_no_graph_is_captured_meanwhile(monkeypatch):
    """With a stand-in for the stream, since there may be no GPU."""
    steps = []

    class Stream:
        def __init__(self, device):
            steps.append(f"stream on {device}")

        def synchronize(self):
            steps.append("wait for the stream")

    @contextmanager
    def in_stream(stream):
        steps.append("enter")
        yield
        steps.append("leave")

    class Noting(Source):
        def batch(self, recordings, report_progress):
            steps.append(f"network, {threads.cuda_capture.locked()}")
            return super().batch(recordings, report_progress)

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", in_stream)
    source = PosteriorsAhead(Noting(), "cuda:1")
    source.begin(BATCHES[0], no_progress)
    assert len(source.batch(BATCHES[0], no_progress)) == 3
    expected = ["stream on cuda:1", "enter", "network, True", "wait for the stream", "leave"]
    assert steps == expected
    assert not threads.cuda_capture.locked()
