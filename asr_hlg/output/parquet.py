"""Writer of transcripts as a Parquet table, for pandas, Spark, DuckDB and others.

    with writer("talks.parquet") as out:
        out.write(transcript)

A row is a transcript, with the columns ``id``, ``text``, ``score``, ``duration``, ``words`` (a
list of ``word``, ``start``, ``end``, ``confidence``), ``alternatives``, ``notes``, ``recording``
and ``channel``, as in JSON lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asr_hlg.errors import OptionError
from asr_hlg.files import replaced
from asr_hlg.output.transcript import Transcript
from asr_hlg.versions import optional

_ROW_GROUP = 1000  # rows that are held in memory before they are written


@contextmanager
def writer(path: str | Path) -> Iterator[ParquetWriter]:
    """Open a writer; the file is created at the end, and only if there was no error.

    Raises
    ------
    OptionError
        If the file cannot be written.
    AsrHlgError
        If pyarrow is not installed.
    """
    path = Path(path)
    schema = _schema()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            replaced(path) as part,
            _pyarrow().parquet.ParquetWriter(part, schema, compression="zstd") as file,
        ):
            out = ParquetWriter(file, schema)
            yield out
            out.flush()
    except OSError as error:
        raise OptionError(f"cannot be written: {error.strerror or error}", path=path) from None


class ParquetWriter:
    """Writer of transcripts to an open Parquet file, in groups of rows."""

    def __init__(self, file: Any, schema: Any):
        self._file, self._schema = file, schema
        self._rows: list[dict[str, Any]] = []

    def write(self, transcript: Transcript) -> None:
        """Append one transcript."""
        row = asdict(transcript)
        row["written"] = transcript.written_text
        row["words"] = [{"word": word.pop("text"), **word} for word in row["words"]]
        self._rows.append(row)
        if len(self._rows) == _ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the transcripts since the last row group."""
        if self._rows:
            self._file.write_table(_pyarrow().Table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()


def _schema() -> Any:
    """Columns of the table and their types."""
    pyarrow = _pyarrow()
    string, number = pyarrow.string(), pyarrow.float64()
    word = {"word": string, "start": number, "end": number, "confidence": number}
    alternative = {"text": string, "score": number}
    alternative |= {"acoustic_score": number, "graph_score": number}
    return pyarrow.schema(
        {
            "id": string,
            "text": string,
            "words": pyarrow.list_(pyarrow.struct(word)),
            "score": number,
            "duration": number,
            "alternatives": pyarrow.list_(pyarrow.struct(alternative)),
            "notes": pyarrow.list_(string),
            "recording": string,
            "channel": string,
            "written": string,
        }
    )


def _pyarrow() -> Any:
    """The package pyarrow, with its module parquet."""
    return optional("pyarrow", "pyarrow.parquet", purpose="writing Parquet files", extra="ray")
