from __future__ import annotations

from pathlib import Path

import pytest

from asr_hlg.cli import main


@pytest.fixture(scope="session", autouse=True)
def folder_of_tests(tmp_path_factory):
    """Make pytest's temporary folder before a server puts new ones into its private folder."""
    return tmp_path_factory.getbasetemp()


@pytest.fixture(scope="session")
def digit_loop(root, tmp_path_factory) -> Path:
    """Folder of a small graph with the same acoustic model as `en`."""
    folder = tmp_path_factory.mktemp("graphs") / "digit-loop"
    recipe = str(root / "graphs" / "digit-loop.toml")
    assert main(["graph", recipe, "--output", str(folder)]) == 0
    return folder
