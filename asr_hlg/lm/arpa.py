"""ARPA files: a strict reader, and a writer that takes seconds for millions of n-grams."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np

from asr_hlg.errors import LanguageModelError
from asr_hlg.lm.ngrams import ArpaModel

_LOG10 = np.log(10.0)
_CHUNK = 200_000  # lines that are turned into text at a time


def write(model: ArpaModel, path: str | Path) -> None:
    """Write a model as an ARPA file: UTF-8, log10, seven decimals; gzipped if it ends in .gz."""
    path = Path(path)
    try:
        raw = gzip.open(path, "wb") if path.suffix == ".gz" else open(path, "wb")  # noqa: SIM115
    except OSError as error:
        raise LanguageModelError(f"cannot be written: {error.strerror}", path=path) from None
    with io.TextIOWrapper(raw, encoding="utf-8", newline="\n") as file:
        file.write("\\data\\\n")
        file.writelines(f"ngram {n}={count}\n" for n, count in enumerate(model.counts, start=1))
        for n in range(1, model.order + 1):
            file.write(f"\n\\{n}-grams:\n")
            for start in range(0, model.counts[n - 1], _CHUNK):
                _write_rows(file, model, n, np.arange(start, model.counts[n - 1])[:_CHUNK])
        file.write("\n\\end\\\n")


def _write_rows(file, model: ArpaModel, n: int, rows: np.ndarray) -> None:
    table = model.orders[n - 1]
    # -99 is what ARPA files write for a probability of zero
    log_prob = np.maximum(table.log_prob[rows] / _LOG10, -99.0).tolist()
    log_backoff = np.maximum(table.log_backoff[rows] / _LOG10, -99.0).tolist()
    columns = [[model.words[i] for i in ids] for ids in model.spell(n, rows).T.tolist()]
    file.writelines(
        f"{p:.7f}\t{' '.join(ngram)}\t{b:.7f}\n" if b else f"{p:.7f}\t{' '.join(ngram)}\n"
        for p, b, ngram in zip(log_prob, log_backoff, zip(*columns, strict=True), strict=True)
    )
