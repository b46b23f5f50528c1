"""H∘L∘G, which only k2's search reads: composed from L∘G when somebody asks for it.

Token passing searches L∘G, where H is the CTC topology. Composing H∘L∘G there takes most of a
compilation's memory for nothing, unless k2's engine or a GPU is used. A graph folder is then
completed, once for all who open it.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import k2
import torch

from asr_hlg.errors import GraphError
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import compile as stages
from asr_hlg.graph import slot as slots
from asr_hlg.graph.meter import Meter
from asr_hlg.graph.slot import Slot
from asr_hlg.lexicon import Lexicon

_LOG = logging.getLogger("asr_hlg.graph")


def compose(H: k2.Fsa, lexicon: Lexicon, lg: Arcs, meter: Meter) -> tuple[k2.Fsa, Slot | None]:
    """H∘(L∘G) with the attributes of a graph's ``fsa``, and its slot for new words."""
    with_slot = slots.add_to_lg(lg, lexicon)
    if with_slot is None:
        fsa = stages.compose_hlg(H, stages.remove_epsilons(lg, meter), meter)
        fsa.graph_scores = fsa.scores.clone()
        return fsa, None
    with_new, column = slots.add_to_topology(H, lexicon)
    fsa = stages.compose_hlg(with_new, stages.remove_epsilons(with_slot, meter), meter)
    return slots.take_out(fsa, column, H)


def size(fsa: k2.Fsa) -> dict[str, float]:
    """Its states and arcs, and the megabytes (10^6 bytes) of the arrays that k2's search needs."""
    arcs = fsa.arcs.values()
    num_states = fsa.arcs.row_splits(1).numel() - 1
    aux = fsa.aux_labels
    num_aux = aux.numel() if isinstance(aux, torch.Tensor) else aux.values.numel() + len(arcs)
    # arcs, phones and graph scores for every arc; a row split for every state
    numbers = arcs.numel() + 2 * len(arcs) + num_states + num_aux
    return {"states": num_states, "arcs": len(arcs), "memory_mb": 4 * numbers / 1e6}


def complete(folder: Path, meta: dict[str, Any], meter: Meter | None = None) -> None:
    """Compose H∘L∘G for a folder that was compiled without it.

    Several processes may ask for it at the same time; one does it while the others wait.

    Parameters
    ----------
    folder : Path
        A folder that :func:`asr_hlg.graph.build.build` made.
    meta : dict
        Its ``graph.json``, brought up to date.
    meter : Meter, optional
        Reports the stages; without it a warning on the logger ``asr_hlg.graph`` tells why it
        takes a while.

    Raises
    ------
    GraphError
        If the folder is damaged, or cannot be written to.
    """
    from asr_hlg.graph import build, checks, store  # which need this module

    with _lock(folder):
        meta.update(store.read_meta(folder))
        if store.has_hlg(meta):
            return
        if meter is None:
            meter = Meter()
            _LOG.warning("%s: composing H∘L∘G for k2's search; it is kept there", folder)
        done = len(meter.stages)
        store.check_files(folder, meta, [name for name in meta["files"] if name.startswith("lg/")])
        lexicon = store.read_lexicon(folder, meta)
        H = build.make_topology(build.TopologySection(**meta["recipe"]["topology"]), lexicon)
        lg = build.load_lg(folder)
        checks.check_lg(lg, lexicon.num_tokens, len(lexicon.words), folder)
        fsa, slot = compose(H, lexicon, lg, meter)
        try:
            meta |= store.save_hlg(folder, fsa, slot)
            meta["stages"] += [vars(stage) for stage in meter.stages[done:]]
            store.write_manifest(folder, meta)
        except OSError as error:
            raise GraphError(
                f"H∘L∘G cannot be kept for k2's search: {error.strerror}",
                path=folder,
                remedy="compose it where the folder can be written to: asr-hlg graph NAME --hlg",
            ) from None
        meta.update(store.read_meta(folder))


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Only one process at a time, for as long as it lives."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
