"""What is wrong with the training data, found before training and not an hour into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from lhotse import CutSet
from lhotse.cut import Cut
from torch import Tensor

from asr_hlg import data
from asr_hlg.acoustic.features import FbankOptions
from asr_hlg.acoustic.network import Network
from asr_hlg.errors import DataError
from asr_hlg.losses.sequence import SequenceLoss


def read_cuts(sources: Sequence[Path]) -> CutSet:
    """The cuts of several corpora together.

    Raises
    ------
    DataError
        If there are none, one has no transcript, or two have the same id.
    """
    found: dict[str, Cut] = {}
    for source in sources:
        for cut in data.cuts(source):
            if cut.id in found:
                raise DataError(
                    f"cut {cut.id!r} is there twice", path=source, remedy="give each its own id"
                )
            found[cut.id] = cut
    if not found:
        raise DataError("there are no cuts", remedy="name manifests or folders in [data]")
    return CutSet(list(found.values()))


def check_transcripts(
    loss: SequenceLoss,
    network: Network,
    cuts: CutSet,
    fastest: float = 1.0,
    drop_short: bool = False,
    report: Callable[[str], None] = print,
) -> CutSet:
    """Refuse words without a pronunciation, and utterances too short for what was said.

    Parameters
    ----------
    loss : SequenceLoss
    network : Network
    cuts : CutSet
    fastest : float
        The greatest factor of speed perturbation: it shortens utterances.
    drop_short : bool
        Leave utterances that are too short out, and report them, instead of refusing them.
    report : callable

    Returns
    -------
    CutSet
        What can be trained on.

    Raises
    ------
    LexiconError, AsrHlgError
        Naming the utterances and what can be done.
    """
    num_frames = dict(zip((cut.id for cut in cuts), frames(network, cuts, fastest), strict=True))
    texts = {cut.id: data.text_of(cut) for cut in cuts}
    if drop_short:
        known = {i: t for i, t in texts.items() if all(w in loss.graphs.lexicon for w in t.split())}
        short = [i for i, t in known.items() if num_frames[i] < loss.graphs.of(t).least_frames]
        if short:
            report(
                f"left out {len(short)} utterances too short for their transcript: "
                + ", ".join(short)
            )
            cuts = cuts.filter(lambda cut: cut.id not in set(short)).to_eager()
            if not len(cuts):
                raise DataError("every utterance is too short for its transcript")
    ids = [cut.id for cut in cuts]
    loss.check(ids, [texts[id] for id in ids], [num_frames[id] for id in ids])
    return cuts


def alignments(network: Network, cuts: CutSet) -> list[Tensor]:
    """The labels of all cuts: int64 ``(output frames,)`` each.

    Raises
    ------
    DataError
        If a cut has no alignment, or one with a label that is no output of the network.
    """
    labels = data.FrameLabels(
        network.config.tokens, network.config.frame_shift, network.output_lengths
    )
    return [
        data.frame_labels(cut, labels.columns, labels.frame_shift, number)
        for cut, number in zip(cuts, frames(network, cuts), strict=True)
    ]


def frames(network: Network, cuts: CutSet, fastest: float = 1.0) -> Iterator[int]:
    """How many frames the network gives for every cut."""
    config = network.config
    for cut in cuts:
        samples = int(cut.duration * config.sample_rate / fastest)
        length = _inputs(samples, config.sample_rate, config.fbank)
        yield int(network.output_lengths(torch.tensor([length]))[0])


def _inputs(samples: int, sample_rate: int, fbank: FbankOptions | None) -> int:
    """Samples, or frames of filter banks, for so many samples (Kaldi's count of frames)."""
    if fbank is None:
        return samples
    shift = round(fbank.frame_shift * sample_rate)
    if not fbank.snip_edges:
        return (samples + shift // 2) // shift
    window = round(fbank.frame_length * sample_rate)
    return 1 + (samples - window) // shift if samples >= window else 0
