"""Which versions of what are installed, for files that keep what they were made with."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def installed(packages: Iterable[str], missing: str | None = None) -> dict[str, str]:
    """The versions of Python and of packages.

    Parameters
    ----------
    packages : iterable of str
    missing : str, optional
        Stands for a package that is not there, or replaced by another; by default it is left out.
    """
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            if missing is not None:
                found[package] = missing
    return found
