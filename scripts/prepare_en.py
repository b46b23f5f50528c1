"""Write lang/en/g2p.txt: pronunciations of the most frequent words by hama's g2p model.

The pretrained acoustic model was trained on the output of hama's grapheme-to-phoneme model. It
often emits that model's pronunciations, which are not in dictionaries: `of` as ɔ f, `to` as t oʊ.
Such words can be recognised only if these pronunciations are added to the dictionary's.

    .venv/bin/python scripts/prepare_en.py

takes a few seconds; its output is in the repository.
"""

from __future__ import annotations

import argparse
import string
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from asr_hlg import lm
from asr_hlg.lexicon.g2p_network import G2PNetwork
from asr_hlg.lexicon.phones import IPA_TO_ARPABET

OUTPUT = Path(__file__).resolve().parents[1] / "lang" / "en" / "g2p.txt"
LETTERS = frozenset(string.ascii_lowercase + "'")
BATCH = 1000


def main() -> None:
    """Write the pronunciations that are not in pocketsphinx's dictionary."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--num-words", type=int, default=3000, help="how many words to pronounce")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    known = set(lm.read_dict())
    with args.output.open("w", encoding="utf-8", newline="\n") as file:
        for word, phones in pronounced(args.num_words):
            if (word, phones) not in known:
                file.write(f"{word} {' '.join(phones)}\n")


def pronounced(num_words: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The most probable words whose pronunciation has only English phones, with these phones."""
    network = G2PNetwork.load()
    model = lm.read_trie()
    by_probability = np.argsort(-model.orders[0].log_prob, kind="stable").tolist()
    words = (model.words[row] for row in by_probability)
    spelled = (word for word in words if set(word) <= LETTERS)
    while batch := list(islice(spelled, BATCH)):
        for word, ipa in zip(batch, network.transcribe(batch), strict=True):
            phones = [IPA_TO_ARPABET.get(symbol) for symbol in ipa]
            if phones and all(phones):
                yield word, tuple(phones)
                num_words -= 1
            if num_words == 0:
                return


if __name__ == "__main__":
    main()
