"""Readers of Kaldi's models that are fuzzed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from asr_hlg.acoustic.kaldi import ivectors
from asr_hlg.acoustic.kaldi.model import evaluator_of
from asr_hlg.acoustic.kaldi.nnet3 import read_hybrid_model
from asr_hlg.acoustic.kaldi.reader import read_file
from tests.fuzz.reader import Reader, in_file
from tests.support import kaldi_networks
from tests.support.kaldi_files import (
    CHAIN_MODEL,
    Writer,
    write_ivector_folder,
    write_network,
    write_transition_model,
)


def _models(folder: Path) -> Sequence[bytes]:
    seeds = []
    for binary in (True, False):
        for network in ("factored", "assorted", "recurrent"):
            writer = Writer(binary)
            write_transition_model(writer, **CHAIN_MODEL)
            write_network(writer, *getattr(kaldi_networks, network)())
            for tag in ("<LeftContext>", "<RightContext>"):
                writer.token(tag)
                writer.integer(6)
            writer.token("<Priors>")
            writer.vector([])
            seeds.append(writer.content)
    return seeds


def _read_model(path: Path) -> None:
    evaluator_of(read_hybrid_model(path).network, 3, path)


def _of_folder(name: str) -> Callable[[Path], Sequence[bytes]]:
    """Binary and text form of a file of the folder ``ivector``."""

    def make(folder: Path) -> Sequence[bytes]:
        seeds = []
        for binary in (True, False):
            write_ivector_folder(folder, 2, binary, factors=2, gaussians=2)
            seeds.append((folder / name).read_bytes())
        return seeds

    return make


def _read(kind: Callable) -> Callable[[Path], object]:
    return lambda path: read_file(path, kind)


KALDI_READERS = (
    Reader("kaldi-mdl", _models, in_file("final.mdl", _read_model)),
    Reader("kaldi-ie", _of_folder("final.ie"), in_file("final.ie", _read(ivectors._factors))),
    Reader("kaldi-dubm", _of_folder("final.dubm"), in_file("final.dubm", _read(ivectors._ubm))),
)
