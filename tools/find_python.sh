#!/bin/sh
# Prints the Python to build on: the first of 3.12, 3.13 (the official client needs one of them) and 3.11 that is
# there and runs, on the path or from pyenv. With none it says so in one line and fails.
#     tools/find_python.sh [VERSION...]
[ $# -gt 0 ] || set -- 3.12 3.13 3.11
for version in "$@"; do
  for each in "$(command -v "python$version")" "$HOME/.pyenv/versions/$version".*/bin/python; do
    # A shim of pyenv's may be there and not run; some systems split venv off.
    if [ -x "$each" ] && "$each" -c "
import ensurepip, sys, venv
sys.exit('%d.%d' % sys.version_info[:2] != '$version')" >/dev/null 2>&1; then
      echo "$each"
      exit 0
    fi
  done
done
echo "no Python $* was found that runs and has venv: install one, or name it: make PYTHON=/path/to/python" >&2
exit 1
