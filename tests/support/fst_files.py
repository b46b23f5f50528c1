"""Writers of the OpenFst types ngram and olabel_lookahead, which kaldifst lacks."""

from __future__ import annotations

import struct

import numpy as np

from asr_hlg.fst.openfst import ADD_ON_MAGIC, FST_MAGIC, SYMBOLS_MAGIC


def text(name: str) -> bytes:
    data = name.encode()
    return struct.pack("<i", len(data)) + data


def header(kind, flags=0, version=2, start=0, num_states=0, num_arcs=0) -> bytes:
    numbers = struct.pack("<iiQqqq", version, flags, 1, start, num_states, num_arcs)
    return struct.pack("<i", FST_MAGIC) + text(kind) + text("standard") + numbers


def symbol_table(names) -> bytes:
    content = b"".join(text(name) + struct.pack("<q", id) for id, name in names.items())
    head = struct.pack("<i", SYMBOLS_MAGIC) + text("words")
    return head + struct.pack("<qq", max(names) + 1, len(names)) + content


def bit_words(bits) -> bytes:
    padded = np.zeros(-(-len(bits) // 64) * 64, np.uint8)
    padded[: len(bits)] = bits
    return np.packbits(padded, bitorder="little").tobytes()


def ngram(contexts, back_off, names=None) -> bytes:
    """An ngram file.

    ``contexts`` maps each context, a tuple of words with the most recent first, to its words with
    costs, 0 for the end of the sentence; the context ``(0,)`` is the begin of a sentence.
    ``back_off`` maps contexts to costs.
    """
    order = [()]
    children = {}
    for context in order:
        found = sorted(c for c in contexts if len(c) == len(context) + 1 and c[:-1] == context)
        children[context] = found
        order += found
    context_bits, future_bits, words, costs, finals, is_final = [1, 0], [0], [], [], [], []
    for context in order:
        context_bits += [1] * len(children[context]) + [0]
        nexts = {w: c for w, c in sorted(contexts[context].items()) if w}
        future_bits += [1] * len(nexts) + [0]
        words += nexts
        costs += nexts.values()
        is_final.append(0 in contexts[context])
        finals += [contexts[context][0]] if 0 in contexts[context] else []
    n = len(order)
    numbers = struct.pack("<qqq", n, len(words), len(finals))
    labels = [-1, *(context[-1] for context in order[1:]), 0]
    offs = [np.inf, *(back_off[context] for context in order[1:]), 0.0]
    parts = [
        numbers,
        bit_words(context_bits),
        bit_words(future_bits),
        bit_words(is_final),
        np.array(labels, "<i4").tobytes(),
        np.array(words, "<i4").tobytes(),
        np.array(offs, "<f4").tobytes(),
        np.array(finals, "<f4").tobytes(),
        np.array([*costs, 0.0], "<f4").tobytes(),
    ]
    tables = b"" if names is None else symbol_table(names)
    head = header("ngram", 0 if names is None else 1, 4, 1, n)
    return head + tables + b"".join(parts)


def lookahead(const: bytes, intervals, final_label: int) -> bytes:
    """An olabel_lookahead file around a const file, with the intervals of every state."""
    sets = b"".join(
        struct.pack("<q", len(row))
        + b"".join(struct.pack("<ii", begin, end) for begin, end in row)
        + struct.pack("<i", sum(end - begin for begin, end in row))
        for row in intervals
    )
    reach = struct.pack("<BBBBB", 1, 0, 1, 0, 0)
    reach += struct.pack("<iq", final_label, len(intervals)) + sets
    return header("olabel_lookahead", start=-1) + struct.pack("<i", ADD_ON_MAGIC) + const + reach


def reachable(arcs, final_label):
    """Intervals of the output labels that a state reaches first, found by following ε."""
    rows = []
    for start in range(arcs.num_states):
        seen, stack, labels = {start}, [start], set()
        while stack:
            state = stack.pop()
            if np.isfinite(arcs.final[state]):
                labels.add(final_label)
            for arc in range(arcs.row_splits[state], arcs.row_splits[state + 1]):
                if arcs.olabel[arc]:
                    labels.add(int(arcs.olabel[arc]))
                elif int(arcs.dst[arc]) not in seen:
                    seen.add(int(arcs.dst[arc]))
                    stack.append(int(arcs.dst[arc]))
        row = []
        for label in sorted(labels):
            if row and row[-1][1] == label:
                row[-1] = (row[-1][0], label + 1)
            else:
                row.append((label, label + 1))
        rows.append(row)
    return rows
