"""GDAL reads the layer of a binary vector file, in a process of its own.

GDAL opens a file by what it finds in it, with any of its drivers: some of them open further files,
ask servers or run commands. In this process it has three drivers, some seconds and some memory, so
that a file can neither be taken for another kind nor, as a table that never ends, take the machine.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

from tessera_mosaic.pipeline.errors import BadInput

DRIVERS = frozenset({"GPKG", "ESRI Shapefile", "FlatGeobuf"})
"""All that GDAL has in this process."""

SECONDS, BYTES = 30, 4 * 2**30
"""Of a processor, and of address space, that the reading of one file may take."""


def read_layer(
    path: Path, seconds: int = SECONDS, columns: bool = False, what: str = "region"
) -> dict[str, Any]:
    """Read a file's one layer, apart from this process.

    Parameters
    ----------
    path
        Path of the file.
    seconds
        Seconds of a processor that it may take.
    columns
        Whether to read the columns of the layer, and shapes that are missing.
    what
        What the file is to the user, for messages.

    Returns
    -------
    `crs`: as declared, or None; `shapes`: WKB in hexadecimal digits, two-dimensional; `columns`,
    where they are asked for: values by name, and None among the shapes where there is none.

    Raises
    ------
    BadInput
        If GDAL cannot read it, or it has several layers.
    """
    # Loaded where it is used: it takes a second.
    import pyogrio

    words = [
        sys.executable,
        "-P",
        "-m",
        "tessera_mosaic.pipeline.tiling.gdal_sandbox",
        str(path.absolute()),
        str(seconds),
        *(["columns"] if columns else []),
    ]
    own = {
        "OGR_SKIP": ",".join(sorted(set(pyogrio.list_drivers()) - DRIVERS)),
        # One thread of a numerical library is enough, and each reserves address space.
        "OPENBLAS_NUM_THREADS": "1",
    }
    try:
        done = subprocess.run(
            words, env={**os.environ, **own}, capture_output=True, timeout=2 * seconds, check=True
        )
    except subprocess.SubprocessError as error:
        last = (getattr(error, "stderr", None) or b"").decode(errors="replace").splitlines()[-1:]
        raise BadInput(
            f"{what} {path} cannot be read in {seconds} s and {BYTES >> 30} GiB"
            + "".join(f": {line[:200]}" for line in last)
        ) from None
    found: dict[str, Any] = json.loads(done.stdout)
    if "refused" in found:
        raise BadInput(f"{what} {path} {found['refused']}")
    return found


def main(name: str, seconds: int, columns: bool = False) -> None:
    """Read a file and print what it holds as JSON."""
    import pyogrio

    try:
        import resource
    except ModuleNotFoundError:
        refused = "is read with limits that this system does not have: convert it to GeoJSON or KML"
        json.dump({"refused": refused}, sys.stdout)
        return
    with contextlib.suppress(ValueError):
        # macOS knows the limit and sets none.
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    if set(pyogrio.list_drivers()) != DRIVERS:
        raise SystemExit("GDAL has other drivers than it should have")
    # What GDAL murmurs about is checked by whoever asked.
    warnings.simplefilter("ignore")
    found: dict[str, Any]
    try:
        layers = [layer for layer, kind in pyogrio.list_layers(name) if kind is not None]
        if len(layers) != 1:
            found = {
                "refused": f"needs one layer with shapes, and has {', '.join(layers) or 'none'}"
            }
        else:
            info, _, blobs, values = pyogrio.raw.read(
                name,
                layer=layers[0],
                columns=None if columns else [],
                force_2d=True,
                datetime_as_string=True,
            )
            shapes = [None if blob is None else bytes(blob).hex() for blob in blobs]
            found = {"crs": info["crs"], "shapes": [each for each in shapes if columns or each]}
            if columns:
                named = zip(info["fields"], values, strict=True)
                found["columns"] = {name: [_plain(each) for each in of] for name, of in named}
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError):
        found = {"refused": "is no vector file that GDAL can read"}
    except (pyogrio.errors.GeometryError, pyogrio.errors.CRSError) as error:
        found = {"refused": f"is broken: {' '.join(str(error).split())[:200]}"}
    json.dump(found, sys.stdout)


def _plain(value: Any) -> str | int | float | bool | None:
    """A value of a column as JSON has it; None for bytes, lists and what is not a number."""
    value = getattr(value, "item", lambda: value)()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool) else None


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), "columns" in sys.argv[3:])
