"""Workers with a model that breaks in every way, and with little memory."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asr_hlg.acoustic import AcousticModel, NetworkModel
from asr_hlg.acoustic.conformer import Conformer, ConformerConfig
from asr_hlg.audio import recordings
from asr_hlg.audio.stretches import CONTEXT, STRETCH, StretchSplitter
from asr_hlg.errors import AudioError, ModelError, OptionError, WorkerError
from asr_hlg.graph import DecodingGraph
from asr_hlg.lattice import Lattice
from asr_hlg.output.transcript import Transcript
from asr_hlg.search import SearchOptions, TokenPassing, make_decoder
from asr_hlg.transcribe import Job, TranscribeOptions, Transcriber, Workers, supervisor
from asr_hlg.transcribe.posteriors import ComputedPosteriors, Frames

RATE = 16000


class Faulty(AcousticModel):
    """Posteriors that depend on the sound, or a fault: its number is the sound's length."""

    def __init__(self, tokens, folder: Path):
        super().__init__(tokens, 0.02, RATE, "cpu")
        self.folder = folder

    def log_probs(self, waveforms):
        return [self._one(waveform) for waveform in waveforms]

    def _one(self, waveform):
        fault = FAULTS.get(len(waveform))
        marker = self.folder / str(len(waveform))
        if fault is not None and not (fault.once and marker.exists()):
            marker.touch()
            fault.happen()
        generator = torch.Generator().manual_seed(len(waveform))
        return torch.randn(50, len(self.tokens), generator=generator).log_softmax(1)


@dataclass(frozen=True)
class Fault:
    name: str
    once: bool = False

    def happen(self) -> None:
        if self.name == "segmentation fault":
            ctypes.string_at(0)
        elif self.name == "exception":
            raise IndexError("the model's own mistake")
        elif self.name == "endless":  # and so for longer than the time limit
            supervisor._last_progress.value -= 600
            time.sleep(600)
        elif self.name == "memory":
            np.ones(3_000_000_000, dtype=np.uint8)


FAULTS = {
    1000: Fault("segmentation fault"),
    1001: Fault("memory"),
    2000: Fault("exception", once=True),
    2001: Fault("endless", once=True),
}


@dataclass(frozen=True)
class FaultyJob(Job):
    """The graph cat_hat with the model above."""

    folder: str = ""

    def transcriber(self):
        graph = DecodingGraph.load(self.graph)
        model = Faulty(graph.columns, Path(self.folder))
        transcriber = Transcriber(graph, model, None, self.options)
        transcriber.warm_up()
        return transcriber, ""


@pytest.fixture(scope="module")
def cat_hat(root) -> str:
    folder = root / "graphs" / "cat_hat"
    if not (folder / "graph.json").is_file():
        pytest.skip("graphs/cat_hat is not compiled: make graph GRAPH=cat_hat")
    return str(folder)


def sound(path: Path, num_samples: int) -> Path:
    samples = 0.1 * np.sin(np.arange(num_samples))
    soundfile.write(path / f"{num_samples}.wav", samples, RATE)
    return path / f"{num_samples}.wav"


@pytest.mark.parametrize("batch", [0.0, 1.0])
def test_a_broken_model_stops_nothing(cat_hat, tmp_path, batch):
    lengths = [500, *FAULTS, 501, 502]
    paths = [sound(tmp_path, length) for length in lengths]
    (tmp_path / "empty.wav").touch()
    found = list(recordings([*paths, tmp_path / "empty.wav"]))
    job = FaultyJob(cat_hat, folder=str(tmp_path / "markers"), batch=batch)
    (tmp_path / "markers").mkdir()
    with Workers(job, 2, timeout=300, max_memory=2) as workers:
        results = {recording.id: result for recording, result in workers.run(found)}
        assert workers.retried >= (2 if batch else len(FAULTS))
        assert len(workers.pids) == 2
    assert list(results) == [recording.id for recording in found]
    for well in ("500", "501", "502", "2000", "2001"):
        assert isinstance(results[well], Transcript), results[well]
    for name, reason in {"1000": "died of SIGSEGV", "1001": "allocate"}.items():
        assert isinstance(results[name], WorkerError)
        assert reason in str(results[name])
        assert "second time" in str(results[name])
    assert isinstance(results["empty"], AudioError)


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"max_memory": -1}, {"number": 0}])
def test_limits_out_of_range(cat_hat, wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Workers(Job(cat_hat), **{"number": 1, **wrong})
    with pytest.raises(OptionError, match="batch"):
        Workers(Job(cat_hat, batch=-1.0), 1)
    with pytest.raises(OptionError, match="max_duration"):
        TranscribeOptions(max_duration=0)


def test_a_model_of_other_tokens_is_refused_before_any_recording(cat_hat, tmp_path):
    graph = DecodingGraph.load(cat_hat)
    last = graph.columns[-1]
    with pytest.raises(ModelError, match=f"lacks tokens of the graph: {last} .*asr-hlg graph"):
        Transcriber(graph, Faulty(graph.columns[:-1], tmp_path))


def test_recordings_may_be_too_long(cat_hat, tmp_path):
    graph = DecodingGraph.load(cat_hat)
    options = TranscribeOptions(max_duration=0.05)
    limited = Transcriber(graph, Faulty(graph.columns, tmp_path), None, options)
    assert limited.transcribe_one(*recordings([sound(tmp_path, 700)]))
    with pytest.raises(AudioError, match="--max-duration"):
        limited.transcribe_one(*recordings([sound(tmp_path, 900)]))


def test_beams_narrow_until_the_memory_suffices(cat_hat, tmp_path, monkeypatch):
    """A search that fails above some beam is repeated below it, and the transcript says so."""
    graph = DecodingGraph.load(cat_hat)
    tried: list[SearchOptions] = []

    def decode(self, posteriors) -> Lattice:
        tried.append(self.options)
        if self.options.search_beam > enough:
            raise MemoryError if len(tried) % 2 else RuntimeError("can't allocate memory")
        return search(self, posteriors)

    search = TokenPassing.decode
    monkeypatch.setattr(TokenPassing, "decode", decode)
    decoder = make_decoder(graph, SearchOptions(search_beam=10))
    machine = Transcriber(graph, Faulty(graph.columns, tmp_path), decoder)
    enough = 7.0
    found = machine.transcribe_one(*recordings([sound(tmp_path, 800)]))
    assert [round(options.search_beam, 2) for options in tried] == [10, 8, 6.4]
    assert [options.max_active for options in tried] == [10_000, 2_500, 625]
    assert found.notes
    assert "from 0.0 s on" in found.notes[0]
    assert "beam 6.4" in found.notes[0]
    enough = 0.0
    with pytest.raises(WorkerError, match="--max-memory"):
        machine.transcribe_one(*recordings([sound(tmp_path, 801)]))
    monkeypatch.setattr(TokenPassing, "decode", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        machine.transcribe_one(*recordings([sound(tmp_path, 802)]))


# ---------------------------------------------------------------- streams


@pytest.fixture(scope="module")
def conformer() -> NetworkModel:
    torch.manual_seed(0)
    config = ConformerConfig(
        ("<blk>", "a", "b"), dim=16, num_blocks=1, num_heads=2, ffn_dim=16, kernel=7
    )
    return NetworkModel(Conformer(config))


def noise(seconds: float) -> np.ndarray:
    samples = np.random.default_rng(1).standard_normal(int(seconds * RATE))
    return (0.1 * samples).astype(np.float32)


def frames_of(blocks: Iterable[np.ndarray], model: NetworkModel) -> list[Frames]:
    """Frames of a recording that comes in blocks."""
    splitter = StretchSplitter(model.sample_rate, model.frame_shift)
    stretches = [stretch for block in blocks for stretch in splitter.add(block)]
    source = ComputedPosteriors(model, TranscribeOptions())
    return list(map(source.of_stretch, [*stretches, splitter.finish()]))


def test_one_block_is_one_stretch(conformer):
    samples = noise(50.0)
    [frames] = frames_of([samples], conformer)
    assert np.shares_memory(frames.samples, samples)
    assert len(frames.samples) == len(samples)
    assert torch.equal(frames.posteriors.log_probs, conformer.posteriors([samples], RATE).log_probs)


@pytest.mark.parametrize("seconds", [61.0, 78.0, 78.01, 81.0, 104.3, 200.0])
@pytest.mark.parametrize("size", [7 * RATE + 3, 60 * RATE])
def test_stretches_of_a_long_recording_fit_together(conformer, seconds, size):
    """No sample and no frame is missing or there twice, and frames are what one sees whole."""
    samples = noise(seconds)
    blocks = np.split(samples, range(size, len(samples), size))
    frames = frames_of(blocks, conformer)
    assert np.array_equal(np.concatenate([some.samples for some in frames]), samples)
    joined = torch.cat([some.posteriors.log_probs[0] for some in frames])
    assert len(joined) == len(samples) // 320 + 1
    assert all(len(some.samples) == STRETCH * RATE for some in frames[:-1])
    # A stretch by itself, with all that its model is shown.
    begin, context = int(STRETCH * RATE), int(CONTEXT * RATE)
    shown = samples[begin - context : 2 * begin + context]
    alone = conformer.posteriors([shown], RATE).log_probs[0, context // 320 :][: begin // 320]
    torch.testing.assert_close(joined[begin // 320 : 2 * begin // 320], alone, atol=1e-4, rtol=0)
