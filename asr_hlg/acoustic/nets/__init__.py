"""Neural networks that ``asr-hlg train`` trains, all with one interface.

=============  ====================================================================  ============
kind           layers                                                                input
=============  ====================================================================  ============
``cnn``        convolutions over time and frequency, then over time                  filter banks
``cnn_lstm``   convolutions over time and frequency, then LSTMs: Deep Speech 2       filter banks
               (Amodei et al. 2016)
``blstm``      feed-forward layers around a bidirectional LSTM: Deep Speech          filter banks
               (Hannun et al. 2014)
``tdnn``       dilated convolutions over time (Peddinti et al. 2015)                 filter banks
``conformer``  convolutions and attention (Gulati et al. 2020), as in the            waveforms
               pretrained model
=============  ====================================================================  ============

>>> network = create("tdnn", tokens=("<blk>", "one", "two"), fbank={"num_filters": 40})
>>> network.describe()
'tdnn: 2,296,707 parameters, 3 tokens, a frame every 30 ms'
>>> log_probs, lengths = network(torch.zeros(1, 100, 40), torch.tensor([100]))
>>> tuple(log_probs.shape), lengths.tolist()
((1, 34, 3), [34])
>>> network.save("digits.npz"); export(network, "digits.onnx")

All except the Conformer normalise their features by
:meth:`~asr_hlg.acoustic.network.FbankNetwork.normalise_with`. In training, all apply ``augment``, a
function for SpecAugment. The result for an utterance does not depend on its padding.
"""

from typing import TYPE_CHECKING

from asr_hlg.lazy import public_names

if TYPE_CHECKING:
    from asr_hlg.acoustic.nets.kinds import TRANSDUCER, network_kind
    from asr_hlg.acoustic.nets.registry import KINDS, create, network_class
    from asr_hlg.acoustic.nets.store import export, load
    from asr_hlg.acoustic.network import FbankNetwork, Network
else:
    __getattr__ = public_names(
        __name__,
        {
            "asr_hlg.acoustic.nets.registry": ["KINDS", "create", "network_class"],
            "asr_hlg.acoustic.nets.kinds": ["TRANSDUCER", "network_kind"],
            "asr_hlg.acoustic.nets.store": ["export", "load"],
            "asr_hlg.acoustic.network": ["FbankNetwork", "Network"],
        },
    )

__all__ = [
    "KINDS",
    "TRANSDUCER",
    "FbankNetwork",
    "Network",
    "create",
    "export",
    "load",
    "network_class",
    "network_kind",
]
