"""Records that the kernels of the search in tensors read and write, on the CPU or on a GPU.

Memory is torch's; the kernels see it as arrays of numpy or of numba.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = Any
"""A numpy array, or numba's array on a GPU."""

TOKEN = np.dtype([("state", "u4"), ("label", "u4"), ("utterance", "u4")])
"""A token whose last frame read a label; label 0 is that of the start."""

BLANK_TOKEN = np.dtype([("state", "u4"), ("utterance", "u4"), ("id", "u4"), ("reach", "f4")])
"""A token whose last frame read a blank; ``reach`` is that of its state."""

SOURCE = np.dtype(
    [("state", "u4"), ("label", "u4"), ("utterance", "u4"), ("src", "i4"), ("eps", "i4")]
)
"""A state whose arcs are to be followed, but not those that read ``label``.

``src`` is a label token, or -1 - b for blank token b.
"""

CANDIDATE = np.dtype([*SOURCE.descr, ("arc", "i4")])
"""A path to the label token (``state``, ``label``) of the next frame."""

LINK = np.dtype([("utterance", "u4"), ("src", "i4"), ("dst", "i4"), ("eps", "i4"), ("arc", "i4")])
"""A link into label token ``dst``."""

BLANK_LINK = np.dtype([("src", "u4"), ("dst", "i4"), ("eps", "i4")])
"""A link from label token ``src`` to blank token ``dst``."""

END = np.dtype([("token", "i4"), ("state", "u4"), ("utterance", "u4"), ("padding", "u4")])
"""A label token, or -1 - b for blank token b, after the last frame of its utterance."""

KEPT = np.dtype([*LINK.descr, ("frame", "u4"), ("score", "f8")])
"""A link on a path within the output beam; ``arc`` is `BLANK` for links into blank tokens."""

TOKENS, LINKS, BLANK_LINKS, ENDS, SOURCES, CANDIDATES, BLANK_IDS, BLANKS = range(8)
"""Indices of ``Work.counts``; after `BLANKS` comes the count of the other list."""

NUM_COUNTS = BLANKS + 2

MOST_SOURCES, MOST_CANDIDATES, MOST_BLANKS = range(3)
"""Indices of ``Work.most``."""


class Work(NamedTuple):
    """State of the search of a batch; capacities are the lengths of arrays.

    There are two lists of active blank tokens, side by side: one is read while the other is made.
    """

    counts: Array  # int32 (NUM_COUNTS,): how many there are, or would be with enough room
    most: Array  # int32 (3,): the largest counts so far of what is counted anew in each frame
    bounds: Array  # int32 (num_frames + 2, 3): the first label token, link, blank link of a frame
    tokens: Array
    token_score: Array  # float64, as all scores
    links: Array
    link_score: Array
    blank_links: Array
    blanks: Array  # two lists
    blank_score: Array
    blank_entry: Array  # best score of the label tokens that entered it, before ε-arcs
    blank_direct: Array  # int32: 1 if a label token of the same state entered it
    sources: Array
    source_score: Array
    candidates: Array
    candidate_score: Array
    table: Array  # int64 (2 * num_slots,): a key, and what it stands for: a label token, or a
    # place in a list of blank tokens; keys of former frames count as none
    ends: Array
    end_score: Array
    length: Array  # int32 (num_utterances,), as the following: frames of the utterance
    beam: Array
    cutoff: Array  # of the last frame
    best: Array  # best score of a token
    best_next: Array  # of the frame to come; a lower bound while it is searched
    active: Array  # int32: active states


class Emissions(NamedTuple):
    """Scores of the frames of a call."""

    relative: Array  # float32 (num_utterances, num_frames, num_labels): minus that of the blank
    best: Array  # float32 (num_utterances, num_frames): the largest of labels
    cutoffs: Array  # float64 (num_utterances, num_frames): written by the search
    is_end: Any  # bool (num_frames,), on the host: whether utterances end before a frame


class Backward(NamedTuple):
    """Scores of paths to the end, and what is kept."""

    count: Array  # int32 (1,): kept links
    best: Array  # float64 (num_utterances,): score of the best path
    label_beta: Array  # float64 (num_label_tokens,)
    blank_beta: Array  # float64 (num_blank_tokens,)
    kept: Array  # with room for all links


class Now(NamedTuple):
    """What is searched."""

    t: int  # frames before this one
    frame: int  # its index in the call
    side: int  # which list of blank tokens is read
    stamp: int  # of the call's first frame in the hash table
