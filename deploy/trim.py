"""Takes out of an installation what no worker uses, and compiles what is left.

    python deploy/trim.py [PREFIX]

The image's build runs it at the end of each step that installs, so that what goes never becomes
part of a layer. Bytecode is compiled into forms that are not compared with their sources: the
image's never change.
"""

from __future__ import annotations

import importlib.util
import os
import py_compile
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

UNUSED = {
    "**/*.a": "static libraries",
    "numpy/**/tests": "tests",
    "pandas/tests": "tests",
    "pyarrow/tests": "tests",
    "sympy/**/tests": "tests",
    "tornado/test": "tests",
    "xarray/tests": "tests",
    "pyarrow/include": "headers for extensions in C++",
    "torch/include": "headers for extensions in C++",
    "torch/share/cmake": "headers for extensions in C++",
    "torch/bin/protoc*": "a compiler of messages",
    "nvidia/cu13/include": "headers for programs in CUDA",
    "nvidia/*/lib/libcusolverMg.so.*": "linear algebra over several GPUs; nothing links to it",
    "nvidia/*/lib/libcufftw.so.*": "the interface of FFTW; nothing links to it",
    "nvidia/*/lib/libnvblas.so.*": "a BLAS in place of another; nothing links to it",
    "nvidia/*/lib/libnvrtc*.alt.so.*": "a second compiler at run time; nothing links to it",
    "nvidia/*/lib/libnvperf_*.so": "hardware counters, for profilers",
    "nvidia/nvshmem/lib/libnvshmem_device.bc": "for kernels that reach into other machines",
    "triton/backends/nvidia/lib/cupti": "hardware counters, for profilers",
    "triton/instrumentation": "a test of profilers",
}
"""Below `site-packages`, by pattern: what it is. Triton, which makes PyTorch's kernels for a GPU,
needs the headers beside it and a C compiler: those stay."""


def trim(packages: Path) -> dict[str, int]:
    """Remove what is not used, and tell how many bytes of each kind there were."""
    freed: dict[str, int] = {}
    for pattern, kind in UNUSED.items():
        for path in sorted(packages.glob(pattern)):
            if path.is_symlink() or not path.exists():
                continue
            files = [each for each in (path, *path.rglob("*")) if each.is_file()]
            freed[kind] = freed.get(kind, 0) + sum(each.lstat().st_size for each in files)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    return freed


def without_bytecode(folder: Path) -> Iterator[str]:
    """Sources that are not compiled yet."""
    for path in sorted(folder.rglob("*.py")):
        if not os.path.exists(importlib.util.cache_from_source(str(path))):
            yield str(path)


def compile_source(path: str) -> bool:
    """Compile one; False where it is none of this Python's."""
    try:
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        return bool(py_compile.compile(path, doraise=True, quiet=2, invalidation_mode=mode))
    except (py_compile.PyCompileError, UnicodeError):
        return False


def main() -> None:
    """Trim and compile an installation; by default the one that runs this."""
    prefix = Path(sys.argv[1] if len(sys.argv) > 1 else sys.prefix)
    library = prefix / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    for kind, size in trim(library / "site-packages").items():
        print(f"{size / 1e6:7.1f} MB  {kind}")
    with ProcessPoolExecutor() as processes:
        done = list(processes.map(compile_source, without_bytecode(library), chunksize=64))
    print(f"{sum(done)} of {len(done)} sources compiled")


if __name__ == "__main__":
    main()
