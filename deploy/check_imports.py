"""Imports every module that a worker or a launcher may need; exit code 1 where one fails.

    python deploy/check_imports.py

The build of the image runs it in the image, as its user: what is missing there (a library of the
system, a package, a file that was left out) is found before the image is pushed.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import time
import traceback

import tessera_mosaic

LEFT_OUT = ("__main__", "_kernels", "_products")
"""A program, and libraries that ctypes loads."""

BESIDES = (
    "apache_beam.runners.dataflow.dataflow_runner",
    "apache_beam.runners.portability.portable_runner",
    "apache_beam.runners.worker.sdk_worker_main",
    "apache_beam.runners.worker.worker_pool_main",
    "gcsfs",
    "google.cloud.storage",
    "pyogrio",
    "torch",
    "torch._inductor.compile_fx",
    "triton",
)
"""Modules that are loaded by name, or late."""

OPTIONAL = (
    *("anyio", "h5netcdf", "icechunk", "matplotlib", "mcp", "mcp_types"),
    *("s3fs", "scipy", "sklearn", "triton"),
)
"""Packages that an image may do without (extras; Triton where PyTorch has no CUDA): modules that
need one are left out where it is not installed."""


def modules() -> list[str]:
    """Names of all modules to import."""
    found = pkgutil.walk_packages(tessera_mosaic.__path__, "tessera_mosaic.")
    names = [each.name for each in found if each.name.rpartition(".")[2] not in LEFT_OUT]
    return [*BESIDES, *names]


def main() -> None:
    """Import them, and tell which fail."""
    begin, imported, failed = time.monotonic(), 0, 0
    for name in modules():
        try:
            importlib.import_module(name)
            imported += 1
        except Exception as error:
            if isinstance(error, ModuleNotFoundError) and error.name in OPTIONAL:
                print(f"{name} is left out: {error.name} is not installed")
                continue
            failed += 1
            print(f"{name}:\n{traceback.format_exc()}", file=sys.stderr)
    took = time.monotonic() - begin
    print(f"{imported} modules import on Python {sys.version.split()[0]}, {took:.1f} s")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
