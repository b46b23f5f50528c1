"""What is fuzzed: a reader with valid files, and the changes that are made to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from tests.fuzz import mutation


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


def in_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], None]:
    """A reader of one file of that name."""

    def read_case(data: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(data)
        read(path)

    return read_case


def with_words(*words: str) -> Callable[[Random, bytes], bytes]:
    return partial(mutation.mutate, words=[word.encode() for word in words])


def mutate_json_lines(random: Random, data: bytes) -> bytes:
    """Mostly values of one line changed; at times its bytes, or a line nested very deeply."""
    if random.random() < 0.01:
        return random.choice([b"[", b'{"id":']) * 100_000
    if random.random() < 0.3:
        return mutation.mutate(random, data)
    lines = data.decode("utf-8").splitlines()
    place = random.randrange(len(lines))
    lines[place] = mutation.mutate_json(random, lines[place])
    return "\n".join([*lines, ""]).encode("utf-8", "surrogatepass")


def mutate_archive(random: Random, data: bytes) -> bytes:
    return (mutation.mutate if random.random() < 0.2 else mutation.mutate_zip)(random, data)


def texts(*contents: str) -> Callable[[Path], Sequence[bytes]]:
    return lambda _: [content.encode() for content in contents]


def named(path: str, content: str | bytes) -> bytes:
    """A seed for readers of several files: the name of one, a zero byte, its content."""
    return path.encode() + b"\0" + (content.encode() if isinstance(content, str) else content)


def split_name(data: bytes) -> tuple[str, bytes]:
    """Name and content of such a seed or case."""
    name, _, content = data.partition(b"\0")
    return name.decode(), content


def mutate_named(random: Random, data: bytes) -> bytes:
    """The content changed as the file's kind invites to."""
    name, content = split_name(data)
    if name.endswith((".json", ".jsonl")):
        return named(name, mutate_json_lines(random, content))
    return named(name, mutation.mutate(random, content))
