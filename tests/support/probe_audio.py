"""Reads the corpus of bad recordings with limited memory, in a process that may crash or hang."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

from asr_hlg.audio import recordings
from asr_hlg.errors import AudioError
from tests.support.bad_audio import CORPUS, LONGEST, RATE

MEMORY = 1 << 30  # bytes of address space that reading all of them may add


def main(folder: Path) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for name, case in CORPUS.items():
        (folder / name).mkdir()
        path = case.make(folder / name)
        handles = len(os.listdir("/proc/self/fd"))
        reason, samples = "", 0
        try:
            for recording in recordings([path]):
                for block in recording.blocks(RATE, max_seconds=LONGEST):
                    samples += len(block)
        except AudioError as error:
            reason = str(error)
        result = {
            "name": name,
            "samples": samples,
            "reason": reason,
            "handles": len(os.listdir("/proc/self/fd")) - handles,
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
