"""The page with the map, in a browser, over a server that answers ranges and from a disk."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.shards import Pixels
from tessera_mosaic.pipeline.tiling.lattice import to_lonlat
from tests.chromium import CHROMIUM, Browser, browser
from tests.fakes.range_server import range_server
from tests.samples import TILES, YEARS, pixels

TILE = TILES[0]
CALM, WATER = (5, 70), (30, 45)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; Debian's package is called chromium")
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def lonlat(row: int, col: int) -> tuple[float, float]:
    """Degrees of the centre of a pixel of the tile."""
    window = TILE.window
    lon, lat = to_lonlat(TILE.zone).transform(
        window.west + col * 10 + 5, window.north - row * 10 - 5
    )
    return float(lon), float(lat)


def click(page: Browser, row: int, col: int) -> str:
    """Click on a pixel of the mosaic; what the page then tells of it."""
    at = json.dumps(lonlat(row, col))
    page.evaluate(
        f"""(() => {{
          const view = mosaicPage.map.getView();
          view.setCenter(mapLibraries.transform({at}, "EPSG:4326", "EPSG:3857"));
          view.setResolution(1);
          mosaicPage.map.renderSync();
        }})()"""
    )
    box = page.evaluate(
        "(({x, y, width, height}) => [x + width / 2, y + height / 2])"
        "(document.querySelector('#map').getBoundingClientRect())"
    )
    for kind in ("mousePressed", "mouseReleased"):
        place = {"type": kind, "x": box[0], "y": box[1], "button": "left", "clickCount": 1}
        page.call("Input.dispatchMouseEvent", page=True, **place)
    page.wait("document.querySelector('#found h2') !== null")
    return str(page.evaluate("document.querySelector('#found').innerText"))


def shown_counts(page: Browser) -> list[int]:
    """The observation counts that the page tells."""
    cells = "Array.from(document.querySelectorAll('#found td'), (cell) => Number(cell.innerText))"
    return list(page.evaluate(cells))


def counts(put: Pixels, row: int, col: int) -> list[int]:
    return [int(count[row, col]) for count in put.counts.values()]


@pytest.mark.parametrize("width", [1400, 420])
def test_a_click_tells_what_is_at_a_place(store: Storage, page: Browser, width: int) -> None:
    with range_server(Path(store.url)) as address:
        page.open(f"{address}/index.html", width, 860)
        page.wait("mosaicPage.map.getLayers().item(0).getSource().getState() === 'ready'")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.querySelector('#told').hidden")
        options = "Array.from(document.querySelectorAll('option'), (option) => option.value)"
        assert page.evaluate(options) == [*map(str, YEARS), "", "1", "31", "32", "60"]

        put = pixels(TILE, YEARS[-1])
        click(page, *CALM)
        assert shown_counts(page) == counts(put, *CALM)
        page.wait("document.querySelectorAll('.vector i').length === 128")
        first = page.evaluate("document.querySelector('.swatch').style.background")
        lights = np.round((put.codes[CALM][:3].astype(float) + 127) / 254 * 255).astype(int)
        assert [int(each) for each in re.findall(r"\d+", first)] == lights.tolist()
        # The picture is drawn at the place, in the colour that the mosaic has there.
        page.evaluate(
            "new Promise((done) => { mosaicPage.map.once('rendercomplete', () => done(1));"
            " mosaicPage.map.render(); })"
        )
        half = "mosaicPage.map.getSize().map((side) => side / 2)"
        drawn = f"Array.from(mosaicPage.map.getLayers().item(0).getData({half}))"
        assert page.evaluate(drawn)[3] == 255

        page.evaluate(
            f"document.querySelector('#year').value = '{YEARS[0]}';"
            "document.querySelector('#year').dispatchEvent(new Event('change'))"
        )
        page.wait(f"document.querySelector('#found h2')?.innerText.endsWith('{YEARS[0]}')")
        assert shown_counts(page) == counts(pixels(TILE, YEARS[0]), *CALM)

        if width == 1400:
            check_snippets(page, pixels(TILE, YEARS[0]))
            page.evaluate("document.querySelector('#codes').click()")
            page.wait("mosaicPage.map.getLayers().item(1).getSource().getState() === 'ready'")
            page.evaluate("document.querySelector('#found').replaceChildren()")
            assert "Water" in click(page, *WATER)
        assert not [told for told in page.problems() if "404" not in told]


def check_snippets(page: Browser, put: Pixels) -> None:
    """What the page says in Python and JavaScript gives the vector of the place."""
    expected = put.codes[CALM].astype(np.float32) * put.scales[CALM]
    texts = {
        name: page.evaluate(f"document.querySelector('[data-language={name}] pre').textContent")
        for name in ("Python", "JavaScript")
    }
    names: dict[str, np.ndarray] = {}
    exec(texts["Python"], names)
    np.testing.assert_array_equal(names["vector"], expected)
    code = texts["JavaScript"].replace('import * as zarr from "zarrita";', "")
    told = page.evaluate(f"(async () => {{ const zarr = mapLibraries; {code}; return vector; }})()")
    np.testing.assert_allclose(told, expected, rtol=1e-6)


def test_from_a_disk_it_says_what_to_start(store: Storage, page: Browser) -> None:
    page.open(f"file://{store.url}/index.html", 1400, 860)
    assert "npx http-server" in page.evaluate("document.querySelector('#told').innerText")


def test_it_needs_nothing_from_elsewhere(store: Storage) -> None:
    written = store.read("index.html").decode()
    assert "http" not in re.sub(r'<script id="mosaic".*', "", written)
    for name in re.findall(r'(?:src|href)="([^"#:]+)"', written):
        assert (Path(store.url) / name).is_file(), name
    told = re.search(r'<script id="mosaic" type="application/json">(.*)</script>', written)
    assert told is not None
    assert "<" not in told[1]
    assert json.loads(told[1])["years"] == list(YEARS)
    assert "BSD 2-Clause" in store.read("web/map-libraries.txt").decode()
