"""Tests that are left out where torch, k2, lhotse or the packages of the server are not installed.

A test module that imports one of them is skipped, and so is a test in which the program asks for
one of them, with the reason that names the package.  The summary says how many tests that are.
Where all are installed, nothing is skipped: a missing import is an error as anywhere else.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from asr_hlg.errors import AsrHlgError

_SERVER = ("starlette", "uvicorn", "websockets", "prometheus_client", "httpx2", "openai")
MISSING = [name for name in ("k2", "torch", "lhotse", *_SERVER) if find_spec(name) is None]
_modules: dict[str, str] = {}  # those that are left out, with the packages that they need


def missing_package(error: BaseException | None) -> str | None:
    """Package without which an error was raised, if it is one of those that may be missing."""
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        name = error.name.partition(".")[0]
        return name if name in MISSING else None
    if isinstance(error, AsrHlgError):
        found = re.search(r"needs the package (\w+)", error.message)
        return found[1] if found and found[1] in MISSING else None
    return None


class Module(pytest.Module):
    """Test module that is skipped if it imports a package that may be missing."""

    def _getobj(self) -> Any:
        try:
            return super()._getobj()
        except self.CollectError as error:
            package = _missing_in_import(str(error))
            if package is None:
                raise
            _modules[self.path.stem] = package
            pytest.skip(f"needs {package}", allow_module_level=True)


def _missing_in_import(report: str) -> str | None:
    """Package that an import needed, from pytest's report of it, which ends in the error."""
    if found := re.search(r"ModuleNotFoundError: No module named '(\w+)", report):
        return found[1] if found[1] in MISSING else None
    # A test module that takes something from one that is left out finds half of it.
    found = re.search(r"cannot import name '\w+' from '(?:partially .*)?tests\.([\w.]+)'", report)
    return _modules.get(found[1].rpartition(".")[2]) if found else None


def number_of_tests(path: Path) -> int:
    """Number of test functions in a file, each counted once whatever its parameters."""
    functions = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef))
    return sum(function.name.startswith("test_") for function in functions)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Module | None:
    """Module that may be left out, if any package is missing."""
    return Module.from_parent(parent, path=module_path) if MISSING else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn failures for a missing package into skips."""
    report = yield
    package = missing_package(call.excinfo.value if call.excinfo else None)
    if package is not None and report.failed:
        report.outcome = "skipped"
        report.longrepr = (str(item.path), (item.location[1] or 0) + 1, f"Skipped: needs {package}")
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many tests were left out, also by the worker processes of pytest-xdist."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", ()):
        package = report.longrepr[2].removeprefix("Skipped: needs ")
        if package in MISSING:
            is_module = isinstance(report, pytest.CollectReport)
            path = terminalreporter.config.rootpath / report.nodeid
            counts[package] += number_of_tests(path) if is_module else 1
    if counts:
        parts = ", ".join(f"{count} that need {name}" for name, count in counts.most_common())
        total = sum(counts.values())
        terminalreporter.write_line(f"left out: {total} tests, {parts} (not installed here)")
