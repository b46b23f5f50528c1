"""Training losses of acoustic models, over the same H and L that decoding uses.

| loss | target | topology | paper |
| --- | --- | --- | --- |
| `CrossEntropy` | a state for every frame | that of the alignment | Bourlard & Morgan 1994 |
| `Ctc` | transcript | `topology.ctc` | Graves et al. 2006 |
| `HmmFullSum` | transcript | `topology.hmm` | Zeyer et al. 2017 |
| `LfMmi` | transcript | any, `topology.chain` in the paper | Povey et al. 2016 |

All have the same interface: ``loss(log_probs (B, T, V), lengths (B,), targets) -> (B,)`` in nats,
where the attribute ``targets`` of the class is the kind of its targets, transcripts or alignments.
Frames past an utterance's length do not count and get no gradient. float64 input gives float64
losses::

    H = topology.ctc(lexicon.num_tokens)
    loss = Ctc(H, lexicon)
    loss.check(ids, texts, num_frames)                     # before training, on all utterances
    loss(log_probs, lengths, ["one two"]).mean().backward()

The graph of a transcript, H ∘ L ∘ transcript, is compiled when the transcript first occurs and
kept; compiling takes 1 to 2 ms for a short one.
"""

from asr_hlg.losses.cross_entropy import UNALIGNED, CrossEntropy
from asr_hlg.losses.frame_graph import FrameGraph
from asr_hlg.losses.graphs import TranscriptGraphs
from asr_hlg.losses.lf_mmi import LfMmi, phone_bigram
from asr_hlg.losses.sequence import Ctc, HmmFullSum, SequenceLoss, TranscriptLoss

__all__ = [
    "UNALIGNED",
    "CrossEntropy",
    "Ctc",
    "FrameGraph",
    "HmmFullSum",
    "LfMmi",
    "SequenceLoss",
    "TranscriptGraphs",
    "TranscriptLoss",
    "phone_bigram",
]
