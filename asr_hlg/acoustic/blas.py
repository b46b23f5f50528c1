"""Matrix products at full speed on AMD processors."""

from __future__ import annotations

import os
from pathlib import Path


def allow_avx2() -> None:
    """Let the MKL of older torch wheels use AVX2 on AMD processors that have it.

    MKL up to 2020.0, which torch 1.13 carries, takes its slowest path on processors that are not
    Intel's; the network then takes two to three times as long.  This variable, read before the
    first matrix product, names the path to take (5: AVX2).  Newer MKL ignores it.
    """
    try:
        processor = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return
    if "AuthenticAMD" in processor and " avx2 " in processor:
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
