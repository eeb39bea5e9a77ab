"""Credentials go to the hosts that ask for them, and to nobody else."""

import json
from pathlib import Path

import pytest
import requests
from planetary_computer import sas

from tessera_mosaic.pipeline.errors import (
    BadInput,
    Expired,
    SceneError,
    Throttled,
    TimedOut,
)
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.scenes.credentials import (
    LOGIN,
    EarthdataToken,
    PlanetaryTokens,
    Signer,
)
from tessera_mosaic.pipeline.scenes.geoparquet import ParquetIndex
from tessera_mosaic.pipeline.scenes.opera import OperaGranules
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.scenes.stac_api import StacApi
from tessera_mosaic.pipeline.scenes.static_catalog import (
    StaticCatalogue,
)
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.tiling.lattice import (
    Window,
)
from tests.fakes.catalogues import items_of, write_index
from tests.fakes.cmr import FakeCmr
from tests.fakes.web import FakeStac, fake_web
from tests.pipeline.scenes.sources import assert_equal, stack_of


def test_planetary_computer_signs_and_renews(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = iter(["first", "second"])
    asked = []

    def get_token(account: str, container: str) -> sas.SASToken:
        asked.append((account, container))
        key = f"{account}/{container}"
        if key not in sas.TOKEN_CACHE:
            expiry = {"msft:expiry": "2999-01-01T00:00:00Z"}
            sas.TOKEN_CACHE[key] = sas.SASToken(token=next(tokens), **expiry)
        return sas.TOKEN_CACHE[key]

    monkeypatch.setattr(sas, "get_token", get_token)
    monkeypatch.setattr(sas, "TOKEN_CACHE", {})
    signer = Signer(Remote())
    href = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/31/U/DS/B04.tif"
    assert signer.access(href) == Access(f"{href}?first")
    assert signer.access(href).url.endswith("?first")
    signer.renew()
    assert signer.access(href).url.endswith("?second")
    assert asked[0] == ("sentinel2l2a01", "sentinel2-l2")
    # No token goes to other hosts, or to other people's accounts.
    for other in (
        "https://elsewhere.example/sentinel2l2a01.blob.core.windows.net/a.tif",
        "https://mine.blob.core.windows.net/sentinel2-l2/a.tif",
        "https://sentinel2.example/.blob.core.windows.net/a.tif",
        "http://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/a.tif",
        "https://[x/a.tif",
    ):
        assert signer.access(other) == Access(other)
    assert len(asked) == 3


SAS = "?st=2024-01-01T00%3A00%3A00Z&se={}&sp=rl&sv=2024-05-04&sr=c&sig={}"


def test_addresses_that_come_signed_are_signed_anew() -> None:
    signer = Signer(Remote(), PlanetaryTokens(lambda href: f"{href}?anew"))
    plain = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/31/U/DS/B04.tif"
    good, late = "2999-01-01T00%3A00%3A00Z", "2020-01-01T00%3A00%3A00Z"
    sound, other = plain + SAS.format(good, "a%2B%3D"), plain + SAS.format(good, "b")
    # A signature that holds is taken; one that has expired by its own word is not.
    assert signer.access(sound) == Access(sound)
    assert signer.access(plain + SAS.format(late, "a")) == Access(f"{plain}?anew")
    assert signer.access(plain + SAS.format("2020-01-01", "a")) == Access(f"{plain}?anew")
    assert signer.access(plain + SAS.format("soon", "a")).url.endswith("&sig=a")
    # One that was refused is used no more, whatever it says of itself; others are.
    signer.renew(signer.renewals, sound)
    assert signer.access(sound) == Access(f"{plain}?anew")
    assert signer.access(sound.replace("B04", "B03")).url.endswith("B03.tif?anew")
    assert signer.access(other) == Access(other)
    # Other people's addresses are theirs to sign.
    mine = "https://mine.blob.core.windows.net/a.tif" + SAS.format(late, "a")
    assert signer.access(mine) == Access(mine)


def response(status: int) -> requests.Response:
    answer = requests.Response()
    answer.status_code = status
    return answer


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (requests.ConnectionError("down"), TimedOut),
        (requests.HTTPError(response=response(429)), Throttled),
        (requests.HTTPError(response=response(401)), Expired),
        (requests.HTTPError(response=response(500)), TimedOut),
    ],
)
def test_no_token_is_a_failure_of_its_class(error: Exception, kind: type[SceneError]) -> None:
    def refuse(url: str) -> str:
        raise error

    with pytest.raises(kind):
        Signer(Remote(), PlanetaryTokens(refuse)).access(
            "https://sentinel2l2a01.blob.core.windows.net/b/c.tif"
        )


@pytest.mark.parametrize("kind", ["index", "static", "api"])
def test_every_source_signs_what_lies_with_a_provider(
    archive: Path,
    window: Window,
    expected: AnnualStack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    blobs, radar = "https://sentinel2l2a01.blob.core.windows.net/s2", "https://x.asf.alaska.edu"
    items = items_of(archive, blobs)
    for item in items:
        if item["collection"] == "sentinel-1-rtc":
            for asset in item["assets"].values():
                asset["href"] = asset["href"].replace(blobs, radar)
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")

    class Guarded(Remote):
        """The provider's hosts, which have the archive for those with their credential."""

        def read(self, access: Access, start: int, length: int) -> bytes:
            path = access.url
            for base in (blobs, radar):
                if path.startswith(base):
                    signed = path.endswith("?signed") if base == blobs else bool(access.headers)
                    if not signed:
                        raise Expired("HTTP 403")
                    path = path.replace(base, str(archive.parent)).removesuffix("?signed")
                    return Remote().read(Access(path), start, length)
            return super().read(access, start, length)

    (tmp_path / "items.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": items})
    )
    write_index(tmp_path / "items.parquet", items, group=2)
    with fake_web(FakeStac(items)) as url:
        if kind == "api":
            source: Source = StacApi(url + "/", Guarded(url))
        else:
            path = str(tmp_path / {"index": "items.parquet", "static": "items.json"}[kind])
            opener = ParquetIndex if kind == "index" else StaticCatalogue
            source = opener(path, Guarded(path))
        signer = Signer(source.remote, PlanetaryTokens(lambda href: f"{href}?signed"))
        assert_equal(stack_of(source, window, signer), expected)


def test_an_earthdata_login_becomes_a_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(BadInput, match="EARTHDATA_TOKEN"):
        OperaGranules(Remote("https://"))
    netrc = tmp_path / ".netrc"
    netrc.write_text(f"machine {LOGIN} login me password word\n")
    netrc.chmod(0o600)
    fake = FakeCmr([], page=3)
    with fake_web(fake) as url:
        signer = Signer(Remote(url), earthdata=EarthdataToken(Remote(url), f"{url}/token"))
        href = "https://cumulus.asf.earthdatacloud.nasa.gov/a.tif"
        assert signer.access(href).headers == {"Authorization": "Bearer token-1"}
        assert signer.access(href).headers == {"Authorization": "Bearer token-1"}
        signer.renew()
        assert signer.access(href).headers == {"Authorization": "Bearer token-2"}
        assert fake.logins == ["Basic bWU6d29yZA=="] * 2
