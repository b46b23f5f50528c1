"""Kaldi's matrices, plain and compressed, as kaldiio and kaldi_native_io read them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import kaldiio
import numpy as np
import pytest

from asr_hlg import acoustic
from asr_hlg.acoustic.kaldi_matrix import read_header, read_matrix

# Kaldi's numbers of the ways to compress, with the types that they give.
METHODS = {2: b"CM", 3: b"CM2", 4: b"CM2", 5: b"CM3", 6: b"CM3", 7: b"CM3"}


def matrices() -> dict[str, np.ndarray]:
    source = np.random.default_rng(0)
    return {
        f"u{size}": np.log(source.dirichlet(np.ones(5), size)).astype(np.float32)
        for size in (1, 2, 3, 5, 20)
    }


@pytest.mark.parametrize("method", METHODS)
def test_compressed_matrices_are_those_of_kaldiio(tmp_path, method):
    ark, scp = str(tmp_path / "m.ark"), str(tmp_path / "m.scp")
    kaldiio.save_ark(ark, matrices(), scp, compression_method=method)
    expected = kaldiio.load_scp(scp)
    assert METHODS[method] + b" " in Path(ark).read_bytes()
    for line in Path(scp).read_text().splitlines():
        name, place = line.split()
        with open(ark, "rb") as file:
            file.seek(int(place.rpartition(":")[2]))
            np.testing.assert_allclose(read_matrix(file), expected[name], rtol=1e-5, atol=1e-5)


def test_compressed_matrices_are_those_of_kaldi_native_io(tmp_path):
    native = pytest.importorskip("kaldi_native_io")
    ark = str(tmp_path / "m.ark")
    kaldiio.save_ark(ark, matrices(), compression_method=2)
    read = {}
    with native.SequentialFloatMatrixReader(f"ark:{ark}") as reader:
        for name, matrix in reader:
            read[name] = np.array(matrix)
    position = 0
    content = Path(ark).read_bytes()
    for name, expected in read.items():
        position = content.index(name.encode() + b" \0B", position) + len(name) + 1
        file = io.BytesIO(content[position:])
        np.testing.assert_allclose(read_matrix(file), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", [None, *METHODS])
def test_a_model_looks_up_compressed_posteriors(tmp_path, method):
    log_probs = matrices()
    path = tmp_path / "model.ark"
    kaldiio.save_ark(str(path), log_probs, str(tmp_path / "model.scp"), compression_method=method)
    tokens = ["<blk>", "a", "b", "c", "d"]
    fields = {"tokens": tokens, "frame_shift": 0.02, "sample_rate": 16000}
    (tmp_path / "model.json").write_text(json.dumps(fields))
    expected = kaldiio.load_scp(str(tmp_path / "model.scp"))
    for suffix in (".ark", ".scp"):
        model = acoustic.load(path.with_suffix(suffix))
        for name in log_probs:
            found = np.asarray(model.posteriors_for([name]).log_probs[0])
            np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", [None, *METHODS])
def test_a_matrix_that_is_cut_short_is_refused(method):
    stream = io.BytesIO()
    kaldiio.save_ark(stream, {"x": matrices()["u5"]}, compression_method=method)
    content = stream.getvalue()[2:]
    assert read_matrix(io.BytesIO(content)).shape == (5, 5)
    with pytest.raises(ValueError, match="ends within"):
        read_header(io.BytesIO(content[:-1]))


@pytest.mark.parametrize(
    "content", [b"", b"\0B", b"\0BXM \4", b"\0BFV \4", b" [ 1 2 ]\n", b"\0BCM"]
)
def test_other_content_is_refused(content):
    with pytest.raises(ValueError, match="no matrix in binary form"):
        read_header(io.BytesIO(content))
