"""The lexicon of "cat and hat", other small lexicons, bigrams, and lattices without pruning."""

from __future__ import annotations

import math
from pathlib import Path

import k2
import numpy as np
import torch
from hypothesis import strategies as st

from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import compile_hlg, topology
from asr_hlg.graph.prefix_tree import DELTA
from asr_hlg.lexicon import Lexicon
from tests.support.brute_force import Machine

LEXICON = Lexicon.read(Path(__file__).resolve().parents[2] / "lang/cat_hat/lexicon.txt")
COLUMNS = tuple(symbols.names(LEXICON.tokens)[: LEXICON.num_tokens])
PHONES = {"cat": "k ae t", "and": "ae n d", "hat": "h ae t"}

# Determinization and minimisation take weights nearer than DELTA for equal, on each of 12 arcs.
ROUNDING = 2 * 12 * DELTA


def phone_ids(words):
    return [LEXICON.tokens[phone] for word in words.split() for phone in PHONES[word].split()]


def sentence(words):
    return k2.linear_fsa([LEXICON.words[word] for word in words.split()])


def random_log_probs(num_frames, num_tokens, seed=0, sharpness=2.0):
    logits = np.random.default_rng(seed).normal(size=(num_frames, num_tokens)) * sharpness
    return torch.from_numpy(logits).log_softmax(dim=1)


def intersect(graph, log_probs):
    """All paths of a graph with as many frames as ``log_probs`` has; nothing is pruned."""
    fsa = getattr(graph, "fsa", graph)
    dense = k2.DenseFsaVec(
        log_probs.float()[None], torch.tensor([[0, 0, len(log_probs)]], dtype=torch.int32)
    )
    return k2.intersect_dense(k2.create_fsa_vec([fsa]), dense, output_beam=1e4)


def total_score(lattice):
    return lattice.get_tot_scores(use_double_scores=True, log_semiring=True)[0]


def best_score(lattice):
    return lattice.get_tot_scores(use_double_scores=True, log_semiring=False)[0]


def label_strings(lattice):
    """Every path of a lattice, as its labels without the final one."""
    machine = Machine.of(lattice[0])
    found, stack = [], [(0, ())]
    while stack:
        state, labels = stack.pop()
        found += [labels] * len(machine.final.get(state, ()))
        stack += [(arc[0], (*labels, arc[1])) for arc in machine.leaving.get(state, ())]
    return found


def composite(words, topo="ctc", num_states=1, **options):
    """The composite HMM of a word sequence: H∘L∘G where G is that one sentence."""
    if topo == "ctc":
        H = topology.ctc(LEXICON.num_tokens)
    else:
        H = topology.hmm(LEXICON.num_tokens - 1, num_states, **options)
    return compile_hlg(H, LEXICON, sentence(words))


class Bigram:
    """P(W) with a probability for every pair, as a definition and as G."""

    def __init__(self, table, words):
        self.table = np.asarray(table)  # rows: start, words; columns: words, end
        self.words = words

    def log_prob(self, sequence):
        states = [0, *(1 + self.words.index(word) for word in sequence)]
        columns = [*(self.words.index(word) for word in sequence), len(self.words)]
        return sum(math.log(self.table[s, c]) for s, c in zip(states, columns, strict=True))

    def arcs(self, table):
        rows, columns = np.divmod(np.arange(self.table[:, :-1].size), len(self.words))
        labels = np.array([table[word] for word in self.words], dtype=np.int32)[columns]
        return Arcs(
            rows.astype(np.int32),
            (columns + 1).astype(np.int32),
            labels,
            labels,
            np.log(self.table[rows, columns]).astype(np.float32),
            np.log(self.table[:, -1]).astype(np.float32),
        )


lexicons = st.lists(
    st.tuples(
        st.sampled_from("uvw"),
        st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map(tuple),
        st.sampled_from([1.0, 0.5, 0.1]),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda entry: entry[:2],
).map(lambda entries: Lexicon(entries, tokens=["<blk>", "a", "b"]))


def random_bigram(lexicon, random):
    words = sorted({entry.word for entry in lexicon.entries})
    return Bigram(random.dirichlet(np.ones(len(words) + 1), size=len(words) + 1), words)
