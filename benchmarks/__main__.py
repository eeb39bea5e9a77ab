"""`python -m benchmarks NAME [options]` runs one benchmark, `all` every one in turn."""

from __future__ import annotations

import importlib
import sys

NAMES = {
    "encode": "pixels a second of each encoder family, beside the reference's own way",
    "read": "an annual stack from a local server, beside odc-stac and stackstac",
    "write": "a shard's time, memory and read costs, beside zarr-python",
    "pipeline": "how reading, encoding and writing overlap",
    "scale": "seconds and memory a tile, from 100 tiles up",
}


def main(argv: list[str]) -> int:
    """Run the benchmark that the first argument names."""
    if not argv or argv[0] not in (*NAMES, "all"):
        print("usage: python -m benchmarks NAME [options]", file=sys.stderr)
        for name, purpose in NAMES.items():
            print(f"  {name:10} {purpose}", file=sys.stderr)
        return 2
    for name in NAMES if argv[0] == "all" else argv[:1]:
        importlib.import_module(f"benchmarks.{name}").main(argv[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
