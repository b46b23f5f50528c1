"""Posteriors of the next batch, computed in a thread while the present one is searched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from asr_hlg import threads
from asr_hlg.acoustic.arrays import is_tensor
from asr_hlg.audio import Recording
from asr_hlg.transcribe.options import ReportProgress
from asr_hlg.transcribe.posteriors import BatchItem, Frames, PosteriorSource


class PosteriorsAhead:
    """A source of posteriors that can begin with a batch before it is asked for.

    >>> source.begin(second_batch, report_progress)   # returns at once
    >>> ...                                           # search the first batch
    >>> source.batch(second_batch, report_progress)   # waits for what is left to do

    Parameters
    ----------
    source : PosteriorSource
        Is used by two threads at the same time.
    device : str
        Where the acoustic model computes. On CUDA the thread has a stream of its own, so that
        network and search share the GPU.
    """

    def __init__(self, source: PosteriorSource, device: str):
        self._source, self._device = source, device
        self._begun: list[Recording] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._result: Future[list[BatchItem]] | None = None

    def frames(self, recording: Recording) -> Iterator[Frames]:
        """Consecutive frames that cover a recording."""
        return self._source.frames(recording)

    def begin(self, recordings: Sequence[Recording], report_progress: ReportProgress) -> None:
        """Compute the frames of recordings in a thread, which ends when it has them."""
        if not recordings or list(recordings) == self._begun:
            return
        self.wait()
        self._begun = list(recordings)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="posteriors")
        self._result = self._pool.submit(self._in_thread, recordings, report_progress)
        self._pool.shutdown(wait=False)

    def batch(
        self, recordings: Sequence[Recording], report_progress: ReportProgress
    ) -> list[BatchItem]:
        """Frames of recordings, computed together, or the exception that the thread raised."""
        if self._result is None or list(recordings) != self._begun:
            return self._source.batch(recordings, report_progress)
        result = self._result
        self.wait()
        try:
            items = result.result()
        finally:
            del result  # its exception refers to this frame, and to memory that is needed again
        for item in items:
            if isinstance(item, Frames):
                _keep_for_current_stream(item)
        return items

    def wait(self) -> None:
        """Wait for the end of the thread, and drop its result."""
        if self._pool is not None:
            self._pool.shutdown()
        self._begun = self._pool = self._result = None

    def _in_thread(
        self, recordings: Sequence[Recording], report_progress: ReportProgress
    ) -> list[BatchItem]:
        if not self._device.startswith("cuda"):
            return self._source.batch(recordings, report_progress)
        import torch

        stream = torch.cuda.Stream(self._device)
        with threads.cuda_capture, torch.cuda.stream(stream):
            items = self._source.batch(recordings, report_progress)
            stream.synchronize()
        return items


def _keep_for_current_stream(item: Frames) -> None:
    """Let no other stream reuse the memory of frames before this one has read them."""
    for tensor in item.posteriors.scores, item.posteriors.features:
        if is_tensor(tensor) and tensor.is_cuda:
            import torch

            stream: Any = torch.cuda.current_stream(tensor.device)
            tensor.record_stream(stream)
