"""Reads the corpus of bad recordings under limits, in a process that may crash or hang."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

from asr_hlg.audio import recordings
from asr_hlg.errors import AudioError
from tests.support.bad_audio import CORPUS, LONGEST, RATE

MEMORY = 1 << 30  # bytes that all of this may add


def main(folder: Path) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for name, bad in CORPUS.items():
        (folder / name).mkdir()
        path = bad.make(folder / name)
        handles, begun = len(os.listdir("/proc/self/fd")), time.process_time()
        reason, samples = "", 0
        try:
            for recording in recordings([path]):
                for block in recording.blocks(RATE, max_seconds=LONGEST):
                    samples += len(block)
        except AudioError as error:
            reason = str(error)
        answer = {
            "name": name,
            "samples": samples,
            "reason": reason,
            "seconds": time.process_time() - begun,
            "handles": len(os.listdir("/proc/self/fd")) - handles,
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
