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


ROLE = re.compile(r":\w+:`(~?)([\w.]+)`")
# A paragraph of doctest lines outside a section, or a table of reStructuredText.
BLOCK = re.compile(r"^((?:>>>|=====).*(?:\n.+)*)", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {
        "index.md": from_top("README.md"),
        "contributing.md": from_top("CONTRIBUTING.md"),
        "changelog.md": from_top("CHANGELOG.md"),
        "commands.md": command_reference(),
        **api_reference(),
    }
    reference = next(part["Reference"] for part in config.nav if "Reference" in part)
    reference.append({"Python API": [name for name in pages if name.startswith("api/")]})
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace the formulas of a page by MathML."""

    def mathml(match: re.Match[str]) -> str:
        display = "block" if match[2] == "[" else "inline"
        formula = html.unescape(match[3]).replace(r"\arg\max", r"\operatorname{argmax}")
        return convert(formula, display=display)

    return FORMULA.sub(mathml, content)


def from_top(name: str) -> str:
    """Return a file at the top of the repository, its links changed to those of the site."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = text.replace("](docs/", "](").replace("](README.md", "](index.md")
    text = text.replace("[NOTICE](NOTICE)", "`NOTICE`")
    text = text.replace("](CHANGELOG.md", "](changelog.md")
    return text.replace("](CONTRIBUTING.md", "](contributing.md")


def command_reference() -> str:
    """Return what ``--help`` prints for ``asr-hlg`` and each of its commands, as one page."""
    overview = _help()
    commands = [[name] for name in re.findall(r"^    (\w+)", overview, re.MULTILINE)]
    actions = re.findall(r"^    (\w+)", _help("lm"), re.MULTILINE)
    commands += [["lm", name] for name in actions]
    blocks = [f"## asr-hlg {' '.join(c)}\n\n```text\n{_help(*c)}```\n" for c in commands]
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


def api_reference() -> dict[str, str]:
    """Return a page for the package and for each room, with the names that it exports."""
    package = griffe.load("asr_hlg", search_paths=[ROOT])
    rooms = [module for module in package.modules.values() if module.is_init_module]
    pages = {}
    for module in [package, *sorted(rooms, key=lambda room: room.path)]:
        members = ", ".join(map(str, module.exports or []))
        pages[f"api/{module.name}.md"] = (
            f"# {module.path}\n\n::: {module.path}\n    options:\n"
            f"      show_root_heading: false\n      members: [{members}]\n"
        )
    return pages


class Markdown(griffe.Extension):
    """Docstrings as Markdown: Sphinx roles as code, examples and tables as code blocks."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = BLOCK.sub(
                r"```text\n\1\n```", ROLE.sub(role_as_code, obj.docstring.value)
            )


def role_as_code(match: re.Match[str]) -> str:
    """Return ``:class:`~a.b.C``` as ```C```, and without the tilde as ```a.b.C```."""
    return f"`{match[2].rsplit('.', 1)[-1] if match[1] else match[2]}`"
