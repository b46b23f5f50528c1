"""Small transducers, encoder frames, a lexicon and a bigram graph for the tests of searches."""

from __future__ import annotations

import torch

from asr_hlg import lm
from asr_hlg.graph import compile_hlg, topology
from asr_hlg.lexicon import Lexicon
from asr_hlg.transducer import Transducer, TransducerConfig, make_decoder

TOKENS = ("<blk>", "a", "b", "c")
LEXICON = Lexicon(
    [("ab", ("a", "b")), ("ab", ("a", "c")), ("b", ("b",)), ("cab", ("c", "a", "b"))],
    tokens=TOKENS,
)
BIGRAMS = """\\data\\
ngram 1=5
ngram 2=15

\\1-grams:
-99 <s> -9
-0.5 </s>
-0.6 ab -9
-0.4 b -9
-1.1 cab -9

\\2-grams:
-0.30 <s> ab
-0.50 <s> b
-0.80 <s> cab
-1.50 <s> </s>
-0.90 ab ab
-0.40 ab b
-0.70 ab cab
-0.60 ab </s>
-0.20 b ab
-1.00 b b
-0.90 b cab
-0.80 b </s>
-0.50 cab ab
-0.60 cab b
-0.40 cab </s>

\\end\\
"""


def network_of(prediction="stateless", tokens=TOKENS, seed=0):
    """Untrained network on twelve features a frame, with low-entropy outputs."""
    torch.manual_seed(seed)
    encoder = {"dim": 12, "dilations": [1], "fbank": {"num_filters": 4}}
    shape = {"prediction_dim": 8, "joiner_dim": 12, "prediction": prediction}
    network = Transducer(TransducerConfig(tokens, "tdnn", encoder, **shape)).eval()
    with torch.no_grad():
        network.output.weight *= 6
        network.prediction_joiner.weight *= 3
    return network


def lattice_of(network, features, lengths, graph=None, options=None):
    """The lattice of encoder frames."""
    return make_decoder(network, graph, options).decode(network.posteriors(features, lengths))


def features_of(*lengths, seed=0):
    """Random encoder frames of a padded batch, and its lengths."""
    generator = torch.Generator().manual_seed(seed)
    features = 2 * torch.randn(len(lengths), max(lengths), 12, generator=generator)
    return features, torch.tensor(lengths)


def bigram_graph(tmp_path):
    """A graph of the lexicon and the bigrams."""
    (tmp_path / "bigram.arpa").write_text(BIGRAMS)
    G = lm.read_arpa(tmp_path / "bigram.arpa", LEXICON.words)
    return compile_hlg(topology.transducer(len(TOKENS)), LEXICON, G)
