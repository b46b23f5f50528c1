"""Monophone systems of Gaussian mixtures: training by Viterbi, and their files in Kaldi's format.

Training begins with equal parts of every recording for each state of its word (flat start), and
then repeats: estimate the mixtures, find the best path of each recording through the states.
"""

from __future__ import annotations

import kaldifst
import numpy as np

from tests.support.kaldi_files import Writer, write_transition_model

WORDS = {
    "zero": "Z IH R OW", "one": "W AH N", "two": "T UW", "three": "TH R IY", "four": "F AO R",
    "five": "F AY V", "six": "S IH K S", "seven": "S EH V AH N", "eight": "EY T", "nine": "N AY N",
}  # fmt: skip
PHONES = ["SIL", *sorted({phone for phones in WORDS.values() for phone in phones.split()})]
"""Phone n of the table is the one with the id n + 1."""

STATES = 3  # of a phone; all have the transitions of the topology below
LOOP = 0.75
FLOOR = 1e-2  # of a variance, as a part of that of all frames


def pdfs_of(word: str | None) -> list[int]:
    """Pdfs of the states of a word, or of silence."""
    phones = ["SIL"] if word is None else WORDS[word].split()
    return [STATES * PHONES.index(phone) + state for phone in phones for state in range(STATES)]


def train(utterances, num_gauss=4, passes=12):
    """Mixtures ``(weights, means, variances)`` of each pdf.

    ``utterances`` are features ``(frames, dim)`` with the word said in them, between pauses that
    may be empty.
    """
    num_pdfs = STATES * len(PHONES)
    frames = np.concatenate([features for features, _ in utterances])
    floor = FLOOR * frames.var(axis=0)
    paths = [_equal_parts(len(features), word) for features, word in utterances]
    mixtures = None
    for number in range(passes):
        labels = np.concatenate(paths)
        if mixtures is None or number == passes // 2:
            sizes = 1 if mixtures is None else num_gauss
            mixtures = [_split(frames[labels == pdf], floor, sizes) for pdf in range(num_pdfs)]
        mixtures = [
            _reestimated(mixture, frames[labels == pdf], floor)
            for pdf, mixture in enumerate(mixtures)
        ]
        paths = [_best_path(scores(features, mixtures), word) for features, word in utterances]
    return mixtures


def scores(features, mixtures):
    """Log-likelihoods ``(frames, num_pdfs)`` from the definition, float64."""
    columns = []
    for weights, means, variances in mixtures:
        distance = ((features[:, None] - means) ** 2 / variances).sum(-1)
        rows = np.log(weights) - 0.5 * (distance + np.log(2 * np.pi * variances).sum(-1))
        columns.append(np.logaddexp.reduce(rows, axis=1))
    return np.array(columns).T


def _equal_parts(count, word):
    """Pdf of each frame: silence in the first and last frames, equal parts of the word inside."""
    pause, inside = np.array(pdfs_of(None)), np.array(pdfs_of(word))
    rest = count - 2 * len(pause)
    return np.concatenate([pause, inside[np.arange(rest) * len(inside) // rest], pause])


def _split(rows, floor, size):
    """Mixture whose means lie beside the mean of the rows, along the standard deviation."""
    if len(rows) < 2:
        return np.ones(1), np.zeros((1, len(floor))), floor[None] / FLOOR
    variance = np.maximum(rows.var(axis=0), floor)
    steps = np.linspace(-0.5, 0.5, size)[:, None] if size > 1 else np.zeros((1, 1))
    means = rows.mean(axis=0) + steps * np.sqrt(variance)
    return np.full(size, 1 / size), means, np.repeat(variance[None], size, axis=0)


def _reestimated(mixture, rows, floor):
    """One step of expectation maximisation."""
    weights, means, variances = mixture
    if len(rows) < 4 * len(weights):
        return mixture
    distance = ((rows[:, None] - means) ** 2 / variances).sum(-1)
    logs = np.log(weights) - 0.5 * (distance + np.log(variances).sum(-1))
    posteriors = np.exp(logs - np.logaddexp.reduce(logs, axis=1)[:, None])
    counts = posteriors.sum(axis=0) + 1e-3
    means = posteriors.T @ rows / counts[:, None]
    squares = posteriors.T @ rows**2 / counts[:, None]
    return counts / counts.sum(), means, np.maximum(squares - means**2, floor)


def _best_path(rows, word):
    """Pdf of each frame on the best path: states in order, pauses may be left out."""
    pause, inside = pdfs_of(None), pdfs_of(word)
    pdfs = np.array([*pause, *inside, *pause])
    edge = rows[:, pdfs]
    first, last = len(pause), len(pause) + len(inside) - 1
    best = np.full(len(pdfs), -np.inf)
    best[[0, first]] = edge[0, [0, first]]
    moved = np.zeros(edge.shape, bool)
    for frame in range(1, len(edge)):
        before = np.append(-np.inf, best[:-1])
        moved[frame] = before > best
        best = np.maximum(before, best) + edge[frame]
    state = last if best[last] > best[-1] else len(pdfs) - 1
    path = []
    for frame in reversed(range(len(edge))):
        path.append(pdfs[state])
        state -= int(moved[frame, state])
    return np.array(path[::-1])


def topology() -> dict:
    """Arguments of `write_transition_model` for `PHONES` with states in a row."""
    states = [(s, s, [(s, LOOP), (s + 1, 1 - LOOP)]) for s in range(STATES)]
    tuples = [
        (phone + 1, state, STATES * phone + state, STATES * phone + state)
        for phone in range(len(PHONES))
        for state in range(STATES)
    ]
    log_probs = [0.0, *([np.log(LOOP), np.log(1 - LOOP)] * len(tuples))]
    return {
        "entries": [[*states, (-1, -1, [])]],
        "entry_of": {phone + 1: 0 for phone in range(len(PHONES))},
        "tuples": tuples,
        "log_probs": log_probs,
    }


def write_mixtures(writer: Writer, mixtures, tags=("<DiagGMM>", "</DiagGMM>")) -> None:
    """Mixtures ``(weights, means, variances)`` of an acoustic model."""
    writer.token("<DIMENSION>")
    writer.integer(mixtures[0][1].shape[1])
    writer.token("<NUMPDFS>")
    writer.integer(len(mixtures))
    for weights, means, variances in mixtures:
        writer.token(tags[0], "<GCONSTS>")
        writer.vector(np.zeros(len(weights)))  # Kaldi and this project compute them anew
        writer.token("<WEIGHTS>")
        writer.vector(weights)
        writer.token("<MEANS_INVVARS>")
        writer.matrix(means / variances)
        writer.token("<INV_VARS>")
        writer.matrix(1 / variances)
        writer.token(tags[1])


def write_folder(folder, mixtures, binary=True, conf="") -> None:
    """A folder as Kaldi's ``exp/mono`` is, with its graph, a loop over the words."""
    writer = Writer(binary)
    write_transition_model(writer, **topology())
    write_mixtures(writer, mixtures)
    (folder / "conf").mkdir(parents=True)
    (folder / "final.mdl").write_bytes(writer.content)
    (folder / "conf" / "mfcc.conf").write_text(conf)
    _write_graph(folder / "graph")


def _write_graph(folder) -> None:
    """HCLG of any number of words with silence between them, self-loops after transitions."""
    fst = kaldifst.StdVectorFst()
    start = fst.add_state()
    fst.start = start
    fst.set_final(start, 0.0)
    leave, stay = -np.log(1 - LOOP), -np.log(LOOP)
    for label, word in enumerate([None, *WORDS]):
        state = start
        for place, pdf in enumerate(pdfs_of(word)):
            loop = 2 * pdf + 1  # transition-ids: the loop of pdf 0, its transition, that of pdf 1
            following = fst.add_state()
            olabel = label if place == 0 else 0
            fst.add_arc(state, kaldifst.StdArc(loop + 1, olabel, leave, following))
            fst.add_arc(following, kaldifst.StdArc(loop, 0, stay, following))
            state = following
        fst.add_arc(state, kaldifst.StdArc(0, 0, 1.0, start))
    (folder / "phones").mkdir(parents=True)
    fst.write(str(folder / "HCLG.fst"))
    words = ["<eps>", *WORDS]
    (folder / "words.txt").write_text("".join(f"{w} {k}\n" for k, w in enumerate(words)))
    phones = ["<eps>", *PHONES]
    (folder / "phones.txt").write_text("".join(f"{p} {k}\n" for k, p in enumerate(phones)))
    (folder / "phones" / "silence.csl").write_text("1\n")
