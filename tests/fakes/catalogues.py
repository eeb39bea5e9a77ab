"""A simulated archive's items, for catalogues of every kind."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def items_of(archive: Path, base: str) -> list[dict]:
    """Items of the archive with whole addresses below a base."""
    items = []
    for path in sorted(archive.parent.glob("sentinel-*/*/*.json")):
        item = json.loads(path.read_text())
        for name, asset in item["assets"].items():
            asset["href"] = f"{base}/{path.parent.relative_to(archive.parent)}/{name}.tif"
        items.append(item)
    return items


def write_index(path: Path, items: list[dict], group: int) -> None:
    """Write items as STAC GeoParquet says: properties as columns, the box as a struct."""
    rows = []
    for item in items:
        row = {name: item[name] for name in ("id", "collection")}
        row["bbox"] = dict(zip(("xmin", "ymin", "xmax", "ymax"), item["bbox"], strict=True))
        row["assets"] = {
            name: {"href": asset["href"], "roles": asset["roles"]}
            for name, asset in item["assets"].items()
        }
        row |= item["properties"]
        row["datetime"] = dt.datetime.fromisoformat(item["properties"]["datetime"])
        rows.append(row)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group)
