"""Random changes to files: to bytes, to words of a text, to values of JSON, to members of a zip."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Sequence
from random import Random
from typing import Any

# Numbers at which programs break: the ends of types, off by one, no number at all.
_NUMBERS = (
    0, 1, 2, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31,
    2**32 - 1, 2**32, 2**62, 2**63 - 1, -1, -2, -128, -32768, -(2**31),
)  # fmt: skip
_WORDS = (
    *(b"%d" % number for number in _NUMBERS),
    b"nan", b"inf", b"-inf", b"1e999", b"-1e-400", b"0.5", b"1_0", b"0x10", "٣".encode(),
    b"", b" ", b"\t", b"\n", b"\r\n", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80",
    "é".encode(), "e\u0301".encode(), "\u2028".encode(), "\x85".encode(), "🎤".encode(),
    b"<eps>", b"<s>", b"</s>", b"<unk>", b"<blk>", b"#0", b"#1", b"|", b"../", b"/",
    b"%s", b"a" * 300,
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    *_NUMBERS, None, True, False, "", "x", "\0", "../x", [], {}, [[]], [0], {"x": 0}, 0.5, -0.5,
    1e308, -1e308, 1e-308, 2**200, float("nan"), float("inf"), "nan", "0", "\ud800", "e" * 300,
)  # fmt: skip


def mutate(random: Random, data: bytes, words: Sequence[bytes] = ()) -> bytes:
    """A few changes at random places; ``words`` are inserted more often than the usual ones."""
    changed = bytearray(data)
    for _ in range(1 + int(random.expovariate(0.7))):
        random.choice(_CHANGES)(random, changed, words)
    return bytes(changed)


def mutate_json(random: Random, text: str) -> str:
    """A few values of a JSON text replaced, left out, doubled or moved."""
    value = json.loads(text)
    for _ in range(1 + int(random.expovariate(0.7))):
        value = _change_value(random, value)
    return json.dumps(value, ensure_ascii=random.random() < 0.5)


def mutate_zip(random: Random, data: bytes) -> bytes:
    """One member of a zip archive changed, or left out, doubled or renamed; checksums are right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    place = random.randrange(len(members))
    name, content = members[place]
    change = random.random()
    if change < 0.05:
        del members[place]
    elif change < 0.1:
        members.append((mutate(random, name.encode()).decode("utf-8", "replace"), content))
    elif name.endswith(".json.npy"):
        members[place] = name, _mutate_json_array(random, content)
    else:
        members[place] = name, mutate(random, content)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", random.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as z:
        for name, content in members:
            z.writestr(zipfile.ZipInfo(name.replace("\0", "") or "x"), content)
    return out.getvalue()


def _mutate_json_array(random: Random, content: bytes) -> bytes:
    """JSON that numpy keeps as an array of one string."""
    import numpy as np

    text = str(np.load(io.BytesIO(content)))
    out = io.BytesIO()
    changed = mutate_json(random, text).encode("utf-8", "replace").decode("utf-8")
    np.save(out, np.array(changed))
    return out.getvalue()


def _span(random: Random, data: bytearray) -> slice:
    start = random.randrange(len(data) + 1)
    return slice(start, start + min(len(data), int(random.expovariate(0.08))))


def _flip_a_bit(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _set_a_byte(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] = random.randrange(256)


def _set_a_number(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    size = random.choice([2, 4, 8])
    number = random.choice(_NUMBERS) % (1 << 8 * size)
    place = random.randrange(len(data) + 1)
    data[place : place + size] = number.to_bytes(size, random.choice(["little", "big"]))


def _insert_a_word(random: Random, data: bytearray, words: Sequence[bytes]) -> None:
    place = random.randrange(len(data) + 1)
    chosen = words if words and random.random() < 0.5 else _WORDS
    data[place:place] = random.choice(chosen)


def _replace_a_word(random: Random, data: bytearray, words: Sequence[bytes]) -> None:
    found = [match.span() for match in re.finditer(rb"[^\s,:=\[\]()]+", bytes(data[:4096]))]
    if found:
        start, end = random.choice(found)
        data[start:end] = random.choice(words if words and random.random() < 0.5 else _WORDS)


def _delete(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[_span(random, data)]


def _repeat(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    span = _span(random, data)
    data[span.start : span.start] = data[span] * random.choice([1, 1, 2, 20])


def _move(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    span = _span(random, data)
    part = data[span]
    del data[span]
    place = random.randrange(len(data) + 1)
    data[place:place] = part


def _swap_lines(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    lines = bytes(data).split(b"\n")
    i, j = random.randrange(len(lines)), random.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]
    data[:] = b"\n".join(lines)


def _cut(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[random.randrange(len(data) + 1) :]


_CHANGES = (
    _flip_a_bit,
    _set_a_byte,
    _set_a_number,
    _insert_a_word,
    _replace_a_word,
    _delete,
    _repeat,
    _move,
    _swap_lines,
    _cut,
)


def _change_value(random: Random, value: Any) -> Any:
    """A value with one of its parts, at any depth, changed."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        kind = random.random()
        if kind < 0.1:
            return {k: v for k, v in value.items() if k != key}
        if kind < 0.15:
            return {**value, random.choice(["x", "", *value]): value[key]}
        return {**value, key: _change_value(random, value[key])}
    if isinstance(value, list) and value and random.random() < 0.9:
        place = random.randrange(len(value))
        kind = random.random()
        if kind < 0.1:
            return value[:place] + value[place + 1 :]
        if kind < 0.2:
            return [*value, value[place]]
        return [*value[:place], _change_value(random, value[place]), *value[place + 1 :]]
    if isinstance(value, str) and value and random.random() < 0.5:
        return mutate(random, value.encode("utf-8", "replace")).decode("utf-8", "replace")
    return random.choice(_VALUES)
