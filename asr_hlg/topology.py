"""The topologies H of :mod:`asr_hlg.graph.topology`, under their public name."""

from __future__ import annotations

from asr_hlg.graph.topology import *  # noqa: F403
