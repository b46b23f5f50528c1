"""Setting that lets torch's matrix library use AVX2 on AMD processors."""

from __future__ import annotations

import os
from pathlib import Path


def allow_avx2() -> None:
    """Set ``MKL_DEBUG_CPU_TYPE`` so that MKL uses AVX2 on AMD processors that have it.

    MKL up to 2020.0, which torch 1.13 contains, takes its slowest path on processors that are not
    Intel's, and networks then take two to three times as long.  MKL reads this variable before
    the first matrix product; 5 means AVX2.  Newer MKL ignores it.
    """
    try:
        processor = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return
    if "AuthenticAMD" in processor and " avx2 " in processor:
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
