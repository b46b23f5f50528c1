"""Writer of Kaldi's objects in binary and text form, for tests of the readers."""

from __future__ import annotations

import struct

import numpy as np


class Writer:
    """Content of a file under construction."""

    def __init__(self, binary: bool):
        self.binary = binary
        self.content = b"\0B" if binary else b""

    def token(self, *tokens: str) -> None:
        for token in tokens:
            self.content += token.encode() + b" "

    def line(self, text: str = "") -> None:
        self.content += text.encode() + b"\n"

    def integer(self, value: int) -> None:
        self.content += b"\4" + struct.pack("<i", value) if self.binary else b"%d " % value

    def number(self, value: float) -> None:
        self.content += b"\4" + struct.pack("<f", value) if self.binary else b"%.9g " % value

    def boolean(self, value: bool) -> None:
        letter = b"T" if value else b"F"
        self.content += letter if self.binary else letter + b" "

    def integers(self, values) -> None:
        values = np.asarray(values, "<i4")
        if self.binary:
            self.content += b"\4" + struct.pack("<i", len(values)) + values.tobytes()
        else:
            self.content += b"[ " + b"".join(b"%d " % value for value in values) + b"]\n"

    def integer_pairs(self, values) -> None:
        values = np.asarray(values, "<i4")
        if self.binary:
            self.content += b"\4" + struct.pack("<i", len(values)) + values.tobytes()
        else:
            pairs = b"".join(b"%d,%d " % tuple(pair) for pair in values)
            self.content += b"[ " + pairs + b"]\n"

    def vector(self, values) -> None:
        values = np.asarray(values, "<f4")
        if self.binary:
            self.token("FV")
            self.integer(len(values))
            self.content += values.tobytes()
        else:
            self.content += b" [ " + _text(values) + b"]\n"

    def matrix(self, values) -> None:
        values = np.asarray(values, "<f4")
        if self.binary:
            self.token("FM")
            self.integer(values.shape[0])
            self.integer(values.shape[1])
            self.content += values.tobytes()
        else:
            self.content += b" [" + b"".join(b"\n  " + _text(row) for row in values) + b"]\n"

    def symmetric(self, values) -> None:
        values = np.asarray(values, "<f8")
        if self.binary:
            self.token("DP")
            self.integer(len(values))
            self.content += values[np.tril_indices(len(values))].tobytes()
        else:
            rows = (b"\n  " + _text(row[: k + 1]) for k, row in enumerate(values))
            self.content += b" [" + b"".join(rows) + b"]\n"


def _text(values) -> bytes:
    return b"".join(b"%.9g " % value for value in values)


def write_transition_model(writer: Writer, entries, entry_of, tuples, log_probs) -> None:
    """``entries[k]`` is a list of states ``(forward, loop, [(target, prob), ...])``."""
    writer.token("<TransitionModel>", "<Topology>")
    own_loops = any(forward != loop for hmm in entries for forward, loop, _ in hmm)
    if writer.binary:
        _binary_topology(writer, entries, entry_of, own_loops)
    else:
        _text_topology(writer, entries, entry_of, own_loops)
    writer.token("</Topology>")
    kind = "Tuples" if own_loops else "Triples"
    writer.token(f"<{kind}>")
    writer.integer(len(tuples))
    for row in tuples:
        for value in row if own_loops else row[:3]:
            writer.integer(value)
    writer.token(f"</{kind}>", "<LogProbs>")
    writer.vector(log_probs)
    writer.token("</LogProbs>", "</TransitionModel>")


def _binary_topology(writer, entries, entry_of, own_loops) -> None:
    writer.integers(sorted(entry_of))
    table = np.full(max(entry_of) + 1, -1)
    for phone, entry in entry_of.items():
        table[phone] = entry
    writer.integers(table)
    if own_loops:
        writer.integer(-1)
    writer.integer(len(entries))
    for hmm in entries:
        writer.integer(len(hmm))
        for forward, loop, arcs in hmm:
            writer.integer(forward)
            if own_loops:
                writer.integer(loop)
            writer.integer(len(arcs))
            for target, prob in arcs:
                writer.integer(target)
                writer.number(prob)


def _text_topology(writer, entries, entry_of, own_loops) -> None:
    for number, hmm in enumerate(entries):
        writer.token("<TopologyEntry>", "<ForPhones>")
        for phone in sorted(entry_of):
            if entry_of[phone] == number:
                writer.integer(phone)
        writer.token("</ForPhones>")
        for index, (forward, loop, arcs) in enumerate(hmm):
            writer.token("<State>")
            writer.integer(index)
            if forward >= 0 and own_loops:
                writer.token("<ForwardPdfClass>")
                writer.integer(forward)
                writer.token("<SelfLoopPdfClass>")
                writer.integer(loop)
            elif forward >= 0:
                writer.token("<PdfClass>")
                writer.integer(forward)
            for target, prob in arcs:
                writer.token("<Transition>")
                writer.integer(target)
                writer.number(prob)
            writer.token("</State>")
        writer.token("</TopologyEntry>")


def write_network(writer: Writer, lines, components) -> None:
    """``components`` maps a name to its type and its fields, values by tag."""
    writer.token("<Nnet3>")
    writer.line()
    for line in lines:
        writer.line(line)
    writer.line()
    writer.token("<NumComponents>")
    writer.integer(len(components))
    for name, component in components.items():
        writer.token("<ComponentName>", name)
        write_component(writer, *component)
    writer.token("</Nnet3>")


def write_component(writer: Writer, kind, fields) -> None:
    writer.token(f"<{kind}>")
    for tag, value in fields.items():
        writer.token(f"<{tag}>")
        write_value(writer, value)
    writer.token(f"</{kind}>")


def write_value(writer: Writer, value) -> None:
    if value is None:  # a tag without value
        return
    if isinstance(value, np.ndarray):
        _write_array(writer, value)
    elif isinstance(value, tuple):
        for part in value:
            write_value(writer, part)
    elif isinstance(value, bool):
        writer.boolean(value)
    elif isinstance(value, int):
        writer.integer(value)
    elif isinstance(value, float):
        writer.number(value)
    elif isinstance(value, list):  # of components
        writer.integer(len(value))
        for part in value:
            write_component(writer, *part)


def _write_array(writer: Writer, value) -> None:
    if value.dtype.kind == "i":
        write = writer.integers if value.ndim == 1 else writer.integer_pairs
    else:
        write = writer.vector if value.ndim == 1 else writer.matrix
    write(value)


def write_ivector_folder(folder, width, binary=True, factors=4, gaussians=7, left=2, right=1):
    """Files of a folder ``ivector``, with random content, which is returned."""
    random = np.random.default_rng(11)
    dim, columns = 5, width * (left + right + 1)
    square = random.normal(size=(gaussians, dim, dim))
    arrays = {
        "lda": random.normal(size=(dim, columns + 1)).astype("f4"),
        "stats": np.array([[*(50 * random.normal(size=width)), 80], [*([90] * width), 0]]),
        "weights": random.dirichlet(np.ones(gaussians)).astype("f4"),
        "inv_vars": random.uniform(0.2, 2, (gaussians, dim)).astype("f4"),
        "means_invvars": random.normal(size=(gaussians, dim)).astype("f4"),
        "M": random.normal(size=(gaussians, dim, factors)).astype("f4"),
        "sigma_inv": np.einsum("gij,gkj->gik", square, square) / dim + np.eye(dim),
        "offset": 3.5,
    }
    _write(folder / "final.mat", binary, lambda writer: writer.matrix(arrays["lda"]))
    _write(folder / "global_cmvn.stats", binary, lambda writer: writer.matrix(arrays["stats"]))
    _write(folder / "final.dubm", binary, lambda writer: _write_ubm(writer, arrays))
    _write(folder / "final.ie", binary, lambda writer: _write_extractor(writer, arrays))
    (folder / "splice.conf").write_text(f"--left-context={left}\n--right-context={right}\n")
    (folder / "online_cmvn.conf").write_text("# window\n--cmn-window=10\n--global-frames=4\n")
    return arrays


def _write(path, binary, fill) -> None:
    writer = Writer(binary)
    fill(writer)
    path.write_bytes(writer.content)


def _write_ubm(writer, arrays) -> None:
    writer.token("<DiagGMM>", "<GCONSTS>")
    writer.vector(np.zeros(len(arrays["weights"])))  # computed anew by the reader
    for tag, name in (("WEIGHTS", "weights"), ("MEANS_INVVARS", "means_invvars"),
                      ("INV_VARS", "inv_vars")):  # fmt: skip
        writer.token(f"<{tag}>")
        write_value(writer, arrays[name])
    writer.token("</DiagGMM>")


def _write_extractor(writer, arrays) -> None:
    writer.token("<IvectorExtractor>", "<w>")
    writer.matrix(np.zeros((0, 0)))
    writer.token("<w_vec>")
    writer.vector(arrays["weights"])
    writer.token("<M>")
    writer.integer(len(arrays["M"]))
    for matrix in arrays["M"]:
        writer.matrix(matrix)
    writer.token("<SigmaInv>")
    for matrix in arrays["sigma_inv"]:
        writer.symmetric(matrix)
    writer.token("<IvectorOffset>")
    writer.number(arrays["offset"])
    writer.token("</IvectorExtractor>")


CHAIN_MODEL = {
    "entries": [[(0, 1, [(0, 0.5), (1, 0.5)]), (-1, -1, [])]],
    "entry_of": {1: 0, 2: 0},
    "tuples": [(1, 0, 3, 2), (1, 0, 4, 1), (2, 0, 0, 1)],
    "log_probs": [0, -0.7, -0.7, -0.6, -0.8, -0.7, -0.7],
}
"""Transition model of two phones in contexts, with five pdfs."""


def write_kaldi_folder(folder, silence_phones="2", seed=5, network=None):
    """A model as Vosk reads it, without a graph: a small random network with i-vectors."""
    from tests.support import kaldi_networks

    kaldi_networks.random = np.random.default_rng(seed)  # whatever was drawn before
    network = network or kaldi_networks.factored
    for name in ("am", "conf", "ivector"):
        (folder / name).mkdir(parents=True)
    writer = Writer(True)
    write_transition_model(writer, **CHAIN_MODEL)
    write_network(writer, *network())
    for tag in ("<LeftContext>", "<RightContext>"):
        writer.token(tag)
        writer.integer(6)
    writer.token("<Priors>")
    writer.vector([0.1, 0.2, 0.3, 0.15, 0.25])
    (folder / "am" / "final.mdl").write_bytes(writer.content)
    (folder / "conf" / "mfcc.conf").write_text("--use-energy=false\n--num-ceps=3\n")
    (folder / "conf" / "model.conf").write_text(
        "--beam=10\n--lattice-beam=2\n--max-active=3000\n--frame-subsampling-factor=3\n"
        f"--endpoint.silence-phones={silence_phones}\n--frames-per-chunk=21\n"
    )
    write_ivector_folder(folder / "ivector", 3)
    return folder


def write_hclg(folder) -> None:
    """A loop over two words, one and two, and silence, for the model of `write_kaldi_folder`."""
    import kaldifst

    fst = kaldifst.StdVectorFst()
    for state in range(4):
        fst.add_state()
        fst.set_final(state, 0.0)
    fst.start = 0
    for target, (first, loop, word) in enumerate([(6, 5, 0), (2, 1, 1), (4, 3, 2)], 1):
        fst.add_arc(0, kaldifst.StdArc(first, word, 0.7, target))
        fst.add_arc(target, kaldifst.StdArc(loop, 0, 0.7, target))
        fst.add_arc(target, kaldifst.StdArc(0, 0, 0.1, 0))
    (folder / "graph" / "phones").mkdir(parents=True)
    fst.write(str(folder / "graph" / "HCLG.fst"))
    (folder / "graph" / "words.txt").write_text("<eps> 0\none 1\ntwo 2\n")
    (folder / "graph" / "phones.txt").write_text("<eps> 0\nA_S 1\nsil 2\n")
    (folder / "graph" / "phones" / "word_boundary.int").write_text("1 singleton\n2 nonword\n")


def write_lookahead(folder) -> None:
    """HCLr and Gr over the words a and b, for the model of `write_kaldi_folder`."""
    from asr_hlg.fst import openfst
    from asr_hlg.fst.arcs import Arcs
    from tests.support import fst_files

    src, dst = np.array([0, 0, 1, 1, 2, 2], np.int32), np.array([1, 2, 0, 1, 0, 2], np.int32)
    ilabel = np.array([2, 4, 7, 1, 7, 3], np.int32)  # 7 is #0
    olabel = np.array([1, 2, 0, 0, 0, 0], np.int32)
    final = np.array([0.0, -np.inf, -np.inf], np.float32)
    hcl = Arcs(src, dst, ilabel, olabel, np.full(6, -0.5, np.float32), final)
    graph = folder / "graph"
    (graph / "phones").mkdir(parents=True)
    openfst.write(graph / "HCL.fst", hcl)
    content = (graph / "HCL.fst").read_bytes()
    lookahead = fst_files.lookahead(content, fst_files.reachable(hcl, 3), 3)
    (graph / "HCLr.fst").write_bytes(lookahead)
    costs = {(): {1: 1.0, 2: 2.0, 0: 0.5}, (0,): {1: 0.1}, (1,): {2: 0.2}, (2,): {}}
    back_off = {context: 0.3 * len(context) for context in costs}
    words = {0: "<eps>", 1: "a", 2: "b"}
    (graph / "Gr.fst").write_bytes(fst_files.ngram(costs, back_off, words))
    (graph / "disambig_tid.int").write_text("7\n")
    (graph / "phones" / "word_boundary.int").write_text("1 singleton\n2 nonword\n")
