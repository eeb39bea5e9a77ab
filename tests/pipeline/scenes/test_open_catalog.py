"""A catalogue is what its text says, and its imagery is checked before anything is read."""

import functools
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tessera_mosaic.pipeline.errors import (
    BadInput,
)
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.scenes.earth_search import EarthSearch
from tessera_mosaic.pipeline.scenes.open_catalog import NAMED, open_catalogue
from tessera_mosaic.pipeline.scenes.planetary_computer import PlanetaryComputer
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tests.fakes.catalogues import items_of, write_index
from tests.fakes.web import FakeStac, fake_web
from tests.pipeline.scenes.sources import FLANDERS, YEAR, c1_items


@pytest.mark.parametrize("kind", ["index", "static", "api", "earth-search-c1"])
def test_imagery_with_its_offset_is_refused_before_anything_is_read(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    items = c1_items(archive)
    optical = [item for item in items if item["collection"] == "sentinel-2-c1-l2a"]
    radar = [item for item in items if item not in optical]
    collection = {"type": "FeatureCollection", "features": items}
    (tmp_path / "items.json").write_text(json.dumps(collection))
    write_index(tmp_path / "items.parquet", optical + radar, group=len(optical))
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")
    with fake_web(FakeStac(items)) as url:
        text = {"index": "items.parquet", "static": "items.json"}.get(kind)
        place = str(tmp_path / text) if text else kind if kind == "earth-search-c1" else url + "/"
        named = {kind: functools.partial(NAMED["earth-search-c1"], root=url + "/")}
        source = open_catalogue(place, ["127.0.0.1"], named=named)
    assert source.imagery == "aws"
    with pytest.raises(BadInput, match=r"^offset reference: .* choose evidence$") as caught:
        Preprocessing("aws").check(source)
    assert source.name in str(caught.value)
    for rule in ("item", "evidence"):
        Preprocessing("aws", offset=rule).check(source)


def test_imagery_without_its_offset_is_taken(archive: Path) -> None:
    Preprocessing().check(open_catalogue(str(archive)))


def test_the_address_of_a_known_catalogue_is_its_name() -> None:
    assert {NAMED["planetary-computer"], NAMED["earth-search"]} == {PlanetaryComputer, EarthSearch}
    opened = []
    named = {name: lambda remote, name=name: opened.append(name) for name in NAMED}
    open_catalogue("https://planetarycomputer.microsoft.com/api/stac/v1/", named=named)
    open_catalogue("https://earth-search.aws.element84.com/v1", named=named)
    assert opened == ["planetary-computer", "earth-search"]


def names_in(source: Source) -> list[tuple[str, str]]:
    """Scenes that a catalogue has of the archive's place, with the folders of their assets."""
    return [
        (scene.id, asset.rpartition("/")[0])
        for scene in source.search(FLANDERS, YEAR)
        for asset in list(scene.assets.values())[:1]
    ]


@pytest.mark.parametrize("end", ["", "/"])
def test_a_folder_of_a_bucket_with_a_catalogue_in_it(
    archive: Path, remote: Storage, end: str
) -> None:
    store = Storage(f"{remote.url}/static{len(end)}")
    for path in archive.parent.rglob("*.json"):
        store.put_file(str(path.relative_to(archive.parent)), path)
    source = open_catalogue(store.url + end)
    assert source.name == f"{store.url}/catalog.json"
    expected = names_in(open_catalogue(str(archive)))
    inside = [(name, f"{store.url}{at.removeprefix(str(archive.parent))}") for name, at in expected]
    assert names_in(source) == inside
    # Beside Parquet files it is still the catalogue that counts, as on a disk.
    store.write("more/part.parquet", b"none")
    assert names_in(open_catalogue(store.url)) == inside


@pytest.mark.parametrize("end", ["", "/"])
def test_a_folder_of_a_bucket_with_partitions(
    archive: Path, remote: Storage, tmp_path: Path, end: str
) -> None:
    store = Storage(f"{remote.url}/hive{len(end)}")
    items = items_of(archive, "https://nowhere.example")
    for name in sorted({item["collection"] for item in items}):
        mine = [item for item in items if item["collection"] == name]
        write_index(tmp_path / f"{name}.parquet", mine, group=2)
        table = pq.ParquetFile(tmp_path / f"{name}.parquet").read().drop_columns(["collection"])
        for number, part in enumerate((table[:1], table[1:])):
            pq.write_table(part, tmp_path / "part.parquet")
            key = f"collection={name}/year={YEAR}/part-{number}.parquet"
            store.put_file(key, tmp_path / "part.parquet")
    # Notes of writers are no parts of an index.
    for note in ("_SUCCESS", "_temporary/0/part-9.parquet", "README.md"):
        store.write(note, b"none")
    write_index(tmp_path / "whole.parquet", items, group=100)
    source = open_catalogue(store.url + end)
    assert source.name == store.url
    assert names_in(source) == names_in(open_catalogue(str(tmp_path / "whole.parquet")))
    assert len(names_in(source)) == len(items)


def test_a_folder_of_a_bucket_with_neither_is_refused(remote: Storage) -> None:
    remote.write("pictures/a.tif", b"none")
    remote.write("pictures/_temporary/part-0.parquet", b"none")
    for folder in ("pictures", "pictures/", "not-there", "not-there/"):
        url = f"{remote.url}/{folder}"
        with pytest.raises(BadInput, match=r"neither catalog\.json nor collection"):
            open_catalogue(url)
    with pytest.raises(BadInput, match=f"^catalogue {remote.url}/pictures is a folder"):
        open_catalogue(f"{remote.url}/pictures/")
