"""Optional packages, and versions of installed ones for files that record what made them."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from asr_hlg.errors import AsrHlgError


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


def optional(package: str, *modules: str, purpose: str, extra: str) -> Any:
    """Import a package of one of this project's extras, and some modules of the package.

    If that fails, an AsrHlgError names ``purpose``, the package and the extra.
    """
    try:
        for module in modules:
            import_module(module)
        return import_module(package)
    except ImportError as error:
        reason = "" if isinstance(error, ModuleNotFoundError) else f": {error}"
        raise AsrHlgError(
            f"{purpose} needs the package {package}{reason}",
            remedy=f"pip install 'asr-hlg[{extra}]'",
        ) from None
