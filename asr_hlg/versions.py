"""Optional packages, and versions of installed ones for files that record what made them."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any, NamedTuple

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
    from importlib.metadata import PackageNotFoundError, version

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


# The extra with which pip installs a package that modules import at their top.
_EXTRAS = {"k2": "k2", "torch": "k2", "lhotse": "train", "tensorboard": "train"}


def missing(error: ModuleNotFoundError, purpose: str) -> AsrHlgError | None:
    """Error with a remedy, if it is a package of an extra that could not be imported."""
    package = (error.name or "").partition(".")[0]
    if package not in _EXTRAS:
        return None
    remedy = f"pip install 'asr-hlg[{_EXTRAS[package]}]'"
    if package == "k2":
        remedy += ", which finds k2 for Python 3.11 on x86-64 Linux; see docs/install.md"
    return AsrHlgError(f"{purpose} needs the package {package}", remedy=remedy)


class Requirement(NamedTuple):
    """A package that this one requires, and the extra that does; None for all installations."""

    package: str
    extra: str | None

    @property
    def module(self) -> str:
        """Name under which the package is imported."""
        return self.package.lower().replace("-", "_")


def requirements(leave_out: Iterable[str] = ("all", "bench", "dev", "docs")) -> list[Requirement]:
    """Packages in the metadata of the installed package, apart from those of some extras.

    A package that only some Pythons or platforms need is in the list where it is installed, or
    belongs to an extra.
    """
    from importlib.metadata import requires

    found: dict[str, Requirement] = {}
    for line in requires("asr-hlg") or ():
        specification, _, marker = line.partition(";")
        name = re.split(r"[^\w.-]", specification.strip())[0]
        extra = re.search(r"extra == ['\"]([\w-]+)", marker)
        requirement = Requirement(name, extra[1] if extra else None)
        elsewhere = marker and extra is None and len(installed([name])) == 1
        if name == "asr-hlg" or elsewhere or requirement.extra in tuple(leave_out):
            continue
        found.setdefault(name, requirement)
    return list(found.values())


def import_failure(module: str) -> str | None:
    """Reason why a module cannot be imported; None if it can.

    It is imported in a process of its own, since libraries that do not fit each other crash.
    """
    command = [sys.executable, "-c", f"import {module}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
