"""A catalogue is what its text says, and its imagery is checked before anything is read."""

import functools
import json
from pathlib import Path

import pytest

from tessera_mosaic.pipeline.errors import (
    BadInput,
)
from tessera_mosaic.pipeline.scenes.earth_search import EarthSearch
from tessera_mosaic.pipeline.scenes.open_catalog import NAMED, open_catalogue
from tessera_mosaic.pipeline.scenes.planetary_computer import PlanetaryComputer
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tests.fakes.catalogues import write_index
from tests.fakes.web import FakeStac, fake_web
from tests.pipeline.scenes.sources import c1_items


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
