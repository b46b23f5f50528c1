"""Streams: any division of the sound, endpoints, times, and what cannot be streamed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from difflib import SequenceMatcher

import numpy as np
import pytest

from asr_hlg import Transcriber, acoustic
from asr_hlg.audio import recordings, resample
from asr_hlg.errors import AudioError, OptionError
from asr_hlg.search import make_decoder
from asr_hlg.transcribe import EndpointOptions, StreamOptions

RATE = 16000
NAMES = ("01-slt", "02-rms", "04-slt")


@pytest.fixture(scope="module")
def transcriber(english):
    return Transcriber(english, acoustic.load("hama"))


@pytest.fixture(scope="module")
def samples(root):
    """Three sentences of the examples, with pauses of a second between them."""
    parts = []
    for name in NAMES:
        [recording] = recordings([root / "examples" / f"{name}.wav"])
        parts += [next(recording.blocks(RATE, None, 60.0)), np.zeros(RATE, np.float32)]
    return np.concatenate(parts)


def words(texts):
    return " ".join(texts).split()


def run(stream, samples, size):
    """All transcripts of a stream that gets so many samples at a time, and the partial texts."""
    finished, partials = [], []
    for start in range(0, len(samples), size):
        finished += stream.accept(samples[start : start + size])
        partials.append(stream.partial())
    return [*finished, stream.final()], partials


@pytest.mark.parametrize("size", [700, 8000, 10**6])
def test_any_division_of_the_sound_gives_the_same_transcripts(transcriber, samples, size):
    finished, _ = run(transcriber.stream(RATE), samples, size)
    assert finished == run(transcriber.stream(RATE), samples, 3001)[0]
    assert len(finished) >= 3
    assert all(transcript.words for transcript in finished[:3])


def test_times_continue_over_endpoints_and_partials_grow_into_the_result(transcriber, samples):
    finished, partials = run(transcriber.stream(RATE), samples, 800)
    words = [word for transcript in finished for word in transcript.words]
    assert [word.start for word in words] == sorted(word.start for word in words)
    assert words[-1].end == pytest.approx(len(samples) / RATE - 1, abs=0.6)
    assert [t.id for t in finished] == [f"stream-{n}" for n in range(1, len(finished) + 1)]
    shown = {partial.text for partial in partials}
    assert {transcript.text for transcript in finished[:3]} <= shown
    for partial in partials:
        for word in partial.words:
            assert 0 <= word.start < word.end <= len(samples) / RATE + 0.05


def test_the_words_are_those_of_the_recordings(transcriber, samples, root):
    finished, _ = run(transcriber.stream(RATE), samples, 1600)
    paths = [root / "examples" / f"{name}.wav" for name in NAMES]
    expected = [transcript.text for transcript in transcriber.transcribe(paths)]
    found = [transcript.text for transcript in finished if transcript.words]
    # The network's windows are not whole recordings, which may change a word.
    assert SequenceMatcher(None, words(found), words(expected)).ratio() > 0.9


def test_integers_and_other_rates(transcriber, samples):
    integers = np.round(samples * 32767).astype(np.int16)
    as_floats = integers.astype(np.float64) / 32768
    assert (
        run(transcriber.stream(RATE), integers, 4000)[0]
        == run(transcriber.stream(RATE), as_floats, 4000)[0]
    )
    texts = [transcript.text for transcript in run(transcriber.stream(RATE), samples, 4000)[0]]
    other = resample(samples, RATE, 44100)
    found, _ = run(transcriber.stream(44100), other, 4410)
    assert [transcript.text for transcript in found] == texts


def test_rules_can_be_switched_off(transcriber, samples):
    never = float("inf")
    rules = EndpointOptions(never, never, never, never, never)
    finished, partials = run(
        transcriber.stream(RATE, StreamOptions(endpoints=rules)), samples, 4000
    )
    assert len(finished) == 1
    assert partials[-1].words[0].start < 1.0


def test_a_long_segment_is_cut_and_no_frame_is_lost(transcriber, samples):
    never = float("inf")
    rules = EndpointOptions(never, never, never, never, max_length=3.0)
    finished, _ = run(transcriber.stream(RATE, StreamOptions(endpoints=rules)), samples, 4000)
    assert len(finished) > 2
    assert max(transcript.duration for transcript in finished) <= 3.5
    whole, _ = run(transcriber.stream(RATE), samples, 4000)
    found, expected = (words(t.text for t in some) for some in (finished, whole))
    assert abs(len(found) - len(expected)) <= 2
    assert SequenceMatcher(None, found, expected).ratio() > 0.9
    starts = [word.start for transcript in finished for word in transcript.words]
    assert starts == sorted(starts)


def test_silence_has_no_segments(transcriber):
    silence = np.zeros(30 * RATE, np.float32)
    finished, partials = run(transcriber.stream(RATE), silence, 16000)
    assert [transcript.text for transcript in finished] == [""]
    assert {partial.text for partial in partials} == {""}
    assert transcriber.stream(RATE).final().text == ""


def test_a_closed_stream_and_wrong_samples(transcriber):
    stream = transcriber.stream(RATE)
    for wrong in (np.zeros((2, 8)), np.zeros(8, np.uint8)):
        with pytest.raises(AudioError, match="one dimension"):
            stream.accept(wrong)
    stream.final()
    with pytest.raises(OptionError, match="closed"):
        stream.accept(np.zeros(8))
    with pytest.raises(OptionError, match="closed"):
        stream.final()
    with pytest.raises(OptionError, match="out of range"):
        transcriber.stream(10)


def test_streams_in_threads_do_not_disturb_each_other(transcriber, samples):
    def alone(begin: int):
        return run(transcriber.stream(RATE), samples[begin:], 4000)[0]

    begins = [0, 20000, 40000]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(alone, begins)) == [alone(begin) for begin in begins]


def test_second_passes_run_on_segments_with_words(transcriber, samples):
    seen = []

    def rescore(hypotheses):
        seen.append(len(hypotheses.samples) / RATE)
        return hypotheses

    other = Transcriber(transcriber.graph, transcriber.model, transcriber.decoder, passes=[rescore])
    sound = np.concatenate([np.zeros(6 * RATE, np.float32), samples])
    finished, _ = run(other.stream(RATE), sound, 4000)
    assert seen == [transcript.duration for transcript in finished if transcript.words]


def test_k2_cannot_stream(transcriber):
    graph = transcriber.graph
    options = replace(transcriber.decoder.options, engine="k2")
    other = Transcriber(graph, transcriber.model, make_decoder(graph, options))
    with pytest.raises(OptionError, match="engine tokens or fst"):
        other.stream(RATE)


def test_the_engine_for_every_topology_streams_too(transcriber, samples):
    graph = transcriber.graph
    options = replace(transcriber.decoder.options, engine="fst")
    other = Transcriber(graph, transcriber.model, make_decoder(graph, options))
    texts = [t.text for t in run(other.stream(RATE), samples, 4000)[0]]
    assert texts == [t.text for t in run(transcriber.stream(RATE), samples, 4000)[0]]
