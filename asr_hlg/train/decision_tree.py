"""Decision trees of tied states, grown from Gaussian statistics of aligned frames.

Young, Odell & Woodland 1994, "Tree-based state tying for high accuracy acoustic modelling". All
contexts of a state of a phone begin in one leaf. A question about the phone on the left or right
("is it a nasal?") divides a leaf in two; of all questions of all leaves the one that raises the
likelihood most is asked first. The likelihood of a leaf is that of its frames under one Gaussian
with a diagonal covariance, so that counts, sums and sums of squares suffice. At the end leaves of
one state whose union loses little likelihood are joined again.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import OptionError
from asr_hlg.files import text_lines
from asr_hlg.train.options import TreeOptions

Floats = npt.NDArray[np.float64]
State = tuple[int, int]
"""Phone (from 1) and state (from 0)."""
Context = tuple[int, int]
"""Phones on the left and on the right; 0 is the edge of the recording."""

_FLOOR = 1e-4
"""Least variance of a Gaussian."""


@dataclass
class Gaussian:
    """Statistics of frames: their number, sum and sum of squares."""

    count: float
    sum: Floats
    squares: Floats

    def log_likelihood(self) -> float:
        """Log-likelihood of the frames under the Gaussian of their own mean and variances.

        −n/2 · Σ_d (log 2πσ_d² + 1), equation 1 of the paper with its covariance diagonal.
        """
        return float(
            _log_likelihoods(np.array([self.count]), self.sum[None], self.squares[None])[0]
        )


Statistics = Mapping[State, Mapping[Context, Gaussian]]


@dataclass(frozen=True)
class Question:
    """A set of phones, asked about the left or the right."""

    name: str
    side: int  # 0 left, 1 right
    members: frozenset[int]


@dataclass
class _Leaf:
    """Contexts that have given the same answers; ``yes`` are the questions answered with yes."""

    contexts: npt.NDArray[np.int64]  # indices into the contexts of the state
    yes: list[Question] = field(default_factory=list)
    parts: tuple[_Leaf, _Leaf] | None = None
    pdf: int = 0

    def leaves(self) -> Iterable[_Leaf]:
        """Leaves below, those with the answer yes first."""
        if self.parts is None:
            yield self
        else:
            yield from self.parts[0].leaves()
            yield from self.parts[1].leaves()


class _Root:
    """Contexts, statistics and tree of one state of a phone."""

    def __init__(self, contexts: Mapping[Context, Gaussian], questions: Sequence[Question]):
        self.questions = questions
        around = list(contexts)
        self.count = np.array([g.count for g in contexts.values()])
        self.sum = np.stack([g.sum for g in contexts.values()])
        self.squares = np.stack([g.squares for g in contexts.values()])
        self.member = np.array(
            [[c[q.side] in q.members for c in around] for q in questions], dtype=np.float64
        ).reshape(len(questions), len(around))
        self.leaf = _Leaf(np.arange(len(around)))

    def total(self, contexts: npt.NDArray[np.int64]) -> float:
        """Log-likelihood of a leaf with some contexts."""
        parts = (part[contexts].sum(0) for part in (self.count, self.sum, self.squares))
        count, sums, squares = parts
        return float(_log_likelihoods(count[None], sums[None], squares[None])[0])

    def best(self, leaf: _Leaf, min_frames: float) -> tuple[float, int]:
        """Gain and index of the best question for a leaf; ``-inf`` if none may be asked."""
        inside = leaf.contexts
        member = self.member[:, inside]
        parts = [self.count[inside, None], self.sum[inside], self.squares[inside]]
        yes = [member @ part for part in parts]
        no = [(1 - member) @ part for part in parts]
        allowed = (yes[0][:, 0] >= min_frames) & (no[0][:, 0] >= min_frames)
        if not allowed.any():
            return -np.inf, -1
        gains = _log_likelihoods(yes[0][:, 0], *yes[1:]) + _log_likelihoods(no[0][:, 0], *no[1:])
        gains = np.where(allowed, gains - self.total(inside), -np.inf)
        question = int(gains.argmax())
        return float(gains[question]), question

    def divide(self, leaf: _Leaf, question: int) -> tuple[_Leaf, _Leaf]:
        """Ask a question."""
        answers = self.member[question, leaf.contexts] > 0
        yes = _Leaf(leaf.contexts[answers], [*leaf.yes, self.questions[question]])
        leaf.parts = yes, _Leaf(leaf.contexts[~answers], leaf.yes)
        return leaf.parts

    def join(self, max_loss: float) -> None:
        """Number the pdfs of the leaves from 1; leaves whose union loses little share one."""
        leaves = list(self.leaf.leaves())
        clusters = [leaf.contexts for leaf in leaves]
        members = [[leaf] for leaf in leaves]
        while len(clusters) > 1:
            loss, a, b = min(
                (self._loss(clusters[a], clusters[b]), a, b)
                for a, b in itertools.combinations(range(len(clusters)), 2)
            )
            if loss >= max_loss:
                break
            clusters[a] = np.concatenate([clusters[a], clusters.pop(b)])
            members[a] += members.pop(b)
        for pdf, cluster in enumerate(members, start=1):
            for leaf in cluster:
                leaf.pdf = pdf

    def _loss(self, a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> float:
        return self.total(a) + self.total(b) - self.total(np.concatenate([a, b]))


def grow(
    statistics: Statistics,
    phones: Sequence[str],
    num_states: int,
    questions: Sequence[Question],
    options: TreeOptions,
    independent: Iterable[int] = (),
) -> str:
    """Grow the trees of all states.

    Parameters
    ----------
    statistics : mapping
        By state and context.
    phones : sequence of str
        Names of the phones, ``<eps>`` first.
    num_states : int
        States of a phone.
    questions : sequence of Question
        See `read_questions`.
    options : TreeOptions
    independent : iterable of int
        Phones whose pdfs do not depend on the context: silence.

    Returns
    -------
    str
        The table of :mod:`asr_hlg.graph.tied_states`. Contexts without statistics are in the leaf
        to which their answers lead.
    """
    asked = [q for q in questions if q.side == 0 or options.context == 3]
    fixed = set(independent)
    roots = {
        state: _Root(contexts, [] if state[0] in fixed else asked)
        for state, contexts in sorted(statistics.items())
        if contexts
    }
    number = itertools.count()  # decides between equal gains
    queue: list[tuple[float, int, _Root, _Leaf, int]] = []

    def push(root: _Root, leaf: _Leaf) -> None:
        gain, question = root.best(leaf, options.min_frames) if root.questions else (-np.inf, -1)
        if gain > options.min_gain:
            heapq.heappush(queue, (-gain, next(number), root, leaf, question))

    for root in roots.values():
        push(root, root.leaf)
    num_leaves = num_states * (len(phones) - 1)
    while queue and num_leaves < options.max_leaves:
        _, _, root, leaf, question = heapq.heappop(queue)
        for part in root.divide(leaf, question):
            push(root, part)
        num_leaves += 1
    return _table(roots, phones, num_states, options.min_gain)


def read_questions(
    path: Path | None, phones: Sequence[str], silence: str | None = None
) -> list[Question]:
    """Questions of a file of sets, and one for each phone, to both sides.

    Parameters
    ----------
    path : Path or None
        Lines ``set NAME = PHONES`` as in a table of tied states; phones that the lexicon lacks are
        left out.
    phones : sequence of str
        ``<eps>`` first, which is the edge of the recording.
    silence : str, optional
        It and the edge are one question, since recordings in training are often cut closely.
    """
    ids = {name: index for index, name in enumerate(phones)}
    sets = {name: frozenset([index]) for name, index in ids.items()}
    for number, line in [] if path is None else text_lines(path, OptionError):
        fields = line.split()
        if line.startswith("#"):
            continue
        if len(fields) < 4 or fields[0] != "set" or fields[2] != "=" or fields[1] in sets:
            raise OptionError(
                f"{line!r} is not a question", path=path, line=number, remedy="set NAME = PHONES"
            )
        sets[fields[1]] = frozenset(ids[name] for name in fields[3:] if name in ids)
    if silence is not None:
        pause = sets.pop(silence) | sets.pop(phones[0])
        sets[f"{silence},{phones[0]}"] = pause
    used = {name: members for name, members in sets.items() if 0 < len(members) < len(ids)}
    return [Question(name, side, used[name]) for name in used for side in (0, 1)]


def _table(
    roots: Mapping[State, _Root],
    phones: Sequence[str],
    num_states: int,
    max_loss: float,
) -> str:
    """Text of the grown trees."""
    rows: list[tuple[str, ...]] = []
    asked: dict[str, frozenset[int]] = {}
    for phone, state in itertools.product(range(1, len(phones)), range(num_states)):
        name = f"{phones[phone]}_{state}"
        root = roots.get((phone, state))
        if root is None:  # a phone that never occurs
            rows.append((phones[phone], str(state), "*", "*", name))
            continue
        root.join(max_loss)
        for leaf in root.leaf.leaves():
            asked |= {question.name: question.members for question in leaf.yes}
            sides = ["&".join(q.name for q in leaf.yes if q.side == side) for side in (0, 1)]
            one = all(each.pdf == 1 for each in root.leaf.leaves())
            pdf = name if one else f"{name}.{leaf.pdf}"
            rows.append((phones[phone], str(state), sides[0] or "*", sides[1] or "*", pdf))
    sets = [
        f"set {name} = {' '.join(phones[k] for k in sorted(members))}\n"
        for name, members in asked.items()
        if not set(name.split(",")) <= set(phones)
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    lines = (
        " ".join([*(row[k].ljust(widths[k]) for k in range(4)), row[4]]) + "\n" for row in rows
    )
    head = "# phone, state, left and right context, pdf; the first line that fits decides\n"
    return head + "".join([*sets, *lines])


def _log_likelihoods(count: Floats, sums: Floats, squares: Floats) -> Floats:
    """`Gaussian.log_likelihood` of several, ``(K,)``, ``(K, D)``, ``(K, D)``; 0 of no frames."""
    n = np.maximum(count, 1e-10)[:, None]
    variance = np.maximum(squares / n - (sums / n) ** 2, _FLOOR)
    each: Floats = -0.5 * count * (np.log(2 * np.pi * variance) + 1).sum(axis=1)
    return each
