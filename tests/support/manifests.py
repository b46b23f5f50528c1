"""Manifest of a compiled graph whose files a test has changed."""

from pathlib import Path
from typing import Any

from asr_hlg.files import file_hash
from asr_hlg.graph import metadata


def write_manifest(folder: Path, meta: dict[str, Any]) -> None:
    """Write ``graph.json`` with the hashes of all files that are there now."""
    paths = [path for path in folder.glob("**/*") if path.is_file() and path.name != "graph.json"]
    files = {
        str(path.relative_to(folder)): {"sha256": file_hash(path), "bytes": path.stat().st_size}
        for path in paths
    }
    metadata.write(folder, {**meta, "files": files})
