"""A STAC GeoParquet index is read by row groups, and damage in it is told."""

import datetime as dt
import random
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.server import serving
from tessera_mosaic.pipeline.errors import (
    BadInput,
    Corrupt,
)
from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.scenes.geoparquet import ParquetIndex
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.scenes.parquet_files import MAX_GROUP_ROWS, ParquetPart
from tessera_mosaic.pipeline.scenes.stac_items import scene_of_item
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.tiling.lattice import (
    Window,
)
from tests.fakes.catalogues import items_of, write_index
from tests.pipeline.scenes.sources import FLANDERS, YEAR, assert_equal, c1_items, stack_of

EQUAL = {
    "id": "a",
    "assets": '{"B04": {"href": "a.tif"}}',
    "bbox": "[0, 0, 1, 1]",
    "datetime": "2024",
}
"""Columns of which each row says the same."""


@pytest.mark.parametrize("place", ["disk", "http"])
def test_geoparquet_index(
    archive: Path, window: Window, expected: AnnualStack, tmp_path: Path, place: str
) -> None:
    with serving(archive.parent) as server:
        base = server.url if place == "http" else str(archive.parent)
        items = items_of(archive, base)
        # Schemas of both sensors in one file; a row group for each pair of items.
        write_index(tmp_path / "items.parquet", items, group=2)
        with serving(tmp_path) as listing:
            url = f"{listing.url}/items.parquet"
            text = url if place == "http" else str(tmp_path / "items.parquet")
            source = open_catalogue(text)
            assert isinstance(source, ParquetIndex)
            assert_equal(stack_of(source, window), expected)


def test_an_index_is_read_by_row_groups(archive: Path, tmp_path: Path) -> None:
    one = items_of(archive, "https://nowhere.example")[0]
    items = [
        {**one, "id": f"item-{n:04d}", "bbox": [n / 10 - 179, 10.0, n / 10 - 178.95, 10.05]}
        for n in range(3000)
    ]
    write_index(tmp_path / "items.parquet", items, group=100)
    with serving(tmp_path) as server:
        source = open_catalogue(f"{server.url}/items.parquet")
        size = (tmp_path / "items.parquet").stat().st_size
        server.counts.clear()
        found = source.search((0.0, 10.0, 0.2, 10.1), YEAR)
        assert [scene.id for scene in found] == [*(f"item-{n}" for n in range(1789, 1794))]
        assert server.counts["bytes"] < size / 10
        assert source.search((0.0, 20.0, 0.2, 20.1), YEAR) == []
        assert source.search((0.0, 10.0, 0.2, 10.1), YEAR + 1) == []


def test_a_parquet_file_that_is_no_index(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    for name, why in (("a", "needs the columns id, bbox"), ("b", "is no STAC GeoParquet index")):
        with pytest.raises(BadInput, match=why):
            open_catalogue(str(tmp_path / f"{name}.parquet"))


def test_a_row_group_is_no_larger_than_it_may_be(archive: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "items.parquet")
    write_index(Path(path), items_of(archive, "https://nowhere.example")[:4], group=4)
    part = ParquetPart(path, Remote(), {}, most_rows=4)
    assert len(part.table(0)) == len(part.places(0).years) == 4
    for read in (ParquetPart.table, ParquetPart.places):
        with pytest.raises(Corrupt, match="a row group has 4 rows: write the index anew"):
            read(ParquetPart(path, Remote(), {}, most_rows=3), 0)
    # Of bytes those of the columns count that are read.
    small = ParquetPart(path, Remote(), {}, most_bytes=1500)
    assert len(small.places(0).years) == 4
    with pytest.raises(Corrupt, match=r"a row group has [\d,]+ bytes: write the index anew"):
        small.table(0)


def test_a_few_bytes_that_stand_for_many_rows_are_not_read(tmp_path: Path) -> None:
    equal = {name: pa.repeat(value, MAX_GROUP_ROWS + 1) for name, value in EQUAL.items()}
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table(equal), path, row_group_size=MAX_GROUP_ROWS + 1)
    with pytest.raises(BadInput, match=r"a row group has 2,097,153 rows"):
        open_catalogue(str(path))


def test_a_damaged_index_is_one_clear_line(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    write_index(path, items_of(archive, "https://nowhere.example") * 50, group=100)
    sound, said, chance = path.read_bytes(), [], random.Random(0)
    # The first four bytes are a mark, and what follows the pages is read when it is opened.
    last = len(sound) - 12 - int.from_bytes(sound[-8:-4], "little")
    for _ in range(60):
        data = bytearray(sound)
        for at in (chance.randrange(4, last) for _ in range(chance.choice((1, 3, 200)))):
            data[at] = chance.randrange(256)
        path.write_bytes(data)
        source = open_catalogue(str(path))
        try:
            source.search((2.9, 50.7, 3.1, 50.9), YEAR)
        except Corrupt as error:
            said.append(str(error))
    assert 10 < len(said) < 60
    for line in said:
        assert re.fullmatch(r".*items\.parquet: row group \d cannot be read: .+", line)


def test_an_index_of_two_kinds_of_imagery_is_refused(archive: Path, tmp_path: Path) -> None:
    items = items_of(archive, "https://nowhere.example")
    write_index(tmp_path / "items.parquet", [*items, *c1_items(archive)], group=100)
    with pytest.raises(BadInput, match="give them as two catalogues"):
        open_catalogue(str(tmp_path / "items.parquet"))
    for item in items:
        item["properties"]["sentinel:boa_offset_applied"] = True
    write_index(tmp_path / "items.parquet", items, group=100)
    assert open_catalogue(str(tmp_path / "items.parquet")).imagery == "aws"


def test_what_items_say_of_their_numbers_stands_in_an_index_too(
    archive: Path, tmp_path: Path
) -> None:
    items = c1_items(archive)
    for item in items:
        optical = "red" in item["assets"]
        told = {"scale": 0.0001, "offset": -0.1} if optical else {"unit": "dB"}
        for asset in item["assets"].values():
            asset["raster:bands"] = [told]
        item["collection"] = "mine" if optical else "sentinel-1-rtc"
        item["properties"].pop("s2:processing_baseline", None)
        if optical:
            item["properties"]["s2:product_uri"] = "S2A_MSIL2A_20240501T105031_N0510_R051.SAFE"
    rows = [
        {
            **{name: item[name] for name in ("id", "collection", "assets")},
            **item["properties"],
            "bbox": dict(zip(("xmin", "ymin", "xmax", "ymax"), item["bbox"], strict=True)),
        }
        for item in items
    ]
    for row in rows:
        row["datetime"] = dt.datetime.fromisoformat(row["datetime"])
    path = tmp_path / "items.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    found = {scene.id: scene for scene in open_catalogue(str(path)).search(FLANDERS, YEAR)}
    expected = [scene_of_item(item) for item in items]
    assert len(found) == len(expected) > 2
    for scene in expected:
        assert scene is not None
        assert found[scene.id].claim == scene.claim
        assert found[scene.id].no_power == scene.no_power
        assert (scene.claim is not None) != bool(scene.no_power)
