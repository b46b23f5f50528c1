"""Phones in context: H∘C and H∘C∘L∘G against all pronunciations, contexts and durations."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.align import Aligner
from asr_hlg.errors import GraphError
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import DecodingGraph, compile_hlg, topology
from asr_hlg.graph.build import Report, build
from asr_hlg.graph.context import in_context
from asr_hlg.graph.recipe import Recipe
from asr_hlg.graph.tied_states import TiedStates
from asr_hlg.lexicon import Lexicon
from asr_hlg.losses.graphs import TranscriptGraphs
from asr_hlg.search import SearchOptions, decode
from tests.support.brute_force import compositions, log_sum, transductions
from tests.support.cat_hat import Bigram, random_log_probs
from tests.support.examples import examples

EDGE = 0


def readings(phones, num_frames, table, transitions):
    """Pdf strings of a phone sequence with their log-probabilities, by definition.

    Left-to-right HMMs without skips: P(S|phones) is the product of the transitions.
    """
    padded = [EDGE, *phones, EDGE]
    states = [
        (p, s, int(table[p, s, min(a, table.shape[2] - 1), min(b, table.shape[3] - 1)]))
        for a, p, b in zip(padded, phones, padded[2:], strict=False)
        for s in range(table.shape[1])
    ]
    for durations in compositions(num_frames, [1] * len(states)):
        pdfs, score = [], 0.0
        for (p, s, pdf), duration in zip(states, durations, strict=True):
            stay, leave = transitions[p - 1, s, s], transitions[p - 1, s, s + 1]
            pdfs += [pdf] * duration
            score += (duration - 1) * math.log(stay) + math.log(leave)
        yield tuple(pdfs), score


def random_states(random, num_phones, num_states, context, num_pdfs):
    size = num_phones + 1
    shape = size, num_states, size, size if context == 3 else 1
    names = ("<eps>", *(f"p{k}" for k in range(num_pdfs)))
    return TiedStates(names, random.integers(1, num_pdfs + 1, shape).astype(np.int32))


def random_transitions(random, num_phones, num_states):
    matrix = np.zeros((num_phones, num_states, num_states + 1))
    state = np.arange(num_states)
    matrix[:, state, state] = random.uniform(0.1, 0.9, (num_phones, num_states))
    matrix[:, state, state + 1] = 1 - matrix[:, state, state]
    return matrix


@examples(30)
@given(st.integers(1, 3), st.integers(1, 2), st.sampled_from([2, 3]), st.integers(0, 2**32 - 1))
def test_h_c_reads_every_phone_sequence_in_its_context(num_phones, num_states, context, seed):
    random = np.random.default_rng(seed)
    states = random_states(random, num_phones, num_states, context, 4)
    transitions = random_transitions(random, num_phones, num_states)
    H = in_context(states, transitions)
    num_frames = 3 * num_states
    expected = defaultdict(lambda: defaultdict(list))
    for length in range(1, num_frames // num_states + 1):
        for phones in itertools.product(range(1, num_phones + 1), repeat=length):
            for pdfs, score in readings(phones, num_frames, states.table, transitions):
                expected[pdfs][phones].append(score)
    for string in itertools.product(range(1, 5), repeat=num_frames):
        got, wanted = transductions(H, string), expected[string]
        assert got.keys() == wanted.keys()
        for phones, scores in wanted.items():
            assert sorted(got[phones]) == pytest.approx(sorted(scores), abs=1e-5)


def test_equal_contexts_share_an_hmm():
    """Five phones that do not depend on their context need no more states than without C."""
    independent = TiedStates.independent(5, 3).table
    wide = TiedStates(("<eps>",), np.broadcast_to(independent, (6, 3, 6, 6)).copy())
    transitions = np.tile(topology.left_to_right(3, 0.4, 0.1), (5, 1, 1))
    ours, H = in_context(wide, transitions), Arcs.from_k2(topology.hmm(5, 3, 0.4, 0.1))
    for name in ("src", "dst", "ilabel", "olabel", "score", "final"):
        assert np.array_equal(getattr(ours, name), getattr(H, name))


# "cat and hat": the recipe's table, written once more as a function.

PHONES = {"cat": "k ae t", "and": "ae n d", "hat": "h ae t"}


def pdf_name(left, phone, right):
    if phone == "h":
        return "h_1" if left == "ae" else "h_2"
    if phone == "ae":
        return "ae_1" if right == "n" else "ae_2" if left == "k" and right in "ktd" else "ae_3"
    if phone == "t":
        return "t_1" if right in ("k", "t", "d", "#") else "t_2" if right == "ae" else "t_3"
    return phone


def spoken(words, silences=()):
    """Phones of words, with SIL before the words of some indices, and after the last."""
    phones = []
    for index, word in enumerate([*words, ""]):
        phones += ["SIL"] * (index in silences) + PHONES.get(word, "").split()
    return phones


def pdf_strings(phones, num_frames, columns, self_loop=0.5):
    padded = ["#", *phones, "#"]
    pdfs = [
        columns.index(pdf_name(*around)) for around in zip(padded, phones, padded[2:], strict=False)
    ]
    score = (num_frames - len(pdfs)) * math.log(self_loop) + len(pdfs) * math.log(1 - self_loop)
    for durations in compositions(num_frames, [1] * len(pdfs)):
        yield tuple(np.repeat(pdfs, durations).tolist()), durations, score


@pytest.fixture(scope="module")
def recipe(root):
    return Recipe.read(root / "graphs" / "cat_hat_context.toml")


def with_silence(recipe, tmp_path):
    """The recipe's lexicon and topology, with optional silence that depends on no context."""
    tree = tmp_path / "tree.txt"
    text = (recipe.path.parent / recipe.topology.tree).read_text()
    tree.write_text(text + "SIL 0 * * SIL\n")
    lexicon = Lexicon(
        [(word, tuple(phones.split())) for word, phones in PHONES.items()],
        silence="SIL",
        silence_prob=0.3,
    )
    names = ["<eps>", *(lexicon.tokens[k] for k in range(1, lexicon.num_tokens))]
    states = TiedStates.read(tree, names, 1, 3)
    return lexicon, topology.context_dependent(states), states.pdfs


def all_paths(graph, num_frames):
    """Pdf strings and words of every path of a graph, with the scores of each."""
    arcs = graph.fsa
    values, scores = arcs.arcs.values().tolist(), arcs.scores.tolist()
    leaving = defaultdict(list)
    for (src, dst, label, _), score, words in zip(
        values, scores, arcs.aux_labels.tolist(), strict=True
    ):
        leaving[src].append((dst, label, tuple(w for w in words if w > 0), score))
    found, stack = defaultdict(list), [(0, (), (), 0.0)]
    while stack:
        state, pdfs, words, total = stack.pop()
        for dst, label, written, score in leaving[state]:
            if label == -1 and len(pdfs) == num_frames:
                found[pdfs, words + written].append(total + score)
            elif label >= 0 and len(pdfs) < num_frames:
                stack.append((dst, (*pdfs, label), words + written, total + score))
    return found


def all_sentences(G, num_frames, columns, words, silence_prob=None):
    """The same by definition: sentences, optional silences, contexts and durations."""
    expected = defaultdict(list)
    for count in range(num_frames // 3 + 1):
        for sentence in itertools.product(PHONES, repeat=count):
            places = range(count + 1) if silence_prob else ()
            for size in range(len(places) + 1):
                for silences in itertools.combinations(places, size):
                    prior = G.log_prob(sentence)
                    if silence_prob:
                        prior += size * math.log(silence_prob)
                        prior += (count + 1 - size) * math.log(1 - silence_prob)
                    ids = tuple(words[word] for word in sentence)
                    phones = spoken(sentence, silences)
                    if not phones:
                        continue
                    for pdfs, _, score in pdf_strings(phones, num_frames, columns):
                        expected[pdfs, ids].append(prior + score)
    return expected


@pytest.mark.parametrize("silence", [False, True])
def test_all_paths_of_h_c_l_g_are_those_of_the_definition(recipe, tmp_path, silence):
    lexicon, H, columns = with_silence(recipe, tmp_path)
    if not silence:
        lexicon = Lexicon([(word, tuple(p.split())) for word, p in PHONES.items()])
        H, columns = topology.make_topology(recipe, lexicon)
    random = np.random.default_rng(3)
    G = Bigram(random.dirichlet(np.ones(4), size=4), list(PHONES))
    graph = compile_hlg(H, lexicon, G.arcs(lexicon.words), columns=columns)
    num_frames = 7 if silence else 9
    found = all_paths(graph, num_frames)
    words = {word: lexicon.words[word] for word in PHONES}
    expected = all_sentences(G, num_frames, columns, words, 0.3 if silence else None)
    if not silence:
        assert len(expected) == 3 * 28 + 9 * 56 + 27  # C(8, 2), C(8, 5) and C(8, 8) durations
    assert found.keys() == expected.keys()
    for key, scores in expected.items():
        assert sorted(found[key]) == pytest.approx(sorted(scores), abs=1e-3)


def test_token_passing_finds_the_best_path_with_its_words_and_phones(recipe, tmp_path):
    lexicon, H, columns = with_silence(recipe, tmp_path)
    G = Bigram(np.full((4, 4), 0.25), list(PHONES))
    graph = compile_hlg(H, lexicon, G.arcs(lexicon.words), columns=columns)
    names = {lexicon.words[word]: word for word in PHONES}
    for seed in range(5):
        frames = random_log_probs(7, len(columns), seed)
        posteriors = Posteriors(frames[None].float(), torch.tensor([7]), 0.01, columns)
        options = SearchOptions(search_beam=1e3, output_beam=1e3, floor=0.0, engine="fst")
        path = decode(graph, posteriors, options).best_path()[0]
        expected = all_sentences(G, 7, columns, {w: i for i, w in names.items()}, 0.3)
        best = {
            key: max(scores) + sum(frames[t, pdf].item() for t, pdf in enumerate(key[0]))
            for key, scores in expected.items()
        }
        winner = max(best, key=best.__getitem__)
        assert path.score == pytest.approx(best[winner], abs=1e-3)
        assert path.text.split() == [names[word] for word in winner[1]]
        durations = {
            (tuple(phones), durations)
            for size in range(len(winner[1]) + 2)
            for silences in itertools.combinations(range(len(winner[1]) + 1), size)
            for phones in [spoken(path.text.split(), silences)]
            for pdfs, durations, _ in pdf_strings(phones, 7, columns)
            if pdfs == winner[0]
        }
        got = (
            tuple(name for name, *_ in path.tokens),
            tuple(end - begin for _, begin, end in path.tokens),
        )
        assert got in durations


def test_losses_and_alignments_sum_over_the_pdfs_in_context(recipe, tmp_path):
    lexicon, H, columns = with_silence(recipe, tmp_path)
    frames = random_log_probs(10, len(columns), 1).numpy().astype(np.float64)
    paths, scores = [], []
    for size in range(4):
        for silences in itertools.combinations(range(3), size):
            prior = size * math.log(0.3) + (3 - size) * math.log(0.7)
            phones = spoken(["hat", "cat"], silences)
            for pdfs, _, score in pdf_strings(phones, 10, columns):
                paths.append(pdfs)
                scores.append(prior + score + sum(frames[t, pdf] for t, pdf in enumerate(pdfs)))
    total, _ = TranscriptGraphs(H, lexicon).of("hat cat").path_sum(frames, gradient=False)
    assert total == pytest.approx(log_sum(scores), abs=1e-4)
    posteriors = Posteriors(
        torch.from_numpy(frames).float()[None], torch.tensor([10]), 0.01, columns
    )
    labels = Aligner(H, lexicon, columns).labels(posteriors, "hat cat")
    best = max(zip(scores, paths, strict=True))[1]
    assert tuple(labels.tolist()) == best


def test_a_graph_folder_keeps_h_c_and_notices_a_changed_tree(recipe, tmp_path, root):
    text = recipe.path.read_text().replace("../lang", str(root / "lang"))
    (tmp_path / "tree.txt").write_text((root / "lang/cat_hat/tree.txt").read_text())
    tree = str(root / "lang/cat_hat/tree.txt")
    (tmp_path / "mine.toml").write_text(text.replace(tree, "tree.txt"))
    mine = Recipe.read(tmp_path / "mine.toml")
    graph = DecodingGraph.load(build(mine))
    assert graph.topology == "hmm"
    assert " ".join(graph.columns) == "<eps> k d n h_1 h_2 ae_1 ae_2 ae_3 t_1 t_2 t_3"
    fresh, columns = topology.make_topology(mine, graph.lexicon)
    assert columns == graph.columns
    H = graph.views.make_topology()
    assert np.array_equal(H.ilabel, Arcs.from_k2(fresh).ilabel)
    keys = graph.meta["keys"]
    tree = (tmp_path / "tree.txt").read_text()
    (tmp_path / "tree.txt").write_text(tree.replace("t_3", "t_2"))
    stages = []
    report = Report(stage=stages.append)
    graph = DecodingGraph.load(build(mine, report=report))
    assert graph.columns[-1] == "t_2"
    assert not [stage for stage in stages if stage.name.startswith("L read")]
    assert graph.meta["keys"]["lg"] == keys["lg"] != graph.meta["keys"]["graph"] != keys["graph"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("k 0 * *", "has 4 fields"),
        ("k 1 * * k", "state '1' is not from 0 to 0"),
        ("t 0 foo * t", "'foo' is neither a phone nor a set"),
        ("set k = t", "a set cannot be named 'k'"),
        ("set stop = foo", "a set cannot be named 'stop'"),
        ("set more = foo", "'foo' is neither a phone nor a set"),
        ("<eps> 0 * * x", "'<eps>' is not a phone"),
        ("k 0 ae * k_2", "never decides"),
        ("x 0 ae * x", "has no line for state 0 of x after <eps>"),
    ],
)
def test_a_faulty_line_of_a_table_is_named(recipe, tmp_path, line, message):
    tree = tmp_path / "tree.txt"
    text = (recipe.path.parent / recipe.topology.tree).read_text()
    tree.write_text(text + line + "\n")
    phones = ["<eps>", "ae", "d", "h", "k", "n", "t"]
    with pytest.raises(GraphError, match=r"tree\.txt") as error:
        TiedStates.read(tree, phones, 1, 3)
    assert message in str(error.value)
    assert "has no line" in message or error.value.line == len(text.splitlines()) + 1


def test_context_2_takes_left_contexts_alone(recipe, tmp_path):
    phones = ["<eps>", "ae", "d", "h", "k", "n", "t"]
    with pytest.raises(GraphError, match="right context, which needs"):
        TiedStates.read(recipe.path.parent / recipe.topology.tree, phones, 1, 2)
    tree = tmp_path / "tree.txt"
    tree.write_text("".join(f"{p} 0 ae,d&d * {p}_1\n{p} 0 * * {p}_2\n" for p in phones[1:]))
    states = TiedStates.read(tree, phones, 1, 2)
    assert states.table.shape == (7, 1, 7, 1)
    assert states.table[phones.index("k"), 0, :, 0].tolist() == [8, 8, 7, 8, 8, 8, 8]


def test_phones_that_the_lexicon_lacks_are_skipped(recipe):
    phones = ["<eps>", "ae", "h", "t"]
    states = TiedStates.read(recipe.path.parent / recipe.topology.tree, phones, 1, 3)
    assert states.table.shape == (4, 1, 4, 4)
    assert states.pdfs[states.table[2, 0, 1, 0]] == "h_1"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("context = 3", "", "has one of context and tree"),
        ('tree = "../lang/cat_hat/tree.txt"', "", "has one of context and tree"),
        ("context = 3", "context = 4", "context must be one of 1, 2, 3"),
        ('kind = "hmm"', 'kind = "ctc"', "has no pdfs in context"),
    ],
)
def test_context_and_tree_go_together(recipe, tmp_path, old, new, message):
    (tmp_path / "mine.toml").write_text(recipe.path.read_text().replace(old, new))
    with pytest.raises(GraphError, match=message):
        Recipe.read(tmp_path / "mine.toml")
