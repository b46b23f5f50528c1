"""Readers of texts that are fuzzed: lexicons, models, grammars, recipes, transcripts."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from asr_hlg import grammar, lm
from asr_hlg.fst import symbols
from asr_hlg.graph.adapt import hotwords
from asr_hlg.graph.build import read_text
from asr_hlg.graph.recipe import Recipe
from asr_hlg.lexicon import Lexicon
from asr_hlg.output import text
from asr_hlg.train.config import TrainingConfig
from tests.fuzz.reader import Reader, in_file, mutate_json_lines, texts, with_words

_WORDS = ("cat", "and", "hat")


@cache
def _symbols() -> object:
    return symbols.table(["<eps>", *sorted(_WORDS), "#0"])


_LEXICON = "cat k ae t\nand ae n d\nand ah n d\nhat h ae t\n\nchat ch ae t\n"
_LEXICONP = "cat 1.0 k ae t\nand 0.6 ae n d\nand 0.4 ah n d\nhat 1 h ae t\n"
_DICT = "cat K AE T\nand AE N D\nand(2) AH N D\nhat HH AE T\n"
_ARPA = r"""
\data\
ngram 1=5
ngram 2=3
ngram 3=1

\1-grams:
-99 <s> -0.3
-0.7 </s>
-0.5 cat -0.2
-0.6 and
-0.9 hat -0.1

\2-grams:
-0.2 <s> cat -0.1
-0.3 cat and
-0.1 cat </s>

\3-grams:
-0.1 <s> cat and

\end\
"""
_GRAMMAR = """// a comment
cat (and | /0.2/ hat)+ [cat]
<animal> = cat | "hat"
        | /3/ and ;
(<animal> and)* hat
"""
_JSGF = """#JSGF V1.0 UTF-8 en;
grammar g;
/* several
lines */
public <top> = <a> {tag} | /2/ cat hat*;
<a> = (and [hat])+ | <NULL>;
"""
_RECIPE = """description = "test"
check = ["cat and hat"]
acoustic_model = "hama"
[topology]
kind = "hmm"
num_states = 3
self_loop = 0.5
[lexicon]
files = ["lexicon.txt", "pocketsphinx:dict"]
silence = "SIL"
silence_prob = 0.5
[lm]
file = "g.arpa"
prune = 1e-7
[search]
acoustic_scale = 0.7
max_active = 7000
[rescore]
lm = 0.9
"""
_STAGES = """graph = "graphs/digits"
[data]
train = ["train.jsonl.gz"]
[network]
kind = "transducer"
init = "hama"
stack = 2
[loss]
kind = "transducer"
[pruned_loss]
warm_up = 100
[[stage]]
network.trainable = ["joiner"]
training.epochs = 2
[[stage]]
pruned_loss.warm_up = 0
"""
_TRAINING = """graph = "graphs/digits"
task = "digits"
[data]
train = ["train.jsonl.gz"]
dev = ["dev.jsonl.gz"]
[augment]
speeds = [0.9, 1.0]
[spec_augment]
time_masks = 2
[network]
kind = "tdnn"
dim = 64
[loss]
kind = "ctc"
[loader]
max_duration = 60.0
[optimiser]
learning_rate = 1e-3
[training]
epochs = 3
seed = 1
[search]
acoustic_scale = 1.0
[[test]]
name = "dev"
cuts = ["test.jsonl.gz"]
"""


def _read_lexicon(path: Path) -> None:
    Lexicon.read(path, silence="SIL").to_fsa(disambig=True)


def _read_grammar(path: Path) -> None:
    grammar.compile(read_text(path), _symbols(), path)


def _recipes(folder: Path) -> Sequence[bytes]:
    (folder / "lexicon.txt").write_text(_LEXICON)
    return [_RECIPE.encode()]


def _read_recipe(path: Path) -> None:
    recipe = Recipe.read(path)
    for name in recipe.lexicon.files:
        recipe.resolve(name)


def _sphinx_trie(folder: Path) -> Sequence[bytes]:
    """A trie of three words as Sphinx writes it, but without its tables of quantised weights."""
    counts = (3, 2, 1)
    head = b"Trie Language Model" + struct.pack("<B3Ii", 3, *counts, 1)
    unigrams = b"".join(
        struct.pack("<ffI", -1000.0 * (k + 1), -50.0, (0, 1, 1, 2)[k]) for k in range(4)
    )

    def packed(records: list[list[int]], widths: list[int]) -> bytes:
        bits = sum(
            value << (row * sum(widths) + sum(widths[:column]))
            for row, record in enumerate(records)
            for column, value in enumerate(record)
        )
        size = (len(records) * sum(widths) + 7) // 8 + 8
        return bits.to_bytes(size, "little")

    # "cat </s>" and "<s> cat", whose last words come first; then "<s> cat </s>"
    bigrams = packed([[2, 0, 0, 0], [1, 0, 0, 1], [0, 0, 0, 1]], [2, 16, 16, 1])
    trigrams = packed([[1, 0], [0, 0]], [2, 16])
    names = b"</s>\0<s>\0cat\0"
    return [head + unigrams + bigrams + trigrams + struct.pack("<i", len(names)) + names]


def _read_trie(data: bytes, folder: Path) -> None:
    path = folder / "lm.bin"
    head, tables = 19 + 1 + 3 * 4 + 4, bytes(4 * 65536 * 3)
    path.write_bytes(data[:head] + tables + data[head:])
    lm.to_arcs(lm.read_trie(path), symbols.table(["<eps>", "cat", "#0"]))


_ALTERNATIVES = json.dumps({"id": "a", "text": "x y", "alternatives": [{"text": "x"}]}) + "\n"

TEXT_READERS = (
    Reader(
        "symbols",
        texts("<eps> 0\nand 1\ncat 2\n#0 3\n"),
        in_file("words.txt", symbols.read),
    ),
    Reader("lexicon", texts(_LEXICON), in_file("lexicon.txt", _read_lexicon)),
    Reader("lexiconp", texts(_LEXICONP), in_file("lexiconp.txt", _read_lexicon)),
    Reader(
        "arpa",
        texts(_ARPA),
        in_file("g.arpa", lambda path: lm.read_arpa(path, _symbols())),
        with_words("\\data\\", "\\1-grams:", "\\end\\", "ngram 4=1", "-0.5", "cat"),
    ),
    Reader(
        "sentences",
        texts("the cat sat\n\nthe hat and a cat\n"),
        in_file("text", lambda path: list(lm.read_sentences(path))),
        with_words("<s>", "</s>", "cat"),
    ),
    Reader("sphinx-dict", texts(_DICT), in_file("words.dict", lm.read_dict)),
    Reader("sphinx-trie", _sphinx_trie, _read_trie),
    Reader(
        "grammar",
        texts(_GRAMMAR, _JSGF),
        in_file("grammar.txt", _read_grammar),
        with_words(*"|()[]*+;=<>{}/", "<animal>", "<a>", "/0.5/", "cat", "public", "/*", '"'),
    ),
    Reader("recipe", _recipes, in_file("recipe.toml", _read_recipe)),
    Reader(
        "training-config", texts(_TRAINING, _STAGES), in_file("train.toml", TrainingConfig.read)
    ),
    Reader(
        "hotwords",
        texts("cat\nbank of scotland\nkubernetes\t6\n"),
        in_file("words.txt", hotwords.read),
    ),
    Reader(
        "transcripts",
        texts("a one two\nb\nc drei\n"),
        in_file("text", text.read_transcripts),
    ),
    Reader(
        "transcripts-trn",
        texts("one two (a)\n(b)\ndrei (c)\n"),
        in_file("ref.trn", text.read_transcripts),
    ),
    Reader(
        "transcripts-ctm",
        texts(";; x\na 1 0.0 0.3 one 0.9\na 1 0.3 0.2 two\n"),
        in_file("ref.ctm", text.read_transcripts),
    ),
    Reader(
        "transcripts-json",
        texts(_ALTERNATIVES, '{"id": "a", "text": "x"}\n{"id": "b", "text": ""}\n'),
        in_file("ref.jsonl", text.read_transcripts),
        mutate_json_lines,
    ),
    Reader(
        "alternatives",
        texts(_ALTERNATIVES),
        in_file("ref.jsonl", text.read_alternatives),
        mutate_json_lines,
    ),
)
