"""A recording passes through the stages in their order, and none leads back to an earlier one."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_hlg import acoustic, transcribe
from asr_hlg.audio import Recording, recordings
from asr_hlg.audio.stretches import Stretch
from asr_hlg.output.transcript import Transcript
from asr_hlg.rescore.passes import PassOptions
from asr_hlg.transcribe import TranscribeOptions, Transcriber
from asr_hlg.transcribe.lattices import DecodedPiece
from asr_hlg.transcribe.pieces import Piece
from asr_hlg.transcribe.posteriors import Frames, StoredPosteriors, posterior_source

STAGES = ("sound", "posteriors", "pieces", "lattices", "transcript")
RECORDS = (Stretch, Frames, Piece, DecodedPiece, Transcript)
FOLDER = Path(transcribe.__file__).parent


@pytest.mark.parametrize("number", range(len(STAGES)))
def test_a_stage_imports_only_earlier_ones(number):
    tree = ast.parse((FOLDER / f"{STAGES[number]}.py").read_text(encoding="utf-8"))
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported = {name.split(".")[-1] for name in modules if name.startswith("asr_hlg.transcribe.")}
    assert imported <= {"options", *STAGES[:number]}


@pytest.mark.real
def test_records_come_from_the_stages_in_their_order(root, english):
    """Files that return or yield a record, for a recording of one piece."""
    options = TranscribeOptions(passes=PassOptions())
    transcriber = Transcriber.from_graph(root / "graphs" / "en", options=options, graph=english)
    [recording] = recordings([root / "examples" / "01-slt.wav"])
    files: list[str] = []

    def note_record(frame, event, result):
        path = Path(frame.f_code.co_filename)
        is_record = event == "return" and isinstance(result, RECORDS) and path.parent == FOLDER
        if is_record and path.stem not in files[-1:]:
            files.append(path.stem)

    sys.setprofile(note_record)
    try:
        transcriber.transcribe_one(recording)
    finally:
        sys.setprofile(None)
    assert files == [*STAGES, "pipeline", "transcriber"]


def test_stored_posteriors_are_another_source(tmp_path):
    log_probs = np.log(np.full((7, 2), 0.5, dtype=np.float32))
    np.savez(tmp_path / "model.npz", utt=log_probs)
    fields = {"tokens": ["<blk>", "a"], "frame_shift": 0.02, "sample_rate": 16000}
    (tmp_path / "model.json").write_text(json.dumps(fields))
    source = posterior_source(acoustic.load(tmp_path / "model.npz"), TranscribeOptions())
    assert isinstance(source, StoredPosteriors)
    recording = Recording("utt", tmp_path / "absent.wav")
    [frames] = source.frames(recording)
    assert torch.equal(frames.posteriors.log_probs[0], torch.from_numpy(log_probs))
    assert not len(frames.samples)
    assert source.batch([recording], lambda: None) == [None]
