"""Build step: recipes, lexica and examples become part of the package.

They are at the top of the repository, where they are read in a checkout and after
``pip install --editable``; a wheel contains copies of them in ``asr_hlg/shipped/``
(:func:`asr_hlg.files.shipped_folder`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
PATTERNS = ("graphs/*.toml", "lang/**/*", "examples/*")
LEFT_OUT = "lang/en/*.arpa"  # see .gitignore


class BuildWithData(build_py):
    """Copies the files of the package, then those that it ships."""

    def run(self) -> None:
        """Copy all files into the build folder."""
        super().run()
        if not self.editable_mode:
            for source, target in self._shipped():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Paths of all files in the build folder."""
        shipped = [] if self.editable_mode else [str(target) for _, target in self._shipped()]
        return [*super().get_outputs(include_bytecode), *shipped]

    def _shipped(self) -> list[tuple[Path, Path]]:
        """Files at the top of the repository, and their places in the package."""
        folder = Path(self.build_lib) / "asr_hlg" / "shipped"
        left_out = set(ROOT.glob(LEFT_OUT))
        files = [p for pattern in PATTERNS for p in sorted(ROOT.glob(pattern)) if p.is_file()]
        return [(p, folder / p.relative_to(ROOT)) for p in files if p not in left_out]


setup(cmdclass={"build_py": BuildWithData})
