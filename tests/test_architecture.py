"""The rooms of asr_hlg: imports point down, and no files import each other in a circle."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest
from importlinter.cli import lint_imports


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("asr_hlg", cache_dir=None)


def test_no_files_import_each_other_in_a_circle(imports):
    order = TopologicalSorter(
        {module: imports.find_modules_directly_imported_by(module) for module in imports.modules}
    )
    try:
        order.prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_imports_point_down(root, monkeypatch):
    monkeypatch.chdir(root)
    assert lint_imports(no_cache=True) == 0
