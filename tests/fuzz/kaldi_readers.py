"""Readers of Kaldi's models that are fuzzed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from asr_hlg.acoustic.kaldi import ivectors
from asr_hlg.acoustic.kaldi.conf import read_decoding_options
from asr_hlg.acoustic.kaldi.features import compute, read_feature_options
from asr_hlg.acoustic.kaldi.gmm import diag_gmm, read_gmm_system
from asr_hlg.acoustic.kaldi.gmm_features import GmmFeatures
from asr_hlg.acoustic.kaldi.model import evaluator_of
from asr_hlg.acoustic.kaldi.nnet3 import read_hybrid_model
from asr_hlg.acoustic.kaldi.reader import read_file
from asr_hlg.acoustic.kaldi.window import WindowOptions
from asr_hlg.graph.kaldi_graph import search_options
from tests.fuzz.reader import Reader, in_file
from tests.support import kaldi_networks
from tests.support.kaldi_files import (
    CHAIN_MODEL,
    Writer,
    write_ivector_folder,
    write_network,
    write_transition_model,
)
from tests.support.kaldi_gmm import write_mixtures
from tests.support.kaldi_windows import bidirectional


def _models(folder: Path) -> Sequence[bytes]:
    seeds = []
    for binary in (True, False):
        for network in (
            *(kaldi_networks.factored, kaldi_networks.assorted, kaldi_networks.recurrent),
            *(kaldi_networks.convolved, kaldi_networks.gated, bidirectional),
        ):
            writer = Writer(binary)
            write_transition_model(writer, **CHAIN_MODEL)
            write_network(writer, *network())
            for tag in ("<LeftContext>", "<RightContext>"):
                writer.token(tag)
                writer.integer(6)
            writer.token("<Priors>")
            writer.vector([])
            seeds.append(writer.content)
    return seeds


def _gmm_models(folder: Path) -> Sequence[bytes]:
    seeds = []
    for binary in (True, False):
        writer = Writer(binary)
        write_transition_model(writer, **CHAIN_MODEL)
        random = np.random.default_rng(3)
        sizes = [(number, 2) for number in (1, 2, 1, 3, 1)]
        write_mixtures(
            writer,
            [(np.ones(n) / n, random.normal(size=(n, d)), np.ones((n, d))) for n, d in sizes],
        )
        seeds.append(writer.content)
    return seeds


def _read_gmm(path: Path) -> None:
    system = read_gmm_system(path)
    system.mixtures.log_likelihoods(np.ones((3, system.mixtures.dim), np.float32))


def _matrices(folder: Path) -> Sequence[bytes]:
    seeds = []
    for binary in (True, False):
        writer = Writer(binary)
        writer.matrix(np.random.default_rng(3).normal(size=(2, 7)))
        seeds.append(writer.content)
    return seeds


def _read_transform(path: Path) -> None:
    (path.parent / "splice_opts").write_text("--left-context=1 --right-context=1")
    features = GmmFeatures([path.parent], 2)
    features.compute(np.ones((3, 2), np.float32))


def _options(folder: Path) -> Sequence[bytes]:
    return [b"--norm-means=true --norm-vars=false --skip-dims=1:2\n", b"--norm-vars=true\n"]


def _read_options(path: Path) -> None:
    GmmFeatures([path.parent], 3).compute(np.ones((3, 3), np.float32))


def _feature_conf(folder: Path) -> Sequence[bytes]:
    lines = ("--use-energy=false", "--num-mel-bins=40  # hires", "--num-ceps=40", "--low-freq=20",
             "--high-freq=-400", "--sample-frequency=16000", "--frame-length=25",
             "--frame-shift=10", "--window-type=hamming", "--snip-edges=false", "")  # fmt: skip
    return ["\n".join(lines).encode()]


def _read_feature_conf(path: Path) -> None:
    options = read_feature_options(path.parent)
    compute(np.ones(options.length + 2 * options.shift, np.float32), options)


def _decoding_conf(folder: Path) -> Sequence[bytes]:
    lines = ("--min-active=200", "--max-active=3000", "--beam=10.0", "--lattice-beam=2.0",
             "--acoustic-scale=1.0", "--frame-subsampling-factor=3", "--frames-per-chunk=51",
             "--endpoint.silence-phones=1:2:3", "--endpoint.rule2.min-trailing-silence=0.5",
             "")  # fmt: skip
    return ["\n".join(lines).encode()]


def _read_decoding_conf(path: Path) -> None:
    read_decoding_options(path)
    search_options(path)


def _read_model(path: Path) -> None:
    evaluator_of(read_hybrid_model(path).network, 3, path, WindowOptions(21, 5, 5))


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
    Reader("kaldi-gmm", _gmm_models, in_file("final.mdl", _read_gmm)),
    Reader("kaldi-mat", _matrices, in_file("final.mat", _read_transform)),
    Reader("kaldi-mfcc", _feature_conf, in_file("mfcc.conf", _read_feature_conf)),
    Reader("kaldi-conf", _decoding_conf, in_file("model.conf", _read_decoding_conf)),
    Reader("kaldi-opts", _options, in_file("cmvn_opts", _read_options)),
    Reader("kaldi-ie", _of_folder("final.ie"), in_file("final.ie", _read(ivectors._factors))),
    Reader("kaldi-dubm", _of_folder("final.dubm"), in_file("final.dubm", _read(diag_gmm))),
)
