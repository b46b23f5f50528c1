"""Corpora as cuts, and cuts as batches: nothing lost, nothing doubled, everything repeatable."""

from __future__ import annotations

from collections import Counter

import lhotse
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from lhotse import CutSet, RecordingSet, SupervisionSegment, SupervisionSet

from asr_hlg import audio, data
from asr_hlg.acoustic.features import FbankOptions, fbank
from asr_hlg.data import Augmentation, LoaderOptions
from asr_hlg.errors import DataError, OptionError
from tests.support.corpora import RATE, assert_equal, make_cuts, sound, write_wavs
from tests.support.examples import examples

VARIED = Augmentation((0.9, 1.0, 1.1), volumes=(0.3, 2.0), noise=0.5, join=0.3)


def transcripts_of(cuts: CutSet) -> dict[str, str]:
    return {cut.id: data.text_of(cut) for cut in cuts}


# What a corpus may look like.


@pytest.mark.parametrize("beside", [True, False])
def test_a_folder_with_transcripts(tmp_path, beside):
    write_wavs(tmp_path / "corpus" / "wav", "a", "b")
    text = tmp_path / "corpus" / "text"
    text.write_text("b two  words\na one\nc unused\n")
    cuts = data.cuts(tmp_path / "corpus" / "wav" if beside else tmp_path / "corpus")
    assert transcripts_of(cuts) == {"a": "one", "b": "two words"}
    assert [cut.duration for cut in cuts] == pytest.approx([0.3, 0.4])


def test_a_kaldi_folder_with_segments(tmp_path):
    write_wavs(tmp_path, "long")
    (tmp_path / "wav.scp").write_text("rec long.wav\n")
    (tmp_path / "segments").write_text("u1 rec 0.05 0.15\nu2 rec 0.15 0.3005\n")
    (tmp_path / "text").write_text("u1 yes\nu2 no\n")
    cuts = data.cuts(tmp_path)
    assert transcripts_of(cuts) == {"u1": "yes", "u2": "no"}
    whole, _ = soundfile.read(tmp_path / "long.wav", dtype="float32")
    batch = next(iter(data.loader(cuts, None, LoaderOptions(shuffle=False))))
    for name, row, length in zip(batch.ids, batch.inputs, batch.lengths, strict=True):
        start, end = {"u1": (800, 2400), "u2": (2400, 4800)}[name]
        assert torch.equal(row[:length], torch.from_numpy(whole[start:end]))


def test_commands_in_wav_scp_are_not_run(tmp_path):
    (tmp_path / "wav.scp").write_text(f"rec touch {tmp_path}/ran |\n")
    (tmp_path / "text").write_text("rec yes\n")
    with pytest.raises(DataError, match=r"wav\.scp:1.*never run"):
        data.cuts(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_commands_in_manifests_are_not_run(tmp_path):
    [cut] = make_cuts([0.3])
    cut.recording.sources[0].type = "command"
    cut.recording.sources[0].source = f"touch {tmp_path}/ran"
    CutSet([cut]).to_file(tmp_path / "cuts.jsonl")
    with pytest.raises(DataError, match=r"cuts\.jsonl:1.*'command' is not read"):
        data.cuts(tmp_path / "cuts.jsonl")
    assert not (tmp_path / "ran").exists()


def test_lhotse_manifests(tmp_path):
    write_wavs(tmp_path, "r")
    recording = lhotse.Recording.from_file(tmp_path / "r.wav")
    spoken = [
        SupervisionSegment("s1", "r", 0.0, 0.1, text="one"),
        SupervisionSegment("s2", "r", 0.1, 0.2, text="two"),
    ]
    RecordingSet.from_recordings([recording]).to_file(tmp_path / "recordings.jsonl.gz")
    with pytest.raises(DataError, match="supervisions"):
        data.cuts(tmp_path / "recordings.jsonl.gz")
    SupervisionSet.from_segments(spoken).to_file(tmp_path / "supervisions.jsonl.gz")
    parts = list(data.cuts(tmp_path / "recordings.jsonl.gz"))
    assert [(cut.start, cut.duration, data.text_of(cut)) for cut in parts] == [
        (0.0, 0.1, "one"),
        (0.1, 0.2, "two"),
    ]
    CutSet(parts).to_file(tmp_path / "cuts.jsonl.gz")
    assert list(data.cuts(tmp_path / "cuts.jsonl.gz")) == parts


def test_a_corpus_without_what_it_needs(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        data.cuts(tmp_path / "nowhere")
    write_wavs(tmp_path, "a", "b")
    with pytest.raises(DataError, match=r"'text'.*missing"):
        data.cuts(tmp_path)
    (tmp_path / "text").write_text("a one\n")
    with pytest.raises(DataError, match=r"'b' has no transcript.*remove"):
        data.cuts(tmp_path)
    (tmp_path / "b.wav").write_text("not a sound file")
    (tmp_path / "text").write_text("a one\nb two\n")
    with pytest.raises(DataError, match=r"b\.wav: b cannot be read.*remove"):
        data.cuts(tmp_path)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(DataError, match=r"empty\.jsonl.*no cuts"):
        data.cuts(empty)


def test_the_transcript_of_a_cut_is_in_the_order_of_its_supervisions():
    [cut] = make_cuts([1.0])
    cut.supervisions = [
        SupervisionSegment("s2", "c0", 0.5, 0.5, text="second"),
        SupervisionSegment("s1", "c0", 0.0, 0.5, text=" first  one "),
    ]
    assert data.text_of(cut) == "first one second"
    cut.supervisions[0].text = None
    with pytest.raises(DataError, match="'c0' has no transcript"):
        data.text_of(cut)


# Batches.


def test_waveforms_are_those_of_the_recordings():
    cuts = make_cuts([0.5, 0.3, 0.4])
    [batch] = data.loader(cuts, None)
    assert batch.inputs.shape == (3, 8000)
    assert batch.inputs.dtype == torch.float32
    assert batch.lengths.dtype == torch.int64
    assert batch.alignments is None
    for name, text, row, length in zip(
        batch.ids, batch.texts, batch.inputs, batch.lengths, strict=True
    ):
        number = int(name[1:])
        samples = sound((0.5, 0.3, 0.4)[number], number)
        assert text == f"word {number}"
        assert torch.equal(row[:length], torch.from_numpy(samples))
        assert not row[length:].any()


def test_filter_banks_are_those_of_features():
    options = FbankOptions(num_filters=20)
    cuts = make_cuts([0.5, 0.3])
    [batch] = data.loader(cuts, options)
    for name, row, length in zip(batch.ids, batch.inputs, batch.lengths, strict=True):
        samples = torch.from_numpy(cuts[name].load_audio()[0])
        [expected] = fbank([samples], RATE, options)
        assert length == len(expected)
        torch.testing.assert_close(row[:length], expected)


@pytest.mark.parametrize("memory", [0.0, 1.0])
def test_sound_is_resampled(memory):
    [batch] = data.loader(make_cuts([0.5], rate=8000), None, LoaderOptions(memory=memory))
    expected = torch.from_numpy(audio.resample(sound(0.5, 0, 8000), 8000, RATE))
    assert batch.inputs.shape == (1, 8000)
    # Lhotse resamples with a filter of its own where torchaudio is not installed.
    tolerance = 0.0 if memory else 0.3
    assert float((batch.inputs[0] - expected).norm() / expected.norm()) <= tolerance


@examples(40)
@given(
    durations=st.lists(st.floats(0.05, 0.6), min_size=4, max_size=25),
    max_duration=st.floats(0.3, 3.0),
    buckets=st.integers(1, 5),
    world_size=st.integers(1, 4),
    shuffle=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_no_cut_is_lost_or_doubled(durations, max_duration, buckets, world_size, shuffle, epoch):
    cuts = make_cuts(durations)
    options = LoaderOptions(max_duration=max_duration, buckets=buckets, shuffle=shuffle)
    parts = []
    for rank in range(world_size):
        loader = data.loader(cuts, None, options, rank=rank, world_size=world_size)
        loader.set_epoch(epoch)
        parts.append(list(loader))
    assert len({len(part) for part in parts}) == 1
    assert all(batch.ids for part in parts for batch in part)
    counts = Counter(name for part in parts for batch in part for name in batch.ids)
    assert counts == Counter(cut.id for cut in cuts)
    if world_size == 1:
        for batch in parts[0]:
            longest = [int(max(batch.lengths[: n + 1])) / RATE for n in range(len(batch.ids))]
            # No batch was full before its last cut.
            for n, seconds in enumerate(longest[:-1], start=1):
                assert (n + 1) * seconds <= max_duration + 1e-6


def test_processes_share_the_batches_of_one():
    cuts = make_cuts(np.linspace(0.1, 0.5, 30))
    options = LoaderOptions(max_duration=2.0, seed=3)

    def steps(world_size):
        parts = [
            data.loader(cuts, None, options, VARIED, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        for batches in zip(*parts, strict=True):
            yield {
                name: (text, row[:length])
                for batch in batches
                for name, text, row, length in zip(
                    batch.ids, batch.texts, batch.inputs, batch.lengths, strict=True
                )
            }

    for alone, shared in zip(steps(1), steps(2), strict=True):
        assert alone.keys() == shared.keys()
        for name in alone:
            assert alone[name][0] == shared[name][0]
            assert torch.equal(alone[name][1], shared[name][1])


@pytest.fixture
def many():
    return make_cuts(np.linspace(0.1, 0.5, 40))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_epoch_goes_on_as_the_uninterrupted_one(many, workers):
    options = LoaderOptions(max_duration=1.5, workers=workers)
    uninterrupted = data.loader(many, None, LoaderOptions(max_duration=1.5), VARIED)
    uninterrupted.set_epoch(2)
    whole = list(uninterrupted)
    assert len(whole) > 5
    resumed = data.loader(many, None, options, VARIED)
    for skip in (0, 4, len(whole)):
        resumed.set_epoch(2, skip=skip)
        assert_equal(resumed, whole[skip:])


def test_global_random_numbers_are_neither_used_nor_drawn(many):
    torch.manual_seed(1)
    first = list(data.loader(many, None, augmentation=VARIED))
    state = torch.get_rng_state()
    second = list(data.loader(many, None, augmentation=VARIED))
    assert torch.equal(state, torch.get_rng_state())
    assert_equal(first, second)


def test_a_set_that_streams_gives_the_batches_of_one_in_memory(many):
    options = {"max_duration": 1.5, "seed": 1}
    held = data.loader(many, None, LoaderOptions(**options), VARIED)
    streamed = data.loader(many, None, LoaderOptions(**options, memory=0.0), VARIED)
    assert_equal(held, streamed)


def test_epochs_and_seeds_differ(many):
    def order(seed, epoch, shuffle=True):
        loader = data.loader(many, None, LoaderOptions(seed=seed, shuffle=shuffle), VARIED)
        loader.set_epoch(epoch)
        return [(batch.ids, batch.lengths.tolist()) for batch in loader]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0, shuffle=False) != order(0, 1, shuffle=False)  # augmented otherwise


def test_the_length_is_that_of_the_first_epoch(many):
    loader = data.loader(many, None, LoaderOptions(max_duration=1.5))
    assert len(loader) == len(list(loader)) > 5


def test_batches_move_to_a_device(many):
    batch = next(iter(data.loader(many, None)))
    moved = batch.to("meta")
    assert moved.inputs.device.type == moved.lengths.device.type == "meta"
    assert moved.ids == batch.ids
    assert moved.alignments is None


def test_faults_are_found_before_the_first_batch(tmp_path):
    with pytest.raises(DataError, match="the cut set is empty"):
        data.loader(CutSet([]), None)
    cuts = make_cuts([0.2, 0.3])
    with pytest.raises(DataError, match="2 cuts are too few for 3 processes"):
        list(data.loader(cuts, None, world_size=3))
    with pytest.raises(OptionError, match="rank 2"):
        data.loader(cuts, None, rank=2, world_size=2)
    silent = cuts["c1"].drop_supervisions()
    with pytest.raises(DataError, match="'c1' has no transcript"):
        data.loader(CutSet([cuts["c0"], silent]), None)
    soundfile.write(tmp_path / "a.wav", sound(2.0), RATE)
    (tmp_path / "text").write_text("a one\n")
    cuts = data.cuts(tmp_path)
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:32000])
    with pytest.raises(DataError, match=r"'a'.*leave it out"):
        data.loader(cuts, None)
    for workers in (0, 1):
        streamed = data.loader(cuts, None, LoaderOptions(memory=0.0, workers=workers))
        with pytest.raises(DataError, match=r"'a'.*leave it out") as caught:
            list(streamed)
        assert "Traceback" not in str(caught.value)


def test_a_cut_too_short_for_a_frame_is_named():
    cuts = make_cuts([0.2, 0.005])
    fbank_options = FbankOptions(num_filters=20)
    with pytest.raises(DataError, match=r"'c1' has 80 samples.*leave it out"):
        list(data.loader(cuts, fbank_options))
    assert len(next(iter(data.loader(cuts, None))).ids) == 2
    assert torch.is_tensor(next(iter(data.loader(cuts.subset(first=1), fbank_options))).inputs)
