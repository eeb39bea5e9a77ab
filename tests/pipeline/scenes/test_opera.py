"""OPERA's granules, and Earth Search, which lists them beside its own."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.warp import Resampling, reproject

from tessera_mosaic.pipeline.errors import (
    Corrupt,
)
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.scenes import opera
from tessera_mosaic.pipeline.scenes.credentials import (
    Signer,
)
from tessera_mosaic.pipeline.scenes.earth_search import EarthSearch
from tessera_mosaic.pipeline.scenes.opera import OperaGranules
from tessera_mosaic.pipeline.scenes.scene import S2_ASSETS, Scene
from tessera_mosaic.pipeline.scenes.stac_items import COMMON_NAMES
from tessera_mosaic.pipeline.stacks.block_reader import read_block
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.stacks.sentinel1 import code_backscatter
from tessera_mosaic.pipeline.tiling.lattice import (
    window_of_bounds,
)
from tests.fakes.catalogues import items_of
from tests.fakes.cmr import FakeCmr, granules
from tests.fakes.web import FakeStac, fake_web


def test_opera_granules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")
    entries = granules(7)
    older = json.loads(json.dumps(entries[0]).replace("20250830T120333Z", "20240101T000000Z"))
    with fake_web(FakeCmr([*entries, older], page=3)) as url:
        source = OperaGranules(Remote(url), f"{url}/granules.json")
        scenes = source.search((-119.8, 34.3, -119.7, 34.4), 2021)
        assert len(scenes) == 8
        assert [scene.id for scene in scenes if scene.superseded] == [older["producer_granule_id"]]
        scene = next(scene for scene in scenes if scene.counts)
        assert (scene.orbit_state, scene.datetime) == ("ascending", "2021-01-01T01:58:58.000000Z")
        assert scene.assets["vv"].startswith("https://cumulus.asf.earthdatacloud.nasa.gov/")
        assert scene.bbox == (-119.9, 34.2, -119.5, 34.6)
        signer = Signer(Remote())
        access = signer.access(scene.assets["vv"])
        assert access.headers == {"Authorization": "Bearer secret"}
        for other in ("https://elsewhere.example/a.tif", "https://fakenasa.gov.example/a.tif"):
            assert signer.access(other).headers == {}
        assert signer.access(scene.assets["vv"].replace("https", "http")).headers == {}


def test_earth_search_has_the_scenes_of_both(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")
    items = []
    for item in items_of(archive, "https://cogs.example"):
        if item["collection"] == "sentinel-2-l2a":
            item["assets"] = {COMMON_NAMES[band]: asset for band, asset in item["assets"].items()}
            item["properties"]["datetime"] = "2021" + item["properties"]["datetime"][4:]
            items.append(item)
    with fake_web(FakeStac(items)) as stac, fake_web(FakeCmr(granules(3), page=2)) as cmr:
        remote = Remote("https://", allow_hosts=["127.0.0.1"])
        source = EarthSearch(remote, root=stac, search=f"{cmr}/granules.json")
        scenes = source.search((-180.0, -90.0, 180.0, 90.0), 2021)
    assert source.imagery == "aws"
    assert [scene.order for scene in scenes] == sorted(scene.order for scene in scenes)
    optical = [scene for scene in scenes if scene.sensor == "s2"]
    radar = [scene for scene in scenes if scene.sensor == "s1"]
    assert (len(optical), len(radar)) == (len(items), 3)
    assert all(scene.counts for scene in scenes)
    assert set(optical[0].assets) == set(S2_ASSETS)


def test_granules_that_a_listing_keeps_back_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")
    with fake_web(FakeCmr(granules(4), page=3, promised=9)) as url:
        source = OperaGranules(Remote(url), f"{url}/granules.json")
        with pytest.raises(Corrupt, match="counts 9 granules and lists 4"):
            source.search((-119.8, 34.3, -119.7, 34.4), 2021)


def test_what_is_no_granule_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")
    impossible = granules(1)[0]["producer_granule_id"].replace("20210101T", "20211332T")
    odd: list = [None, [], {}, {"title": 3}, {"title": "S1A_IW_GRDH"}, {"title": impossible}]
    odd += [{"title": "far", "polygons": [["1e999 -200 0 200"]]}]
    with fake_web(FakeCmr([*odd, *granules(1)], page=3)) as url:
        source = OperaGranules(Remote(url), f"{url}/granules.json")
        scenes = source.search((-119.8, 34.3, -119.7, 34.4), 2021)
    assert len(scenes) == len(odd) + 1
    reasons = {scene.id: scene.faulty for scene in scenes}
    assert reasons["S1A_IW_GRDH"] == "its name is not that of an OPERA RTC-S1 granule"
    assert [scene.id for scene in scenes if scene.counts] == [granules(1)[0]["producer_granule_id"]]
    assert all("\n" not in scene.id for scene in scenes)


class Files:
    """A source of nothing but the files that scenes name."""

    name, imagery, remote = "files", "aws", Remote()

    def search(self, bounds: tuple, year: int) -> list[Scene]:
        return []

    def refresh(self, scene: Scene) -> Scene:
        return scene


def test_real_opera_rasters_become_observations(shared: Path) -> None:
    folder = shared / "data/opera_rtc_s1/T137-292319-IW2"
    names = sorted(path.name.removesuffix("_VV.tif") for path in folder.glob("*_VV.tif"))
    items = []
    for name in names:
        hrefs = [f"{folder}/{name}_{polarisation}.tif" for polarisation in ("VV", "VH")]
        scene = opera.scene_of_granule(name, (-120.0, 34.3, -119.6, 34.6), hrefs)
        assert scene is not None
        items.append(scene)
    window = window_of_bounds(11, (245_500, 3_815_000, 245_800, 3_815_300))
    reader = SceneReader(Files())
    annual = read_block(window, items, Preprocessing(imagery="aws"), reader)
    reader.close()
    with rasterio.open(folder / f"{names[0]}_VV.tif") as file:
        power = np.full(window.shape, np.nan, np.float32)
        reproject(
            rasterio.band(file, 1),
            power,
            dst_transform=rasterio.Affine(*window.transform),
            dst_crs=window.crs,
            dst_nodata=np.nan,
            resampling=Resampling.bilinear,
        )
    assert len(annual.ascending_dates) == 21
    difference = annual.stack.sar_ascending[0, ..., 0].astype(int) - code_backscatter(power)
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.01
