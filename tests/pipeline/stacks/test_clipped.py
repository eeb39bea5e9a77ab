"""Each raster of a scene lies where it says itself, and rasters of a scene may differ in ground."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window as Cut

from tessera_mosaic.model.observations import S2_BANDS
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.stacks.read_stack import RegionStack, StackRequest, read_stack

REGION = "2.9990,50.7990,3.0010,50.8010"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = Simulation(
        (Footprint.around("31UDS", 3.0, 50.8, 32),),
        years=(2021,),
        s2_days=2,
        s1_days=2,
        cloudiness=0.0,
    )
    return simulate_archive(tmp_path_factory.mktemp("archive") / "archive", spec)


def stacked(catalogue: Path, **more: object) -> RegionStack:
    request = StackRequest(str(catalogue), REGION, 2021, kernel="nearest", **more)
    return read_stack(request)


def rewrite(
    path: Path,
    change: Callable[[np.ndarray], np.ndarray] | None = None,
    cut: tuple = (),
    **profile: object,
) -> None:
    """Write a raster anew, cut to (top, left, bottom, right) pixels less, or with other values."""
    with rasterio.open(path) as file:
        top, left, bottom, right = cut or (0, 0, 0, 0)
        window = Cut(left, top, file.width - left - right, file.height - top - bottom)
        values = file.read(1, window=window)
        place = rasterio.windows.transform(window, file.transform)
        nodata, crs = file.nodata, file.crs
    values = values if change is None else change(values)
    told = {"nodata": nodata, "crs": crs, "transform": place, **profile}
    tags = told.pop("tags", {})
    path.unlink()
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype=values.dtype,
        **told,
    ) as file:
        file.write(values, 1)
        for name, value in tags.items():
            setattr(file, name, (value,))


def copied(archive: Path, tmp_path: Path) -> Path:
    return shutil.copytree(archive.parent, tmp_path / "copy")


def test_bands_that_are_clipped_each_in_its_own_way(archive: Path, tmp_path: Path) -> None:
    folder = copied(archive, tmp_path)
    whole = stacked(archive)
    height, width = whole.window.shape
    # To the region with a margin, on the grid of each band.
    for path in folder.glob("sentinel-*/*/*.tif"):
        with rasterio.open(path) as file:
            pixel = file.transform.a
        rewrite(path, cut=(1, 1, 2, 1) if pixel == 10 else (0, 1, 1, 0))
    clipped = stacked(folder / "catalog.json")
    for name in ("bands", "masks", "sar_ascending", "sar_descending"):
        ours, theirs = (getattr(of.annual.stack, name) for of in (clipped, whole))
        assert np.array_equal(ours, theirs), name
    assert clipped.annual.used == whole.annual.used
    assert (height, width) > (8, 8)


def test_what_a_raster_does_not_reach_is_not_observed(archive: Path, tmp_path: Path) -> None:
    folder = copied(archive, tmp_path)
    whole = stacked(archive)
    scene = sorted(folder.glob("sentinel-2-l2a/*"))[0]
    scene = (
        scene
        if scene.is_dir()
        else sorted(p.parent for p in folder.glob("sentinel-2*/*/B11.tif"))[0]
    )
    with rasterio.open(scene / "B11.tif") as file:
        columns = file.width // 2
    rewrite(scene / "B11.tif", cut=(0, columns, 0, 0))
    radar = sorted(folder.glob("sentinel-1-rtc/*/vh.tif"))[0]
    with rasterio.open(radar) as file:
        rows = file.height // 2
    rewrite(radar, cut=(0, 0, rows, 0))
    found = stacked(folder / "catalog.json")
    with rasterio.open(scene / "B11.tif") as file:
        edge = file.bounds.left
    west = whole.window.bounds[0]
    first = round((edge - west) / 10)
    assert 0 < first < whole.window.width
    day = whole.annual.dates.index(
        f"{scene.name.split('_')[3][:4]}-"
        f"{scene.name.split('_')[3][4:6]}-{scene.name.split('_')[3][6:8]}"
    )
    masks = found.annual.stack.masks[day]
    assert not masks[:, :first].any()
    assert np.array_equal(masks[:, first:], whole.annual.stack.masks[day][:, first:])
    bands = found.annual.stack.bands[day][:, first:]
    assert np.array_equal(bands, whole.annual.stack.bands[day][:, first:])
    assert bands.shape[-1] == len(S2_BANDS)
    with rasterio.open(radar) as file:
        edge = file.bounds.bottom
    last = round((whole.window.bounds[3] - edge) / 10)
    series = [
        (getattr(found.annual.stack, n), getattr(whole.annual.stack, n))
        for n in ("sar_ascending", "sar_descending")
    ]
    [(ours, theirs)] = [(o, t) for o, t in series if not np.array_equal(o, t)]
    [layer] = [n for n in range(len(ours)) if not np.array_equal(ours[n], theirs[n])]
    assert 0 < last < whole.window.height
    assert np.array_equal(ours[layer][:last], theirs[layer][:last])
    assert not ours[layer][last:].any()


def test_a_raster_that_lies_beside_the_others_is_corrupt(archive: Path, tmp_path: Path) -> None:
    folder = copied(archive, tmp_path)
    path = sorted(folder.glob("sentinel-2-l2a/*/B04.tif"))[0]
    with rasterio.open(path) as file:
        away = rasterio.Affine.translation(700, 0) @ file.transform
    rewrite(path, transform=away)
    with pytest.raises(BadInput, match="B04: it does not "):
        stacked(folder / "catalog.json")


def decibels(power: np.ndarray) -> np.ndarray:
    return (10 * np.log10(np.maximum(power, 1e-5))).astype(np.float32)


def filled(power: np.ndarray) -> np.ndarray:
    return np.where(np.indices(power.shape)[0] < 20, -9999, decibels(power))


def coded(power: np.ndarray) -> np.ndarray:
    return (decibels(power) * 100 + 5000).astype(np.uint16)


SCALED = {"scales": 0.01, "offsets": -50.0}

RADAR: dict[str, tuple[dict, str]] = {
    "values": ({"change": decibels}, "are decibels"),
    "values and untagged fill": ({"change": filled}, "are decibels"),
    "numbers": ({"change": lambda power: power * 4000 + 100}, "too large"),
    "unit": ({"tags": {"units": "dB"}}, "its unit is dB"),
    "scale": ({"tags": SCALED}, "scaled by 0.01 and shifted by -50"),
    "coded": ({"change": coded, "nodata": 0, "tags": SCALED}, "scaled by 0.01"),
}


@pytest.mark.parametrize("kind", RADAR)
def test_sentinel_1_that_is_no_linear_power(archive: Path, tmp_path: Path, kind: str) -> None:
    folder = copied(archive, tmp_path)
    changes, why = RADAR[kind]
    for path in folder.glob("sentinel-1-rtc/*/*.tif"):
        rewrite(path, **changes)
    with pytest.raises(BadInput, match=f"vv: .*{why}.* linear power is wanted"):
        stacked(folder / "catalog.json")


@pytest.mark.parametrize(
    "told",
    [
        {"raster:bands": [{"unit": "dB", "data_type": "float32"}]},
        {"bands": [{"name": "vv", "unit": "decibels"}]},
        {"raster:unit": "gamma0_dB"},
        {"raster:bands": [{"scale": 0.001, "offset": -40}]},
    ],
)
def test_items_that_say_so(archive: Path, tmp_path: Path, told: dict) -> None:
    folder = copied(archive, tmp_path)
    for path in folder.glob("sentinel-1-rtc/*/*.json"):
        item = json.loads(path.read_text())
        for asset in item["assets"].values():
            asset.update(told)
        path.write_text(json.dumps(item))
    with pytest.raises(BadInput, match=r"vv: .* linear power is wanted"):
        stacked(folder / "catalog.json")


def test_power_with_noise_and_fill_is_power(archive: Path, tmp_path: Path) -> None:
    folder = copied(archive, tmp_path)

    def noisy(power: np.ndarray) -> np.ndarray:
        power = power.copy()
        power[::2] = -0.002
        power[:, ::3] = -9999
        power[5] = 300
        return power

    for path in folder.glob("sentinel-1-rtc/*/*.tif"):
        rewrite(path, noisy, tags={"units": "1", "scales": 1.0, "offsets": 0.0})
    stack = stacked(folder / "catalog.json").annual.stack
    assert len(stack.sar_ascending) + len(stack.sar_descending) > 0
