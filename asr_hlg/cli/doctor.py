"""``asr-hlg doctor``: versions, packages, devices and caches, and an example transcribed."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import asr_hlg
from asr_hlg.files import cache_folder
from asr_hlg.versions import import_failure, installed, requirements

EPILOG = """\
Prints what a report of a problem should contain. The exit status is 1 if a package that is
always needed cannot be imported, or the example's words are not recognised. Nothing is sent
anywhere.

examples:
  asr-hlg doctor
  asr-hlg doctor --no-example
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``asr-hlg doctor``."""
    parser.epilog = EPILOG
    parser.add_argument(
        "--no-example",
        action="store_true",
        help="do not compile English and transcribe an example with it",
    )


def run(options: argparse.Namespace) -> int:
    """Print the state of the installation; returns 1 if something is wrong."""
    problems: list[str] = []
    print(f"asr-hlg   {asr_hlg.__version__} in {Path(asr_hlg.__file__).parent}")
    print(f"python    {platform.python_version()}, {platform.platform()}")
    _print_packages(problems)
    for line in _devices():
        print(f"device    {line}")
    for line in _caches():
        print(f"cache     {line}")
    if not options.no_example:
        _check_example(problems)
    for problem in problems:
        print(f"problem   {problem}")
    print("all is well" if not problems else f"{len(problems)} problems")
    return 1 if problems else 0


def _print_packages(problems: list[str]) -> None:
    for requirement in requirements():
        package, extra = requirement
        versions = installed([package])
        if package not in versions:
            remedy = f"pip install 'asr-hlg[{extra}]'" if extra else f"pip install {package}"
            print(f"package   {package:<21} not installed ({remedy})")
            if extra is None:
                problems.append(f"{package} is not installed: {remedy}")
            continue
        failure = import_failure(requirement.module)
        state = "" if failure is None else f" cannot be imported: {failure}"
        print(f"package   {package:<21} {versions[package]}{state}")
        if failure is not None and extra is None:
            problems.append(f"{package} cannot be imported: {failure}")


def _devices() -> Iterator[str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield f"{cores} CPU cores may be used"
    if find_spec("torch") is None or import_failure("torch") is not None:
        yield "no CUDA, which needs torch and k2 (pip install 'asr-hlg[k2]')"
        return
    import torch

    if not torch.cuda.is_available():
        yield f"no CUDA device for torch {torch.__version__}"
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield f"cuda:{index} {properties.name}, {properties.total_memory / 1e9:.0f} GB"
    from asr_hlg.search.fused_cuda import obstacle

    reason = obstacle()
    used = "compiled kernels" if reason is None else f"operations of torch: {reason}"
    yield f"search in tensors on CUDA: {used}"


def _caches() -> Iterator[str]:
    from asr_hlg.graph.lookup import known

    folder = cache_folder()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    yield f"{folder}, {size / 1e6:.0f} MB"
    for graph in known():
        if graph.compiled is not None:
            yield f"graph {graph.name} in {graph.compiled}"


def _check_example(problems: list[str]) -> None:
    from asr_hlg.errors import AsrHlgError
    from asr_hlg.graph.lookup import graph_folder

    try:
        graph = graph_folder("en")
        from asr_hlg.transcribe.example import transcribe_example

        example = transcribe_example(graph)
    except AsrHlgError as error:
        problems.append(f"the example cannot be transcribed: {error}")
        return
    print(f"example   {example.path.name}, {example.seconds:.1f} s: {example.recognised}")
    if example.recognised != example.expected:
        problems.append(f"the example's words are: {example.expected}")
