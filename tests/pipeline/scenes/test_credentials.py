"""Credentials go to the hosts that ask for them, and to nobody else."""

import datetime as dt
import json
from pathlib import Path

import pytest

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
from tests.fakes.web import FakeStac, Reply, Request, fake_web
from tests.pipeline.scenes.sources import assert_equal, stack_of

HREF = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/31/U/DS/B04.tif"


class FakeTokens:
    """The service of Planetary Computer's tokens, which all end at one time."""

    def __init__(self, end: str = "2999-01-01T00:00:00Z") -> None:
        self.end = end
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Reply:
        self.asked.append(request)
        return 200, {}, {"token": f"st=a%3A&sig={len(self.asked)}%3D", "msft:expiry": self.end}


class Marked(PlanetaryTokens):
    """Signs with a word, and asks nobody."""

    def __init__(self, word: str) -> None:
        super().__init__(Remote())
        self.word = word

    def access(self, href: str) -> Access:
        return Access(f"{href}?{self.word}")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home without settings."""
    for name in ("PC_SDK_SUBSCRIPTION_KEY", "PC_SDK_SAS_URL", "EARTHDATA_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_planetary_computer_signs_and_renews(home: Path) -> None:
    fake = FakeTokens()
    (home / ".netrc").write_text("default login me password secret\n")
    (home / ".netrc").chmod(0o600)
    with fake_web(fake) as url:
        signer = Signer(Remote(), PlanetaryTokens(Remote(url), f"{url}/token/"))
        assert signer.access(HREF) == Access(f"{HREF}?st=a%3A&sig=1%3D")
        assert signer.access(HREF).url.endswith("sig=1%3D")
        assert signer.access(f"{HREF}?v=2").url == f"{HREF}?v=2&st=a%3A&sig=1%3D"
        signer.renew()
        assert signer.access(HREF).url.endswith("sig=2%3D")
        # A container has a token of its own.
        assert signer.access(HREF.replace("-l2/", "-l1/")).url.endswith("sig=3%3D")
        # No token goes to other hosts, or to other people's accounts.
        for other in (
            "https://elsewhere.example/sentinel2l2a01.blob.core.windows.net/a.tif",
            "https://mine.blob.core.windows.net/sentinel2-l2/a.tif",
            "https://sentinel2.example/.blob.core.windows.net/a.tif",
            "http://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/a.tif",
            "https://[x/a.tif",
        ):
            assert signer.access(other) == Access(other)
        # What is no container leads nowhere else at the service.
        for place in ("", "/", "/../admin", "/a_b/x", "/%2e%2e/x"):
            with pytest.raises(SceneError, match="no address of a file"):
                signer.access(f"https://sentinel2l2a01.blob.core.windows.net{place}")
    assert [request.path for request in fake.asked] == [
        "/token/sentinel2l2a01/sentinel2-l2",
        "/token/sentinel2l2a01/sentinel2-l2",
        "/token/sentinel2l2a01/sentinel2-l1",
    ]
    # Nobody's login for other services goes along.
    assert not any("authorization" in request.headers for request in fake.asked)


def test_tokens_are_renewed_before_their_end() -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30)
    for end in (soon.isoformat(), f"{soon.replace(tzinfo=None).isoformat()}"):
        fake = FakeTokens(end)
        with fake_web(fake) as url:
            signer = Signer(Remote(), PlanetaryTokens(Remote(url), url))
            assert [signer.access(HREF).url[-4:] for _ in range(2)] == ["1%3D", "2%3D"]


@pytest.mark.parametrize("place", ["environment", "file"])
def test_settings_of_planetary_computer(
    home: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    fake = FakeTokens()
    with fake_web(fake) as url:
        settings = {"PC_SDK_SUBSCRIPTION_KEY": "k3y", "PC_SDK_SAS_URL": f"{url}/mine"}
        if place == "file":
            (home / ".planetarycomputer").mkdir()
            lines = "".join(f'export {name} = "{value}"\n' for name, value in settings.items())
            (home / ".planetarycomputer" / "settings.env").write_text(f"# mine\n{lines}")
        else:
            for name, value in settings.items():
                monkeypatch.setenv(name, value)
        assert Signer(Remote(url)).access(HREF).url.endswith("sig=1%3D")
    assert fake.asked[0].path == "/mine/sentinel2l2a01/sentinel2-l2"
    assert fake.asked[0].headers["ocp-apim-subscription-key"] == "k3y"


SAS = "?st=2024-01-01T00%3A00%3A00Z&se={}&sp=rl&sv=2024-05-04&sr=c&sig={}"


def test_addresses_that_come_signed_are_signed_anew() -> None:
    signer = Signer(Remote(), Marked("anew"))
    plain = HREF
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


SOUND = {"token": "sig=a", "msft:expiry": "2999-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ((429, {}, b""), Throttled),
        ((401, {}, b""), Expired),
        ((404, {}, b""), Expired),
        ((400, {}, b""), Expired),
        ((500, {}, b""), TimedOut),
        ((302, {"Location": "http://127.0.0.2:9/x"}, b""), Expired),
        ((200, {}, b"<html>"), Expired),
        ((200, {}, []), Expired),
        ((200, {}, {"token": "sig=a"}), Expired),
        ((200, {}, SOUND | {"token": "sig=a\r\nHost: b"}), Expired),
        ((200, {}, SOUND | {"token": "sig=a#b"}), Expired),
        ((200, {}, SOUND | {"token": ["sig"]}), Expired),
        ((200, {}, SOUND | {"msft:expiry": "soon"}), Expired),
        ((200, {}, b" " * (2**20 + 1)), Expired),
    ],
)
def test_no_token_is_a_failure_of_its_class(reply: Reply, kind: type[SceneError]) -> None:
    with fake_web(lambda request: reply) as url, pytest.raises(SceneError) as told:
        Signer(Remote(), PlanetaryTokens(Remote(url), url)).access(HREF)
    assert type(told.value) is kind
    assert str(told.value).isprintable()


def test_no_service_of_tokens_is_waited_for() -> None:
    with fake_web(FakeTokens()) as url:
        pass
    with pytest.raises(TimedOut):
        Signer(Remote(), PlanetaryTokens(Remote(url), url)).access(HREF)


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
        signer = Signer(source.remote, Marked("signed"))
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
