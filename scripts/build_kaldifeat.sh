#!/usr/bin/env bash
# Build kaldifeat from its source distribution for the torch of a virtual environment.
#
#     scripts/build_kaldifeat.sh .venv/bin/python [PIP_INSTALL_OPTION ...]
#
# Needs a C++ compiler and make, but no CUDA toolkit; downloads packages only, and keeps those that
# it builds with out of the environment.  Does nothing where kaldifeat can be imported already.
set -euo pipefail

python=${1:?usage: build_kaldifeat.sh PYTHON [PIP_INSTALL_OPTION ...]}
shift

if "$python" -c 'import torch, kaldifeat' 2>/dev/null; then
    echo "kaldifeat is installed already"
    exit 0
fi
for program in c++ make; do
    command -v "$program" >/dev/null || { echo "kaldifeat needs $program: apt-get install g++ make" >&2; exit 1; }
done
cores=$(nproc)
echo "building kaldifeat from source on $cores cores: one to five minutes"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run() {  # quietly, unless it fails
    "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
}

run "$python" -m pip install --no-cache-dir --target "$work/tools" 'pybind11==2.11.1' 'cmake==3.25.*' wheel
export PYTHONPATH=$work/tools${PYTHONPATH:+:$PYTHONPATH}
PATH=$work/tools/cmake/data/bin:$PATH

# kaldifeat would clone pybind11; this replaces the clone and finds the installed one.
mkdir "$work/pybind11"
cat >"$work/pybind11/CMakeLists.txt" <<'END'
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)
find_package(pybind11 CONFIG REQUIRED)
END

# torch's own configuration requires the CUDA toolkit that torch was built with.  Only headers and
# three libraries are needed, which this names.
mkdir "$work/torch"
cat >"$work/torch_config.py" <<'END'
from pathlib import Path

import torch
from torch.utils.cpp_extension import include_paths

libraries = [Path(torch.__file__).parent / "lib" / f"lib{name}.so" for name in ("torch", "torch_cpu", "c10")]
flags = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
print(f'set(TORCH_LIBRARIES "{";".join(map(str, libraries))}")')
print(f'set(TORCH_CXX_FLAGS "{flags}")')
print(f'set(TORCH_INCLUDE_DIRS "{";".join(include_paths())}")')
print("include_directories(SYSTEM ${TORCH_INCLUDE_DIRS})")
print("set(TORCH_FOUND TRUE)")
END
"$python" "$work/torch_config.py" 2>"$work/log" >"$work/torch/TorchConfig.cmake" || { cat "$work/log" >&2; exit 1; }

# Nearly all the time goes into parsing torch's headers, so each core compiles its share of the nine
# source files of a library as one (a unity build).  Installing would build a test program, too,
# and pybind11 would optimise once more while linking.
export KALDIFEAT_CMAKE_ARGS="-DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_LIBDIR=lib \
-DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=$(((9 + cores - 1) / cores)) \
-DCMAKE_SKIP_INSTALL_ALL_DEPENDENCY=ON -DCMAKE_INTERPROCEDURAL_OPTIMIZATION=OFF \
-DFETCHCONTENT_SOURCE_DIR_PYBIND11=$work/pybind11 \
-Dpybind11_DIR=$("$python" -m pybind11 --cmakedir) -DTorch_DIR=$work/torch"
export KALDIFEAT_MAKE_ARGS="-j$cores"
run "$python" -m pip wheel --no-build-isolation --no-deps --no-cache-dir --wheel-dir "$work" 'kaldifeat==1.24'
run "$python" -m pip install --no-deps "$@" "$work"/kaldifeat-*.whl
echo "kaldifeat 1.24 is installed"
