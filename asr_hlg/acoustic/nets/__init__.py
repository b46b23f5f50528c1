"""Neural networks to train: the families that led here, under one interface.

=============  ====================================================================  ============
kind           what it is                                                            takes
=============  ====================================================================  ============
``cnn``        convolutions over time and frequency, then over time                  filter banks
``cnn_lstm``   the same beginning, then LSTMs: Deep Speech 2 (Amodei et al. 2016)    filter banks
``blstm``      feed-forward layers around a bidirectional LSTM: Deep Speech          filter banks
               (Hannun et al. 2014)
``tdnn``       dilated convolutions over time (Peddinti et al. 2015)                 filter banks
``conformer``  convolutions and attention (Gulati et al. 2020); the pretrained       waveforms
               model is one
=============  ====================================================================  ============

>>> network = create("tdnn", tokens=("<blk>", "one", "two"), fbank={"num_filters": 40})
>>> network.describe()
'tdnn: 2,296,707 parameters, 3 tokens, a frame every 30 ms'
>>> log_probs, lengths = network(torch.zeros(1, 100, 40), torch.tensor([100]))
>>> tuple(log_probs.shape), lengths.tolist()
((1, 34, 3), [34])
>>> network.save("digits.npz"); export(network, "digits.onnx")

All normalise their features by :meth:`~asr_hlg.acoustic.network.FbankNetwork.normalise_with` (the
Conformer needs none), take a function for SpecAugment as ``augment``, and give the same for an
utterance whatever it is padded with.
"""

from asr_hlg.acoustic.nets.registry import KINDS, create, network_class
from asr_hlg.acoustic.nets.store import TRANSDUCER, export, kind_of, load
from asr_hlg.acoustic.network import FbankNetwork, Network

__all__ = [
    "KINDS",
    "TRANSDUCER",
    "FbankNetwork",
    "Network",
    "create",
    "export",
    "kind_of",
    "load",
    "network_class",
]
