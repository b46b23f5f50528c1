"""Readers of lattices, acoustic models, journals and compiled graphs that are fuzzed."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from asr_hlg import acoustic
from asr_hlg.acoustic import hama, nets
from asr_hlg.lattice import io as lattice_io
from asr_hlg.transcribe.journal import Journal
from tests.fuzz.folders import make_graph, mutate_graph, read_graph
from tests.fuzz.reader import Reader, in_file, mutate_archive, mutate_json_lines
from tests.fuzz.sound_readers import RATE, sound

_TOKENS = ("<blk>", "a", "b")


def _kaldi_lattices(folder: Path) -> Sequence[bytes]:
    item = _stored_lattice()
    return [lattice_io._binary(item), lattice_io._binary(item) * 2]


def _stored_lattice() -> lattice_io.StoredLattice:
    src, dst = np.array([0, 0, 1, 1, 2], np.int32), np.array([1, 2, 2, 3, 3], np.int32)
    label, word = np.array([1, 2, 1, 3, 1], np.int32), np.array([1, 0, 2, 3, 0], np.int32)
    score = np.linspace(-3, -1, 5)
    return lattice_io.StoredLattice("utt", 4, src, dst, label, word, score, 2 * score)


def _read_lattices(path: Path) -> None:
    for stored in islice(lattice_io.read(path), 20):
        stored.nbest(3, [str(number) for number in range(10)])


def _describe(folder: Path, stem: str = "model") -> None:
    fields = {"tokens": _TOKENS, "frame_shift": 0.02, "sample_rate": 16000}
    (folder / f"{stem}.json").write_text(json.dumps(fields))


def _matrices() -> dict[str, np.ndarray]:
    source = np.random.default_rng(0)
    return {
        name: np.log(source.dirichlet(np.ones(3), size)).astype(np.float32)
        for name, size in (("utt", 4), ("utt2", 2))
    }


def _npz_matrices(folder: Path) -> Sequence[bytes]:
    _describe(folder)
    out = io.BytesIO()
    np.savez(out, **_matrices())
    return [out.getvalue()]


def _ark(folder: Path) -> Sequence[bytes]:
    _describe(folder)
    return [
        b"".join(
            name.encode() + b" \0BFM " + struct.pack("<BIBI", 4, *((len(m), 4, m.shape[1])))
            + m.tobytes()
            for name, m in _matrices().items()
        )
    ]  # fmt: skip


def _compressed(folder: Path) -> Sequence[bytes]:
    """Archives of matrices of the types CM, CM2 and CM3."""
    _describe(folder)
    least, scale = struct.pack("<ff", -5.0, 5.0), struct.pack("<II", 4, 3)
    percentiles = np.array([[0, 20000, 40000, 65535]] * 3, "<u2").tobytes()
    codes = bytes(range(0, 252, 21))
    kinds = {b"CM": percentiles + codes, b"CM2": 2 * codes, b"CM3": codes}
    return [b"utt \0B" + kind + b" " + least + scale + data for kind, data in kinds.items()]


def _ark_scp(folder: Path) -> Sequence[bytes]:
    ark = folder / "matrices.ark"
    ark.write_bytes(_ark(folder)[0])
    second = ark.read_bytes().index(b"utt2 ") + 5
    return [f"utt {ark}:4\nutt2 {ark}:{second}\n".encode()]


def _look_up(path: Path) -> None:
    acoustic.load(path).posteriors_for(["utt", "utt2"])


def _look_up_one(path: Path) -> None:
    acoustic.load(path).posteriors_for(["utt"])


def _descriptions(folder: Path) -> Sequence[bytes]:
    _npz = folder / "model.npz"
    np.savez(_npz, **_matrices())
    (folder / "tokens.txt").write_text("<blk> 0\na 1\nb 2\n#0 3\n")
    fields = {"tokens": _TOKENS, "frame_shift": 0.02, "sample_rate": 16000}
    more = [fields, {**fields, "tokens": "tokens.txt", "priors": [0.5, 0.3, 0.2]}]
    more.append({**fields, "fbank": {"num_filters": 40, "dither": 0.0}})
    return [json.dumps(one).encode() for one in more]


def _read_description(data: bytes, folder: Path) -> None:
    (folder / "model.json").write_bytes(data)
    _look_up(folder / "model.npz")


_SMALL: dict[str, dict] = {
    "cnn": {"channels": 2, "dim": 4},
    "cnn_lstm": {},
    "blstm": {"dim": 4, "num_layers": 1},
    "tdnn": {"dim": 4},
    "conformer": {"dim": 8, "num_heads": 2, "ffn_dim": 8, "num_blocks": 1},
}


def _networks(folder: Path) -> Sequence[bytes]:
    seeds = []
    for kind, fields in _SMALL.items():
        config = nets.network_class(kind).config_class
        fields = {name: value for name, value in fields.items() if name in config.__annotations__}
        network = nets.create(kind, _TOKENS, **fields)
        network.priors = torch.tensor([0.5, 0.3, 0.2])
        network.save(folder / "seed.npz")
        seeds.append((folder / "seed.npz").read_bytes())
    return sorted(seeds, key=len)[:3]


class _Frames(torch.nn.Module):
    def forward(
        self, waveforms: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        frames = waveforms.unfold(1, 160, 160).mean(-1, keepdim=True)
        scores = torch.cat([frames, -frames, 2 * frames], dim=-1)
        return scores, torch.div(lengths, 160, rounding_mode="floor")


def _scripts(folder: Path) -> Sequence[bytes]:
    _describe(folder)
    torch.jit.script(_Frames()).save(str(folder / "seed.pt"))
    return [(folder / "seed.pt").read_bytes()]


def _onnx(folder: Path) -> Sequence[bytes]:
    _describe(folder)
    network = nets.create("tdnn", _TOKENS, dim=4)
    nets.export(network, folder / "seed.onnx")
    (folder / "model.json").write_text((folder / "seed.json").read_text())
    return [(folder / "seed.onnx").read_bytes()]


def _run_model(path: Path) -> None:
    acoustic.load(path).posteriors([sound(RATE, 0.2)[:, 0]], RATE)


def _hama_weights(folder: Path) -> Sequence[bytes]:
    names = [b"a.weight", b"b"]
    data = np.arange(6, dtype=np.float32).tobytes() + np.ones(4, np.float16).tobytes()
    entries = struct.pack("<H8sBB2IQQ", 8, names[0], 0, 2, 2, 3, 0, 24)
    entries += struct.pack("<H1sBB1IQQ", 1, names[1], 1, 1, 4, 24, 8)
    head = b"HAMAPK\1\0" + struct.pack("<I", 2) + entries
    return [head + bytes(-len(head) % 16) + data]


def _journals(folder: Path) -> Sequence[bytes]:
    from asr_hlg.output.transcript import Alternative, Transcript, Word

    path = folder / "seed.journal"
    with Journal.open(path, {"graph": "x"}) as journal:
        word = Word("cat", 0.0, 0.5, 0.9)
        journal.add(Transcript("a", "cat", [word], -1.0, 2.0, [Alternative("cat", -1, -2, 1)]))
        journal.add_failure("b", "why")
    return [path.read_bytes()]


def _read_journal(path: Path) -> None:
    with Journal.open(path, {"graph": "x"}, resume=True) as journal:
        for name in ("a", "b"):
            if name in journal and name not in journal.failures:
                journal.transcript(name)


MODEL_READERS = (
    Reader("lattice", _kaldi_lattices, in_file("lattices.ark", _read_lattices)),
    Reader("posteriors-npz", _npz_matrices, in_file("model.npz", _look_up), mutate_archive),
    Reader("posteriors-ark", _ark, in_file("model.ark", _look_up)),
    Reader("posteriors-cm", _compressed, in_file("model.ark", _look_up_one)),
    Reader("posteriors-scp", _ark_scp, in_file("model.scp", _look_up)),
    Reader("description", _descriptions, _read_description, mutate_json_lines),
    Reader("network", _networks, in_file("network.npz", acoustic.load), mutate_archive),
    # Damage only: a TorchScript file does what its maker means it to do.
    Reader("torchscript", _scripts, in_file("model.pt", _run_model)),
    Reader("onnx", _onnx, in_file("model.onnx", _run_model)),
    Reader(
        "hama-weights",
        _hama_weights,
        in_file("weights.hama", lambda path: hama.read_tensors(path.read_bytes())),
    ),
    Reader("journal", _journals, in_file("out.journal", _read_journal), mutate_json_lines),
    Reader("graph", make_graph, read_graph, mutate_graph),
)
