"""The report needs nothing but itself, and tells what has to be told."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from PIL import Image

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.store import read_mosaic
from tessera_mosaic.pipeline.publishing.manifest import read_manifest
from tessera_mosaic.pipeline.publishing.publish import publish_mosaic
from tessera_mosaic.pipeline.publishing.registry import embedded_window
from tessera_mosaic.pipeline.publishing.report import report_page
from tessera_mosaic.pipeline.publishing.totals import Totals
from tessera_mosaic.pipeline.tiling.lattice import Window, lonlat_bounds
from tests.samples import TILES, add_tiles, fail_tile, pixels, write_sample


def test_report_stands_alone_and_tells(two: Storage) -> None:
    mosaic = read_mosaic(two)
    fail_tile(mosaic, TILES[1], 2018)
    publish_mosaic(two)
    page = two.read("report.html").decode()
    assert not re.search(r"(src|href)=.(?!data:)", page)
    for told in ("tiles planned", "truncated &lt;block&gt;", "corrupt", "utm31", "sample"):
        assert told in page


def test_report_is_drawn_by_a_browser(store: Storage, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium to draw the report with")
    picture = tmp_path / "report.png"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               f"--user-data-dir={tmp_path}", "--window-size=1200,2400",
               f"--screenshot={picture}", f"file://{store.url}/report.html"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    drawn = np.asarray(Image.open(picture).convert("RGB"))
    assert drawn.shape == (2400, 1200, 3)
    green = (drawn == (26, 122, 108)).all(-1)
    assert green[:1000].sum() > 5
    assert green[1000:].sum() > 500
    assert (drawn[-100:] == 255).mean() > 0.5


def test_small_maps_and_empty_registries(tmp_path: Path) -> None:
    storage = Storage(f"memory://{tmp_path.name}-empty")
    mosaic = write_sample(storage, TILES[:1], [2018]).mosaic
    assert "No tile was planned yet" in report_page(mosaic, Totals(), {})
    assert read_manifest(storage) == {}


MEASURE = """<script>
const lines = [...document.querySelectorAll("h1, h2, h3, th")].map(head => {
  const range = document.createRange();
  range.selectNodeContents(head);
  const tops = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
  return [head.textContent, tops.size];
});
document.title = JSON.stringify([document.documentElement.scrollWidth, lines]);
</script>"""


def test_headings_are_whole_on_a_narrow_page(store: Storage, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium to draw the report with")
    page = store.read("report.html").decode().replace("</body>", f"{MEASURE}</body>")
    # Chromium's windows are at least 500 px wide, and frames may be as narrow as a telephone.
    (tmp_path / "page.html").write_text(page)
    frame = '<iframe src="page.html" width="420" height="900" onload="document.title='
    frame += 'this.contentDocument.title"></iframe>'
    (tmp_path / "frame.html").write_text(frame)
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu",
               f"--user-data-dir={tmp_path}/user", "--allow-file-access-from-files",
               "--virtual-time-budget=5000", "--dump-dom",
               f"file://{tmp_path}/frame.html"]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None
    width, lines = json.loads(html.unescape(title[1]))
    assert width <= 420
    # A line holds a word at least.
    assert [(text, count) for text, count in lines if count > len(text.split())] == []
    assert len(lines) > 15


def test_the_report_shows_the_embeddings(store: Storage) -> None:
    page = store.read("report.html").decode()
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    # Tiles at 6 degrees east and at the antimeridian are far apart: a picture a zone.
    assert len(found) == 4
    for image in found:
        drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(image))).convert("RGB"))
        assert max(drawn.shape) <= 1032 // 2
        assert (np.ptp(drawn.astype(int), axis=-1) > 60).mean() > 0.05
    told = re.findall(r"<figcaption>([\d.]+)° E to ([\d.]+)° E, ([\d.]+)° S to ([\d.]+)° N<", page)
    assert any(5.98 < float(west) < 6 < float(east) < 6.01 for west, east, *_ in told)


def test_only_what_was_embedded_counts_as_covered(tmp_path: Path) -> None:
    storage = Storage(f"memory://{tmp_path.name}-corner")
    mosaic = write_sample(storage, [], [2018], zones=[31]).mosaic
    put, tile = pixels(TILES[0], 2018), TILES[0]
    put.scales[:] = np.inf
    put.scales[96:112, 8:40] = 0.1
    add_tiles(mosaic, [tile], 2018, lambda tile, year: put)
    publish_mosaic(storage)
    corner = Window(31, tile.window.row + 96, tile.window.col + 8, 16, 32)
    item = json.loads(storage.read(next(k for k in storage.list("stac") if "2018" in k)))
    np.testing.assert_allclose(item["bbox"], lonlat_bounds(corner), atol=1e-5)
    [row] = pq.read_table(io.BytesIO(storage.read("registry.parquet"))).to_pylist()
    bounds = shapely.from_wkb(row["geometry"]).bounds
    np.testing.assert_allclose(bounds, lonlat_bounds(corner), atol=1e-5)
    assert len(re.findall("image/jpeg", storage.read("report.html").decode())) == 1
    whole = embedded_window(tile, np.ones((128, 128), bool))
    assert whole == tile.window == embedded_window(tile, np.zeros((128, 128), bool))
