from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def folder_of_tests(tmp_path_factory):
    """Make pytest's temporary folder before a server puts new ones into its private folder."""
    return tmp_path_factory.getbasetemp()
