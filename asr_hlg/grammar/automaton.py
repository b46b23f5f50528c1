"""From the rules of a grammar to a deterministic automaton whose scores are probabilities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter

import numpy as np

from asr_hlg.errors import GrammarError
from asr_hlg.fst.arcs import Arcs
from asr_hlg.grammar.syntax import NOTHING, Choice, Node, Reference, Repeat, Rules, Sequence, Word

_CONTINUE = 0.5  # the chance that a repetition goes on
_MAX_WORDS = 1_000_000  # once every <rule> is replaced by what it says
_MAX_DEPTH = 150  # of what contains what; expansion recurses
_DIGITS = (6, 3, 2, 1, None)  # to which beliefs are told apart, see _determinize


def words_of(grammar: Rules) -> Iterator[Word]:
    """Every word of every rule, in the order of the text."""
    for node in (*grammar.rules.values(), grammar.root):
        yield from (leaf for leaf in _leaves(node) if isinstance(leaf, Word))


def to_arcs(grammar: Rules, word_ids: Callable[[str], int]) -> Arcs:
    """Compile rules; see :func:`asr_hlg.grammar.compile` for what the scores are.

    Parameters
    ----------
    grammar : Rules
    word_ids : callable
        From a word to its label.

    Returns
    -------
    Arcs
        An acceptor, deterministic, without ε, sorted by label.

    Raises
    ------
    GrammarError
        For undefined and recursive rules, and for a grammar that says nothing or too much.
    """
    rules = _simplified(grammar)
    builder = _Builder(word_ids, rules)
    builder.emit(rules[""], 0, 1, 1.0)
    builder.remove_epsilons()
    limit = 10 * len(builder.words) + 1000
    for digits in _DIGITS:
        arcs = _determinize(builder, digits, _MAX_WORDS if digits is None else limit)
        if arcs is not None:
            return arcs
    raise GrammarError(
        f"the grammar needs more than {_MAX_WORDS:,} states",
        remedy="say apart what differs only many words later",
    )


def _leaves(node: Node) -> Iterator[Word | Reference]:
    pending = [node]
    while pending:
        node = pending.pop()
        if isinstance(node, Word | Reference):
            yield node
        elif isinstance(node, Repeat):
            pending.append(node.body)
        elif isinstance(node, Sequence):
            pending.extend(reversed(node.items))
        else:
            pending.extend(option for _, option in reversed(node.options))


def _simplified(grammar: Rules) -> dict[str, Node]:
    """The rules and, under the empty name, the root; without what cannot be said.

    The weights of every choice add up to one afterwards.
    """
    named: dict[str, Node] = {**grammar.rules, "": grammar.root}
    result: dict[str, Node] = {}
    size: dict[str, tuple[int, int]] = {}
    for name in _in_order(named):
        shown = f"rule <{name}>" if name else "the grammar"
        node = _possible(named[name], result)
        if node is None:
            continue
        result[name] = node
        size[name] = num_words, depth = _size(node, size)
        if num_words > _MAX_WORDS:
            raise GrammarError(f"{shown} expands to more than {_MAX_WORDS:,} words")
        if depth > _MAX_DEPTH:
            raise GrammarError(f"{shown} nests rules and brackets more than {_MAX_DEPTH} deep")
    if not size.get("", (0, 0))[0]:
        raise GrammarError("the grammar has no words that can be said")
    return result


def _in_order(named: dict[str, Node]) -> list[str]:
    """The names, each after those that it refers to."""
    references = {
        name: [leaf for leaf in _leaves(node) if isinstance(leaf, Reference)]
        for name, node in named.items()
    }
    undefined = [r for found in references.values() for r in found if r.name not in named]
    if undefined:
        names = ", ".join(f"<{name}>" for name in dict.fromkeys(r.name for r in undefined))
        raise undefined[0].place.error(f"undefined rules: {names}")
    graph = {name: {r.name for r in found} for name, found in references.items()}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as cycle:
        loop = cycle.args[1][::-1]
        place = next(r.place for r in references[loop[0]] if r.name == loop[1])
        raise place.error(
            f"rule <{loop[0]}> contains itself: {' → '.join(f'<{name}>' for name in loop)}",
            "say repetitions with + or *: other recursion makes no finite graph",
        ) from None


def _possible(node: Node, rules: dict[str, Node]) -> Node | None:
    """A node without impossible options and with weights that add up to one."""
    if isinstance(node, Word):
        return node
    if isinstance(node, Reference):
        return node if node.name in rules else None
    if isinstance(node, Repeat):
        body = _possible(node.body, rules)
        if body is None:
            return None if node.at_least else NOTHING
        return Repeat(body, node.at_least)
    if isinstance(node, Sequence):
        items = [_possible(item, rules) for item in node.items]
        kept = tuple(item for item in items if item is not None)
        return Sequence(kept) if len(kept) == len(items) else None
    options = [(weight, _possible(option, rules)) for weight, option in node.options if weight]
    total = sum(weight for weight, option in options if option is not None)
    shares = tuple((weight / total, option) for weight, option in options if option is not None)
    return Choice(shares) if shares else None


def _size(node: Node, rules: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """How many words a node has when expanded, and how deeply it is nested."""
    if isinstance(node, Word):
        return 1, 1
    if isinstance(node, Reference):
        num_words, depth = rules[node.name]
        return num_words, depth + 1
    parts: list[Node] = []
    if isinstance(node, Repeat):
        parts = [node.body]
    elif isinstance(node, Sequence):
        parts = list(node.items)
    else:
        parts = [option for _, option in node.options]
    sizes = [_size(part, rules) for part in parts]
    return sum(s for s, _ in sizes), 1 + max((d for _, d in sizes), default=0)


class _Builder:
    """A non-deterministic automaton that is being built: state 0 starts, state 1 ends.

    ``words[p][label, q]`` and ``epsilons[p][q]`` are probabilities. Those of a state add up to
    one, which removing epsilons and determinization preserve.
    """

    def __init__(self, word_ids: Callable[[str], int], rules: dict[str, Node]):
        self.word_ids = word_ids
        self.rules = rules
        self.words: list[dict[tuple[int, int], float]] = [defaultdict(float) for _ in range(2)]
        self.epsilons: list[dict[int, float]] = [defaultdict(float) for _ in range(2)]

    def state(self) -> int:
        self.words.append(defaultdict(float))
        self.epsilons.append(defaultdict(float))
        return len(self.words) - 1

    def emit(self, node: Node, source: int, target: int, weight: float) -> None:
        """Add what a node says between two states (Thompson's construction).

        Alternatives share both states, so that a repeated choice of n words has n arcs.
        """
        if isinstance(node, Word):
            self.words[source][self.word_ids(node.text), target] += weight
        elif isinstance(node, Reference):
            self.emit(self.rules[node.name], source, target, weight)
        elif isinstance(node, Choice):
            for share, option in node.options:
                self.emit(option, source, target, weight * share)
        elif isinstance(node, Sequence):
            for item in node.items[:-1]:
                between = self.state()
                self.emit(item, source, between, weight)
                source, weight = between, 1.0
            if node.items:
                self.emit(node.items[-1], source, target, weight)
            else:
                self.epsilons[source][target] += weight
        else:
            begin = self.state()
            end = self.state() if node.at_least else begin
            self.epsilons[source][begin] += weight
            self.emit(node.body, begin, end, 1.0 if node.at_least else _CONTINUE)
            if node.at_least:
                self.epsilons[end][begin] += _CONTINUE
            self.epsilons[end][target] += 1 - _CONTINUE

    def remove_epsilons(self) -> None:
        """Eliminate ε-arcs one target at a time, as Gauss does unknowns; cycles are summed.

        What is left in ``epsilons[p][1]`` is the probability of ending in state p.
        """
        entered_from = defaultdict(set)
        for p, arcs in enumerate(self.epsilons):
            for q in arcs:
                entered_from[q].add(p)
        for q in range(len(self.words)):
            if q == 1 or q not in entered_from:
                continue
            again = 1 / (1 - self.epsilons[q].pop(q, 0.0))
            for key in self.words[q]:
                self.words[q][key] *= again
            for target in self.epsilons[q]:
                self.epsilons[q][target] *= again
            for p in entered_from.pop(q) - {q}:
                weight = self.epsilons[p].pop(q)
                for label_and_target, prob in self.words[q].items():
                    self.words[p][label_and_target] += weight * prob
                for target, prob in self.epsilons[q].items():
                    self.epsilons[p][target] += weight * prob
                    entered_from[target].add(p)


def _determinize(builder: _Builder, digits: int | None, max_states: int) -> Arcs | None:
    """Merge paths with the same words, summing their probabilities.

    A state is a belief: how probable each state of the builder is after the words so far. Beliefs
    that agree to so many decimals are one state (None: that hold the same states possible).
    Most grammars have few beliefs and come out exact. Ambiguous repetitions such as ``a* a*``
    produce new ones for ever, and rounding ends that; the sentences are the same in any case,
    and the scores that leave a state still add up to one.

    Returns None where that takes more than ``max_states`` states.
    """
    beliefs = [{0: 1.0}]
    numbers: dict[tuple, int] = {}
    rows: list[tuple[int, int, int, float]] = []
    final: list[float] = []
    for state, belief in enumerate(beliefs):  # which grows on the way
        final.append(sum(prob * builder.epsilons[q].get(1, 0.0) for q, prob in belief.items()))
        final[-1] += belief.get(1, 0.0)
        ahead: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
        for q, prob in belief.items():
            for (label, target), weight in builder.words[q].items():
                ahead[label][target] += prob * weight
        for label in sorted(ahead):
            total = sum(ahead[label].values())
            if not total:
                continue  # underflow
            after = {q: prob / total for q, prob in sorted(ahead[label].items())}
            key = tuple((q, digits and round(prob, digits)) for q, prob in after.items())
            if key not in numbers:
                numbers[key] = len(beliefs)
                beliefs.append(after)
                if len(beliefs) > max_states:
                    return None
            rows.append((state, numbers[key], label, total))
    src, dst, labels, probs = (np.array(column) for column in zip(*rows, strict=True))
    with np.errstate(divide="ignore"):
        score, ends = np.log(probs).astype(np.float32), np.log(final).astype(np.float32)
    labels = labels.astype(np.int32)
    return Arcs(src.astype(np.int32), dst.astype(np.int32), labels, labels, score, ends)
