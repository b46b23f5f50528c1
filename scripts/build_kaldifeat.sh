#!/usr/bin/env bash
# Build kaldifeat from its source distribution for the torch of a virtual environment.
#
#     scripts/build_kaldifeat.sh .venv/bin/python
#
# No CUDA toolkit is needed and nothing but packages is downloaded; it takes about three minutes.
# Does nothing where kaldifeat can be imported already.
set -euo pipefail

python=${1:?usage: build_kaldifeat.sh PYTHON}

if "$python" -c 'import torch, kaldifeat' 2>/dev/null; then
    echo "kaldifeat is there already"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# kaldifeat's build calls the cmake that comes first.
PATH=$(cd "$(dirname "$python")" && pwd):$PATH
"$python" -m pip install --quiet 'pybind11==2.11.1' 'cmake==3.25.*' wheel

# kaldifeat would clone pybind11; this stands in for the clone and finds the installed one.
mkdir "$work/pybind11"
cat >"$work/pybind11/CMakeLists.txt" <<'END'
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)
find_package(pybind11 CONFIG REQUIRED)
END

# torch's own configuration insists on the CUDA toolkit that torch was built with. Only headers
# and three libraries are needed, so this names them and nothing else.
mkdir "$work/torch"
"$python" - >"$work/torch/TorchConfig.cmake" <<'END'
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

export KALDIFEAT_CMAKE_ARGS="-DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_LIBDIR=lib \
-DFETCHCONTENT_SOURCE_DIR_PYBIND11=$work/pybind11 \
-Dpybind11_DIR=$("$python" -m pybind11 --cmakedir) -DTorch_DIR=$work/torch"
export KALDIFEAT_MAKE_ARGS="-j$(nproc)"
"$python" -m pip install --no-build-isolation --no-deps --no-cache-dir 'kaldifeat==1.24' \
    >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }

"$python" -c 'import torch, kaldifeat; print("kaldifeat", kaldifeat.__version__, "is built")'
