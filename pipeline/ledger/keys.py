"""All keys of a store beside its Zarr nodes: one place that tells what lies where, and for whom.

YYYY is a year, utmNN the group of a zone, TILE the name of a tile. Whether an object may be
deleted:

    no   nothing else knows what it tells
    run  yes: the next `run` writes it, or makes the tile again
    pub  yes: the next `publish` writes it again
    all  only together with `published/list.json`: `publish` then makes all of it afresh
    idle yes, while nobody is at work on the store
    yes  yes: nothing but what it tells is lost

In a mosaic's store:

    key                                       by        delete?  holds
    records/region.json                       launcher  run      the outline, where one was cut
    records/region.wkb                        launcher  no       the same of older versions
    records/YYYY/planned/utmNN.json           launcher  no       tiles that any run was asked for
    records/YYYY/requests/ID/utmNN.json       launcher  no       tiles that one run was asked for
    records/YYYY/shares/latest.json           launcher  yes      into how many shares and of what
    records/YYYY/shares/ID-N/utmNN.json       launcher  idle     tiles of each of N shares of a list
    records/YYYY/shares/ID-N/I.json           launcher  idle     who makes share I, and if still
    records/YYYY/forecast.json                launcher  yes      what was planned of the latest run
    records/YYYY/progress/LAUNCH/launcher     launcher  idle     that a launch is at work
    records/YYYY/progress/LAUNCH/NAME.json    worker    idle     counts of what a worker has done
    records/YYYY/progress/LAUNCH/stop         worker    idle     that no more tiles are to be begun
    records/YYYY/begun/utmNN/TILE.json        worker    idle     that a tile is worked on
    records/YYYY/tiles/utmNN/TILE.json        worker    run      what became of a tile
    records/YYYY/summary/utmNN.json           both      run      records of a zone in short
    records/YYYY/journal/utmNN/WORKER-N.json  worker    run      those that the summary lacks so far
    records/YYYY/snapshots/utmNN.json         publish   yes      tiles that Icechunk refers to
    records/YYYY/problems.json                annual    yes      what was found wrong with a year
    published/list.json                       publish   pub      size and sha256 of all published
    published/registry/utmNN.parquet          publish   pub      the registry's rows of a zone
    published/picture/PLACE.json              publish   all      sha256 of the picture's chunks
    published/painting/utmNN.json             publish   all      tiles that are being painted
    registry.parquet                          publish   pub      every tile and year
    catalog.json                              publish   pub      the root of a STAC catalogue
    stac/collection.json                      publish   pub      the mosaic in it
    stac/utmNN_YYYY.json                      publish   pub      a zone and year in it
    YYYY.zarr/global_rgb                      publish   pub      on a disk, a link to the picture
    index.html, web/                          publish   pub      a map of the mosaic for browsers
    report.html, coverage.png                 publish   pub      the report, and a map of the tiles
    ATTRIBUTION.md                            publish   pub      whom the mosaic owes what
    .partial/NAME.lock                        all       idle     who holds a lock (`io.locks`)
    .partial/ID.part                          all       idle     a file being written (`io.storage`)
    .partial/exclusion-ID                     launcher  yes      of a trial (`io.exclusion`)

In a folder of d-pixels, beside the same `records/`:

    recipe.json                               launcher  no       what the d-pixels are drawn from
    index.json                                launcher  run      how many each file holds
    d-pixels/TILE-YYYY.npz                    worker    no       the d-pixels of a tile

Below `blocks/` in a mosaic's store, beside `records/` and `map.json` of its own:

    zone=NN/year=YYYY/TILE.parquet            worker    run      vectors of a tile's blocks of 320 m

In the store of a map, beside the same `records/`:

    map.json                                  launcher  no       years, and what decides their bytes
    head.safetensors                          launcher  no       the head of a map by `map`
    cog/TILE-YYYY.tif                         worker    no       a tile for people who open files
    cog/TILE-YYYY.tif.aux.xml                 worker    no       the names of its classes
    utmNN-YYYY.vrt                            launcher  run      all of these of a zone at once
    baseline-YYYY.json                        launcher  no       what a change is measured against
    stac/                                     launcher  run      the map in a STAC catalogue
    report-YYYY.html, report-YYYY.json        launcher  run      the map on a page, and its figures

In the folder `OUT.job` of a search, beside the same `records/`; it goes when the result is whole:

    heaps/TILE.npz                            worker    no       the best pixels of a tile
    scores/TILE.tif                           worker    no       the scores of all its pixels

A tile whose record is deleted is made again by the next run; until then `status` goes by the
summary.
"""

from __future__ import annotations

import re

from tessera_mosaic.pipeline.tiling.lattice import Tile, zone_group

RECORDS = "records/"

REGION = "records/region.json"
FIRST_REGION = "records/region.wkb"

MANIFEST = "published/list.json"
PUBLISHED = "published/"
PICTURE = "published/picture/"

REGISTRY = "registry.parquet"
CATALOG = "catalog.json"
COLLECTION = "stac/collection.json"
MAP_PAGE = "index.html"
REPORT = "report.html"
COVERAGE_MAP = "coverage.png"
ATTRIBUTION = "ATTRIBUTION.md"

RECIPE = "recipe.json"
INDEX = "index.json"

MAP_RECIPE = "map.json"
HEAD = "head.safetensors"

BLOCKS = "blocks/"
"""Where the files of blocks of a mosaic lie."""

BLOCKS_TEMPLATE = "zone={number}/year={year}/{tile}.parquet"
"""Key of a tile's file of blocks below it, with names in their places: hive partitions."""

TALLY = ".json"
"""Ends the keys of tallies, as those of no other object of a launch."""

PUBLISH_LOCK = "publish"
"""Name of the lock that whoever publishes holds; `mosaic.store` names that of the metadata."""


def zone_of(key: str) -> int | None:
    """Number of the zone that a key ends with, as those of a zone's lists do; None of others.

    Examples
    --------
    >>> zone_of("records/2024/planned/utm31.json")
    31
    """
    found = re.fullmatch(r"utm(\d\d)\.json", key.rpartition("/")[2])
    return int(found[1]) if found else None


def planned_prefix(year: int) -> str:
    """Where the lists of tiles lie that any run was asked for."""
    return f"records/{year}/planned/"


def planned_key(year: int, zone: int) -> str:
    """Key of the list of tiles of a zone that any run was asked for."""
    return f"{planned_prefix(year)}{zone_group(zone)}.json"


def planned_lock(year: int, zone: int) -> str:
    """Name of the lock of a zone's list of planned tiles."""
    return f"planned-{year}-{zone_group(zone)}"


def requests_prefix(year: int) -> str:
    """Where the lists of tiles lie that runs were asked for."""
    return f"records/{year}/requests/"


def request_key(year: int, request: str, zone: int) -> str:
    """Key of the list of tiles of a zone that one run was asked for."""
    return f"{requests_prefix(year)}{request}/{zone_group(zone)}.json"


def latest_shares_key(year: int) -> str:
    """Key of the note which list was divided into shares last, and into how many."""
    return f"records/{year}/shares/latest.json"


def shares_prefix(year: int, request: str, count: int) -> str:
    """Where it lies how a list was divided into so many shares, and who makes them."""
    return f"records/{year}/shares/{request}-{count}/"


def shares_key(year: int, request: str, count: int, zone: int) -> str:
    """Key of the tiles of a zone by the share that they are of."""
    return f"{shares_prefix(year, request, count)}{zone_group(zone)}.json"


def share_note_key(year: int, request: str, count: int, index: int) -> str:
    """Key of the note who makes a share."""
    return f"{shares_prefix(year, request, count)}{index}.json"


def share_lock(year: int, request: str, count: int, index: int) -> str:
    """Name of the lock under which a launcher takes a share."""
    return f"share-{year}-{request}-{count}-{index}"


def forecast_key(year: int) -> str:
    """Key of a year's forecast."""
    return f"records/{year}/forecast.json"


def launches_prefix(year: int) -> str:
    """Where all launches of a year have a folder while they run."""
    return f"records/{year}/progress/"


def launch_prefix(year: int, launch: str) -> str:
    """Where one launch and its workers say how far they are."""
    return f"{launches_prefix(year)}{launch}/"


def launcher_key(year: int, launch: str) -> str:
    """Key of a launcher's sign that it is at work."""
    return f"{launch_prefix(year, launch)}launcher"


def tally_key(year: int, launch: str, name: str) -> str:
    """Key of the tally of one of a launch's workers."""
    return f"{launch_prefix(year, launch)}{name}{TALLY}"


def stop_key(year: int, launch: str) -> str:
    """Key of the word to a launch's workers that no more tiles are to be begun."""
    return f"{launch_prefix(year, launch)}stop"


def notes_prefix(year: int) -> str:
    """Where the notes lie of tiles that are worked on."""
    return f"records/{year}/begun/"


def note_key(year: int, tile: Tile) -> str:
    """Key of the note that a tile is worked on."""
    return f"{notes_prefix(year)}{zone_group(tile.zone)}/{tile.name}.json"


def record_key(year: int, tile: Tile) -> str:
    """Key of a tile's record."""
    return f"{records_prefix(year, tile.zone)}{tile.name}.json"


def records_prefix(year: int, zone: int) -> str:
    """Where the records of a zone's tiles lie."""
    return f"records/{year}/tiles/{zone_group(zone)}/"


def journal_prefix(year: int, zone: int) -> str:
    """Where the short records of a zone wait for the summary."""
    return f"records/{year}/journal/{zone_group(zone)}/"


def journal_key(year: int, zone: int, worker: str, number: int) -> str:
    """Key of one of the objects that a worker puts into a zone's journal."""
    return f"{journal_prefix(year, zone)}{worker}-{number}.json"


def summaries_prefix(year: int) -> str:
    """Where the short records of the zones lie."""
    return f"records/{year}/summary/"


def summary_key(year: int, zone: int) -> str:
    """Key of the short records of a zone."""
    return f"{summaries_prefix(year)}{zone_group(zone)}.json"


def summary_lock(year: int, zone: int) -> str:
    """Name of the lock of a zone's summary."""
    return f"summary-{year}-{zone_group(zone)}"


def snapshots_key(year: int, zone: int) -> str:
    """Key of the note that says to which tiles of a zone snapshots of Icechunk refer."""
    return f"records/{year}/snapshots/{zone_group(zone)}.json"


def problems_key(year: int) -> str:
    """Key of what was found wrong when a year was last brought up to date."""
    return f"records/{year}/problems.json"


def registry_part_key(zone: int) -> str:
    """Key of the registry's rows of a zone."""
    return f"published/registry/{zone_group(zone)}.parquet"


def picture_key(place: str) -> str:
    """Key of the digests of the picture's chunks of one piece of the world."""
    return f"{PICTURE}{place}.json"


def painting_key(zone: int) -> str:
    """Key of the note that says which tiles of a zone are being painted."""
    return f"published/painting/{zone_group(zone)}.json"


def item_key(zone: int, year: int) -> str:
    """Key of the STAC item of a zone and year."""
    return f"stac/{zone_group(zone)}_{year}.json"


def picture_link(year: int) -> str:
    """Key of the link to the picture, where the viewer of TESSERA looks for that of a year."""
    return f"{year}.zarr/global_rgb"


def dpixels_key(tile: Tile, year: int) -> str:
    """Key of the file of a tile's d-pixels, in a folder that `sample` made."""
    return f"d-pixels/{tile.name}-{year}.npz"


def cog_key(tile: Tile, year: int) -> str:
    """Key of a tile of a map as a cloud-optimised GeoTIFF."""
    return f"cog/{tile.name}-{year}.tif"


def sidecar_key(tile: Tile, year: int) -> str:
    """Key of the class names beside such a GeoTIFF, where GDAL looks for them."""
    return f"{cog_key(tile, year)}.aux.xml"


def vrt_key(zone: int, year: int) -> str:
    """Key of the virtual raster of a map's zone and year."""
    return f"{zone_group(zone)}-{year}.vrt"


def map_item_key(tile: Tile, year: int) -> str:
    """Key of the STAC item of a tile of a map."""
    return f"stac/{tile.name}-{year}.json"


def blocks_key(tile: Tile, year: int) -> str:
    """Key of the file of a tile's blocks, below `BLOCKS`.

    Examples
    --------
    >>> blocks_key(Tile(31, 905, 8), 2024)
    'zone=31/year=2024/utm31-r00905-c0008.parquet'
    """
    return BLOCKS_TEMPLATE.format(number=tile.zone, year=year, tile=tile.name)


def baseline_key(year: int) -> str:
    """Key of the sample that the change to a year is measured against."""
    return f"baseline-{year}.json"


def map_report_key(year: int, kind: str) -> str:
    """Key of the report on a map's year, as `html` or `json`."""
    return f"report-{year}.{kind}"


def heap_key(tile: Tile) -> str:
    """Key of what a search found in a tile, in the folder of its job."""
    return f"heaps/{tile.name}.npz"


def score_key(tile: Tile) -> str:
    """Key of the scores of a tile's pixels, in the folder of a search's job."""
    return f"scores/{tile.name}.tif"
