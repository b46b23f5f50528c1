"""Folders of Kaldi models, and the order of the steps of online decoding."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from asr_hlg import acoustic
from asr_hlg.acoustic.kaldi import features
from asr_hlg.acoustic.kaldi.ivectors import IvectorEstimate
from asr_hlg.acoustic.kaldi.model import KaldiModel
from asr_hlg.acoustic.kaldi.rows import Rows
from asr_hlg.acoustic.kaldi.silence import SilenceWeights
from asr_hlg.errors import AsrHlgError
from tests.support.kaldi_files import write_kaldi_folder

SILENCE = 2  # a phone


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_kaldi_folder(tmp_path_factory.mktemp("model"), silence_phones="2")


def sound(seconds=1.7):
    random = np.random.default_rng(4)
    return (0.2 * random.normal(size=round(16000 * seconds))).astype(np.float32)


class Search:
    """A search whose best path is silence in the frames where the first pdf is the best."""

    def __init__(self):
        self.rows = []

    def accept(self, scores):
        self.rows.extend(scores)

    def last_frames(self, count):
        rows = np.array(self.rows[len(self.rows) - count :]).reshape(count, 5)
        phones = np.where(rows.argmax(1) == 0, SILENCE, 1) if count else np.zeros(0)
        return phones.astype(np.int32), np.arange(len(self.rows) - count, len(self.rows))


def lda_features(extractor, found):
    """LDA features of all frames, without and with normalised mean."""
    rows, frames = Rows.of(found), extractor.neighbours(0, len(found), len(found)).reshape(-1)
    normalised = extractor.normalisation().normalised(rows, frames)
    return extractor.transformed(rows.take(frames)), extractor.transformed(normalised)


def simulated(model, samples, search):
    """Log-likelihoods, with everything computed anew from all sound of each step."""
    parts, sub = model.parts, 3
    right, chunk = parts.evaluator.plan.right_context, parts.chunk
    estimate, weights = IvectorEstimate(parts.extractor), SilenceWeights(sub)
    waiting, used, rows, ivectors = {}, 0, [], np.zeros((0, 4), np.float32)
    ends = [*range(3200, len(samples), 3200), len(samples), None]
    for end in ends:
        is_last = end is None
        found = features.compute(32768 * samples[:end], parts.features)
        spliced, normalised = lda_features(parts.extractor, found)
        ready = len(found) if is_last else max(0, len(found) - 1)  # the splice's right context
        if search is not None and ready:
            count = weights.needed(len(rows))
            phones, states = search.last_frames(count)
            changes = weights.update(ready, len(rows), phones == SILENCE, states)
            for frame, change in zip(*changes, strict=True):
                waiting[frame] = waiting.get(frame, 0) + change
        total = -(-len(found) // sub)
        decodable = total if is_last else max(0, len(found) - right) // chunk * chunk // sub
        while len(rows) < decodable:
            if ready > used:
                if search is None:
                    waiting = dict.fromkeys(range(used, ready), 1.0)
                due = sorted(frame for frame in waiting if frame < ready)
                values = np.array([waiting.pop(frame) for frame in due], np.float32)
                estimate.add(spliced[due], normalised[due], values)
                estimate.solve()
                used = ready
            begin = len(rows) * sub
            needed = (begin + chunk + right - 1) // chunk * chunk + chunk
            new = np.repeat(estimate.current[None], max(0, needed - len(ivectors)), axis=0)
            ivectors = np.concatenate([ivectors, new])
            # frames that are not there yet do not matter for this chunk
            padded = np.pad(found, ((0, max(0, needed - len(found))), (0, 0)), mode="edge")
            whole = parts.evaluator.all_frames(padded[:needed], ivectors)
            scores = whole[len(rows) : min(decodable, len(rows) + chunk // sub)] - parts.log_priors
            rows.extend(scores)
            if search is not None:
                search.accept(scores)
    return np.array(rows)


@pytest.mark.parametrize(("weighted", "seconds"), [(False, 1.7), (True, 1.7), (True, 9.3)])
def test_log_likelihoods_are_those_of_the_steps(folder, weighted, seconds):
    model = acoustic.load(folder)
    model.searches = Search if weighted else None
    found = model.posteriors([sound(seconds)], 16000)
    expected = simulated(model, sound(seconds), Search() if weighted else None)
    np.testing.assert_allclose(found.array[0], expected, rtol=1e-3, atol=1e-3)
    assert found.tokens == ("pdf_0", "pdf_1", "pdf_2", "pdf_3", "pdf_4")
    assert found.frame_shift == pytest.approx(0.03)
    frames = 1 + (len(sound(seconds)) - 400) // 160
    assert found.lengths.tolist() == [-(-frames // 3)]


@pytest.mark.parametrize("edges", [True, False])
def test_a_stream_keeps_only_the_rows_that_later_frames_need(folder, edges):
    model = acoustic.load(folder)
    model.parts = replace(model.parts, features=replace(model.parts.features, snip_edges=edges))
    search = Search()
    stream = model.frame_stream(search)
    samples, sizes = sound(80), []
    for begin in range(0, len(samples), 32000):
        for scores in stream.accept(samples[begin : begin + 32000]):
            search.accept(scores)
        sizes.append(stream_size(stream))
    assert max(sizes[20:]) <= max(sizes[:20])  # no more after 40 s than before


def stream_size(stream):
    """Bytes of the arrays that a stream refers to."""
    waiting, seen, size = (
        [stream._rest, stream._features, stream._ivectors, stream._speaker],
        set(),
        0,
    )
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray):
            size += item.nbytes
        elif isinstance(item, (list, tuple)):
            waiting.extend(item)
        elif type(item).__name__ in ("Rows", "_Speaker", "SilenceWeights"):
            waiting.extend(vars(item).values())
    return size


def test_weights_of_silence_change_the_result(folder):
    model = KaldiModel(folder)
    plain = model.posteriors([sound()], 16000).array
    model.searches = Search
    assert abs(model.posteriors([sound()], 16000).array - plain).max() > 1e-3


def test_a_recording_shorter_than_a_frame_has_no_frames(folder):
    assert KaldiModel(folder).posteriors([sound(0.02)], 16000).lengths.tolist() == [0]


def test_other_rates_are_resampled(folder):
    found = KaldiModel(folder).posteriors([sound(1.0)[::2]], 8000)
    assert found.lengths.tolist() == [33]


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("am/final.mdl", "known|model file|final.mdl"),
        ("conf/mfcc.conf", r"neither mfcc\.conf nor fbank\.conf"),
        ("ivector", "needs i-vectors"),
        ("ivector/final.ie", r"final\.ie"),
    ],
)
def test_a_missing_file_is_named(folder, tmp_path, remove, message):
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    path = copy / remove
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(AsrHlgError, match=message):
        acoustic.load(copy)


def test_features_of_another_model_are_refused(folder, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    (copy / "conf" / "mfcc.conf").write_text("--num-ceps=5\n")
    with pytest.raises(AsrHlgError, match=r"final\.mat|takes 3 columns of features"):
        acoustic.load(copy)
