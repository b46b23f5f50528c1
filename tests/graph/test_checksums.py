"""One byte of a graph folder changed, anywhere: it is noticed, or changes nothing."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from asr_hlg.errors import AsrHlgError, GraphError
from asr_hlg.graph import DecodingGraph, metadata
from asr_hlg.graph.adapt.new_words import with_words
from tests.fuzz.folders import make_graph, search_folder
from tests.support.manifests import write_manifest

ALL_OF = 400  # bytes up to which every one is changed
SOME = 40  # of larger files


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("graphs")
    make_graph(folder)
    return folder / "toy"


@pytest.fixture(scope="module")
def expected(built) -> list:
    return search_folder(built, "tokens"), search_folder(built, "k2")


@pytest.fixture
def folder(built, tmp_path) -> Path:
    shutil.copytree(built, tmp_path / "toy")
    return tmp_path / "toy"


def files_of(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def answer(folder: Path) -> list | str:
    """Results of both searches, or the message of the error."""
    try:
        return search_folder(folder, "tokens"), search_folder(folder, "k2")
    except AsrHlgError as error:
        message = str(error)
    assert any(word in message for word in ("damaged", "has changed", "format", "no graph.json"))
    return "refused"


def test_changed_bytes_are_found_or_change_nothing(folder, expected):
    source = random.Random(0)
    refused = 0
    for name in files_of(folder):
        path = folder / name
        content = path.read_bytes()
        places = range(len(content))
        if len(content) > ALL_OF or name.startswith("lg/"):
            places = source.sample(places, min(SOME, len(content)))
        for place in places:
            changed = bytearray(content)
            changed[place] ^= 1 << source.randrange(8)
            path.write_bytes(changed)
            got = answer(folder)
            refused += got == "refused"
            assert got in ("refused", expected), (name, place)
        path.write_bytes(content)
    assert refused > 500
    assert answer(folder) == expected


@pytest.mark.parametrize("change", ["shorter", "longer", "empty", "missing", "folder"])
def test_files_of_another_size_are_found(folder, change):
    for name in files_of(folder):
        if name.startswith("lg/"):
            continue  # H∘L∘G is there, so these are not read
        path = folder / name
        content = path.read_bytes()
        path.unlink()
        if change == "folder":
            path.mkdir()
        elif change != "missing":
            changed = {"shorter": content[:-1], "longer": content + b"\n", "empty": b""}
            path.write_bytes(changed[change])
        # A line break more or less at the end of JSON does not change its content.
        same = name == "graph.json" and change in ("shorter", "longer")
        assert (answer(folder) == "refused") != same, name
        path.rmdir() if change == "folder" else path.unlink(missing_ok=True)
        path.write_bytes(content)


def update_hashes(folder: Path) -> None:
    """Update the hashes in ``graph.json``, as the author of changed files could."""
    meta = json.loads((folder / "graph.json").read_text())
    write_manifest(folder, meta)


@pytest.mark.parametrize(
    ("name", "field", "value", "reason"),
    [
        ("packed/arcs", "dst", 10**6, "destinations of arcs"),
        ("packed/arcs", "dst", 2**32 - 1, "destinations of arcs"),
        ("packed/arcs", "label", 200, "labels of arcs"),
        ("packed/arcs", "score", np.nan, "scores of arcs"),
        ("packed/states", "first", 10**6, "arcs of states"),
        ("packed/states", "eps_first", 2**32 - 5, "ε-arcs of states"),
        ("packed/eps_arcs", "dst", 10**6, "destinations of ε-arcs"),
        ("packed/words", None, 10**6, "words of arcs"),
        ("packed/final", None, np.inf, "final scores"),
        ("packed/spelling_splits", None, 7, "spellings"),
    ],
)
def test_an_index_out_of_range_is_refused_with_correct_hashes(folder, name, field, value, reason):
    path = folder / f"{name}.npy"
    array = np.load(path)
    (array if field is None else array[field])[len(array) // 2] = value
    np.save(path, array)
    update_hashes(folder)
    with pytest.raises(GraphError, match=f"is damaged: invalid {reason}"):
        DecodingGraph.load(folder)


@pytest.mark.parametrize("name", ["hlg/arcs", "hlg/phones", "hlg/words", "hlg/word_splits"])
def test_an_index_out_of_range_in_hlg_is_refused(folder, name):
    path = folder / f"{name}.npy"
    array = np.load(path)
    array[len(array) // 2] = 10**6
    np.save(path, array)
    update_hashes(folder)
    with pytest.raises(GraphError, match="is damaged"):
        DecodingGraph.load(folder).fsa  # noqa: B018


@pytest.mark.parametrize("dtype", ["<f8", "<i8", "O", "<U3"])
def test_arrays_of_another_type_are_refused(folder, dtype):
    for name in ("packed/arcs", "packed/final", "packed/words"):
        path = folder / f"{name}.npy"
        content = path.read_bytes()
        np.save(path, np.zeros(len(np.load(path)), dtype))
        update_hashes(folder)
        with pytest.raises(GraphError, match="is damaged"):
            DecodingGraph.load(folder)
        path.write_bytes(content)


def test_a_folder_names_only_its_own_files(folder):
    meta = json.loads((folder / "graph.json").read_text())
    meta["files"]["../../etc/passwd"] = {"sha256": "x", "bytes": 1}
    metadata.write(folder, meta)
    with pytest.raises(GraphError, match="is not a file of this folder"):
        DecodingGraph.load(folder)


@pytest.mark.parametrize(
    "recipe",
    [
        [],
        {"topology": []},
        {"topology": {"kind": 3}},
        {"topology": {"states": 3}},
        {"search": 1.5},
        {"rescore": "lm"},
        {"acoustic_model": ["hama"]},
    ],
)
def test_a_malformed_recipe_is_refused(folder, recipe):
    meta = json.loads((folder / "graph.json").read_text())
    metadata.write(folder, {**meta, "recipe": recipe})
    with pytest.raises(GraphError):
        DecodingGraph.load(folder)


def test_a_file_without_a_hash_is_refused(folder):
    meta = json.loads((folder / "graph.json").read_text())
    del meta["files"]["hlg/word_splits.npy"]
    metadata.write(folder, meta)
    with pytest.raises(GraphError, match="has changed since it was written"):
        search_folder(folder, "k2")


def test_a_place_for_new_words_that_is_only_claimed(folder):
    meta = json.loads((folder / "graph.json").read_text())
    metadata.write(folder, {**meta, "takes_new_words": True})
    graph = DecodingGraph.load(folder)
    backs_off = graph.lg.ilabel == 0
    without = graph.with_lg(graph.lg.take(np.flatnonzero(~backs_off)))
    with pytest.raises(GraphError, match="has no unigram state to add words to"):
        with_words(without, {"tact": [("t", "ae", "k", "t")]})
