"""Grammars against enumeration: their sentences, the probabilities of these, and errors.

The reference interprets random expressions by the documented probabilities, as distributions over
sentences of at most ``LONGEST`` words, without any automaton.
"""

from __future__ import annotations

import math
import random
import time
from collections import defaultdict
from itertools import product
from pathlib import Path

import k2
import kaldifst
import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from asr_hlg import grammar
from asr_hlg.errors import AsrHlgError, GrammarError
from asr_hlg.fst import symbols
from asr_hlg.lexicon import Lexicon
from tests.support.examples import examples

LONGEST = 3
WORDS = symbols.table([symbols.EPS, "a", "b", "c", "d", "call", "alice", "bob", "now", "#0"])
LANG = Path(__file__).resolve().parents[2] / "lang"


# expressions: ("word", w) ("seq", items) ("alt", [(weight, option)]) ("opt", x) ("*", x) ("+", x)


def joined(left: dict, right: dict) -> dict:
    result: dict = defaultdict(float)
    for (x, p), (y, q) in product(left.items(), right.items()):
        if len(x) + len(y) <= LONGEST:
            result[x + y] += p * q
    return result


def distribution(node) -> dict[tuple[str, ...], float]:
    """The probability of every sentence of at most LONGEST words."""
    kind, content = node
    if kind == "word":
        return {(content,): 1.0}
    if kind == "seq":
        result: dict = {(): 1.0}
        for item in content:
            result = joined(result, distribution(item))
        return result
    if kind == "alt":
        total = sum(weight for weight, _ in content)
        result = defaultdict(float)
        for weight, option in content:
            for sentence, p in distribution(option).items():
                result[sentence] += p * weight / total
        return result
    if kind == "opt":
        return distribution(("alt", [(1, content), (1, ("seq", []))]))
    once = distribution(content)
    times: dict = {(): 1.0} if kind == "*" else once
    result = defaultdict(float)
    for _ in range(60):  # 2^-60 is left
        for sentence, p in times.items():
            result[sentence] += p / 2
        times = {s: p / 2 for s, p in joined(times, once).items()}
    return result


def written(node) -> str:
    """The expression in either notation."""
    kind, content = node
    if kind == "word":
        return content
    if kind == "seq":
        return " ".join(written(item) for item in content) if content else "<NULL>"
    if kind == "alt":
        options = (f"/{w}/ {written(x)}" if w != 1 else written(x) for w, x in content)
        return f"( {' | '.join(options)} )"
    if kind == "opt":
        return f"[{written(content)}]"
    return f"({written(content)}){kind}"


def expressions():
    word = st.sampled_from("abc").map(lambda w: ("word", w))
    weight = st.sampled_from([1, 1, 1, 0.25, 3])

    def larger(inner):
        return st.one_of(
            st.lists(inner, max_size=3).map(lambda items: ("seq", items)),
            st.lists(st.tuples(weight, inner), min_size=1, max_size=3).map(lambda o: ("alt", o)),
            st.tuples(st.sampled_from(["opt", "*", "+"]), inner),
        )

    return st.recursive(word, larger, max_leaves=6)


def probabilities(arcs) -> dict[tuple[str, ...], float]:
    """Every sentence of at most LONGEST words that an automaton accepts, by walking it."""
    leaving = defaultdict(list)
    for s, d, label, score in zip(arcs.src, arcs.dst, arcs.ilabel, arcs.score, strict=True):
        leaving[int(s)].append((int(d), WORDS[int(label)], float(score)))
    result: dict = defaultdict(float)
    pending = [(0, (), 0.0)]
    while pending:
        state, sentence, score = pending.pop()
        if np.isfinite(arcs.final[state]):
            result[sentence] += math.exp(score + arcs.final[state])
        if len(sentence) < LONGEST:
            pending += [(d, (*sentence, w), score + p) for d, w, p in leaving[state]]
    return result


def assert_same(found: dict, expected: dict, relative: float = 1e-4) -> None:
    expected = {sentence: p for sentence, p in expected.items() if p > 0}
    assert set(found) == set(expected)
    for sentence, p in expected.items():
        assert found[sentence] == pytest.approx(p, rel=relative, abs=1e-5), sentence


def assert_stochastic_and_deterministic(arcs) -> None:
    leaving = np.bincount(arcs.src, np.exp(arcs.score), minlength=arcs.num_states)
    np.testing.assert_allclose(leaving + np.exp(arcs.final), 1, atol=1e-5)
    key = arcs.src.astype(np.int64) * 1000 + arcs.ilabel
    assert (np.diff(key) > 0).all()
    assert (arcs.ilabel > 0).all()


@given(expressions())
@example(("*", ("*", ("word", "a"))))
@example(("+", ("opt", ("seq", [("word", "a"), ("opt", ("word", "b"))]))))
@examples(300)
def test_random_expressions(node):
    expected = distribution(node)
    if not set("abc") & set(written(node)):
        with pytest.raises(GrammarError):
            grammar.to_arcs(written(node), WORDS)
        return
    arcs = grammar.to_arcs(written(node), WORDS)
    assert_stochastic_and_deterministic(arcs)
    # ambiguous repetitions are approximate
    assert_same(probabilities(arcs), expected, relative=1e-2)


@given(st.lists(expressions(), min_size=1, max_size=4), st.randoms())
@examples(100)
def test_references_to_rules(nodes, source):
    # each rule may use the ones before it
    rules, jsgf = [], ["#JSGF V1.0;", "grammar g;"]
    for i, node in enumerate(nodes):
        if i and source.random() < 0.7:
            used = source.randrange(i)
            node = ("seq", [("word", f"<r{used}>"), node])
            nodes[i] = ("seq", [nodes[used], nodes[i]])
        rules.append(f"<r{i}> = {written(node)} ;")
        jsgf.append(f"{'public ' if i == len(nodes) - 1 else ''}<r{i}> =\n{written(node)};")
    expected = distribution(nodes[-1])
    assume(set("abc") & set(written(nodes[-1])))
    compact = grammar.to_arcs("\n".join([*rules, f"<r{len(nodes) - 1}>"]), WORDS)
    assert_same(probabilities(compact), expected, relative=1e-2)
    again = grammar.to_arcs("\n".join(jsgf), WORDS)
    assert_same(probabilities(again), expected, relative=1e-2)


def sentences_of(text: str) -> dict[tuple[str, ...], float]:
    return probabilities(grammar.to_arcs(text, WORDS))


def test_commands_by_hand():
    found = sentences_of("call (alice | bob) [now]")
    expected = {
        ("call", "alice"): 1 / 4,
        ("call", "alice", "now"): 1 / 4,
        ("call", "bob"): 1 / 4,
        ("call", "bob", "now"): 1 / 4,
    }
    assert_same(found, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/3/ a | b", {"a": 0.75, "b": 0.25}),
        ("/3/ a\nb", {"a": 0.75, "b": 0.25}),
        ("a | b\nc", {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}),
        ("(a | b)\nc", {"a": 1 / 4, "b": 1 / 4, "c": 1 / 2}),
        ("a | a | b", {"a": 2 / 3, "b": 1 / 3}),
        ("/0/ a | b", {"b": 1.0}),
        ("a+", {"a": 1 / 2, "a a": 1 / 4, "a a a": 1 / 8}),
        ("a b*", {"a": 1 / 2, "a b": 1 / 4, "a b b": 1 / 8}),
        ("(/0.9/ a | /0.1/ <NULL>) b", {"a b": 0.9, "b": 0.1}),
        ("a <VOID> | b", {"b": 1.0}),
        ("a [<VOID>]", {"a": 1.0}),
        ('"a b" "c"', {"a b c": 1.0}),
        ("a // b\n/* c\n */ /1e0/ b", {"a": 0.5, "b": 0.5}),
        ("a {x = 1;}\n", {"a": 1.0}),
        ("(a |\n b\n) c", {"a c": 0.5, "b c": 0.5}),
        ("a\n| b ; c", {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}),
        ("<x> =\n a\n | b ;\n<x> c", {"a c": 0.5, "b c": 0.5}),
        ("public <x> = a | /3/ b", {"a": 0.25, "b": 0.75}),
        ("public <x> = a\npublic <y> = b", {"a": 0.5, "b": 0.5}),
        ("\ufeffa\r\nb\r\n", {"a": 0.5, "b": 0.5}),
        ("#JSGF V1.0 UTF-8 en;\ngrammar my.g;\npublic <x> = a {t} | b;", {"a": 0.5, "b": 0.5}),
        ("#JSGF V1.0;grammar g;public<x>=<y>;<y>=[a]b;", {"a b": 0.5, "b": 0.5}),
        ("#JSGF V1.0; grammar g; public <x> = <g.y>; <y> = a | /3/ b;", {"a": 0.25, "b": 0.75}),
        ("#JSGF V1.0; grammar p.g; import <p.g.*>; <g.y> = a; public <x> = <p.g.y>;", {"a": 1.0}),
        ('["a b", "c"]', {"a b": 0.5, "c": 0.5}),
        (' [\n"a  b", "a b"]\n', {"a b": 1.0}),
        ('{"phrase_list": ["a b", "c"], "words": true}', {"a b": 0.5, "c": 0.5}),
        ('\ufeff{"config": {"phrase_list": ["a"]}}\r\n', {"a": 1.0}),
        ("#JSGF V1.0; grammar g; /** doc */ public <x> = a; public <y> = b;", {"a": 0.5, "b": 0.5}),
    ],
)
def test_notation(text, expected):
    assert_same(
        sentences_of(text), {tuple(sentence.split()): p for sentence, p in expected.items()}
    )


@pytest.mark.parametrize("text", ['["a", "[unk]"]', '["a", "<UNK>"]', "a\n[UNK]", "a [unk]"])
def test_any_speech_has_one_name(text):
    assert set(grammar.vocabulary(text)) == {"a", "[unk]"}


@pytest.mark.parametrize(
    ("recursive", "repeated"),
    [
        ("<x> = b <x> | a\n<x>", "b* a"),
        ("<x> = [<x>] | a\n<x>", "/2/ a | /1/ <NULL>"),
        ("<y> = a <z>\n<z> = [b <y>]\n<y>", "a (b a)*"),
        ("<x> = a | b <x>\nc <x> now", "c b* a now"),
        ("<x> = a | b <x>\n<x> c <x>", "b* a c b* a"),
        ("<x> = <d> | <d> now <x>\n<d> = a | b\n<x>", "((a | b) now)* (a | b)"),
        ("<x> = a <y>\n<y> = b <z> | c\n<z> = <x> | now <y>\n<x>", "a (b (a | now))* c"),
    ],
)
def test_rules_that_end_in_themselves(recursive, repeated):
    assert_same(sentences_of(recursive), sentences_of(repeated))


def test_a_rule_that_never_ends():
    with pytest.raises(GrammarError, match="accepts no words"):
        grammar.compile("<x> = a <x>\n<x>", WORDS)
    assert_same(sentences_of("<x> = a <x>\n<x> | b"), {("b",): 1.0})


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("call (alice", 1, 12, "expected ')'"),
        ("call\ncall alice)", 2, 11, "unexpected ')'"),
        ("call [alice)", 1, 12, "expected ']'"),
        ("a |", 1, 4, "expected a word"),
        ("a\n( | b)", 2, 3, "expected a word"),
        ("a ()", 1, 4, "expected a word"),
        ("a /2/ b", 1, 3, "unexpected '/2/'"),
        ("a++", 1, 3, "unexpected '+'"),
        ("+", 1, 1, "before '+'"),
        ("a /b/", 1, 3, "neither a weight"),
        ("a /0.5\x1e/", 1, 3, "neither a weight"),
        ("/1e99/ a", 1, 1, "between 1e-9 and 1e9"),
        ("/0/ a", 1, 6, "weight 0"),
        ('call "alice', 1, 6, "not closed"),
        ("call {alice", 1, 6, "not closed"),
        ("call\n /* alice", 2, 2, "not closed"),
        ("call < x >", 1, 6, "without blanks"),
        ("a > b", 1, 3, "unexpected '>'"),
        ("a = b", 1, 3, "unexpected '='"),
        ("a\n  <x> <y>", 2, 3, "undefined rules: <x>, <y>"),
        ("<x> = a\n<x> = b\n<x>", 2, 1, "defined twice"),
        ("<NULL> = a\nb", 1, 1, "defined twice"),
        ("<x> = a", 1, 8, "accepts no sentence"),
        ("", 1, 1, "accepts no sentence"),
        ("<x> = a\n<y> = <x> <z>\n<z> = [<y>] b\n<y>", 3, 8, "rule <y> contains itself before"),
        ("<x> = <x> b | a\n<x>", 1, 7, "rule <x> contains itself before"),
        ("<x> = a | (b <x>)+\n<x>", 1, 14, "rule <x> contains itself before"),
        ('["a", "b"', 1, 10, "JSON list of phrases"),
        ('["a", 1]', 1, 1, "1 is not a phrase"),
        ('["a", " "]', 1, 1, '" " is not a phrase'),
        ("[]", 1, 1, "accepts no sentence"),
        ('{"words": true}', 1, 1, "no phrase_list"),
        ('{"config": 1}', 1, 1, "no phrase_list"),
        ("['a', 'b']", 1, 1, "double quotes"),
        ("#ABNF 1.0;\n$a = b;", 1, 1, "is ABNF of SRGS"),
        ('<?xml version="1.0"?>\n<grammar/>', 1, 1, "is XML of SRGS"),
        ("call dave\nand eve now\n dave", 1, 6, "not in the vocabulary: dave, and, eve"),
        ("a #0", 1, 3, "not in the vocabulary: #0"),
        ("a\n" + "(" * 60 + "a" + ")" * 60, 2, 51, "nested more than"),
        ("#JSGF V1.0\ngrammar g", 1, 1, "must end with ';'"),
        ("#JSGF V1.0;\npublic <x> = a;", 2, 1, "expected 'grammar NAME;'"),
        ("#JSGF V1.0;\ngrammar g;\nimport <h.*>;", 3, 8, "<h.*> is a rule of another grammar"),
        ("#JSGF V1.0;\ngrammar g;\npublic <x> = <h.x>;", 3, 14, "undefined rules: <h.x>"),
        ("#JSGF V1.0;\ngrammar g;\npublic <x> = a", 3, 15, "expected ';'"),
        ("#JSGF V1.0;\ngrammar g;\n<x> = a;", 3, 9, "accepts no sentence"),
        ("#JSGF V1.0;\ngrammar g;\nx = a;", 3, 1, "expected a rule <name>"),
    ],
)
def test_errors_have_line_and_column(text, line, column, message):
    with pytest.raises(GrammarError) as caught:
        grammar.compile(text, WORDS, path="some.txt")
    assert message in caught.value.message
    assert (caught.value.path, caught.value.line) == ("some.txt", line)
    assert f"column {column}:" in caught.value.message


@pytest.mark.parametrize("text", ["<VOID>", "<NULL>", "[<NULL>]*", "a <VOID>", "(<NULL>)+"])
def test_grammars_without_words(text):
    with pytest.raises(GrammarError, match="no words"):
        grammar.compile(text, WORDS)


def test_explosions_are_refused():
    doubling = "\n".join(f"<r{i}> = <r{i - 1}> <r{i - 1}>" for i in range(1, 40))
    with pytest.raises(GrammarError, match="expands to more than"):
        grammar.compile(f"<r0> = a\n{doubling}\n<r39>", WORDS)
    chain = "\n".join(f"<r{i}> = <r{i - 1}>" for i in range(1, 3000))
    with pytest.raises(GrammarError, match="nests"):
        grammar.compile(f"<r0> = a\n{chain}\n<r2999>", WORDS)


def test_ambiguous_repetitions_end_and_keep_their_sentences():
    # after n times a, the odds of the two halves are 1 : 2^n; no finite automaton has them all
    text = "a+ b | (a | c)+ d"
    arcs = grammar.to_arcs(text, WORDS)
    assert arcs.num_states < 100
    assert_stochastic_and_deterministic(arcs)
    one, other = ("word", "a"), ("alt", [(1, ("word", "a")), (1, ("word", "c"))])
    left = ("seq", [("+", one), ("word", "b")])
    right = ("seq", [("+", other), ("word", "d")])
    assert_same(probabilities(arcs), distribution(("alt", [(1, left), (1, right)])))


def test_acceptor_for_k2():
    fsa = grammar.compile("call (alice | bob) [now]", WORDS)
    assert not hasattr(fsa, "aux_labels")
    assert fsa.labels_sym is WORDS
    assert fsa.properties & k2.fsa_properties.ARC_SORTED_AND_DETERMINISTIC
    total = k2.create_fsa_vec([fsa]).get_tot_scores(use_double_scores=True, log_semiring=True)
    assert float(total) == pytest.approx(0, abs=1e-5)


def phrases(num: int) -> list[tuple[str, ...]]:
    source = random.Random(1)
    return sorted({tuple(source.choices("abcd", k=source.randint(3, 8))) for _ in range(num)})


def test_phrase_lists_equal_openfsts_determinization():
    listed = phrases(200)
    text, state = "", 1
    cost = math.log(len(listed))
    for phrase in listed:
        ids = [WORDS[word] for word in phrase]
        path = [0, *range(state, state + len(ids))]
        text += f"0 {path[1]} {ids[0]} {ids[0]} {cost}\n"
        text += "".join(f"{path[i]} {path[i + 1]} {ids[i]} {ids[i]}\n" for i in range(1, len(ids)))
        text += f"{path[-1]}\n"
        state += len(ids)
    theirs = kaldifst.determinize(kaldifst.compile(text))
    ours = grammar.to_arcs("\n".join(" ".join(phrase) for phrase in listed), WORDS)
    assert ours.num_states <= theirs.num_states
    table = {
        (int(s), int(label)): (int(d), float(p))
        for s, d, label, p in zip(ours.src, ours.dst, ours.ilabel, ours.score, strict=True)
    }
    for phrase in listed:
        state, total = 0, 0.0
        for word in phrase:
            state, score = table[state, WORDS[word]]
            total += score
        line = kaldifst.make_linear_acceptor([WORDS[word] for word in phrase])
        best = kaldifst.shortest_path(kaldifst.compose(line, theirs))
        _, _, _, weight = kaldifst.get_linear_symbol_sequence(best)
        assert total + float(ours.final[state]) == pytest.approx(-weight.value, abs=1e-3)


def test_time_grows_with_the_number_of_phrases_not_its_square():
    words = symbols.table([symbols.EPS, *(f"w{i}" for i in range(500)), "#0"])

    def seconds(num_phrases: int) -> float:
        source = random.Random(0)
        text = "\n".join(
            " ".join(f"w{source.randrange(500)}" for _ in range(source.randint(2, 8)))
            for _ in range(num_phrases)
        )
        text += "\nw0 <any>+\n<any> = " + " | ".join(f"w{i}" for i in range(500))
        begin = time.process_time()
        fsa = grammar.compile(text, words)
        assert fsa.num_arcs > num_phrases
        return time.process_time() - begin

    # a quadratic algorithm would need 64 times as long, on any machine
    assert seconds(8000) < 32 * min(seconds(1000) for _ in range(3))


PIECES = ["a", "call", "zebra", "<x>", "<NULL>", "<VOID>", "/2/", "(", ")", "[", "]", "*", "+"]
PIECES += ["|", "=", ";", "\n", '"', "{t}", "//", "/*", "*/", "public", "import", "#JSGF V1.0;"]
PIECES += ["grammar g;", "<x> = a", "é", "\\", "/", "<"]


@given(st.lists(st.sampled_from(PIECES), max_size=15).map(" ".join) | st.text(max_size=30))
@examples(500)
def test_any_text(text):
    try:
        arcs = grammar.to_arcs(text, WORDS)
    except AsrHlgError:
        return
    assert_stochastic_and_deterministic(arcs)


def test_digit_grammars():
    lexicon = Lexicon.read(LANG / "digits" / "lexicon.txt")
    one = grammar.to_arcs((LANG / "digits" / "grammar.txt").read_text(), lexicon.words)
    assert one.num_arcs == 10
    np.testing.assert_allclose(np.exp(one.score), 0.1, rtol=1e-5)
    loop = grammar.to_arcs((LANG / "digits" / "loop.txt").read_text(), lexicon.words)
    assert loop.num_arcs == 20
    assert np.isneginf(loop.final[0])
