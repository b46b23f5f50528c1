"""Files: atomic writing, compressed files, lines, hashes of content, and folders of the package."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import stat
import tempfile
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import AsrHlgError, OnItemError, stop


@contextmanager
def replaced(path: Path, durable: bool = False) -> Iterator[Path]:
    """Path of a temporary file beside ``path``, which replaces it when the block succeeds.

    A process that has mapped the old file keeps the old content. After an error the temporary
    file is removed and ``path`` is unchanged. With ``durable`` the new content is on the disk at
    the end, so that it survives a power cut.
    """
    # Of the process's own, since others may write the same file at the same time.
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        if durable:
            _flush(part)
        os.replace(part, path)
        if durable:
            _flush(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write a ``.npy`` file atomically."""
    with replaced(path) as part, part.open("wb") as file:
        np.save(file, array)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    with replaced(path) as part:
        text = json.dumps(content, indent=1, ensure_ascii=False)
        part.write_text(text + "\n", encoding="utf-8")


def parse_json(text: str | bytes) -> Any:
    """Value of a JSON text; raises a ValueError also for one that is nested too deeply to read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


@contextmanager
def opened(
    path: str | Path, mode: Literal["rb", "wb"], error: type[AsrHlgError] = AsrHlgError
) -> Iterator[BinaryIO]:
    """Open a file, through gzip if its name ends in ``.gz``.

    Parameters
    ----------
    path : str or Path
    mode : str
    error : type
        Is raised instead of any error of the operating system or of gzip within the block.
    """
    opener = gzip.open if Path(path).suffix == ".gz" else open
    try:
        with opener(path, mode) as file:
            yield cast(BinaryIO, file)
    except (OSError, EOFError, zlib.error) as failure:
        reason = getattr(failure, "strerror", None) or failure
        action = "read" if mode == "rb" else "written"
        raise error(f"cannot be {action}: {reason}", path=path) from None


def text_lines(
    path: str | Path,
    error: type[AsrHlgError] = AsrHlgError,
    on_error: OnItemError = stop,
) -> Iterator[tuple[int, str]]:
    """Lines of a UTF-8 file that are not blank, with their numbers from 1.

    Parameters
    ----------
    path : str or Path
        Gzipped if the name ends in ``.gz``. A byte order mark is skipped.
    error : type
        Is raised if the file cannot be read.
    on_error : callable
        Receives such an error for a line that is not UTF-8, which is skipped if it returns.
    """
    with opened(path, "rb", error) as file:
        for number, raw in enumerate(file, start=1):
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            try:
                line = raw.decode("utf-8").removesuffix("\n")
            except UnicodeDecodeError:
                remedy = "convert it with iconv -t utf-8"
                on_error(error("is not UTF-8", path=path, line=number, remedy=remedy))
                continue
            if line.strip():
                yield number, line


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def shipped_folder() -> Path:
    """Folder with the ``graphs/``, ``lang/`` and ``examples/`` that come with the package.

    The build of a wheel copies them into the package; in a checkout they are beside it.
    """
    package = Path(__file__).parent
    return package / "shipped" if (package / "shipped").is_dir() else package.parent


def cache_folder() -> Path:
    """Folder for what can be made again: compiled graphs, converted networks.

    Returns
    -------
    Path
        ``$ASR_HLG_CACHE``, or else the operating system's folder for caches of the user
        (``~/.cache/asr-hlg`` on Linux), created with mode 0700.  If that cannot be written to, a
        private folder among the temporary files, after one warning.
    """
    import platformdirs  # here, since most commands need no cache

    override = os.environ.get("ASR_HLG_CACHE")
    folder = Path(override) if override else Path(platformdirs.user_cache_dir("asr-hlg"))
    # Without a home, platformdirs returns a path that begins with a literal "~".
    if override or folder.is_absolute():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            return _temporary_cache(folder, error.strerror or str(error))
        if os.access(folder, os.W_OK | os.X_OK):
            return folder.absolute()
        return _temporary_cache(folder, "it is read-only")
    return _temporary_cache(folder, "there is no home folder")


@cache
def _temporary_cache(wanted: Path, reason: str) -> Path:
    """Private folder among the temporary files, the same one for all processes of the user."""
    folder = Path(tempfile.gettempdir()) / f"asr-hlg-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        # Others may create files in the folder of temporary files, also under this name.
        private = stat.S_ISDIR(status.st_mode) and status.st_mode & 0o077 == 0
        if not private or status.st_uid != os.getuid():
            raise FileExistsError
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="asr-hlg-"))
    from multiprocessing import parent_process

    if parent_process() is None:  # the process that started a worker has given the warning
        warnings.warn(
            f"the cache folder {wanted} cannot be used ({reason}); using {folder} instead; "
            "ASR_HLG_CACHE names another",
            stacklevel=3,
        )
    return folder
