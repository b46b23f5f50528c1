"""Checks of the training data, made before training begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from lhotse import CutSet
from lhotse.cut import Cut
from torch import Tensor

from asr_hlg import data
from asr_hlg.acoustic.features import FbankOptions
from asr_hlg.acoustic.network import Network
from asr_hlg.errors import DataError, LexiconError
from asr_hlg.losses import TranscriptLoss


def read_cuts(sources: Sequence[Path]) -> CutSet:
    """The cuts of several corpora together.

    Raises
    ------
    DataError
        If there are none, one has no transcript, or two have the same id.
    """
    by_id: dict[str, Cut] = {}
    for source in sources:
        for cut in data.cuts(source):
            if cut.id in by_id:
                raise DataError(
                    f"cut {cut.id!r} is listed twice", path=source, remedy="give each its own id"
                )
            by_id[cut.id] = cut
    if not by_id:
        raise DataError("there are no cuts", remedy="name manifests or folders in [data]")
    return CutSet(list(by_id.values()))


def check_transcripts(
    loss: TranscriptLoss,
    network: Network,
    cuts: CutSet,
    fastest: float = 1.0,
    drop_short: bool = False,
    report: Callable[[str], None] = print,
) -> CutSet:
    """Refuse words without a pronunciation, and utterances with too few frames for their words.

    Parameters
    ----------
    loss : TranscriptLoss
    network : Network
    cuts : CutSet
    fastest : float
        The greatest factor of speed perturbation, which shortens utterances.
    drop_short : bool
        Leave out utterances with too few frames, and report them, instead of refusing them.
    report : callable

    Returns
    -------
    CutSet
        The cuts that can be trained on.

    Raises
    ------
    LexiconError, DataError
        Naming the utterances and what can be done.
    """
    utterances = [
        (cut.id, data.text_of(cut), num_frames)
        for cut, num_frames in zip(cuts, frames(network, cuts, fastest), strict=True)
    ]
    if drop_short:
        short = {id for id, text, num_frames in utterances if _is_short(loss, text, num_frames)}
        if short:
            report(
                f"left out {len(short)} utterances too short for their transcript: "
                + ", ".join(id for id, *_ in utterances if id in short)
            )
            cuts = cuts.filter(lambda cut: cut.id not in short).to_eager()
            utterances = [utterance for utterance in utterances if utterance[0] not in short]
        if not utterances:
            raise DataError("every utterance is too short for its transcript")
    loss.check(*zip(*utterances, strict=True))
    return cuts


def _is_short(loss: TranscriptLoss, text: str, num_frames: int) -> bool:
    """Whether an utterance has too few frames; words that are unknown are another error."""
    try:
        return num_frames < loss.min_frames(text)
    except LexiconError:
        return False


def alignments(network: Network, cuts: CutSet) -> list[Tensor]:
    """Frame labels of all cuts, int64 ``(output frames,)`` each.

    Raises
    ------
    DataError
        If a cut has no alignment, or one with a label that is no output of the network.
    """
    labels = data.FrameLabels.of(network)
    return [
        data.frame_labels(cut, labels.columns, labels.frame_shift, num_frames)
        for cut, num_frames in zip(cuts, frames(network, cuts), strict=True)
    ]


def frames(network: Network, cuts: Iterable[Cut], fastest: float = 1.0) -> Iterator[int]:
    """Number of output frames of the network for every cut, sped up by a factor."""
    config = network.config
    for cut in cuts:
        samples = int(cut.duration * config.sample_rate / fastest)
        length = _num_inputs(samples, config.sample_rate, config.fbank)
        yield int(network.output_lengths(torch.tensor([length]))[0])


def _num_inputs(samples: int, sample_rate: int, fbank: FbankOptions | None) -> int:
    """Length of a network's input: samples, or filter-bank frames as Kaldi counts them."""
    if fbank is None:
        return samples
    shift = round(fbank.frame_shift * sample_rate)
    if not fbank.snip_edges:
        return (samples + shift // 2) // shift
    window = round(fbank.frame_length * sample_rate)
    return 1 + (samples - window) // shift if samples >= window else 0
