"""Our graphs in Kaldi's terms, against the graphs themselves and the definition of each file."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest

from asr_hlg.errors import GraphError
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.build import build
from asr_hlg.graph.kaldi_export import KaldiGraph, recipe_of
from asr_hlg.graph.recipe import Recipe
from asr_hlg.graph.tied_states import TiedStates
from tests.support.brute_force import Machine

PHONES = ["SIL", "ae", "d", "h", "k", "n", "t"]


@pytest.fixture
def make(root, tmp_path):
    """A recipe of "cat and hat" with silence and a topology."""

    def write(topology):
        lines = ["set stop = k t d\n", "set vowel = ae\n"]
        for phone, state in itertools.product(PHONES, range(2)):
            if phone in ("ae", "t"):
                lines.append(f"{phone} {state} stop * {phone}_{state}a\n")
                right = "*" if "context = 2" in topology else "stop,<eps>"
                lines.append(f"{phone} {state} vowel,SIL {right} {phone}_{state}b\n")
            lines.append(f"{phone} {state} * * {phone}_{state}c\n")
        (tmp_path / "tree.txt").write_text("".join(lines))
        path = tmp_path / "mine.toml"
        path.write_text(
            f"[topology]\n{topology}\n[lexicon]\n"
            f'files = ["{root}/lang/cat_hat/lexicon.txt"]\nsilence = "SIL"\nsilence_prob = 0.3\n'
            f'[grammar]\nfile = "{root}/lang/cat_hat/grammar.txt"\n'
        )
        return Recipe.read(path)

    return write


TOPOLOGIES = [
    'kind = "hmm"\nnum_states = 1\nself_loop = 0.6',
    'kind = "hmm"\nnum_states = 2\nself_loop = 0.6',
    'kind = "chain"\nself_loop = 0.6',
    'kind = "chain"\nself_loop = 0.6\ncontext = 2\ntree = "tree.txt"',
    'kind = "chain"\nself_loop = 0.6\ncontext = 3\ntree = "tree.txt"',
    'kind = "hmm"\nnum_states = 2\ncontext = 3\ntree = "tree.txt"',
]


def paths(machine, num_frames, epsilon=None):
    """Label strings and outputs of all paths with so many labels, with their scores."""
    found, stack = defaultdict(list), [(0, (), (), 0.0)]
    while stack:
        state, labels, outputs, total = stack.pop()
        if len(labels) == num_frames:
            for written, score in machine.final.get(state, ()):
                found[labels, outputs + written].append(total + score)
        for dst, label, written, score in machine.leaving.get(state, ()):
            if label == epsilon:
                stack.append((dst, labels, outputs + written, total + score))
            elif len(labels) < num_frames:
                stack.append((dst, (*labels, label), outputs + written, total + score))
    return found


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_hclg_has_the_paths_of_our_graph(make, topology):
    recipe = make(topology)
    ours = DecodingGraph.load(build(recipe))
    kaldi = KaldiGraph.compile(recipe)
    assert kaldi.columns == ours.columns
    num_frames = 8 if "num_states = 2" in topology else 5
    expected = paths(Machine.of(ours.fsa), num_frames)
    found, phones_of = defaultdict(list), {}
    for (ids, words), scores in paths(Machine.of(kaldi.hclg), num_frames, epsilon=0).items():
        rows = kaldi.tuples[(np.array(ids) - 1) // 2]
        is_loop = np.array(ids) % 2 == 1
        pdfs = tuple((1 + np.where(is_loop, rows[:, 3], rows[:, 2])).tolist())
        found[pdfs, words] += scores
        phones_of[pdfs, words] = valid_phones(kaldi, rows, is_loop)
    assert found.keys() == expected.keys()
    for key, scores in expected.items():
        assert sorted(found[key]) == pytest.approx(sorted(scores), abs=1e-4)
    assert len(expected) > 3
    for (_, words), phones in phones_of.items():
        assert phones == expected_phones([ours.word_names[word] for word in words], phones)


def valid_phones(kaldi, rows, is_loop):
    """Phones of a path, whose states are entered by a step and repeated by self-loops."""
    phones, place = [], 0
    last = len(kaldi.classes) - 1
    while place < len(rows):
        phone = rows[place, 0]
        for state in range(last + 1):
            assert not is_loop[place]
            row = rows[place]
            assert (row[0], row[1]) == (phone, state)
            place += 1
            while place < len(rows) and is_loop[place]:
                assert np.array_equal(rows[place], row)
                place += 1
        phones.append(kaldi.phones[phone])
    return phones


def expected_phones(words, phones):
    """Phones of words with their positions, and the silences that a path has."""
    spoken = {"cat": "k ae t", "and": "ae n d", "hat": "h ae t"}
    rest = [f"{p}_{m}" for word in words for p, m in zip(spoken[word].split(), "BIE", strict=True)]
    return [phone if phone == "SIL" else rest.pop(0) for phone in phones] + rest


class EventMap:
    """Kaldi's file ``tree`` as text, read and evaluated as tree/event-map.h defines it."""

    def __init__(self, text):
        self.tokens = text.split()
        head = [self.tokens.pop(0) for _ in range(4)]
        assert (head[0], head[3]) == ("ContextDependency", "ToPdf")
        self.width, self.center = int(head[1]), int(head[2])
        self.map = self._map()
        assert self.tokens == ["EndContextDependency"]

    def _map(self):
        kind = self.tokens.pop(0)
        if kind == "NULL":
            return lambda event: None
        number = int(self.tokens.pop(0))
        if kind == "CE":
            return lambda event: number
        if kind == "TE":
            size = int(self.tokens.pop(0))
            assert self.tokens.pop(0) == "("
            maps = [self._map() for _ in range(size)]
            assert self.tokens.pop(0) == ")"
            return lambda event: maps[event[number]](event)
        assert kind == "SE"
        assert self.tokens.pop(0) == "["
        end = self.tokens.index("]")
        inside = {int(token) for token in self.tokens[:end]}
        del self.tokens[: end + 1]
        assert self.tokens.pop(0) == "{"
        yes, no = self._map(), self._map()
        assert self.tokens.pop(0) == "}"
        return lambda event: (yes if event[number] in inside else no)(event)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_the_tree_maps_every_context_to_its_pdf(make, topology):
    recipe = make(topology)
    kaldi = KaldiGraph.compile(recipe)
    tree = EventMap(kaldi.tree)
    section = recipe.topology
    assert (tree.width, tree.center) == (section.context, min(1, section.context - 1))
    if section.tree:
        path = recipe.resolve(section.tree)
        states = TiedStates.read(
            path, ["<eps>", *PHONES], section.states_per_phone, section.context
        )
        assert states.pdfs == kaldi.columns
    else:
        states = TiedStates.independent(len(PHONES), section.states_per_phone)
    base = [0, *(1 + PHONES.index(name.split("_")[0]) for name in kaldi.phones[1:])]
    sizes = [len(base) if size > 1 else 1 for size in states.table.shape[2:]]
    for phone, state in itertools.product(range(1, len(base)), range(states.num_states)):
        for left, right in np.ndindex(*sizes):
            event = {-1: state, tree.center: phone}
            if section.context > 1:
                event |= {0: left, 2: right}
            expected = states.table[base[phone], state, base[left], base[right]] - 1
            assert tree.map(event) == expected


def test_log_probs_are_those_of_the_transitions(make):
    kaldi = KaldiGraph.compile(make('kind = "hmm"\nnum_states = 2\nself_loop = 0.6'))
    assert np.exp(kaldi.log_probs[1:]) == pytest.approx([0.6, 0.4] * len(kaldi.tuples))
    assert (np.diff(kaldi.tuples[:, :2] @ [10, 1]) > 0).all()  # sorted, none twice
    assert kaldi.boundaries[kaldi.silence - 1] == "nonword"
    marks = {"B": "begin", "I": "internal", "E": "end"}
    for name, kind in zip(kaldi.phones[2:], kaldi.boundaries[1:], strict=True):
        assert marks[name[-1]] == kind


@pytest.mark.parametrize("topology", ['kind = "ctc"', 'kind = "hmm"\nskip = 0.1'])
def test_other_topologies_are_refused(make, topology):
    with pytest.raises(GraphError, match="states follow each other"):
        KaldiGraph.compile(make(topology))


def test_the_recipe_of_a_compiled_graph_is_found(make, tmp_path):
    recipe = make(TOPOLOGIES[4])
    elsewhere = build(recipe, tmp_path / "graphs" / "other")
    assert recipe_of(elsewhere).topology == recipe.topology
    assert recipe_of(build(recipe)).path == recipe.path
    (tmp_path / "g").mkdir()
    with pytest.raises(GraphError):
        recipe_of(tmp_path / "g")
