"""Recall of hotwords among 10 and among 10,000, and the time that a list takes.

    python benchmarks/hotwords.py ../shared/data/ljspeech/flac ../shared/data/ljspeech/text
    python benchmarks/hotwords.py ... --systems graph whisper both

The hotwords are words of the references that the graph lacks or that occur in few texts: those that
are not recognised without a list come first. The other entries of a list are made-up names, which
the graph lacks and which therefore have to be pronounced. A recall is the share of the hotwords'
occurrences in the references that are recognised; false ones are made-up names in the transcripts.
The systems are the first pass, Whisper tiny.en alone, which is prompted with the list, and both.
"""

from __future__ import annotations

import argparse
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from asr_hlg.audio import recordings
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.adapt import cached
from asr_hlg.graph.adapt import hotwords as hotword_list
from asr_hlg.output import text
from asr_hlg.rescore.log_mel import SAMPLE_RATE
from asr_hlg.rescore.passes import PassOptions
from asr_hlg.rescore.prompts import Boosts
from asr_hlg.rescore.whisper import WhisperModel
from asr_hlg.transcribe import TranscribeOptions, Transcriber

WHISPER = "tiny.en"
SYSTEMS = ("graph", "whisper", "both")
SYLLABLES = re.findall("..", "kalomizuvetagrishoelobwithstraquponidefumagobety")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings")
    parser.add_argument("references", type=Path)
    parser.add_argument("--graph", default="graphs/en")
    parser.add_argument("--hotwords", type=int, default=10)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1000, 10_000])
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=["graph"])
    options = parser.parse_args()
    references = text.read_transcripts(options.references)
    before = transcripts("graph", options.graph, None, options.recordings)
    hotwords = rare_words(references, before, options.graph)[: options.hotwords]
    print("hotwords:", " ".join(hotwords))
    for system in options.systems:
        found = before
        if system != "graph":
            found = transcripts(system, options.graph, None, options.recordings)
        print(f"{system}, without a list: {row(hotwords, references, found, [])}")
        for size in options.sizes:
            others = made_up(size - len(hotwords), set(hotwords))
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "hotwords.txt"
                path.write_text("".join(f"{word}\n" for word in [*hotwords, *others]))
                begin = time.monotonic()
                found = transcripts(system, options.graph, path, options.recordings)
                seconds = time.monotonic() - begin
            shown = row(hotwords, references, found, others)
            print(f"{system}, among {size:,}: {shown}; {seconds:.1f} s with all recordings")


def rare_words(references: dict[str, str], transcribed: dict[str, str], graph: str) -> list[str]:
    """Words that the graph lacks, then others that are missed, then the rarest."""
    known = DecodingGraph.load(graph).words
    spoken = Counter(word for line in references.values() for word in line.lower().split())
    recognised = Counter(word for line in transcribed.values() for word in line.split())
    names = [word for word in spoken if word.isascii() and word.isalpha() and len(word) > 5]
    return sorted(names, key=lambda w: (w in known, recognised[w] >= spoken[w], spoken[w], w))


def made_up(number: int, taken: set[str]) -> list[str]:
    """Names of three to six syllables, the same ones every time."""
    generator = random.Random(0)
    names: dict[str, None] = {}
    while len(names) < number:
        name = "".join(generator.choices(SYLLABLES, k=generator.randint(3, 6)))
        if name not in taken:
            names[name] = None
    return list(names)


def transcripts(system: str, graph: str, hotwords: Path | None, sounds: str) -> dict[str, str]:
    """Text of every recording."""
    if system == "whisper":
        return by_whisper(hotwords, sounds)
    changed, _ = cached.open_graph(graph, hotword_file=hotwords, on_error=lambda _: None)
    passes = PassOptions()
    if system == "both":
        passes = PassOptions(whisper=WHISPER, hotwords=None if hotwords is None else str(hotwords))
    options = TranscribeOptions(passes=passes)
    transcriber = Transcriber.from_graph(graph, options=options, graph=changed)
    return {t.id: t.text for t in transcriber.transcribe([sounds])}


def by_whisper(hotwords: Path | None, sounds: str) -> dict[str, str]:
    """Text of every recording, of 30 s at most, by Whisper alone with a beam of 5."""
    whisper = WhisperModel.load(WHISPER, threads=1)
    boosts = Boosts(() if hotwords is None else hotword_list.read(hotwords))
    return {
        recording.id: " ".join(
            whisper.encode(recording.load(SAMPLE_RATE), SAMPLE_RATE)
            .hypotheses(5, boosts.prompt([]))[0]
            .words
        )
        for recording in recordings([sounds])
    }


def row(
    hotwords: list[str], references: dict[str, str], found: dict[str, str], others: Iterable[str]
) -> str:
    """Recall, false alarms and word errors of a transcription."""
    spoken = recalled = false = 0
    names = set(others)
    for id, line in references.items():
        wanted, got = Counter(line.lower().split()), Counter(found.get(id, "").split())
        spoken += sum(wanted[word] for word in hotwords)
        recalled += sum(min(wanted[word], got[word]) for word in hotwords)
        false += sum(count for word, count in got.items() if word in names)
    return f"{recalled} of {spoken} recalled ({recalled / max(spoken, 1):.1%}), {false} false"


if __name__ == "__main__":
    main()
