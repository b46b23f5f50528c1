"""Recordings that are transcribed together are transcribed as they would be alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.audio import Recording, recordings
from asr_hlg.errors import AudioError
from asr_hlg.output.transcript import Transcript
from asr_hlg.rescore.passes import PassOptions
from asr_hlg.transcribe import Job, TranscribeOptions, Transcriber, Workers
from asr_hlg.transcribe.batches import batches

FIRST_PASS = TranscribeOptions(passes=PassOptions())


@given(st.lists(st.floats(0, 40)), st.floats(1, 100))
def test_batches_hold_all_recordings_and_little_padding(lengths, seconds):
    found = [Recording(str(i), Path("none.wav"), duration=d) for i, d in enumerate(lengths)]
    divided = list(batches(iter(found), seconds))
    assert sorted(int(r.id) for batch in divided for r in batch) == list(range(len(found)))
    for batch in divided:
        longest = max(recording.expected_duration() for recording in batch)
        assert len(batch) == 1 or longest * len(batch) <= seconds


def test_a_long_list_is_not_read_to_its_end_first():
    taken = []

    def endless():
        for i in range(10**9):
            taken.append(i)
            yield Recording(str(i), Path("none.wav"), duration=5.0)

    assert len(next(batches(endless(), 100.0))) == 20
    assert len(taken) < 1000


def test_how_long_a_recording_should_last(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(24_000) / 2, 16_000)
    [whole] = recordings([tmp_path / "a.wav"])
    assert whole.expected_duration() == 1.5
    assert replace(whole, offset=1.0).expected_duration() == 0.5
    assert replace(whole, offset=1.0, duration=0.25).expected_duration() == 0.25
    (tmp_path / "b.wav").write_bytes(b"RIFF, or not")
    assert replace(whole, path=tmp_path / "b.wav").expected_duration() == 0
    assert replace(whole, path=tmp_path / "nowhere.wav").expected_duration() == 0


def test_rows_of_a_batch():
    generator = torch.Generator().manual_seed(0)
    parts = [
        Posteriors(
            torch.randn(1, n, 3, generator=generator),
            torch.tensor([n], dtype=torch.int32),
            0.04,
            ("<blk>", "a", "b"),
            torch.tensor([0.5, 0.2, 0.3]),
            torch.randn(1, n, 4, generator=generator) if features else None,
        )
        for features in (False, True)
        for n in (5, 2, 7)
    ]
    for same_kind in parts[:3], parts[3:]:
        batch = Posteriors.collate(same_kind)
        assert batch.lengths.tolist() == [5, 2, 7]
        for row, part in enumerate(same_kind):
            alone = batch.utterance(row)
            assert torch.equal(alone.log_probs, part.log_probs)
            assert np.array_equal(alone.lengths, part.lengths)
            assert np.array_equal(alone.priors, part.priors)
            if part.features is not None:
                assert torch.equal(alone.features, part.features)


@pytest.fixture(scope="module")
def mixed(root, tmp_path_factory) -> list[Recording]:
    """The examples in a strange order, one of them three times as a long recording, and faults."""
    folder = tmp_path_factory.mktemp("mixed")
    examples = sorted((root / "examples").glob("*.wav"))
    assert examples
    long, rate = zip(*(soundfile.read(path) for path in examples * 3), strict=True)
    soundfile.write(folder / "long.wav", np.concatenate(long), rate[0])
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    (folder / "broken.wav").write_bytes(examples[0].read_bytes()[:2_000])
    paths = [folder / "long.wav", *examples[::2], folder / "silent.wav", folder / "broken.wav"]
    return list(recordings([*paths, *examples[1::2]]))


def same(one: Transcript, other: Transcript) -> None:
    """The same words, at times and with confidences that padding hardly changes."""
    assert (one.id, one.text, one.duration) == (other.id, other.text, other.duration)
    for mine, theirs in zip(one.words, other.words, strict=True):
        assert (mine.start, mine.end) == pytest.approx((theirs.start, theirs.end), abs=0.05)
        assert mine.confidence == pytest.approx(theirs.confidence, abs=0.02)


@pytest.mark.real
@pytest.mark.parametrize("engine", ["tokens", "k2", "tensors"])
def test_together_is_as_alone(root, english, mixed, tmp_path, engine):
    chosen = mixed if engine == "tokens" else mixed[1:4]
    machines = [
        Transcriber.from_graph(
            root / "graphs" / "en",
            options=replace(FIRST_PASS, nbest=3, lattices=str(tmp_path / name)),
            graph=english,
            engine=engine,
        )
        for name in ("together", "alone")
    ]
    for name in ("together", "alone"):
        (tmp_path / name).mkdir()
    beats: list[None] = []
    results = machines[0].transcribe_together(chosen, lambda: beats.append(None))
    assert len(results) == len(chosen)
    assert len(beats) >= 3
    for recording, result in zip(chosen, results, strict=True):
        if recording.id == "broken":
            assert isinstance(result, AudioError)
            continue
        alone = machines[1].transcribe_one(recording)
        assert isinstance(result, Transcript)
        same(result, alone)
        texts = [[a.text for a in found.alternatives[:1]] for found in (result, alone)]
        assert texts[0] == texts[1]
        assert bool(texts[0]) == (recording.id != "silent")
    files = [sorted(path.name for path in (tmp_path / n).iterdir()) for n in ("together", "alone")]
    assert files[0] == files[1] != []


@pytest.mark.real
def test_a_batch_for_which_memory_does_not_suffice(root, english, mixed, monkeypatch):
    machine = Transcriber.from_graph(root / "graphs" / "en", options=FIRST_PASS, graph=english)
    chosen = mixed[1:4]
    expected = [machine.transcribe_one(recording) for recording in chosen]
    decode = machine.decoder.decode

    tried = []

    def narrow(posteriors):
        tried.append(len(posteriors.lengths))
        if tried[-1] > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return decode(posteriors)

    monkeypatch.setattr(machine.decoder, "decode", narrow)
    for result, alone in zip(machine.transcribe_together(chosen), expected, strict=True):
        assert isinstance(result, Transcript)
        assert result.text == alone.text
    assert tried == [3, 1, 2, 1, 1]  # a batch is halved until it fits
    monkeypatch.setattr(machine.decoder, "decode", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        machine.transcribe_together(chosen)


@pytest.mark.real
@pytest.mark.parametrize("number", [1, 2])
def test_workers_keep_the_order(root, english, mixed, number):
    """One process computes the next batch during the search."""
    job = Job(str(root / "graphs" / "en"), options=FIRST_PASS, batch=12.0)
    with Workers(job, number) as workers:
        results = list(workers.run(iter(mixed)))
        assert [recording.id for recording, _ in results] == [recording.id for recording in mixed]
        done = {recording.id for recording, _ in workers.run(mixed, in_order=False)}
        assert done == {recording.id for recording in mixed}
    machine = Transcriber.from_graph(root / "graphs" / "en", options=FIRST_PASS, graph=english)
    for recording, result in results:
        if recording.id == "broken":
            assert isinstance(result, AudioError)
        else:
            assert isinstance(result, Transcript)
            assert result.text == machine.transcribe_one(recording).text
