"""Tests that need a package which is not installed are left out, and counted; others fail."""

from __future__ import annotations

import pytest

from asr_hlg.errors import AsrHlgError
from asr_hlg.versions import optional
from tests.support import left_out

pytest_plugins = ["pytester"]

TESTS = """
import pytest
{imports}

def test_passes():
    pass

def test_imports_it():
    import not_installed.part

def test_asks_for_it():
    from asr_hlg.versions import optional
    optional("not_installed", purpose="this", extra="k2")

def test_fails():
    import another_one
"""
CONFTEST = """
from tests.support import left_out
from tests.support.left_out import *
left_out.MISSING[:] = ["not_installed"]
"""


@pytest.fixture(params=[(), ("-p", "xdist", "-n2")], ids=["one process", "two processes"])
def run(request, pytester, root, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(root))
    pytester.makeconftest(CONFTEST)

    def run_tests(imports: str = ""):
        pytester.makepyfile(TESTS.format(imports=imports))
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *request.param)

    return run_tests


def test_single_tests(run):
    result = run()
    result.assert_outcomes(passed=1, skipped=2, failed=1)
    result.stdout.fnmatch_lines(["left out: 2 tests, 2 that need not_installed*"])


def test_a_module(run):
    result = run("import not_installed")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["left out: 4 tests, 4 that need not_installed*"])
    run("import another_one").assert_outcomes(errors=1)


def test_only_packages_that_may_be_missing(monkeypatch):
    monkeypatch.setattr(left_out, "MISSING", ["k2"])
    with pytest.raises(AsrHlgError) as error:
        optional("no_such_package", purpose="this", extra="k2")
    assert left_out.missing_package(error.value) is None
    assert left_out.missing_package(AsrHlgError("this needs the package k2")) == "k2"
    assert left_out.missing_package(None) is None
