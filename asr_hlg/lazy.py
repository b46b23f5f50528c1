"""Public names of a package that are imported when they are first used.

A package's ``__init__.py`` imports its names for type checkers only, and lists their modules:

    if TYPE_CHECKING:
        from asr_hlg.acoustic.conformer import Conformer, ConformerConfig
    else:
        __getattr__ = public_names(
            __name__, {"asr_hlg.acoustic.conformer": ["Conformer", "ConformerConfig"]}
        )

So ``from asr_hlg.acoustic import load`` does not import torch, which only ``Conformer`` needs.
Modules that not every command needs are imported in the functions that use them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def public_names(package: str, modules: Mapping[str, Iterable[str]]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package that imports the module of a name when it is first used.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    modules : mapping
        The names that each module defines, by the module's full name. ``read as read_words`` gives
        ``read`` another name.
    """
    origin = {
        name.split(" as ")[-1]: (module, name.split(" as ")[0])
        for module, names in modules.items()
        for name in names
    }

    def get(name: str) -> Any:
        if name not in origin:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, original = origin[name]
        value = getattr(importlib.import_module(module), original)
        setattr(sys.modules[package], name, value)
        return value

    return get
