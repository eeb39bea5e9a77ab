"""The report needs nothing but itself, and tells what has to be told."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.store import read_mosaic
from tessera_mosaic.pipeline.publishing.manifest import read_manifest
from tessera_mosaic.pipeline.publishing.publish import publish_mosaic
from tessera_mosaic.pipeline.publishing.report import report_page
from tessera_mosaic.pipeline.publishing.totals import Totals
from tests.samples import TILES, fail_tile, write_sample


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
