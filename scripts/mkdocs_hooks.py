"""Pages of the documentation site that are made from the code and the files at the top.

``mkdocs build`` calls these functions (mkdocs.yml, ``hooks``): the home page is README.md, the
command reference is what ``asr-hlg COMMAND --help`` prints, and the API reference lists the public
names of every room. Formulas become MathML, which browsers lay out without a script.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import griffe
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {
        "index.md": from_top("README.md"),
        "contributing.md": from_top("CONTRIBUTING.md"),
        "changelog.md": from_top("CHANGELOG.md"),
        "commands.md": command_reference(),
        "api.md": api_reference(),
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace the formulas of a page by MathML."""

    def mathml(match: re.Match[str]) -> str:
        display = "block" if match[2] == "[" else "inline"
        return convert(html.unescape(match[3]), display=display)

    return FORMULA.sub(mathml, content)


def from_top(name: str) -> str:
    """Return a file at the top of the repository, its links changed to those of the site."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = text.replace("](docs/", "](").replace("](README.md", "](index.md")
    text = text.replace("](CHANGELOG.md", "](changelog.md")
    return text.replace("](CONTRIBUTING.md", "](contributing.md")


def command_reference() -> str:
    """Return what ``--help`` prints for ``asr-hlg`` and each of its commands, as one page."""
    overview = _help()
    commands = re.findall(r"^    (\w+)", overview, re.MULTILINE)
    blocks = [f"## asr-hlg {name}\n\n```text\n{_help(name)}```\n" for name in commands]
    return "\n".join(["# Commands\n", f"```text\n{overview}```\n", *blocks])


def _help(*command: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "asr_hlg.cli", *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "96", "PYTHONPATH": str(ROOT)},
    )
    return run.stdout


def api_reference() -> str:
    """Return a page that documents the names in ``__all__`` of the package and of each room."""
    package = griffe.load("asr_hlg", search_paths=[ROOT])
    rooms = [module for module in package.modules.values() if module.is_init_module]
    pages = ["# Python API\n\nThe public names of each room; architecture.md explains the rooms.\n"]
    for module in [package, *sorted(rooms, key=lambda room: room.path)]:
        if module.exports:
            members = ", ".join(map(str, module.exports))
            options = f"    options:\n      heading_level: 2\n      members: [{members}]\n"
            pages.append(f"::: {module.path}\n{options}")
    return "\n".join(pages)


class Roles(griffe.Extension):
    """Sphinx roles in docstrings (``:class:`~a.b.C```) as the plain names that they refer to."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r":\w+:`(~?)([\w.]+)`",
                lambda match: f"`{match[2].rsplit('.', 1)[-1] if match[1] else match[2]}`",
                obj.docstring.value,
            )
