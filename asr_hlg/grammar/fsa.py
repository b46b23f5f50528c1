"""Compilation of parsed rules into a deterministic acceptor whose scores are log-probabilities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from graphlib import CycleError, TopologicalSorter

import numpy as np

from asr_hlg.errors import GrammarError
from asr_hlg.fst.arcs import Arcs
from asr_hlg.grammar.nodes import EMPTY, Choice, Node, Reference, Repeat, Rules, Sequence, Word

_CONTINUE = 0.5  # probability that a repetition continues
_MAX_WORDS = 1_000_000  # after every reference is replaced by its rule
_MAX_DEPTH = 150  # of nested rules and brackets; expansion recurses
_DIGITS = (6, 3, 2, 1, None)  # decimals of the weights in _determinize, tried in turn


def words_of(grammar: Rules) -> Iterator[Word]:
    """Every word of every rule, in the order of the text."""
    for node in (*grammar.rules.values(), grammar.root):
        yield from (leaf for leaf in _leaves(node) if isinstance(leaf, Word))


def without_words(grammar: Rules, left_out: Collection[str]) -> Rules:
    """Rules that accept the sentences without certain words only."""
    if not left_out:
        return grammar
    none = Choice(())

    def remaining(node: Node) -> Node:
        if isinstance(node, Word):
            return none if node.text in left_out else node
        if isinstance(node, Sequence):
            return Sequence(tuple(map(remaining, node.items)))
        if isinstance(node, Choice):
            return Choice(tuple((weight, remaining(option)) for weight, option in node.options))
        if isinstance(node, Repeat):
            return Repeat(remaining(node.body), node.at_least)
        return node

    root = Choice(tuple((weight, remaining(option)) for weight, option in grammar.root.options))
    return Rules({name: remaining(node) for name, node in grammar.rules.items()}, root)


def to_arcs(grammar: Rules, word_ids: Callable[[str], int]) -> Arcs:
    """Compile rules into an acceptor; :func:`asr_hlg.grammar.compile` defines the scores.

    Parameters
    ----------
    grammar : Rules
    word_ids : callable
        Maps a word to its label.

    Returns
    -------
    Arcs
        An acceptor, deterministic, without ε, sorted by label.

    Raises
    ------
    GrammarError
        For undefined rules, recursion that is not at the end of an alternative, and a grammar that
        accepts no word or is too large.
    """
    rules, component = _simplified(grammar)
    builder = _Builder(word_ids, rules, component)
    builder.add(rules[""], 0, 1, 1.0)
    builder.remove_epsilons()
    limit = 10 * len(builder.words) + 1000
    for digits in _DIGITS:
        arcs = _determinize(builder, digits, _MAX_WORDS if digits is None else limit)
        if arcs is not None:
            return arcs
    raise GrammarError(
        f"the grammar needs more than {_MAX_WORDS:,} states",
        remedy="rewrite alternatives so that they differ in their first words",
    )


def _leaves(node: Node) -> Iterator[Word | Reference]:
    """Words and references of an expression, in the order of the text."""
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


def _simplified(grammar: Rules) -> tuple[dict[str, Node], dict[str, int]]:
    """The rules and, under the empty name, the root, without expressions that accept nothing.

    The weights of every choice add up to one afterwards. The second value has the number of the
    component of each recursive rule: rules that contain each other have the same one.
    """
    named: dict[str, Node] = {**grammar.rules, "": grammar.root}
    components = _components(named)
    productive = _productive(named, components)
    result: dict[str, Node] = {}
    size: dict[str, tuple[int, int]] = {}
    for name in (name for names in components for name in names):
        shown = f"rule <{name}>" if name else "the grammar"
        node = _normalised(named[name], productive)
        if node is None:
            continue
        result[name] = node
        size[name] = num_words, depth = _size(node, size)
        if num_words > _MAX_WORDS:
            raise GrammarError(f"{shown} expands to more than {_MAX_WORDS:,} words")
        if depth > _MAX_DEPTH:
            raise GrammarError(f"{shown} nests rules and brackets more than {_MAX_DEPTH} deep")
    if not size.get("", (0, 0))[0]:
        raise GrammarError("the grammar accepts no words")
    recursive = {
        name: number
        for number, names in enumerate(components)
        for name in names
        if len(names) > 1 or any(r.name == name for r in _references(named[name]))
    }
    return result, recursive


def _references(node: Node) -> list[Reference]:
    return [leaf for leaf in _leaves(node) if isinstance(leaf, Reference)]


def _components(named: dict[str, Node]) -> list[list[str]]:
    """Names of the rules, each after the rules that it refers to.

    Rules that contain each other are together (a strongly connected component).
    """
    references = {name: _references(node) for name, node in named.items()}
    undefined = [r for row in references.values() for r in row if r.name not in named]
    if undefined:
        names = ", ".join(f"<{name}>" for name in dict.fromkeys(r.name for r in undefined))
        raise undefined[0].position.error(f"undefined rules: {names}")
    members = {name: [name] for name in named}  # the same list for all rules of a component
    while True:
        first = {name: names[0] for name, names in members.items()}
        graph: dict[str, set[str]] = {name: set() for name in first.values()}
        for name, row in references.items():
            graph[first[name]] |= {first[r.name] for r in row} - {first[name]}
        try:
            return [members[name] for name in TopologicalSorter(graph).static_order()]
        except CycleError as cycle:
            merged = [name for key in dict.fromkeys(cycle.args[1]) for name in members[key]]
            members |= dict.fromkeys(merged, merged)


def _productive(named: dict[str, Node], components: list[list[str]]) -> set[str]:
    """Rules that accept a sentence; a recursive rule needs an alternative that ends."""
    found: set[str] = set()
    for names in components:  # after those that they refer to
        more = set(names)
        while more:
            more = {
                name for name in set(names) - found if _normalised(named[name], found) is not None
            }
            found |= more
    return found


def _normalised(node: Node, rules: Collection[str]) -> Node | None:
    """An expression whose weights add up to one, without options that accept nothing.

    ``rules`` are those that accept a sentence. None if the whole expression accepts nothing.
    """
    if isinstance(node, Word):
        return node
    if isinstance(node, Reference):
        return node if node.name in rules else None
    if isinstance(node, Repeat):
        body = _normalised(node.body, rules)
        if body is None:
            return None if node.at_least else EMPTY
        return Repeat(body, node.at_least)
    if isinstance(node, Sequence):
        items = [_normalised(item, rules) for item in node.items]
        kept = tuple(item for item in items if item is not None)
        return Sequence(kept) if len(kept) == len(items) else None
    options = [(weight, _normalised(option, rules)) for weight, option in node.options if weight]
    total = sum(weight for weight, option in options if option is not None)
    shares = tuple((weight / total, option) for weight, option in options if option is not None)
    return Choice(shares) if shares else None


def _size(node: Node, rules: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Number of words of an expanded expression, and its depth of nesting."""
    if isinstance(node, Word):
        return 1, 1
    if isinstance(node, Reference):
        num_words, depth = rules.get(node.name, (0, 0))  # of a recursive rule: expanded elsewhere
        return num_words, depth + 1
    if isinstance(node, Repeat):
        sizes = [_size(node.body, rules)]
    elif isinstance(node, Sequence):
        sizes = [_size(item, rules) for item in node.items]
    else:
        sizes = [_size(option, rules) for _, option in node.options]
    return sum(s for s, _ in sizes), 1 + max((d for _, d in sizes), default=0)


class _Builder:
    """Builder of a non-deterministic acceptor with the start state 0 and the final state 1.

    ``words[p][label, q]`` and ``epsilons[p][q]`` are the probabilities of the arcs from state p
    to state q. Those of a state add up to one; epsilon removal and determinization preserve that.

    Parameters
    ----------
    word_ids : callable
    rules : dict of str to Node
    component : dict of str to int
        Of the recursive rules; see `_simplified`.
    """

    def __init__(
        self, word_ids: Callable[[str], int], rules: dict[str, Node], component: dict[str, int]
    ):
        self.word_ids = word_ids
        self.rules = rules
        self.component = component
        self._begins: dict[tuple[str, int], int] = {}  # of recursive rules, by name and target
        self._targets: dict[int, int] = {}  # of the components that are being expanded
        self.words: list[dict[tuple[int, int], float]] = [defaultdict(float) for _ in range(2)]
        self.epsilons: list[dict[int, float]] = [defaultdict(float) for _ in range(2)]

    def add_state(self) -> int:
        """Number of a new state without arcs."""
        self.words.append(defaultdict(float))
        self.epsilons.append(defaultdict(float))
        return len(self.words) - 1

    def add(self, node: Node, source: int, target: int, weight: float) -> None:
        """Add the arcs of an expression between two states (Thompson's construction).

        Alternatives share both states, so that a repeated choice of n words has n arcs.
        """
        if isinstance(node, Word):
            self.words[source][self.word_ids(node.text), target] += weight
        elif isinstance(node, Reference) and node.name in self.component:
            self.epsilons[source][self._begin(node, target)] += weight
        elif isinstance(node, Reference):
            self.add(self.rules[node.name], source, target, weight)
        elif isinstance(node, Choice):
            for share, option in node.options:
                self.add(option, source, target, weight * share)
        elif isinstance(node, Sequence):
            for item in node.items[:-1]:
                between = self.add_state()
                self.add(item, source, between, weight)
                source, weight = between, 1.0
            if node.items:
                self.add(node.items[-1], source, target, weight)
            else:
                self.epsilons[source][target] += weight
        else:
            begin = self.add_state()
            end = self.add_state() if node.at_least else begin
            self.epsilons[source][begin] += weight
            self.add(node.body, begin, end, 1.0 if node.at_least else _CONTINUE)
            if node.at_least:
                self.epsilons[end][begin] += _CONTINUE
            self.epsilons[end][target] += 1 - _CONTINUE

    def _begin(self, reference: Reference, target: int) -> int:
        """State from which a recursive rule leads to a target.

        Right recursion is regular: a rule that ends in itself has the same target again, so that
        an ε-arc back to its first state is enough.
        """
        name, component = reference.name, self.component[reference.name]
        expanded = self._targets.get(component)
        if expanded not in (None, target):
            raise reference.position.error(
                f"rule <{name}> contains itself before the end of an alternative",
                "write repetitions with + or *; only recursion at the end has a finite graph",
            )
        if (name, target) not in self._begins:
            begin = self._begins[name, target] = self.add_state()
            self._targets[component] = target
            self.add(self.rules[name], begin, target, 1.0)
            if expanded is None:
                del self._targets[component]
        return self._begins[name, target]

    def remove_epsilons(self) -> None:
        """Remove ε-arcs, the arcs into one state after the other, as in Gaussian elimination.

        The weights of ε-cycles are summed. Afterwards ``epsilons[p][1]`` is the final
        probability of state p.
        """
        sources: dict[int, set[int]] = defaultdict(set)  # of the ε-arcs into a state
        for p, arcs in enumerate(self.epsilons):
            for q in arcs:
                sources[q].add(p)
        for q in range(len(self.words)):
            if q == 1 or q not in sources:
                continue
            loops = 1 / (1 - self.epsilons[q].pop(q, 0.0))  # sum over all numbers of rounds
            for key in self.words[q]:
                self.words[q][key] *= loops
            for target in self.epsilons[q]:
                self.epsilons[q][target] *= loops
            for p in sources.pop(q) - {q}:
                weight = self.epsilons[p].pop(q)
                for label_and_target, prob in self.words[q].items():
                    self.words[p][label_and_target] += weight * prob
                for target, prob in self.epsilons[q].items():
                    self.epsilons[p][target] += weight * prob
                    sources[target].add(p)


def _determinize(builder: _Builder, digits: int | None, max_states: int) -> Arcs | None:
    """Weighted subset construction: merges paths with the same words and sums their probabilities.

    A state of the result is a weighted subset: the probability of each state of the builder
    after the words so far. Subsets whose weights agree in the first ``digits`` decimals are one
    state (None: subsets of the same states, whatever their weights). Most grammars have few
    subsets, and the result is exact. Ambiguous repetitions such as ``a* a*`` have infinitely
    many, which rounding makes finite; the accepted sentences are the same in any case, and the
    probabilities of the arcs that leave a state still add up to one.

    Returns None if that needs more than ``max_states`` states.
    """
    subsets = [{0: 1.0}]
    numbers: dict[tuple[tuple[int, float | None], ...], int] = {}
    rows: list[tuple[int, int, int, float]] = []
    final: list[float] = []
    for state, subset in enumerate(subsets):  # the loop appends to it
        final.append(sum(prob * builder.epsilons[q].get(1, 0.0) for q, prob in subset.items()))
        final[-1] += subset.get(1, 0.0)
        successors: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
        for q, prob in subset.items():
            for (label, target), weight in builder.words[q].items():
                successors[label][target] += prob * weight
        for label in sorted(successors):
            total = sum(successors[label].values())
            if not total:
                continue  # underflow
            target_subset = {q: prob / total for q, prob in sorted(successors[label].items())}
            key = tuple((q, digits and round(prob, digits)) for q, prob in target_subset.items())
            if key not in numbers:
                numbers[key] = len(subsets)
                subsets.append(target_subset)
                if len(subsets) > max_states:
                    return None
            rows.append((state, numbers[key], label, total))
    src, dst, labels, probs = (np.array(column) for column in zip(*rows, strict=True))
    with np.errstate(divide="ignore"):
        score, ends = np.log(probs).astype(np.float32), np.log(final).astype(np.float32)
    labels = labels.astype(np.int32)
    return Arcs(src.astype(np.int32), dst.astype(np.int32), labels, labels, score, ends)
