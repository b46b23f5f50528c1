"""Networks on a stream of sound: exact where their context is limited, windows elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.acoustic import NetworkModel
from asr_hlg.acoustic.streaming import PosteriorStream, WindowOptions
from asr_hlg.errors import OptionError
from tests.support.examples import examples
from tests.support.networks import small

RATE = 16000
EXACT = {
    "tdnn": ("tdnn", {}),
    "tdnn with causal layers": ("tdnn", {"causal_layers": 2}),
    "cnn": ("cnn", {}),
    "causal cnn": ("cnn", {"causal": True}),
    "lstm in one direction": ("cnn_lstm", {"bidirectional": False}),
}
WINDOWS = {
    "conformer": ("conformer", {}),
    "blstm": ("blstm", {}),
    "lstm in both directions": ("cnn_lstm", {"bidirectional": True}),
    "mean of the utterance": ("tdnn", {"utterance_mean": True}),
    "lstm and mean of the utterance": (
        "cnn_lstm",
        {"bidirectional": False, "utterance_mean": True},
    ),
}


def sound(seconds: float) -> np.ndarray:
    random = np.random.default_rng(5)
    level = np.repeat(random.uniform(0.001, 0.2, 100), RATE // 10)[: round(seconds * RATE)]
    return (level * random.standard_normal(len(level))).astype(np.float32)


def streamed(model, samples: np.ndarray, cuts, options=None) -> np.ndarray:
    stream = PosteriorStream(model, options or WindowOptions(hop=0.3))
    parts = []
    for part in np.split(samples, sorted(cuts)):
        parts += stream.accept(part)
    parts += stream.finish()
    return np.concatenate([np.asarray(part.array[0]) for part in parts])


@examples(8)
@given(st.sets(st.integers(1, 5 * RATE)))
@pytest.mark.parametrize("name", EXACT)
def test_limited_context_gives_the_posteriors_of_the_whole(name, cuts):
    kind, fields = EXACT[name]
    model = NetworkModel(small(kind, **fields))
    assert PosteriorStream(model, WindowOptions()).is_exact
    samples = sound(5.03)
    expected = model.posteriors([samples], RATE).array[0]
    found = streamed(model, samples, cuts)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", WINDOWS)
def test_other_networks_run_on_windows_whose_frames_cover_the_sound(name):
    kind, fields = WINDOWS[name]
    model = NetworkModel(small(kind, **fields))
    assert not PosteriorStream(model, WindowOptions()).is_exact
    samples = sound(5.03)
    whole = model.posteriors([samples], RATE).array[0]
    found = streamed(model, samples, {700, 9000, 40000})
    assert found.shape == whole.shape
    np.testing.assert_array_equal(found, streamed(model, samples, {16001}))
    # One window over everything is the whole recording.
    wide = WindowOptions(hop=10.0, look_ahead=1.0, left_context=10.0)
    np.testing.assert_array_equal(streamed(model, samples, {700}, wide), whole)


def test_preliminary_frames_follow_those_that_count():
    model = NetworkModel(small("conformer"))
    stream = PosteriorStream(model, WindowOptions(hop=0.4, look_ahead=0.5, left_context=1.0))
    assert stream.ahead is None
    count = sum(int(part.lengths[0]) for part in stream.accept(sound(2.0)))
    assert count * model.frame_shift == pytest.approx(1.2)
    assert int(stream.ahead.lengths[0]) * model.frame_shift == pytest.approx(0.4)
    list(stream.finish())
    assert stream.ahead is None


def test_nothing_is_nothing():
    stream = PosteriorStream(NetworkModel(small("tdnn")), WindowOptions())
    assert list(stream.accept(np.zeros(0, np.float32))) == []
    assert list(stream.finish()) == []


@pytest.mark.parametrize("fields", [{"hop": 0}, {"look_ahead": -1}, {"left_context": 0}])
def test_impossible_options(fields):
    with pytest.raises(OptionError, match="must be"):
        WindowOptions(**fields)
