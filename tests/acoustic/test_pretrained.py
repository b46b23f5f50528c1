"""The pretrained model: equality with the engine of its package, batches, windows, weights."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hama.asr import ASRModel
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from asr_hlg import acoustic
from asr_hlg.acoustic import NetworkModel, hama
from asr_hlg.acoustic.onnx_network import OnnxConformer
from asr_hlg.acoustic.pretrained import distilled_weights
from asr_hlg.errors import AudioError, ModelError, OptionError
from asr_hlg.lexicon.phones import ARPABET
from tests.support.examples import examples

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.wav"))
REAL = Path(__file__).resolve().parents[3] / "shared/data"


def read(paths) -> list[torch.Tensor]:
    return [torch.from_numpy(soundfile.read(path, dtype="float32")[0]) for path in paths]


@pytest.fixture(scope="module")
def model() -> NetworkModel:
    loaded = acoustic.load("hama")
    assert isinstance(loaded, NetworkModel)
    return loaded


@pytest.fixture(scope="module")
def network():
    return hama.conformer()


@pytest.fixture(scope="module")
def ipa():
    return hama.conformer(arpabet=False)


def alone(network, waveform: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        log_probs, lengths = network(waveform[None], torch.tensor([len(waveform)]))
    assert lengths.tolist() == [log_probs.shape[1]]
    return log_probs[0]


def same_as_engine(network, waveforms) -> None:
    session = ASRModel().session
    names = ["log_probs", "out_lengths"]
    for waveform in waveforms:
        feeds = {"waveform": waveform[None].numpy(), "waveform_lengths": [len(waveform)]}
        [theirs], [frames] = session.run(names, feeds)
        ours = alone(network, waveform).numpy()
        assert len(ours) == frames
        np.testing.assert_array_equal(ours.argmax(1), theirs.argmax(1))
        # The engine's stored sines carry errors of 1e-4, which show where a band is silent.
        assert np.abs(ours - theirs).mean() < 1e-3


def test_network_equals_the_engine_on_synthetic_speech(ipa):
    same_as_engine(ipa, read(EXAMPLES[:2]))


@pytest.mark.skipif(not REAL.is_dir(), reason="no recordings in ../shared/data")
def test_network_equals_the_engine_on_real_speech(ipa):
    paths = sorted((REAL / "ljspeech/flac").glob("*.flac"))[1::90]
    paths += sorted((REAL / "librispeech").rglob("*.flac"))[:1]
    same_as_engine(ipa, read(paths))


def test_columns_are_blank_silence_and_phones(model):
    assert model.tokens == ("<blk>", "SIL", *ARPABET)
    assert list(model.tokens[2:]) == sorted(model.tokens[2:])
    assert len(model.tokens) == 41
    assert (model.frame_shift, model.sample_rate) == (0.02, 16000)
    assert model.device == "cpu"


def test_units_that_are_one_phone_are_summed_and_the_rest_is_dropped(model, network, ipa):
    [waveform] = read(EXAMPLES[:1])
    units = dict(zip(hama.units(), alone(ipa, waveform).double().exp().unbind(1), strict=True))
    groups = {
        "<blk>": ["<blank>", "<pad>"],
        "SIL": ["<wb>"],
        "AH": ["ʌ", "ə", "ɐ", "ɘ"],
        "T": ["t", "tʰ", "ʈ"],
        "OY": ["ɔɪ"],
    }
    english = {u for u, m in zip(hama.units(), model.network.config.merge, strict=True) if m >= 0}
    kept = sum(units[unit] for unit in english)
    ours = alone(network, waveform)
    for token, members in groups.items():
        assert english.issuperset(members)
        expected = (sum(units[unit] for unit in members) / kept).log().float()
        column = ours[:, model.tokens.index(token)]
        torch.testing.assert_close(column, expected, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(ours.exp().sum(1), torch.ones(len(ours)))


def test_dropped_units_matter_little(ipa, model):
    probabilities = alone(ipa, read(EXAMPLES[:1])[0]).exp()
    dropped = torch.tensor([m < 0 for m in model.network.config.merge])
    assert probabilities[:, dropped].sum(1).mean() < 0.01


def test_best_tokens_of_an_example_are_its_phones(model):
    # "there is a small garden behind the old school"
    best = model.posteriors(read(EXAMPLES[8:9]), 16000).log_probs[0].argmax(1)
    phones = [model.tokens[int(k)] for k in torch.unique_consecutive(best)]
    phones = [name for name in phones if name not in ("<blk>", "SIL")]
    assert "G AA R D AH N B HH AY N D DH IY OW L D" in " ".join(phones)


# ---------------------------------------------------------------- batches


def test_a_batch_equals_its_utterances(model):
    waveforms = read(EXAMPLES[:4])
    batch = model.posteriors(waveforms, 16000)
    assert batch.log_probs.dtype == torch.float32
    assert batch.lengths.dtype == np.int32
    for k, waveform in enumerate(waveforms):
        single = model.posteriors([waveform], 16000)
        assert batch.lengths[k] == single.lengths[0] == len(waveform) // 160 // 2 + 1
        torch.testing.assert_close(
            batch.log_probs[k, : batch.lengths[k]], single.log_probs[0], atol=1e-4, rtol=0
        )


def test_padding_changes_nothing_in_the_network(network):
    waveforms = [*read(EXAMPLES[:3]), torch.randn(300) * 0.1, torch.randn(100) * 0.1]
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    # Whatever the padding holds.
    padded = pad_sequence(waveforms, batch_first=True, padding_value=0.7)
    with torch.inference_mode():
        log_probs, frames = network(padded, lengths)
    for k, waveform in enumerate(waveforms):
        single = alone(network, waveform)
        assert frames[k] == len(single)
        assert (log_probs[k, : frames[k]].exp() - single.exp()).abs().max() < 1e-4
        assert (log_probs[k, : frames[k]] - single).abs().max() < 1e-2


def test_sorting_into_batches_keeps_the_order(model, monkeypatch):
    waveforms = read(EXAMPLES[:4])
    expected = model.posteriors(waveforms, 16000)
    monkeypatch.setattr(model, "_batch_size", 6 * 16000)
    batched = model.posteriors(waveforms, 16000)
    assert batched.lengths.tolist() == expected.lengths.tolist()
    for k, length in enumerate(expected.lengths):
        ours, theirs = batched.log_probs[k, :length], expected.log_probs[k, :length]
        assert (ours.exp() - theirs.exp()).abs().max() < 1e-4


@examples(30)
@given(st.lists(st.integers(1, 2000), min_size=1, max_size=4))
def test_any_length_has_frames(lengths):
    network = acoustic.Conformer(acoustic.ConformerConfig(("<blk>", "a"), num_blocks=1)).eval()
    waveforms = [torch.randn(length) for length in lengths]
    posteriors = NetworkModel(network).posteriors(waveforms, 16000)
    assert posteriors.lengths.tolist() == [length // 160 // 2 + 1 for length in lengths]
    for row, length in zip(posteriors.log_probs, posteriors.lengths, strict=True):
        assert row[:length].isfinite().all()


def test_arrays_tensors_and_batches_give_the_same(model):
    waveform = read(EXAMPLES[:1])[0][:16000]
    expected = model.posteriors([waveform], 16000).log_probs
    for given_ in ([waveform.numpy()], [waveform.double()], waveform[None], waveform[None].numpy()):
        assert torch.equal(model.posteriors(given_, 16000).log_probs, expected)


def test_other_sample_rates_are_converted(model):
    [waveform] = read(EXAMPLES[:1])
    fast = torch.nn.functional.interpolate(waveform[None, None], scale_factor=3)[0, 0]
    ours = model.posteriors([fast], 48000).log_probs[0].argmax(1)
    assert (ours == model.posteriors([waveform], 16000).log_probs[0].argmax(1)).float().mean() > 0.9


@pytest.mark.parametrize(
    ("waveforms", "reason"),
    [
        ([], "no waveforms"),
        ([torch.zeros(0)], "waveform 0 is empty"),
        ([torch.zeros(800), torch.zeros(2, 800)], "waveform 1 is .* expected"),
        ([torch.zeros(800, dtype=torch.int16)], "floating-point"),
        (torch.zeros(800), "expected"),
    ],
)
def test_input_that_is_not_a_waveform_is_an_error(model, waveforms, reason):
    with pytest.raises(AudioError, match=reason):
        model.posteriors(waveforms, 16000)


def test_silence_around_a_recording_is_for_the_network_only(model, network):
    [waveform] = read(EXAMPLES[:1])
    frames = len(waveform) // 320 + 1
    ours = model.posteriors([waveform], 16000).log_probs[0]
    surrounded = torch.cat([torch.zeros(16 * 320), waveform, torch.zeros(16 * 320)])
    expected = alone(network, surrounded)[16 : 16 + frames]
    assert (ours.exp() - expected.exp()).abs().max() < 1e-3


def test_long_recordings_are_computed_in_windows(model, monkeypatch):
    waveform = torch.cat(read(EXAMPLES))
    whole = model.posteriors([waveform], 16000)
    monkeypatch.setattr(model, "WINDOW", 6)
    cut = model.posteriors([waveform, waveform[:48000]], 16000)
    assert cut.lengths.tolist() == [int(whole.lengths[0]), 151]
    same = cut.log_probs[0].argmax(1) == whole.log_probs[0].argmax(1)
    assert same.float().mean() > 0.9
    # Where two windows meet, the context makes up for what each cannot see.
    seam = slice(295, 305)
    difference = cut.log_probs[0][seam].exp() - whole.log_probs[0][seam].exp()
    assert difference.abs().mean() < 0.02


@pytest.mark.parametrize("seconds", [0.1, 5.9, 6.0, 8.99, 9.0, 9.5, 12.0, 30.0])
def test_windows_cover_every_frame_once(model, monkeypatch, seconds):
    monkeypatch.setattr(model, "WINDOW", 6)
    samples = round(seconds * 16000)
    windows = model._windows(samples)
    assert windows[0][2] == 0
    assert windows[-1][3] == samples // 320 + 1
    assert [w[3] for w in windows[:-1]] == [w[2] for w in windows[1:]]
    for start, end, first, last in windows:
        assert start % 320 == 0
        assert 0 <= start < end <= samples
        # The network returns at least the frames that are kept.
        assert start // 320 <= first < last <= start // 320 + (end - start) // 320 + 1


def test_onnxruntime_changes_nothing_but_the_time(model, network, monkeypatch):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    waveforms = read(EXAMPLES[:3])
    ours = model.posteriors(waveforms, 16000)
    assert isinstance(model.network, OnnxConformer)
    plain = NetworkModel(network)
    expected = plain.posteriors(waveforms, 16000)
    assert isinstance(expected.scores, torch.Tensor)
    assert ours.lengths.tolist() == expected.lengths.tolist()
    for a, b, length in zip(ours.log_probs, expected.log_probs, ours.lengths, strict=True):
        assert (a[:length].exp() - b[:length].exp()).abs().max() < 1e-3
        assert torch.equal(a[:length].argmax(1), b[:length].argmax(1))
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name)
    )
    without = acoustic.load("hama")
    assert torch.equal(without.posteriors(waveforms, 16000).log_probs, expected.log_probs)


# ---------------------------------------------------------------- hama-distilled


def test_the_distilled_network_is_the_same_in_torch_and_in_onnxruntime():
    waveform = read(EXAMPLES[:1])[0]
    network = hama.conformer(state=distilled_weights())
    expected = NetworkModel(network).posteriors([waveform], 16000).array
    found = acoustic.load("hama-distilled").posteriors([waveform], 16000).array
    assert np.abs(np.exp(found) - np.exp(np.asarray(expected))).max() < 1e-3


def test_distortions_change_the_distilled_posteriors_less():
    waveform = read(EXAMPLES[:1])[0]
    noise = torch.randn(len(waveform), generator=torch.Generator().manual_seed(0))
    noisy = waveform + noise * waveform.square().mean().sqrt() / 10 ** (5 / 20)

    def distance(name):
        model = acoustic.load(name)
        a, b = (torch.as_tensor(model.posteriors([x], 16000).array[0]) for x in (waveform, noisy))
        return float((a.exp() * (a - b)).sum(-1).mean())

    assert distance("hama-distilled") < distance("hama")


# ---------------------------------------------------------------- the weight file


WEIGHTS = hama.asset("asr_waveform.hama")


@pytest.mark.parametrize("keep", [0, 5, 9, 11, 40, 5000, 7370, 8000, 2_000_000, -1])
def test_a_truncated_weight_file_is_an_error(keep):
    with pytest.raises(ModelError, match="hama"):
        hama.read_tensors(WEIGHTS[:keep])


@examples(200)
@given(st.integers(0, 7400), st.integers(0, 255))
def test_a_damaged_header_is_an_error_or_harmless(place, value):
    damaged = WEIGHTS[:place] + bytes([value]) + WEIGHTS[place + 1 :]
    try:
        tensors = hama.read_tensors(damaged)
    except ModelError:
        return
    assert all(tensor.dtype == np.float32 for tensor in tensors.values())


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_a_missing_device_is_named(device):
    with pytest.raises(OptionError, match=f"device {device}.*cpu always works"):
        acoustic.load("hama", device=device)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("asr_hlg.lexicon.hama_weights.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install hama"):
        acoustic.load("hama")


# ---------------------------------------------------------------- the network


def test_every_weight_learns():
    network = hama.conformer().train()
    [waveform] = read(EXAMPLES[:1])
    log_probs, frames = network(waveform[None, :16000], torch.tensor([16000]))
    targets = torch.tensor([[5, 9, 12]])
    loss = torch.nn.functional.ctc_loss(
        log_probs.transpose(0, 1), targets, frames, torch.tensor([3])
    )
    loss.backward()
    assert loss.isfinite()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().max() > 0, name


def test_a_token_of_units_is_their_sum_by_hand():
    # Units x, y, z; x and z are token b, y is a.
    config = acoustic.ConformerConfig(("a", "b"), merge=(1, 0, 1))
    units = torch.tensor([[[0.1, 0.2, 0.7], [0.25, 0.5, 0.25]]]).log()
    merged = acoustic.Conformer(config).merged(units).exp()
    torch.testing.assert_close(merged, torch.tensor([[[0.2, 0.8], [0.5, 0.5]]]))


def test_the_exported_spectrum_is_the_transform():
    log_mel = acoustic.Conformer(acoustic.ConformerConfig(("a",))).log_mel
    waveforms = torch.randn(2, 3000)
    expected = log_mel._power(waveforms)
    torch.testing.assert_close(
        log_mel._power_by_definition(waveforms), expected, atol=1e-3, rtol=1e-4
    )


def test_energies_are_those_of_a_sine():
    # A sine of amplitude a on a bin has |X| = a·sum(w)/2 there; the Hann window spreads half as
    # much to the two bins beside it, and nothing further.
    network = acoustic.Conformer(acoustic.ConformerConfig(("a",)))
    sine = 0.5 * torch.sin(2 * math.pi * 1000 * torch.arange(16000) / 16000)
    power = network.log_mel._power(sine[None])[0, 50]
    peak = (0.5 * 200 / 2) ** 2
    expected = torch.tensor([peak / 4, peak, peak / 4])
    torch.testing.assert_close(power[24:27], expected, rtol=1e-4, atol=0)
    assert power[:24].max() < 1e-3
    assert power[27:].max() < 1e-3


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"dim": 10, "num_heads": 4}, "heads"),
        ({"kernel": 30}, "odd"),
        ({"merge": (0, 0)}, "without an output unit"),
    ],
)
def test_impossible_configurations_are_errors(fields, reason):
    with pytest.raises(ModelError, match=reason):
        acoustic.ConformerConfig(("a", "b"), **fields)
