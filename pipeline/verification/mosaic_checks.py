"""Whether a mosaic is whole: its tiles, its metadata, and what was published of it.

Of a year the zones are listed that have a plan or a summary, and nothing else: the plan names the
tiles, the records name their objects, and each small object carries its own digest.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import shapely

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import tile_lists
from tessera_mosaic.pipeline.ledger.keys import MANIFEST, REGION, REGISTRY
from tessera_mosaic.pipeline.ledger.outline import first_outline, outline_kept
from tessera_mosaic.pipeline.ledger.records import READ_THREADS, Record
from tessera_mosaic.pipeline.mosaic.identity import fingerprint, is_outlined
from tessera_mosaic.pipeline.mosaic.metadata import (
    encode_json,
    own_document,
    root_node,
    written_nodes,
)
from tessera_mosaic.pipeline.mosaic.store import ROOT, Mosaic, is_current, metadata_objects
from tessera_mosaic.pipeline.publishing.manifest import AFRESH, read_manifest
from tessera_mosaic.pipeline.publishing.painted_chunks import is_page, read_page
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tessera_mosaic.pipeline.tiling.region import wanted_pixels
from tessera_mosaic.pipeline.verification.code_histograms import Histograms, unusual
from tessera_mosaic.pipeline.verification.findings import Checked, ProblemKind, sound, unsound
from tessera_mosaic.pipeline.verification.record_checks import (
    ABSENT,
    Survey,
    TileCheck,
    TileReport,
    check_zone,
)
from tessera_mosaic.pipeline.verification.tile_checks import Wanted, survey_tile

COMMAND = "run"
"""The command that makes the tiles of a mosaic."""

AGAIN = "`publish` writes it again"


def check_mosaic(mosaic: Mosaic, years: Iterable[int]) -> Iterator[Checked]:
    """Check a mosaic's metadata, what was published of it, and its tiles of some years."""
    yield from check_objects(mosaic)
    yield from check_tiles(mosaic, years)


def check_tiles(mosaic: Mosaic, years: Iterable[int]) -> Iterator[Checked]:
    """Check the plan and the tiles of some years."""
    wanted, region = check_region(mosaic)
    yield from region
    known = set(tile_lists.years_planned(mosaic.storage))
    for year in (year for year in years if year in known):
        check, histograms = tile_check(mosaic, year, wanted), Histograms()

        def tell(tile: Tile, report: TileReport, histograms: Histograms = histograms) -> None:
            if report.histogram is not None:
                histograms.add(tile.name, report.histogram)

        planned = tile_lists.zones_planned(mosaic.storage, year)
        zones = {*planned, *tile_lists.zones_summed_up(mosaic.storage, year)}
        for zone in sorted(zones & set(mosaic.zones)):
            yield from check_zone(check, zone, tell)
        yield from unusual(year, histograms)


def tile_check(mosaic: Mosaic, year: int, wanted: Wanted | None) -> TileCheck:
    """How a mosaic's tiles of a year are checked.

    Parameters
    ----------
    mosaic
        The mosaic that holds the tiles.
    year
        Calendar year of the tiles.
    wanted
        Tells which pixels of a window are embedded; None where that is not known.
    """
    margin = mosaic.identity["margin"]

    def survey(tile: Tile, record: Record) -> Survey:
        return survey_tile(mosaic, year, wanted_of(record, wanted, margin), tile, record)

    return TileCheck(
        storage=mosaic.storage,
        year=year,
        command=COMMAND,
        fingerprint=fingerprint(mosaic.identity),
        keys=lambda tile: mosaic.keys(tile, year),
        survey=survey,
    )


def wanted_of(record: Record, wanted: Wanted | None, margin: int) -> Wanted | None:
    """Which pixels a tile was made of: those inside the outline that its record holds, if any."""
    if not record.outline:
        return wanted
    outline = shapely.from_wkb(record.outline)
    return functools.partial(wanted_pixels, margin=margin, inside=outline)


def check_region(mosaic: Mosaic) -> tuple[Wanted | None, tuple[Checked, ...]]:
    """Which pixels are embedded, and the region that says so where the mosaic has one."""
    margin = mosaic.identity["margin"]
    if not is_outlined(mosaic.identity):
        return functools.partial(wanted_pixels, margin=margin), ()
    # Records without an outline of their own are from before the store could grow.
    first = first_outline(mosaic.storage)
    wanted = None
    if first is not None:
        wanted = functools.partial(wanted_pixels, margin=margin, inside=first)
    remedy = f"the next `{COMMAND}` makes it"
    try:
        outline_kept(mosaic.storage)
    except FileNotFoundError:
        return wanted, (unsound(REGION, ProblemKind.MISSING, f"{ABSENT}; {remedy}"),)
    except Altered as error:
        return wanted, (unsound(REGION, ProblemKind.PLAN, f"{error}; {remedy}"),)
    return wanted, (sound(REGION),)


def check_objects(mosaic: Mosaic) -> Iterator[Checked]:
    """Check a mosaic's metadata, and what was published of it."""
    yield from check_metadata(mosaic)
    yield from check_published(mosaic.storage)


def check_metadata(mosaic: Mosaic) -> Iterator[Checked]:
    """Check that the metadata of every node is what the root's attributes imply.

    What an older version wrote is sound as well, as the root's own digest tells.
    """
    storage, expected = mosaic.storage, dict(metadata_objects(mosaic))
    told = storage.read(ROOT)
    older = None if is_current(mosaic) else written_nodes(told)
    yield _check_node(storage, ROOT, told if older else encode_json(root_node(mosaic)))
    # The first versions wrote no group's metadata but the root's with that of what lies in it.
    alone = {f"{path}/{ROOT}": encode_json(node) for path, node in (older or {}).items()}
    whole = {f"{path}/{ROOT}": own_document(path, older) for path in older} if older else {}
    with ThreadPoolExecutor(READ_THREADS) as pool:
        yield from pool.map(
            lambda key: _check_node(storage, key, whole.get(key, expected[key]), alone.get(key)),
            expected,
        )


def _check_node(storage: Storage, key: str, *forms: bytes | None) -> Checked:
    """Check that an object is as any version wrote it."""
    try:
        whole = storage.read(key) in forms
    except FileNotFoundError:
        return unsound(key, ProblemKind.MISSING, f"{ABSENT}; {AGAIN}")
    if not whole:
        return unsound(key, ProblemKind.METADATA, f"not as it was written; {AGAIN}")
    return sound(key)


def check_published(storage: Storage) -> Iterator[Checked]:
    """Check what was published, down to each chunk of the picture, against its manifest."""
    try:
        manifest = read_manifest(storage)
    except Altered as error:
        yield unsound(MANIFEST, ProblemKind.PUBLISHED, f"{error}; {AGAIN}")
        return
    if not manifest:
        if storage.exists(REGISTRY):
            alone = f"there is a registry but no list; {AGAIN}"
            yield unsound(MANIFEST, ProblemKind.MISSING, alone)
        return
    yield sound(MANIFEST)
    for key, digest in manifest.items():
        if not is_page(key):
            yield _check_digest(storage, key, digest.sha256, f"not as it was published; {AGAIN}")
            continue
        page = _check_digest(storage, key, digest.sha256, f"not as it was published; {AFRESH}")
        yield page
        if not page.problems:
            yield from _check_chunks(storage, read_page(storage, key))


def _check_chunks(storage: Storage, page: dict[str, str]) -> Iterator[Checked]:
    """Check chunks of the picture, of which their digests are given by key."""
    painted = f"not as it was painted; {AFRESH}"
    with ThreadPoolExecutor(READ_THREADS) as pool:
        yield from pool.map(lambda key: _check_digest(storage, key, page[key], painted), page)


def _check_digest(storage: Storage, key: str, sha256: str, detail: str) -> Checked:
    """Check an object that was published; `detail` tells what is wrong with it if it is."""
    try:
        whole = hashlib.sha256(storage.read(key)).hexdigest() == sha256
    except FileNotFoundError:
        return unsound(key, ProblemKind.MISSING, detail)
    return sound(key) if whole else unsound(key, ProblemKind.PUBLISHED, detail)
