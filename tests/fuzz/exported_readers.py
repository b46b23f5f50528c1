"""Readers of models that other toolkits exported: tokens, metadata, settings, networks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import onnx

from asr_hlg import acoustic
from asr_hlg.lexicon import lang_folder
from asr_hlg.lexicon.token_files import read_tokens
from tests.fuzz import mutation
from tests.fuzz.reader import Reader, in_file, mutate_named, named, split_name
from tests.fuzz.sound_readers import RATE, sound
from tests.support import exported_models

_KINDS = (
    "icefall", "wenet", "nemo", "sense_voice", "telespeech", "omnilingual", "gigaam",
    "streaming_zipformer", "streaming_nemo",
)  # fmt: skip


def _token_files(folder: Path) -> Sequence[bytes]:
    vocabulary = {"<pad>": 0, "|": 1, "a": 2, "b": 3}
    return [
        named("tokens.txt", "<blk> 0\n\u2581a 1\nb 2\n 3\n#0 4\n#1 5\n"),
        named("vocab.txt", "<unk>\na\n##b\n"),
        named("vocab.json", json.dumps(vocabulary)),
        named("added_tokens.json", json.dumps({"<s>": 4, "</s>": 5})),
    ]


def _read_tokens(data: bytes, folder: Path) -> None:
    name, content = split_name(data)
    (folder / "vocab.json").write_text('{"<pad>": 0, "|": 1, "a": 2, "b": 3}')
    (folder / "added_tokens.json").write_text("{}")
    (folder / name).write_bytes(content)
    read_tokens(folder / ("vocab.json" if name.endswith(".json") else name))
    read_tokens(folder / ("vocab.json" if name.endswith(".json") else name), 4)


def _lang_files(folder: Path) -> Sequence[bytes]:
    return [
        named("phones/align_lexicon.txt", "<eps> <eps> SIL\ncat cat k_B ae_I t_E\nhat hat h t\n"),
        named("lexiconp.txt", "cat 1.0 k ae t\nhat 0.5 h ae t\n"),
        named("optional_silence.txt", "SIL\n"),
    ]


def _read_lang(data: bytes, folder: Path) -> None:
    name, content = split_name(data)
    lang = folder / "lang"
    (lang / "phones").mkdir(parents=True, exist_ok=True)
    path = lang / name
    path.write_bytes(content)
    try:
        lang_folder.optional_silence(lang)
        if not name.startswith("optional"):
            lang_folder.read_entries(lang_folder.lexicon_file(lang))
    finally:
        path.unlink()


def _run(path: Path) -> None:
    acoustic.load(path).posteriors([sound(RATE, 0.5)[:, 0]], RATE)


def _metadata(folder: Path) -> Sequence[bytes]:
    """Metadata of a network of each kind; the folders keep the networks."""
    seeds = []
    for kind in _KINDS:
        made = getattr(exported_models, kind)(folder / kind)
        held = {entry.key: entry.value for entry in onnx.load(made.network).metadata_props}
        seeds.append(named(f"{kind}/{made.network.name}", json.dumps(held)))
    return seeds


def _mutate_metadata(random: Random, data: bytes) -> bytes:
    name, content = split_name(data)
    changed = mutation.mutate_json(random, content.decode())
    return named(name, changed.encode("utf-8", "surrogatepass"))


def _read_metadata(data: bytes, folder: Path) -> None:
    name, content = split_name(data)
    path = folder / name
    before = path.read_bytes()
    model = onnx.load_from_string(before)
    del model.metadata_props[:]
    held = json.loads(content.decode("utf-8", "replace"))
    for key, value in (held if isinstance(held, dict) else {}).items():
        text = (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "replace")
        model.metadata_props.add(key=key.encode("utf-8", "replace").decode(), value=text.decode())
    try:
        path.write_bytes(model.SerializeToString())
        _run(path.parent)
    finally:
        path.write_bytes(before)


def _hugging_face(folder: Path) -> Sequence[bytes]:
    made = exported_models.hugging_face(folder / "hugging")
    return [
        named(f"hugging/{path.name}", path.read_bytes())
        for path in sorted(made.folder.glob("*.json"))
    ]


def _read_hugging_face(data: bytes, folder: Path) -> None:
    name, content = split_name(data)
    path = folder / name
    before = path.read_bytes()
    try:
        path.write_bytes(content)
        _run(path.parent)
    finally:
        path.write_bytes(before)


def _network(kind: str) -> Callable[[Path], Sequence[bytes]]:
    return lambda folder: [getattr(exported_models, kind)(folder).network.read_bytes()]


EXPORTED_READERS = (
    Reader("tokens", _token_files, _read_tokens, mutate_named),
    Reader("lang-folder", _lang_files, _read_lang, mutate_named),
    Reader("metadata", _metadata, _read_metadata, _mutate_metadata),
    Reader("hugging-face", _hugging_face, _read_hugging_face, mutate_named),
    Reader("exported-onnx", _network("icefall"), in_file("model.onnx", _run)),
)
