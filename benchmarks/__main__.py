"""`python -m benchmarks NAME [options]` runs one, `all` every one that needs no file, in turn."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.processor import machine_line
from tessera_mosaic.pipeline.console import set_up_logging

NAMES = {
    "encode": "pixels a second of each encoder family, beside the reference's own way",
    "read": "annual stacks from a local server, beside five other readers",
    "codec": "what compressors of shards cost to keep, to write and to read",
    "write": "a shard's time, memory and read costs, beside zarr-python",
    "pipeline": "how reading, encoding and writing overlap",
    "map": "pixels a second of heads, beside decoding alone, and memory",
    "search": "pixels a second of a search, beside decoding alone, and memory",
    "fusion": "products alone and together, as published and under honest folds",
    "modulation": "what steering by embeddings does on made-up ground",
    "store_requests": "what a tile and each command ask of a real object store",
    "instructions": "whether unlike processors make the same bytes",
    "scale": "seconds and memory a tile, from 100 tiles up",
}

OF_FILES = {"fusion"}
"""Those that measure what is in a file of one's own, and are left out of `all`."""


def main(argv: list[str], names: Mapping[str, str] = NAMES) -> int:
    """Run the benchmark that the first argument names; the largest of the exit codes."""
    if not argv or argv[0] not in (*names, "all"):
        print("usage: python -m benchmarks NAME [options]", file=sys.stderr)
        for name, purpose in names.items():
            print(f"  {name:10} {purpose}", file=sys.stderr)
        return 2
    set_up_logging()
    chosen = [each for each in names if each not in OF_FILES] if argv[0] == "all" else argv[:1]
    modules = [importlib.import_module(f"benchmarks.{name}") for name in chosen]
    print(machine_line(), file=sys.stderr)
    return max(module.main(argv[1:]) or 0 for module in modules)


if __name__ == "__main__":
    # Workers look for modules in no working folder, and some are sent makers of these.
    folders = str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    sys.exit(main(sys.argv[1:]))
