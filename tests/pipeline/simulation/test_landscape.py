from __future__ import annotations

import numpy as np
import pytest
from pyproj import Transformer

from tessera_mosaic.pipeline.simulation.landscape import (
    BANDS,
    CODES,
    Ground,
    Landscape,
    backscatter,
    greenness,
    ground_under,
    reflectance,
    smooth_noise,
)

LAND = Landscape(seed=3, lon=6.0, lat=50.0)


@pytest.fixture(scope="module")
def ground() -> Ground:
    return ground_under(LAND, 32632, 284_000, 5_544_000, 10, (300, 300), 2024)


def test_two_zones_agree_about_the_ground(ground: Ground) -> None:
    """The cover at a pixel of zone 32 is what zone 31's finer raster has at that place."""
    east, north = np.meshgrid(
        284_000 + 10 * np.arange(100, 200) + 5.0, 5_544_000 - 10 * np.arange(100, 200) - 5.0
    )
    x, y = Transformer.from_crs("EPSG:32632", "EPSG:32631", always_xy=True).transform(east, north)
    west, top = np.floor(x.min()), np.ceil(y.max())
    size = int(max(x.max() - west, top - y.min()) / 2) + 1
    other = ground_under(LAND, 32631, west, top, 2, (size, size), 2024)
    seen = other.cover[((top - y) / 2).astype(int), ((x - west) / 2).astype(int)]
    assert (seen == ground.cover[100:200, 100:200]).mean() > 0.98


def test_every_class_and_many_parcels_occur(ground: Ground) -> None:
    assert set(np.unique(ground.cover)) == set(CODES.values())
    assert len(ground.codes) > 100
    assert np.array_equal(ground.codes[ground.unit], ground.cover)


def test_fields_change_their_crop_and_woods_do_not(ground: Ground) -> None:
    later = ground_under(LAND, 32632, 284_000, 5_544_000, 10, (300, 300), 2025)
    woods = np.isin(ground.cover, [CODES["broadleaf forest"], CODES["water"], CODES["built"]])
    assert np.array_equal(later.cover[woods], ground.cover[woods])
    assert 0.4 < (later.cover[~woods] != ground.cover[~woods]).mean() < 0.95


def test_crops_are_green_in_their_own_season(ground: Ground) -> None:
    may, august = greenness(ground, 135)[0], greenness(ground, 230)[0]
    wheat, maize = ground.codes == CODES["winter wheat"], ground.codes == CODES["maize"]
    assert may[wheat].mean() > 0.8 > 0.3 > august[wheat].mean()
    assert august[maize].mean() > 0.8 > 0.3 > may[maize].mean()


def test_the_south_has_its_summer_in_january() -> None:
    assert Landscape(0, 20.0, -30.0).season(10) == 192
    assert Landscape(0, 20.0, 30.0).season(10) == 10


@pytest.mark.parametrize("season", [1, 120, 200, 366])
def test_reflectance_and_backscatter_stay_in_their_range(ground: Ground, season: int) -> None:
    bands = reflectance(ground, season)
    assert bands.shape == (len(BANDS), 300, 300)
    assert bands.min() > 0
    assert bands.max() < 1
    power = 10 * np.log10(backscatter(ground, season, 34.0, ascending=True))
    assert power.min() > -40
    assert power.max() < 5
    assert (power[0] > power[1]).all(), "VV returns more than VH everywhere"


def test_incidence_darkens_bare_ground_more_than_forest(ground: Ground) -> None:
    near, far = (backscatter(ground, 20, angle, ascending=True)[0] for angle in (30.0, 45.0))
    fall = 10 * np.log10(near / far)
    assert fall[ground.cover == CODES["bare"]].mean() > 1.5
    assert fall[ground.cover == CODES["conifer forest"]].mean() < 0.6


def test_noise_is_coherent_and_standard() -> None:
    x, y = np.meshgrid(np.arange(0, 60_000, 100.0), np.arange(0, 60_000, 100.0))
    noise = smooth_noise([1, 2], x, y, 1000)
    assert abs(noise.mean()) < 0.1
    assert 0.9 < noise.std() < 1.1
    assert np.abs(np.diff(noise, axis=0)).mean() < 0.25
