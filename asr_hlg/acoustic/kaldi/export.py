"""Our TDNNs as folders of Kaldi models, which Vosk and Kaldi's decoders load.

The network is rewritten in the components that nnet3 has, and its input is MFCC: with as many
coefficients as filters, their inverse cosine transform gives the log-mel filter banks again.

- Samples are 32768 times larger in Kaldi, which adds a constant to the logarithms. The smallest
  energy of ours is kept by a rectified linear unit.
- The clipped ReLU min(max(x, 0), 20) is max(x, 0) − max(x − 20, 0).
- Layer normalisation is a matrix that subtracts the mean, then nnet3's normalisation of the root
  mean square, then scales and shifts, which go into the matrix of the next layer.

Beyond the edges of a recording nnet3 sees the first and the last frame, as our networks do with
``edges = "repeat"``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.acoustic.kaldi.writer import KaldiWriter, Value, write_network, write_transition_model
from asr_hlg.acoustic.loading import load
from asr_hlg.acoustic.nets.tdnn import Tdnn
from asr_hlg.errors import ModelError
from asr_hlg.fst import openfst
from asr_hlg.graph.kaldi_export import KaldiGraph, recipe_of
from asr_hlg.graph.meter import Meter

Floats = npt.NDArray[np.float64]
Components = dict[str, tuple[str, dict[str, Value]]]

_LOUDNESS = 2 * math.log(32768)  # of Kaldi's samples, in log-energies
_SMALLEST = math.log(np.finfo(np.float32).eps)  # log-energy of silence in our filter banks
_CLIPPED = 20.0  # by the ReLU


def export_model(graph_folder: Path, model: str, folder: Path, meter: Meter | None = None) -> None:
    """Write the folder of a Kaldi model for a compiled graph and the network trained for it.

    Parameters
    ----------
    graph_folder : Path
        Of a recipe with the topology hmm or chain, whose L and G are compiled again.
    model : str
        A TDNN of ``asr-hlg train``, as for :func:`asr_hlg.acoustic.load`.
    folder : Path
    meter : Meter, optional
        Reports the stages of the compilation.

    Raises
    ------
    GraphError, ModelError
        If graph or model cannot be written in Kaldi's format.
    """
    network = getattr(load(model), "network", None)
    if not isinstance(network, Tdnn):
        raise ModelError(
            "is not a TDNN of asr-hlg train, which alone can be written in Kaldi's format",
            path=model,
            remedy='train one with [network] kind = "tdnn"',
        )
    recipe = recipe_of(graph_folder)
    write_folder(folder, KaldiGraph.compile(recipe, meter), network, recipe.search)


def write_folder(folder: Path, graph: KaldiGraph, network: Tdnn, search: Mapping[str, Any]) -> None:
    """Write a model's folder.

    Parameters
    ----------
    folder : Path
        Gets ``am/final.mdl``, ``am/tree``, ``conf``, and ``graph`` with ``HCLG.fst``,
        ``words.txt``, ``phones.txt`` and ``phones/word_boundary.int``.
    graph : KaldiGraph
    network : Tdnn
    search : mapping
        Search options of the recipe, of which beams and the acoustic scale are kept.

    Raises
    ------
    ModelError
        If the network has other outputs than the graph, or cannot be written.
    """
    if tuple(network.config.tokens) != graph.columns:
        raise ModelError(
            "the network has other outputs than the recipe's topology reads",
            remedy="name the model that was trained with this recipe",
        )
    writer = KaldiWriter()
    write_transition_model(writer, graph)
    nodes, components = nnet3_of(network)
    write_network(writer, nodes, components)
    for tag, context in (("Left", network.left_context), ("Right", network.right_context)):
        writer.token(f"<{tag}Context>")
        writer.value(int(context or 0))
    writer.token("<Priors>")
    priors = np.zeros(0) if network.priors is None else network.priors.numpy()[1:]
    writer.value(priors)
    for name in ("am", "conf", "graph/phones"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "am" / "final.mdl").write_bytes(bytes(writer.content))
    (folder / "am" / "tree").write_text(graph.tree, encoding="utf-8")
    (folder / "conf" / "mfcc.conf").write_text(_mfcc_conf(network), encoding="utf-8")
    (folder / "conf" / "model.conf").write_text(_model_conf(graph, network, search))
    openfst.write(folder / "graph" / "HCLG.fst", graph.hclg)
    for name, symbols in (("words", graph.words), ("phones", graph.phones)):
        lines = (f"{symbol} {number}\n" for number, symbol in enumerate(symbols))
        (folder / "graph" / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
    positions = (f"{phone} {kind}\n" for phone, kind in enumerate(graph.boundaries, start=1))
    (folder / "graph" / "phones" / "word_boundary.int").write_text("".join(positions))


def nnet3_of(network: Tdnn) -> tuple[list[str], Components]:
    """Nodes and components of a network that takes MFCC and gives log-probabilities of pdfs.

    Raises
    ------
    ModelError
        If it subtracts the mean of the utterance, or has zeros around it.
    """
    config = network.config
    if config.utterance_mean:
        raise ModelError(
            "the network subtracts the mean of utterances, which nnet3 cannot do",
            remedy="train without utterance_mean",
        )
    if config.edges != "repeat":
        raise ModelError(
            "the network sees zeros around utterances, and nnet3 repeats the frames at the edges",
            remedy='train with [network] edges = "repeat"',
        )
    weights = {name: w.double().numpy() for name, w in network.state_dict().items()}
    size = config.fbank.num_filters
    components: Components = {
        "banks": _affine(_inverse_cosines(size), np.full(size, -_LOUDNESS - _SMALLEST)),
        "floor": _nonlinear("RectifiedLinear", size),
    }
    nodes = [f"input-node name=input dim={size}", _node("banks", "input"), _node("floor", "banks")]
    scale = 1 / weights["std"]
    shift = (_SMALLEST - weights["mean"]) * scale
    before, step = "floor", 1
    for number, layer in enumerate(network.layers):
        name = f"layers.{number}"
        kernel = weights[f"{name}.convolution.weight"]  # (out, in, frames)
        dilation = int(layer.convolution.dilation[0])
        offsets = [(k * dilation - layer.left_context) * step for k in range(kernel.shape[2])]
        matrix = (kernel * scale[None, :, None]).transpose(0, 2, 1).reshape(len(kernel), -1)
        bias = weights[f"{name}.convolution.bias"] + np.einsum("oik,i->o", kernel, shift)
        dim = len(kernel)
        mean = np.eye(dim) - 1 / dim
        affine = _affine(np.tile(matrix, (2, 1)), np.append(bias, bias - _CLIPPED))
        components[f"affine{number}"] = affine
        components[f"relu{number}"] = _nonlinear("RectifiedLinear", 2 * dim)
        centred = _affine(np.concatenate([mean, -mean], axis=1), np.zeros(dim))
        components[f"centre{number}"] = centred
        components[f"norm{number}"] = _normalise(dim)
        parts = ", ".join(before if not t else f"Offset({before}, {t})" for t in offsets)
        nodes += [
            _node(f"affine{number}", f"Append({parts})" if len(offsets) > 1 else parts),
            _node(f"relu{number}", f"affine{number}"),
            _node(f"centre{number}", f"relu{number}"),
            _node(f"norm{number}", f"centre{number}"),
        ]
        scale, shift = weights[f"{name}.norm.weight"], weights[f"{name}.norm.bias"]
        before, step = f"norm{number}", step * layer.stride
    matrix, bias = weights["output.weight"][1:], weights["output.bias"][1:]
    components["output"] = _affine(matrix * scale, bias + matrix @ shift)
    components["log_softmax"] = _nonlinear("LogSoftmax", len(bias))
    nodes += [
        _node("output-affine", before, "output"),
        _node("log_softmax", "output-affine"),
        "output-node name=output input=log_softmax objective=linear",
    ]
    return nodes, components


def _node(name: str, source: str, component: str | None = None) -> str:
    return f"component-node name={name} component={component or name} input={source}"


def _affine(matrix: Floats, bias: Floats) -> tuple[str, dict[str, Value]]:
    return "FixedAffineComponent", {"LinearParams": matrix, "BiasParams": bias}


def _nonlinear(kind: str, dim: int) -> tuple[str, dict[str, Value]]:
    empty = np.zeros(0)
    fields: dict[str, Value] = {"Dim": dim, "ValueAvg": empty, "DerivAvg": empty, "Count": 0.0}
    return f"{kind}Component", fields | {"NumDimsSelfRepaired": 0.0, "NumDimsProcessed": 0.0}


def _normalise(dim: int) -> tuple[str, dict[str, Value]]:
    return "NormalizeComponent", {"InputDim": dim, "TargetRms": 1.0, "AddLogStddev": False}


def _inverse_cosines(size: int) -> Floats:
    """Matrix from cepstra to log-mel energies, ``(size, size)``: Kaldi's cosine transform."""
    angles = np.outer(np.arange(size), np.arange(size) + 0.5) * np.pi / size
    cosines = np.sqrt(2 / size) * np.cos(angles)
    cosines[0] = np.sqrt(1 / size)
    inverse: Floats = cosines.T  # the transform is orthonormal
    return inverse


def _mfcc_conf(network: Tdnn) -> str:
    fbank = network.config.fbank
    options = {
        "use-energy": "false",
        "dither": "0",
        "snip-edges": str(fbank.snip_edges).lower(),
        "sample-frequency": network.config.sample_rate,
        "frame-length": f"{1000 * fbank.frame_length:g}",
        "frame-shift": f"{1000 * fbank.frame_shift:g}",
        "num-mel-bins": fbank.num_filters,
        "num-ceps": fbank.num_filters,
        "cepstral-lifter": "0",
        "low-freq": f"{fbank.low_freq:g}",
        "high-freq": f"{fbank.high_freq:g}",
    }
    return _conf(options)


def _model_conf(graph: KaldiGraph, network: Tdnn, search: Mapping[str, Any]) -> str:
    options = {
        "beam": search.get("search_beam", 13.0),
        "lattice-beam": search.get("output_beam", 6.0),
        "max-active": search.get("max_active", 7000),
        "min-active": 200,
        "acoustic-scale": search.get("acoustic_scale", 1.0),
        "frame-subsampling-factor": network.subsampling,
        "endpoint.silence-phones": "" if graph.silence is None else graph.silence,
    }
    return _conf({name: value for name, value in options.items() if value != ""})


def _conf(options: Mapping[str, Any]) -> str:
    return "".join(f"--{name}={value}\n" for name, value in options.items())
