#!/usr/bin/env bash
# Imports every module and runs the demo on another Python, in an environment that is removed after:
#     tools/on_python.sh 3.13 -OO
# Where that Python is not installed it says so and ends well.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1
shift

if ! python=$(tools/find_python.sh "$version" 2>/dev/null); then
  echo "python$version is not installed here: skipped"
  exit 0
fi
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$python" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --constraint constraints.txt torch==2.13.0
"$place/venv/bin/pip" install --quiet --constraint constraints.txt ".[s3,training,mcp]"
cd "$place"
venv/bin/python - <<'PROGRAM'
import importlib
import pkgutil
import sys

import tessera_mosaic

names = [each.name for each in pkgutil.walk_packages(tessera_mosaic.__path__, "tessera_mosaic.")]
for name in names:
    if not name.endswith(("__main__", "._kernels", "._products")):
        importlib.import_module(name)
print(f"{len(names)} modules import on Python {sys.version.split()[0]}")
PROGRAM
venv/bin/python "$@" -m tessera_mosaic demo --out demo
