from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
import torch

from asr_hlg import draw, grammar
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import AsrHlgError, OptionError
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import compile_hlg, topology
from asr_hlg.lexicon import Lexicon
from asr_hlg.search import SearchOptions, decode

LEXICON = Lexicon([("cat", ("k", "ae", "t")), ("and", ("ae", "n", "d")), ("hat", ("h", "ae", "t"))])
TOKENS = ("<blk>", "ae", "d", "h", "k", "n", "t")


def edges(path):
    """The arcs of a .dot file: {(src, dst): labels}."""
    found = re.findall(r'(\d+) -> (\d+) \[label="?([^"\]]*)"?\]', path.read_text())
    return {(int(src), int(dst)): label.split("\n") for src, dst, label in found}


def texts(path):
    """Every text of an SVG file."""
    return {
        "".join(node.itertext()).strip() for node in ET.parse(path).iter() if "text" in node.tag
    }


@pytest.fixture
def readable_svg():
    """matplotlib draws letters as outlines unless told otherwise."""
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        yield


@pytest.fixture(scope="module")
def found():
    frames = torch.zeros(1, 10, 7)
    for frame, phone in enumerate(["<blk>", "k", "ae", "t", "<blk>", "ae", "n", "d"]):
        frames[0, frame, TOKENS.index(phone)] = 4.0
    frames[0, 8:, 0] = 4.0
    lengths = torch.tensor([10], dtype=torch.int32)
    posteriors = Posteriors(frames.log_softmax(dim=-1), lengths, 0.04, TOKENS)
    G = grammar.compile("(cat | and | hat)+", LEXICON.words)
    graph = compile_hlg(topology.ctc(7), LEXICON, G)
    return decode(graph, posteriors, SearchOptions(output_beam=15.0))


def test_symbols_and_probabilities(tmp_path):
    path = tmp_path / "hmm.dot"
    H = topology.hmm(1, 2, self_loop=0.25)
    draw.fsa(H, path, inputs=["<eps>", "p1", "p2"], outputs=["<eps>", "p"], probabilities=True)
    assert edges(path) == {
        (0, 1): ["p1:p"],
        (1, 1): ["p1:ε/0.25"],
        (1, 2): ["p2:ε/0.75"],
        (2, 1): ["p1:p/0.75"],
        (2, 2): ["p2:ε/0.25"],
    }
    draw.fsa(H, path)
    assert edges(path)[1, 2] == ["2:ε/-0.29"]


def test_attached_symbols_and_final_states(tmp_path):
    path = tmp_path / "L.dot"
    draw.fsa(LEXICON.to_fsa(), path)
    assert edges(path)[0, 1] == ["k:cat"]
    assert re.search(r"\b0 \[label=0 .*doublecircle", path.read_text())
    assert path.read_text().count("doublecircle") == 1


def test_final_scores_and_acceptors(tmp_path):
    one = np.zeros(1, dtype=np.int32)
    half = np.log([0.5]).astype(np.float32)
    arcs = Arcs(one, one + 1, one + 1, one + 1, half, np.log([0.5, 1.0]).astype(np.float32))
    path = tmp_path / "g.dot"
    draw.fsa(arcs, path, inputs=["<eps>", "<unk>"], probabilities=True)
    assert edges(path) == {(0, 1): ["<unk>/0.5"]}
    assert '0 [label="0\n/0.5"' in path.read_text()


def test_parallel_arcs_share_an_edge(tmp_path):
    path = tmp_path / "ctc.dot"
    draw.fsa(topology.ctc(3, modified=True), path, inputs=["<blk>", "a", "b"], outputs="εab")
    assert edges(path)[0, 0] == ["<blk>:ε", "a:a", "b:b"]


@pytest.mark.usefixtures("dot")
def test_labels_are_text_whatever_they_look_like(tmp_path):
    lexicon = Lexicon([('a"\\n<b>', ("<x>",))])
    draw.fsa(lexicon.to_fsa(), tmp_path / "odd.svg")
    assert '<x>:a"\\n<b>' in texts(tmp_path / "odd.svg")


@pytest.mark.usefixtures("dot")
def test_every_part_can_be_drawn(tmp_path):
    G = grammar.compile("cat and hat", LEXICON.words)
    for kind in draw.PARTS:
        draw.part(kind, tmp_path / f"{kind}.svg", LEXICON, G, title=f"the {kind}")
        seen = texts(tmp_path / f"{kind}.svg")
        assert f"the {kind}" in seen
        marks = {
            "H": "k:k", "ctc": "<blk>:ε", "hmm": "k_0:k", "L": "h:hat", "G": "and",
            "C": "k-ae:ae", "LG": "k:cat", "HL": "k:cat", "HLG": "k:cat",
        }  # fmt: skip
        assert any(text.startswith(marks[kind]) for text in seen), (kind, seen)
    draw.part("L", tmp_path / "L.svg", LEXICON, disambig=True)
    assert "#0:#0" in texts(tmp_path / "L.svg")


@pytest.mark.usefixtures("dot")
def test_png_and_pdf(tmp_path):
    draw.part("L", tmp_path / "L.png", LEXICON)
    assert (tmp_path / "L.png").read_bytes().startswith(b"\x89PNG")
    draw.trellis(np.zeros((3, 2)), tmp_path / "t.pdf", tokens="ab")
    assert (tmp_path / "t.pdf").read_bytes().startswith(b"%PDF")


def test_trellis_shows_tokens_words_and_path(tmp_path, readable_svg):
    path = tmp_path / "trellis.svg"
    log_probs = torch.randn(6, 3).log_softmax(dim=1)
    words = [("cat", 1, 3), ("hat", 4, 6)]
    draw.trellis(
        log_probs, path, tokens=["<blk>", "x", "y"], alignment=[0, 1, 1, 0, 2, 2], words=words
    )
    assert {"<blk>", "x", "y", "cat", "hat", "frame", "p(token | frame)"} <= texts(path)
    # The red line has a corner for each of the six frames, and each word two dashed edges.
    svg = path.read_text()
    assert svg.count("stroke-dasharray") == 4
    line = re.search(r'<path d="([^"]*)"[^>]*stroke: #d62728; stroke-width: 1.5', svg)
    assert line is not None
    assert len(re.findall("[ML]", line[1])) == 6
    again = tmp_path / "again.svg"
    draw.trellis(
        log_probs, again, tokens=["<blk>", "x", "y"], alignment=[0, 1, 1, 0, 2, 2], words=words
    )
    assert again.read_bytes() == path.read_bytes()


def test_alignment_of_a_decoded_utterance(tmp_path, readable_svg, found):
    path = tmp_path / "alignment.svg"
    draw.alignment(found, path)
    assert {"cat and", "cat", "and", "seconds", *TOKENS} <= texts(path)


def test_lattice_shows_shares_of_the_best_sentences(tmp_path, found):
    path = tmp_path / "lattice.dot"
    draw.lattice(found, path, n=4)
    best = found.nbest(4, forward=True)[0]
    scores = np.array([each.score for each in best])
    shares = np.exp(scores - np.logaddexp.reduce(scores))
    first = {}
    for each, share in zip(best, shares, strict=True):
        first[each.words[0]] = first.get(each.words[0], 0) + share
    drawn = {
        text.partition("/")[0]: float(text.partition("/")[2] or 1)
        for (src, _), labels in edges(path).items()
        if src == 0
        for text in labels
    }
    assert drawn == pytest.approx(first, rel=5e-3)


def test_too_large_to_read(tmp_path):
    with pytest.raises(OptionError, match="900 arcs would be illegible"):
        draw.fsa(topology.ctc(30), tmp_path / "ctc.svg")


@pytest.mark.parametrize(
    "call",
    [
        lambda folder: draw.part("K", folder / "k.svg", LEXICON),
        lambda folder: draw.part("G", folder / "g.svg", LEXICON),
        lambda folder: draw.part("L", folder / "l.gif", LEXICON),
        lambda folder: draw.part("L", folder / "l", LEXICON),
        lambda folder: draw.trellis(np.zeros((3, 2)), folder / "t.dot", tokens="ab"),
        lambda folder: draw.trellis(np.zeros((3, 2)), folder / "t.svg", tokens="abc"),
    ],
)
def test_impossible_pictures(call, tmp_path):
    with pytest.raises(OptionError):
        call(tmp_path)


def test_missing_packages_and_programs_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AsrHlgError, match=r"program dot .*apt install graphviz"):
        draw.part("L", tmp_path / "L.svg", LEXICON)
    draw.part("L", tmp_path / "L.dot", LEXICON)
    monkeypatch.setitem(sys.modules, "graphviz", None)
    with pytest.raises(AsrHlgError, match=r"package graphviz \(pip install 'asr-hlg\[draw\]'\)"):
        draw.part("L", tmp_path / "L.svg", LEXICON)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(AsrHlgError, match=r"package matplotlib \(pip install"):
        draw.trellis(np.zeros((3, 2)), tmp_path / "t.svg", tokens="ab")
