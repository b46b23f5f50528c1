"""What several test files share: where the recordings and compiled graphs are."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"

pytest_plugins = ["tests.support.left_out"]

if find_spec("torch"):
    import torch

    torch.set_num_threads(1)

# No time that a busy machine could exceed. By default the same examples in every run, so that what
# passes today passes tomorrow; `make test-examples` tries more, and others every time.
settings.register_profile(
    "many", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "repeatable", settings.get_profile("many"), derandomize=True, max_examples=30
)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def speech() -> Path:
    """Recordings for development, beside the project; tests without them are skipped."""
    if not (DATA / "librispeech").is_dir():
        pytest.skip(f"no recordings at {DATA}")
    return DATA


@pytest.fixture(scope="session")
def english():
    """The compiled English graph; tests without it are skipped."""
    from asr_hlg.graph import DecodingGraph

    folder = ROOT / "graphs" / "en"
    if not (folder / "graph.json").is_file():
        pytest.skip("graphs/en is not compiled: make graph GRAPH=en")
    return DecodingGraph.load(folder)


@pytest.fixture(scope="session")
def dot() -> None:
    """For tests that let graphviz lay out automata; skipped without its program."""
    if shutil.which("dot") is None:
        pytest.skip("drawing automata needs graphviz's program dot: apt install graphviz")
