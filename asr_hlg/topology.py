"""Public name of the topologies H in :mod:`asr_hlg.graph.topology`."""

from __future__ import annotations

from asr_hlg.graph.topology import (
    chain,
    column_names,
    context_dependent,
    ctc,
    hmm,
    is_ctc,
    left_to_right,
    transducer,
)

__all__ = [
    "chain",
    "column_names",
    "context_dependent",
    "ctc",
    "hmm",
    "is_ctc",
    "left_to_right",
    "transducer",
]
