"""Versions of installed packages, for files that record what they were made with."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def installed(packages: Iterable[str], missing: str | None = None) -> dict[str, str]:
    """Versions of Python and of packages.

    Parameters
    ----------
    packages : iterable of str
        Names of distributions.
    missing : str, optional
        Version given for a package that is not installed; by default such a package is left out.
    """
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            if missing is not None:
                versions[package] = missing
    return versions
