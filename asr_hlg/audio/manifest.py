"""Lhotse manifests of recordings or cuts, whose entries run and fetch nothing."""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lhotse
from lhotse.cut import Cut
from lhotse.serialization import deserialize_item

from asr_hlg.audio.entries import clean_id, failed, lines, reason
from asr_hlg.audio.recording import SAMPLE_RATES, Recording

_RATES = ("sampling_rate", "source_sampling_rate", "target_sampling_rate")
_LARGEST_FILTER = 1 << 22  # weights; Lhotse takes about 32 bytes for each while it makes one


def manifest(path: Path) -> Iterator[Recording]:
    """Entries of a Lhotse manifest of recordings or cuts: a JSON object in each line."""
    for number, line in lines(path):
        try:
            data = json.loads(line)
            parts = list(_nested_objects(data))
            sources = (source for part in parts for source in part.get("sources", ()))
            problem = next(filter(None, map(_source_problem, sources)), None)
            if problem is not None:
                yield failed(path, problem, number, str(data.get("id", "")))
                continue
            # Lhotse allocates memory for the rate before it opens the sound file.
            if any(
                part[name] not in SAMPLE_RATES for part in parts for name in _RATES if name in part
            ):
                raise ValueError("a sampling rate is out of range")
            large = (rates for part in parts for rates in _resampled(part) if _is_large(*rates))
            if rates := next(large, None):
                problem = f"Lhotse needs too large a filter to resample {rates[0]} to {rates[1]} Hz"
                name, remedy = str(data.get("id", "")), "store the sound with its changes"
                yield failed(path, problem, number, name, remedy)
                continue
            item = deserialize_item(data)
            if not isinstance(item, (lhotse.Recording, Cut)):
                raise TypeError("expected a recording or a cut")
            recording = _from_manifest(item, path)
        except Exception as error:  # of any kind, depending on the missing or wrong field
            recording = failed(path, f"not an entry of a Lhotse manifest: {reason(error)}", number)
        yield recording


def _from_manifest(item: lhotse.Recording | Cut, path: Path) -> Recording:
    """Recording of a manifest's entry, whose fields' types and ranges Lhotse has not checked."""
    start, rate = getattr(item, "start", 0.0), item.sampling_rate
    if not isinstance(item.id, str) or not isinstance(rate, int):
        raise TypeError("an id is a string, a sampling rate an integer")
    if not all(isinstance(seconds, int | float) for seconds in (start, item.duration)):
        raise TypeError("start and duration are seconds")
    if not (0 <= start < math.inf and 0 < item.duration < math.inf):
        raise ValueError("a start must be at least 0 s, and a duration above 0 s")
    return Recording(clean_id(item.id), path, start, item.duration, item)


def _nested_objects(data: Any) -> Iterator[dict[str, Any]]:
    """All objects in a manifest's entry, itself included: tracks, recordings, reverberations."""
    if isinstance(data, dict):
        yield data
    values = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    for value in values:
        yield from _nested_objects(value)


def _resampled(part: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Rates from which and to which Lhotse resamples, since a transform says so."""
    for transform in part.get("transforms") or ():
        fields = transform["kwargs"]
        if transform["name"] == "Speed":
            rate = part["sampling_rate"]
            yield round(rate * fields["factor"]), rate
        elif transform["name"] == "Resample":
            yield int(fields["source_sampling_rate"]), int(fields["target_sampling_rate"])


def _is_large(source: int, target: int) -> bool:
    """Whether Lhotse's filter is large: it grows with the ratio of the rates, such as 441:160."""
    divisor = math.gcd(source, target)
    step, results = source // divisor, target // divisor
    return step * results + 13 * max(step, results) > _LARGEST_FILTER


def _source_problem(source: dict[str, Any]) -> str | None:
    """Reason not to read a source; manifests may come from others, so nothing is run or fetched."""
    name = str(source["source"])
    if source["type"] != "file" or "://" in name:
        return f"a source of type {source['type']!r} is not read, only files are"
    return unsafe_name_reason(name) or (None if os.path.isfile(name) else f"no such file: {name}")


def unsafe_name_reason(name: str) -> str | None:
    """Reason not to let Lhotse read a file, since it passes some names to a shell."""
    if name.lower().endswith((".opus", ".sph")) and shlex.quote(name) != name:
        return f"Lhotse would pass this name to a shell: {name}"
    return None
