"""Records that the kernels of the search in tensors read and write, on the CPU or on a GPU.

Memory is torch's; the kernels see it as arrays of numpy or of numba. Records are aligned: a GPU
reads four bytes at once only at an address that is a multiple of four.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = Any
"""A numpy array, or numba's array on a GPU."""

TOKEN = np.dtype([("state", "u4"), ("label", "u4"), ("utterance", "u4")], align=True)
"""A token whose last frame read a label; label 0 is that of the start."""

BLANK_TOKEN = np.dtype(
    [("state", "u4"), ("utterance", "u4"), ("id", "u4"), ("reach", "f4")], align=True
)
"""A token whose last frame read a blank; ``reach`` is that of its state."""

SOURCE = np.dtype(
    [("state", "u4"), ("label", "u4"), ("utterance", "u4"), ("src", "i4"), ("eps", "i4")],
    align=True,
)
"""A state whose arcs are to be followed, but not those that read ``label``.

``src`` is a label token, or -1 - b for blank token b.
"""

CANDIDATE = np.dtype([*SOURCE.descr, ("arc", "i4")], align=True)
"""A path to the label token (``state``, ``label``) of the next frame."""

LINK = np.dtype(
    [("utterance", "u4"), ("src", "i4"), ("dst", "i4"), ("eps", "i4"), ("arc", "i4")], align=True
)
"""A link into label token ``dst``."""

BLANK_LINK = np.dtype([("src", "u4"), ("dst", "i4"), ("eps", "i4")], align=True)
"""A link from label token ``src`` to blank token ``dst``."""

END = np.dtype([("token", "i4"), ("state", "u4"), ("utterance", "u4")], align=True)
"""A label token, or -1 - b for blank token b, after the last frame of its utterance."""

KEPT = np.dtype([*LINK.descr, ("frame", "u4"), ("score", "f8")], align=True)
"""A link on a path within the output beam; ``arc`` is `BLANK` for links into blank tokens."""

TOKENS, LINKS, BLANK_LINKS, ENDS, SOURCES, CANDIDATES, BLANK_IDS, KEPT_LINKS, BLANKS = range(9)
"""Indices of ``Work.counts``; after `BLANKS` comes the count of the other list."""

NUM_COUNTS = BLANKS + 2

MOST_SOURCES, MOST_CANDIDATES, MOST_BLANKS = range(3)
"""Indices of ``Work.most``."""

FIRST, LATER, STAMP = range(3)
"""Indices of ``Work.now``: the frame, for the first kernels of a frame and for the later ones.

A launch that writes one of them reads the other only: `adapt_beams` copies the first to the later,
and the frame's last launch writes the first. A frame's stamp in the hash table is the frame plus
what `STAMP` has.
"""


class Work(NamedTuple):
    """State of the search of a batch; capacities are the lengths of arrays.

    Whatever changes between frames is here, so that all frames are the same launches with the same
    arguments. There are two lists of active blank tokens, side by side: one is read, in even frames
    the first, while the other is made.
    """

    counts: Array  # int32 (NUM_COUNTS,): how many there are, or would be with enough room
    most: Array  # int32 (3,): the largest counts so far of what is counted anew in each frame
    now: Array  # int64 (3,): which frame it is
    tokens: Array
    token_score: Array  # float64, as all scores
    label_beta: Array  # best score from a token to the end, once all frames are searched
    links: Array
    link_score: Array
    blank_links: Array
    ends: Array
    end_score: Array
    sources: Array
    source_score: Array
    candidates: Array
    candidate_score: Array
    blanks: Array  # two lists
    blank_score: Array
    blank_entry: Array  # best score of the label tokens that entered it, before ε-arcs
    blank_direct: Array  # int32: 1 if a label token of the same state entered it
    blank_beta: Array  # by id
    table: Array  # int64 (2 * num_slots,): a key, and what it stands for: a label token, or a
    # place in a list of blank tokens; keys of former frames count as none
    kept: Array  # links on paths within the output beam
    length: Array  # int32 (num_utterances,), as the following: frames of the utterance
    beam: Array
    cutoff: Array  # of the last frame
    best: Array  # best score of a token
    best_next: Array  # of the frame to come; a lower bound while it is searched
    best_path: Array  # score of the best path to the end
    active: Array  # int32: active states
    bounds: Array  # int32 (num_frames, 3): the first label token, link, blank link of a frame
    relative: Array  # float32 (num_frames, num_utterances, num_labels): minus that of the blank
    best_label: Array  # float32 (num_frames, num_utterances): the largest of labels
    cutoffs: Array  # float64 (num_frames, num_utterances): the cutoff of every frame
