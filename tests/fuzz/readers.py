"""The readers that are fuzzed, and valid files to begin with."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from random import Random

import lhotse
import numpy as np
import soundfile
import torch

from asr_hlg import acoustic, grammar, lm
from asr_hlg.acoustic import hama, nets
from asr_hlg.audio import recordings
from asr_hlg.errors import AudioError
from asr_hlg.fst import symbols
from asr_hlg.graph.adapt import hotwords
from asr_hlg.graph.build import read_text
from asr_hlg.graph.recipe import Recipe
from asr_hlg.lattice import io as lattice_io
from asr_hlg.lexicon import Lexicon
from asr_hlg.output import text
from asr_hlg.train.config import TrainingConfig
from asr_hlg.transcribe.journal import Journal
from tests.fuzz import mutation
from tests.fuzz.folders import make_graph, mutate_graph, read_graph

RATE = 16000
_WORDS = ("cat", "and", "hat")
_TOKENS = ("<blk>", "a", "b")


@dataclass(frozen=True)
class Reader:
    """What is fuzzed.

    Attributes
    ----------
    name : str
    make_seeds : callable
        Valid files, made with the help of a folder, which may keep what they refer to.
    read : callable
        Puts a case into that folder and reads all of it.
    mutate : callable
        A case from a seed.
    """

    name: str
    make_seeds: Callable[[Path], Sequence[bytes]]
    read: Callable[[bytes, Path], None]
    mutate: Callable[[Random, bytes], bytes] = mutation.mutate


def _file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], None]:
    """A reader of one file of that name."""

    def read_case(data: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(data)
        read(path)

    return read_case


def _with_words(*words: str) -> Callable[[Random, bytes], bytes]:
    return partial(mutation.mutate, words=[word.encode() for word in words])


def _json_lines(random: Random, data: bytes) -> bytes:
    """Mostly values of one line changed; at times its bytes."""
    if random.random() < 0.3:
        return mutation.mutate(random, data)
    lines = data.decode("utf-8").splitlines()
    place = random.randrange(len(lines))
    lines[place] = mutation.mutate_json(random, lines[place])
    return "\n".join([*lines, ""]).encode("utf-8", "surrogatepass")


def _zip(random: Random, data: bytes) -> bytes:
    return (mutation.mutate if random.random() < 0.2 else mutation.mutate_zip)(random, data)


@cache
def _symbols() -> object:
    return symbols.table(["<eps>", *sorted(_WORDS), "#0"])


# ---------------------------------------------------------------- texts


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


# ---------------------------------------------------------------- recordings, lists and manifests


def _sound(rate: int = RATE, seconds: float = 0.05, channels: int = 1) -> np.ndarray:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (round(rate * seconds), channels))
    return samples.astype(np.float32)


def _sounds(format: str, *subtypes: str) -> Callable[[Path], Sequence[bytes]]:
    def make(_: Path) -> Sequence[bytes]:
        seeds = []
        for subtype in subtypes:
            for rate, channels in ((RATE, 1), (8000, 2)):
                stream = io.BytesIO()
                soundfile.write(stream, _sound(rate, 0.05, channels), rate, subtype, None, format)
                seeds.append(stream.getvalue())
        return seeds

    return make


def _hear(path: Path) -> None:
    """Read what is found; a list is read if at least one of its recordings is."""
    good, fault = 0, None
    for recording in islice(recordings(path), 20):
        try:
            for _ in recording.blocks(RATE, max_seconds=60.0):
                good += 1
        except AudioError as error:
            if "\n" in str(error):
                raise ValueError(f"an error of several lines: {error}") from None
            fault = error
    if fault is not None and not good:
        raise fault


def _with_sounds(folder: Path) -> None:
    soundfile.write(folder / "a.wav", _sound(), RATE)
    soundfile.write(folder / "b.flac", _sound(8000, 0.1, 2), 8000)


def _lists(folder: Path) -> Sequence[bytes]:
    _with_sounds(folder)
    return [b"a.wav\nb.flac\n", b"a.wav\n"]


def _scp(folder: Path) -> Sequence[bytes]:
    _with_sounds(folder)
    return [b"one a.wav\ntwo b.flac\n", b"one a.wav\n"]


def _segments(folder: Path) -> Sequence[bytes]:
    _with_sounds(folder)
    (folder / "wav.scp").write_text(f"one {folder}/a.wav\ntwo {folder}/b.flac\n")
    return [b"s1 one 0.0 0.02\ns2 two 0.01 0.05\ns3 two 0.05 0.1\n"]


def _read_segments(data: bytes, folder: Path) -> None:
    (folder / "segments").write_bytes(data)
    _hear(folder)


def _manifest(folder: Path) -> Sequence[bytes]:
    _with_sounds(folder)
    one = lhotse.Recording.from_file(folder / "a.wav", recording_id="one")
    two = lhotse.Recording.from_file(folder / "b.flac", recording_id="two")
    cut = lhotse.MonoCut("cut", start=0.01, duration=0.03, channel=0, recording=one)
    items = [
        one,
        two.perturb_speed(0.9),
        two.resample(16000).perturb_volume(0.5),
        cut,
        cut.pad(0.05),
        cut.append(cut),
        cut.mix(one.to_cut(), snr=10),
        two.to_cut(),
    ]
    return [json.dumps(item.to_dict()).encode() + b"\n" for item in items]


# ---------------------------------------------------------------- lattices


def _kaldi_lattices(folder: Path) -> Sequence[bytes]:
    item = _stored_lattice()
    return [lattice_io._binary(item), lattice_io._binary(item) * 2]


def _stored_lattice() -> lattice_io.StoredLattice:
    src, dst = np.array([0, 0, 1, 1, 2], np.int32), np.array([1, 2, 2, 3, 3], np.int32)
    label, word = np.array([1, 2, 1, 3, 1], np.int32), np.array([1, 0, 2, 3, 0], np.int32)
    score = np.linspace(-3, -1, 5)
    return lattice_io.StoredLattice("utt", 4, src, dst, label, word, score, 2 * score)


def _read_lattices(path: Path) -> None:
    for stored in islice(lattice_io.read(path), 20):
        stored.nbest(3, [str(number) for number in range(10)])


# ---------------------------------------------------------------- models


def _describe(folder: Path, stem: str = "model") -> None:
    fields = {"tokens": _TOKENS, "frame_shift": 0.02, "sample_rate": 16000}
    (folder / f"{stem}.json").write_text(json.dumps(fields))


def _matrices() -> dict[str, np.ndarray]:
    source = np.random.default_rng(0)
    return {
        name: np.log(source.dirichlet(np.ones(3), size)).astype(np.float32)
        for name, size in (("utt", 4), ("utt2", 2))
    }


def _npz_matrices(folder: Path) -> Sequence[bytes]:
    _describe(folder)
    out = io.BytesIO()
    np.savez(out, **_matrices())
    return [out.getvalue()]


def _ark(folder: Path) -> Sequence[bytes]:
    _describe(folder)
    return [
        b"".join(
            name.encode() + b" \0BFM " + struct.pack("<BIBI", 4, *((len(m), 4, m.shape[1])))
            + m.tobytes()
            for name, m in _matrices().items()
        )
    ]  # fmt: skip


def _ark_scp(folder: Path) -> Sequence[bytes]:
    ark = folder / "matrices.ark"
    ark.write_bytes(_ark(folder)[0])
    second = ark.read_bytes().index(b"utt2 ") + 5
    return [f"utt {ark}:4\nutt2 {ark}:{second}\n".encode()]


def _look_up(path: Path) -> None:
    acoustic.load(path).posteriors_for(["utt", "utt2"])


def _descriptions(folder: Path) -> Sequence[bytes]:
    _npz = folder / "model.npz"
    np.savez(_npz, **_matrices())
    (folder / "tokens.txt").write_text("<blk> 0\na 1\nb 2\n#0 3\n")
    fields = {"tokens": _TOKENS, "frame_shift": 0.02, "sample_rate": 16000}
    more = [fields, {**fields, "tokens": "tokens.txt", "priors": [0.5, 0.3, 0.2]}]
    more.append({**fields, "fbank": {"num_filters": 40, "dither": 0.0}})
    return [json.dumps(one).encode() for one in more]


def _read_description(data: bytes, folder: Path) -> None:
    (folder / "model.json").write_bytes(data)
    _look_up(folder / "model.npz")


_SMALL: dict[str, dict] = {
    "cnn": {"channels": 2, "dim": 4},
    "cnn_lstm": {},
    "blstm": {"dim": 4, "num_layers": 1},
    "tdnn": {"dim": 4},
    "conformer": {"dim": 8, "num_heads": 2, "ffn_dim": 8, "num_blocks": 1},
}


def _networks(folder: Path) -> Sequence[bytes]:
    seeds = []
    for kind, fields in _SMALL.items():
        config = nets.network_class(kind).config_class
        fields = {name: value for name, value in fields.items() if name in config.__annotations__}
        network = nets.create(kind, _TOKENS, **fields)
        network.priors = torch.tensor([0.5, 0.3, 0.2])
        network.save(folder / "seed.npz")
        seeds.append((folder / "seed.npz").read_bytes())
    return sorted(seeds, key=len)[:3]


class _Frames(torch.nn.Module):
    def forward(
        self, waveforms: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        frames = waveforms.unfold(1, 160, 160).mean(-1, keepdim=True)
        scores = torch.cat([frames, -frames, 2 * frames], dim=-1)
        return scores, torch.div(lengths, 160, rounding_mode="floor")


def _scripts(folder: Path) -> Sequence[bytes]:
    _describe(folder)
    torch.jit.script(_Frames()).save(str(folder / "seed.pt"))
    return [(folder / "seed.pt").read_bytes()]


def _onnx(folder: Path) -> Sequence[bytes]:
    _describe(folder)
    network = nets.create("tdnn", _TOKENS, dim=4)
    nets.export(network, folder / "seed.onnx")
    (folder / "model.json").write_text((folder / "seed.json").read_text())
    return [(folder / "seed.onnx").read_bytes()]


def _run_model(path: Path) -> None:
    acoustic.load(path).posteriors([_sound(RATE, 0.2)[:, 0]], RATE)


def _hama_weights(folder: Path) -> Sequence[bytes]:
    names = [b"a.weight", b"b"]
    data = np.arange(6, dtype=np.float32).tobytes() + np.ones(4, np.float16).tobytes()
    entries = struct.pack("<H8sBB2IQQ", 8, names[0], 0, 2, 2, 3, 0, 24)
    entries += struct.pack("<H1sBB1IQQ", 1, names[1], 1, 1, 4, 24, 8)
    head = b"HAMAPK\1\0" + struct.pack("<I", 2) + entries
    return [head + bytes(-len(head) % 16) + data]


# ---------------------------------------------------------------- journals


def _journals(folder: Path) -> Sequence[bytes]:
    from asr_hlg.output.transcript import Alternative, Transcript, Word

    path = folder / "seed.journal"
    with Journal.open(path, {"graph": "x"}) as journal:
        word = Word("cat", 0.0, 0.5, 0.9)
        journal.add(Transcript("a", "cat", [word], -1.0, 2.0, [Alternative("cat", -1, -2, 1)]))
        journal.add_failure("b", "why")
    return [path.read_bytes()]


def _read_journal(path: Path) -> None:
    with Journal.open(path, {"graph": "x"}, resume=True) as journal:
        for name in ("a", "b"):
            if name in journal and name not in journal.failures:
                journal.transcript(name)


def _texts(*contents: str) -> Callable[[Path], Sequence[bytes]]:
    return lambda _: [content.encode() for content in contents]


_ALTERNATIVES = json.dumps({"id": "a", "text": "x y", "alternatives": [{"text": "x"}]}) + "\n"

READERS = {
    reader.name: reader
    for reader in (
        Reader(
            "symbols",
            _texts("<eps> 0\nand 1\ncat 2\n#0 3\n"),
            _file("words.txt", symbols.read),
        ),
        Reader("lexicon", _texts(_LEXICON), _file("lexicon.txt", _read_lexicon)),
        Reader("lexiconp", _texts(_LEXICONP), _file("lexiconp.txt", _read_lexicon)),
        Reader(
            "arpa",
            _texts(_ARPA),
            _file("g.arpa", lambda path: lm.read_arpa(path, _symbols())),
            _with_words("\\data\\", "\\1-grams:", "\\end\\", "ngram 4=1", "-0.5", "cat"),
        ),
        Reader(
            "sentences",
            _texts("the cat sat\n\nthe hat and a cat\n"),
            _file("text", lambda path: list(lm.read_sentences(path))),
            _with_words("<s>", "</s>", "cat"),
        ),
        Reader("sphinx-dict", _texts(_DICT), _file("words.dict", lm.read_dict)),
        Reader("sphinx-trie", _sphinx_trie, _read_trie),
        Reader(
            "grammar",
            _texts(_GRAMMAR, _JSGF),
            _file("grammar.txt", _read_grammar),
            _with_words(*"|()[]*+;=<>{}/", "<animal>", "<a>", "/0.5/", "cat", "public", "/*", '"'),
        ),
        Reader("recipe", _recipes, _file("recipe.toml", _read_recipe)),
        Reader(
            "training-config", _texts(_TRAINING, _STAGES), _file("train.toml", TrainingConfig.read)
        ),
        Reader(
            "hotwords",
            _texts("cat\nbank of scotland\nkubernetes\t6\n"),
            _file("words.txt", hotwords.read),
        ),
        Reader(
            "transcripts",
            _texts("a one two\nb\nc drei\n"),
            _file("text", text.read_transcripts),
        ),
        Reader(
            "transcripts-trn",
            _texts("one two (a)\n(b)\ndrei (c)\n"),
            _file("ref.trn", text.read_transcripts),
        ),
        Reader(
            "transcripts-ctm",
            _texts(";; x\na 1 0.0 0.3 one 0.9\na 1 0.3 0.2 two\n"),
            _file("ref.ctm", text.read_transcripts),
        ),
        Reader(
            "transcripts-json",
            _texts(_ALTERNATIVES, '{"id": "a", "text": "x"}\n{"id": "b", "text": ""}\n'),
            _file("ref.jsonl", text.read_transcripts),
            _json_lines,
        ),
        Reader(
            "alternatives",
            _texts(_ALTERNATIVES),
            _file("ref.jsonl", text.read_alternatives),
            _json_lines,
        ),
        Reader("list", _lists, _file("all.lst", _hear)),
        Reader("wav.scp", _scp, _file("wav.scp", _hear)),
        Reader("segments", _segments, _read_segments),
        Reader("lhotse", _manifest, _file("cuts.jsonl", _hear), _json_lines),
        Reader("wav", _sounds("WAV", "PCM_16", "PCM_U8", "FLOAT", "ULAW"), _file("x.wav", _hear)),
        Reader("wavex", _sounds("WAVEX", "PCM_24"), _file("x.wav", _hear)),
        Reader("rf64", _sounds("RF64", "PCM_16"), _file("x.wav", _hear)),
        Reader("flac", _sounds("FLAC", "PCM_16"), _file("x.flac", _hear)),
        Reader("ogg", _sounds("OGG", "VORBIS", "OPUS"), _file("x.ogg", _hear)),
        Reader("mp3", _sounds("MP3", "MPEG_LAYER_III"), _file("x.mp3", _hear)),
        Reader("aiff", _sounds("AIFF", "PCM_16"), _file("x.aiff", _hear)),
        Reader("au", _sounds("AU", "PCM_16", "ULAW"), _file("x.au", _hear)),
        Reader("w64", _sounds("W64", "PCM_16"), _file("x.w64", _hear)),
        Reader("caf", _sounds("CAF", "PCM_16"), _file("x.caf", _hear)),
        Reader("sph", _sounds("NIST", "PCM_16"), _file("x.sph", _hear)),
        Reader("lattice", _kaldi_lattices, _file("lattices.ark", _read_lattices)),
        Reader("posteriors-npz", _npz_matrices, _file("model.npz", _look_up), _zip),
        Reader("posteriors-ark", _ark, _file("model.ark", _look_up)),
        Reader("posteriors-scp", _ark_scp, _file("model.scp", _look_up)),
        Reader("description", _descriptions, _read_description, _json_lines),
        Reader("network", _networks, _file("network.npz", acoustic.load), _zip),
        # Damage only: a TorchScript file does what its maker means it to do.
        Reader("torchscript", _scripts, _file("model.pt", _run_model)),
        Reader("onnx", _onnx, _file("model.onnx", _run_model)),
        Reader(
            "hama-weights",
            _hama_weights,
            _file("weights.hama", lambda path: hama.read_tensors(path.read_bytes())),
        ),
        Reader("journal", _journals, _file("out.journal", _read_journal), _json_lines),
        Reader("graph", make_graph, read_graph, mutate_graph),
    )
}
