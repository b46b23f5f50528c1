"""A transcription that is killed again and again, without the time that torch takes to load.

Run as a program, it does what ``asr-hlg transcribe --output OUT --resume`` does: the same journal,
the same processes, the same writer, and tasks that sleep instead of decoding.
"""

from __future__ import annotations

import random
import sys
import time

from asr_hlg.errors import AudioError
from asr_hlg.output import writers as output
from asr_hlg.output.transcript import Transcript, Word
from asr_hlg.transcribe.journal import Journal
from asr_hlg.transcribe.supervisor import Supervisor

IDS = [f"utterance-{number}" for number in range(150)]


def start():
    return work, None


def work(id, alive):
    """A transcript, or an error, that depends on nothing but the id."""
    generator = random.Random(id)
    time.sleep(0.005 * generator.random())
    if generator.random() < 0.05:
        raise AudioError("the recording holds no samples", path=f"{id}.wav")
    words = [
        Word(f"wörd{i}", i * 0.1, i * 0.1 + 1 / 3, 0.5) for i in range(generator.randint(0, 9))
    ]
    text = " ".join(word.text for word in words)
    return Transcript(id, text, words, -generator.random(), generator.random())


def main(out: str) -> None:
    with Journal.open(out + ".journal", {"seed": 1}, resume=True) as journal:
        with Supervisor(start, 2, timeout=60) as supervisor:
            todo = [id for id in IDS if id not in journal]
            for id, result in supervisor.run(todo):
                if isinstance(result, Transcript):
                    journal.add(result)
                else:
                    journal.add_failure(id, str(result))
        with output.writer("json", out, whole=True) as writer:
            for id in IDS:
                if id not in journal.failures:
                    writer.write(journal.transcript(id))
        journal.finish()


if __name__ == "__main__":
    main(sys.argv[1])
