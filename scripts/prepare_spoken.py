"""Write lang/en/spoken.arpa.gz: a trigram of conversation and of what is said to machines.

The general trigram of the graph `en` comes from broadcasts. This one is mixed into it: see
lang/en/README.md for the sources and their licences. It needs three packages that the project
itself does not need:

    .venv/bin/pip install chitchat-dataset chatterbot-corpus home-assistant-intents
    .venv/bin/python scripts/prepare_spoken.py --sentences train.txt

takes a minute; its output is in the repository. `train.txt` has the transcripts of speechocean762's
training part, without those of the speakers on whom the project measures.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from pathlib import Path

import yaml

from asr_hlg import lm

OUTPUT = Path(__file__).resolve().parents[1] / "lang" / "en" / "spoken.arpa.gz"
COMMANDS = 30_000
NUMBERS = 20_000
MAX_WORDS = 40


def words(text: str) -> list[str]:
    """Words of a text."""
    return text.split()


UNITS = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")
ORDINALS = words(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
)
MONTHS = words(
    "january february march april may june july august september october november december"
)
WEEKDAYS = words("monday tuesday wednesday thursday friday saturday sunday")
NAMES = words("mary john tom anna peter lucy david sarah mike emma james")
AREAS = ["kitchen", "bedroom", "living room", "bathroom", "office", "garage", "hall", "garden"]
DEVICES = ["lamp", "radio", "heater", "television", "computer", "door", "fan", "coffee machine"]
THINGS = ["milk", "bread", "eggs", "coffee", "apples", "cheese", "rice", "some music", "jazz"]
MEASURES = words("dollars cents percent meters miles kilometers degrees minutes hours days pounds")
WILDCARDS = {
    "area": AREAS,
    "floor": AREAS,
    "name": DEVICES,
    "search_query": THINGS,
    "shopping_list_item": THINGS,
    "todo_list_item": THINGS,
    "timer_name": NAMES,
    "zone": NAMES,
    "message": ["dinner is ready", "come here"],
}

# How chat is typed, and how it is spelled in the lexicon.
TYPED = dict(
    pair.split("=")
    for pair in words(
        "im=i'm dont=don't doesnt=doesn't didnt=didn't cant=can't couldnt=couldn't wont=won't "
        "wouldnt=wouldn't isnt=isn't arent=aren't wasnt=wasn't werent=weren't hasnt=hasn't "
        "havent=haven't thats=that's whats=what's hes=he's shes=she's theres=there's ive=i've "
        "youre=you're youve=you've theyre=they're weve=we've lets=let's id=i'd itll=it'll u=you "
        "ur=your r=are ok=okay mr=mister mrs=missus dr=doctor vs=versus wheres=where's hows=how's"
    )
)
DROPPED = {"haha", "hahaha", "lol", "ha", "hah", "hehe", "lmao"}


def main() -> None:
    """Collect the sentences, estimate and prune the trigram, write it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prune", type=float, default=1e-7, help="threshold of entropy pruning")
    parser.add_argument("--sentences", type=Path, help="more sentences, one a line, in lower case")
    parser.add_argument("--share", type=float, default=0.5, help="weight of these sentences")
    parser.add_argument("--text", type=Path, help="also write the sentences to this file")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    known = {word for word, _ in lm.read_dict()}
    sentences = usable(all_sentences(), known)
    if args.text:
        args.text.write_text("\n".join(sentences) + "\n", encoding="utf-8")
    print(f"{len(sentences):,} sentences, {sum(s.count(' ') + 1 for s in sentences):,} words")
    model = lm.estimate(sentences, 3)
    if args.sentences:
        more = usable(args.sentences.read_text(encoding="utf-8").splitlines(), known)
        print(f"{args.sentences}: {len(more):,} sentences with the weight {args.share}")
        model = lm.interpolate([model, lm.estimate(more, 3)], [1 - args.share, args.share])
    lm.prune(model, args.prune).write(args.output)


def usable(sentences: Iterable[str], known: set[str]) -> list[str]:
    """Sentences of known words that are not too long."""
    divided = map(str.split, sentences)
    return [" ".join(w) for w in divided if 0 < len(w) <= MAX_WORDS and known.issuperset(w)]


def all_sentences() -> Iterator[str]:
    """Sentences of all sources, in lower case and without punctuation."""
    for text in (*chats(), *dialogues()):
        yield from spoken(text)
    chosen = random.Random(1)
    yield from commands(COMMANDS, chosen)
    makers = (digits, telephone, clock, date, amount, letters)
    for _ in range(NUMBERS):
        yield chosen.choice(makers)(chosen)


def chats() -> Iterator[str]:
    """Messages of chitchat_dataset."""
    source = files("chitchat_dataset") / "dataset.json"
    for chat in json.loads(source.read_text(encoding="utf-8")).values():
        yield from (message["text"] for turn in chat["messages"] for message in turn)


def dialogues() -> Iterator[str]:
    """Utterances of chatterbot_corpus, without its lessons in programming."""
    for path in sorted((files("chatterbot_corpus") / "data" / "english").iterdir(), key=str):
        if path.name.endswith(".yml") and path.name not in ("coding.yml", "tech_support.yml"):
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            for dialogue in content["conversations"]:
                yield from (str(utterance) for utterance in dialogue)


def spoken(text: str) -> Iterator[str]:
    """Sentences of a text as they are said."""
    text = text.lower().replace("’", "'").replace("&", " and ").replace("%", " percent ")
    for sentence in re.split(r"[.!?;:…\n()\"]+\s*", text):
        if re.search(r"[^a-z0-9' ,*_~-]|http", sentence):
            continue
        said = []
        for token in re.split(r"[^a-z0-9']+", sentence):
            word = token.strip("'")
            if word and word not in DROPPED:
                said.append(number(int(word)) if word.isdecimal() else TYPED.get(word, word))
        yield " ".join(said)


def number(value: int) -> str:
    """A cardinal number in words; a year from 1100 to 2099 as years are read."""
    if value < 20:
        return UNITS[value]
    if value < 100:
        rest = value % 10
        return TENS[value // 10 - 2] + (f" {UNITS[rest]}" if rest else "")
    if value < 1000:
        rest = value % 100
        return f"{UNITS[value // 100]} hundred" + (f" {number(rest)}" if rest else "")
    if 1100 <= value < 2100 and value % 1000 >= 10 and value % 100:
        rest = value % 100
        return f"{number(value // 100)} " + (number(rest) if rest >= 10 else f"oh {UNITS[rest]}")
    if value < 1_000_000:
        rest = value % 1000
        return f"{number(value // 1000)} thousand" + (f" {number(rest)}" if rest else "")
    return " ".join(UNITS[int(digit)] for digit in str(value))


Choices = random.Random


def digits(chosen: Choices) -> str:
    """A string of digits."""
    zero = chosen.choice(("zero", "zero", "oh"))
    count = chosen.choice((1, 2, 3, 4, 4, 5, 5, 6, 7))
    return " ".join(chosen.choice([zero, *UNITS[1:10]]) for _ in range(count))


def telephone(chosen: Choices) -> str:
    """A request for a call, or a number alone."""
    before = chosen.choice(("", "", "call ", "dial ", "my number is ", "please call "))
    zero = chosen.choice(("zero", "oh"))
    return before + " ".join(
        chosen.choice([zero, *UNITS[1:10]]) for _ in range(chosen.choice((7, 10)))
    )


def clock(chosen: Choices) -> str:
    """A time of the day, alone or in a request."""
    hour, minute = number(chosen.randint(1, 12)), chosen.choice((0, 5, 10, 15, 20, 30, 40, 45, 50))
    said = (
        chosen.choice(("", " o'clock"))
        if not minute
        else f" {number(minute)}"
        if minute > 9
        else " oh five"
    )
    time = hour + said + chosen.choice(("", "", " p m", " a m", " in the morning"))
    other = chosen.choice((f"half past {hour}", f"quarter past {hour}", f"quarter to {hour}"))
    before = chosen.choice(("", "", "at ", "wake me up at ", "set an alarm for ", "meet me at "))
    return before + chosen.choice((time, time, other))


def date(chosen: Choices) -> str:
    """A day of the year or of the week, alone or in a request."""
    day = chosen.randint(1, 31)
    ordinal = (
        ORDINALS[day - 1] if day <= 20 else f"{number(day // 10 * 10)} {ORDINALS[day % 10 - 1]}"
    )
    if day == 30:
        ordinal = "thirtieth"
    month = chosen.choice(MONTHS)
    said = chosen.choice(
        (f"{month} {ordinal}", f"{month} the {ordinal}", f"the {ordinal} of {month}")
    )
    year = chosen.choice(("", "", f" {number(chosen.randint(1900, 2030))}"))
    when = chosen.choice((said + year, chosen.choice(WEEKDAYS), "today", "tomorrow"))
    before = chosen.choice(("", "", "on ", "book a room for ", "what is the weather on "))
    return before + when


def amount(chosen: Choices) -> str:
    """A number with a unit, alone or in a request."""
    value = number(
        chosen.choice((chosen.randint(1, 20), chosen.randint(1, 100), chosen.randint(1, 9999)))
    )
    said = f"{value} {chosen.choice(MEASURES)}"
    half = chosen.choice(
        ("half an hour", "an hour and a half", "two people", "a quarter of an hour")
    )
    before = chosen.choice(("", "", "it costs ", "go forward ", "turn it up to ", "for ", "wait "))
    return before + chosen.choice((said, said, said, half))


def letters(chosen: Choices) -> str:
    """A word spelled letter by letter."""
    before = chosen.choice(("", "", "spell ", "the letters "))
    return before + " ".join(
        chosen.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(chosen.randint(1, 6))
    )


def commands(count: int, chosen: Choices) -> Iterator[str]:
    """Random sentences of the templates of home_assistant_intents."""
    path = files("home_assistant_intents") / "data" / "en.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    intents = [
        [sentence for data in intent["data"] for sentence in data["sentences"]]
        for intent in content["intents"].values()
    ]
    lists = {name: values for name, values in content["lists"].items() if "values" in values}
    expand = expander(content["expansion_rules"], lists, chosen)
    for _ in range(count):
        yield re.sub(r"[^a-z' ]+", " ", expand(chosen.choice(chosen.choice(intents))).lower())


def expander(
    rules: dict[str, str], lists: dict[str, dict[str, list]], chosen: Choices
) -> Callable[[str], str]:
    """Function that chooses one sentence of a template: [optional], (one|other), <rule>, {list}."""

    def value(name: str) -> str:
        name = name.partition(":")[0]
        if name in lists:
            entry = chosen.choice(lists[name]["values"])
            return expand(entry if isinstance(entry, str) else entry["in"])
        if name in WILDCARDS:
            return chosen.choice(WILDCARDS[name])
        if "command" in name:
            return expand("<turn> (on|off) the {name}")
        return number(chosen.randint(1, 100))

    def expand(template: str) -> str:
        inner = re.compile(r"\[([^\[\]()]*)\]|\(([^\[\]()]*)\)")
        template = re.sub(r"<([^<>]+)>", lambda rule: f"({rules.get(rule[1], '')})", template)
        if "<" in template:
            return expand(template)
        while found := inner.search(template):
            options = (found[1] if found[1] is not None else found[2]).split("|")
            keep = found[1] is None or chosen.random() < 0.5
            template = (
                template[: found.start()]
                + (chosen.choice(options) if keep else "")
                + template[found.end() :]
            )
        return re.sub(r"\{([^{}]+)\}", lambda slot: value(slot[1]), template)

    return expand


if __name__ == "__main__":
    main()
