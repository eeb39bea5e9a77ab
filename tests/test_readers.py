"""Every block of code of the page of readers, on a small mosaic."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pystac_client
import pytest

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.publishing.icechunk import IcechunkRequest
from tessera_mosaic.pipeline.publishing.publish import publish
from tests.chromium import CHROMIUM, browser
from tests.client.environment import LACKING, client_python
from tests.fakes.range_server import range_server
from tests.layers import ROOT
from tests.samples import TILES, write_sample

PAGE = (ROOT / "docs" / "readers.md").read_text()
BLOCKS = re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```(\w+)([^\n]*)\n(.*?)^```", PAGE, re.M | re.S)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a published store, and its versions."""
    folder = tmp_path_factory.mktemp("readers")
    write_sample(Storage(str(folder / "store")), TILES[:2], [2018])
    publish(str(folder / "store"), icechunk=IcechunkRequest(str(folder / "versions")))
    return folder


@pytest.mark.parametrize(
    ("kind", "code"),
    [(kind.strip(), code) for _, language, kind, code in BLOCKS if language == "python"],
    ids=[title for title, language, _, _ in BLOCKS if language == "python"],
)
def test_what_the_page_says_in_python(made: Path, kind: str, code: str) -> None:
    names = {"STORE": str(made / "store"), "VERSIONS": str(made / "versions")}
    if "client" not in kind:
        exec(code, dict(names))
        return
    python = client_python()
    if python is None:
        pytest.skip(LACKING)
    told = "\n".join(f"{name} = {value!r}" for name, value in names.items())
    script = f"{told}\n{code}\nassert vector.shape == (128,)"
    ran = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_what_the_page_says_in_javascript(made: Path, tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; Debian's package is called chromium")
    (code,) = (code for _, language, _, code in BLOCKS if language == "js")
    code = code.replace('import * as zarr from "zarrita";', "")
    with range_server(made / "store") as address, browser(tmp_path) as page:
        page.open(f"{address}/index.html", 800, 600)
        told = page.evaluate(
            f"(async () => {{ const zarr = mapLibraries, STORE = {address!r}; {code};"
            " return Array.from(data, String); })()"
        )
    assert len(told) == 100
    assert all(np.isnan(float(each)) or float(each) > 0 for each in told)


def test_a_catalogue_beside_a_store_that_is_named_after_its_year(
    made: Path, tmp_path: Path
) -> None:
    (told,) = (code for _, language, _, code in BLOCKS if language == "json")
    (tmp_path / "2024.zarr").symlink_to(made / "store")
    (tmp_path / "catalog.json").write_text(told)
    catalog = pystac_client.Client.open(str(tmp_path / "catalog.json"))
    assert {item.id for item in catalog.get_items(recursive=True)} == {"utm31_2018"}
    assert (tmp_path / "2024.zarr/global_rgb/zarr.json").is_file()


def test_the_page_says_what_to_tell_xarray() -> None:
    assert {title for title, *_ in BLOCKS} >= {
        "xarray",
        "STAC",
        "Icechunk",
        "zarrita",
        "geotessera",
    }
    for plain in re.findall(r"open_zarr\([^)]*\)", PAGE):
        assert "chunks=" in plain, plain
