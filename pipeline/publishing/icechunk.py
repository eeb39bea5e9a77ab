"""Icechunk repositories over a mosaic: versions of it that cost no second copy of a byte.

    PATH/tessera      in the mosaic's own layout
    PATH/dclimate     in that of dClimate's repository

Each shard is one virtual chunk, so a repository has a reference for each object and readers fetch
parts of it by ranges. Beside the arrays `tiles/utmNN` holds eight bytes of each tile's digest: what
a snapshot refers to, by which the next one knows what is new.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from tessera_mosaic.pipeline.console import install_hint
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.keys import registry_part_key
from tessera_mosaic.pipeline.ledger.snapshots import add_to_note
from tessera_mosaic.pipeline.mosaic.layout import BYTES, PLAIN, array_node, group_node
from tessera_mosaic.pipeline.mosaic.metadata import encode_json
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.publishing.icechunk_layouts import (
    Hierarchy,
    dclimate_layout,
    tessera_layout,
)
from tessera_mosaic.pipeline.publishing.registry import Row, decode_rows
from tessera_mosaic.pipeline.tiling.lattice import HEIGHT, WIDTH, Tile, zone_group

if TYPE_CHECKING:
    import icechunk

LAYOUTS = {"tessera": tessera_layout, "dclimate": dclimate_layout}
"""What makes the hierarchy of each repository, by its name."""

BRANCH = "main"
"""Branch that every publish adds a commit to."""

DIGESTS = "tiles"
"""Group of the arrays that tell which version of each tile a snapshot refers to."""

DIGEST_ROWS = 64
"""Rows of tiles in a chunk of those arrays."""

REFERENCES = 50_000
"""References that are put at once."""


@dataclass(frozen=True)
class IcechunkRequest:
    """Where repositories are kept, and whether this state of the mosaic is a release.

    Parameters
    ----------
    path
        Folder, or URL of `s3://` or `gs://`, of the two repositories.
    release
        Name of a tag that both get; None for none.

    Raises
    ------
    BadInput
        If there can be no repository, or Icechunk is not installed.

    Examples
    --------
    >>> tm.IcechunkRequest("valley.icechunk", "2024-1").release
    '2024-1'
    """

    path: str
    release: str | None = None

    def __post_init__(self) -> None:
        if importlib.util.find_spec("icechunk") is None:
            raise BadInput(f"Icechunk is not installed: {install_hint('icechunk')}", "icechunk")
        scheme = urlsplit(self.path).scheme
        if "://" in self.path and scheme not in ("s3", "gs", "file"):
            told = "a repository lies in a folder, or at an s3:// or gs:// address"
            raise BadInput(told, "icechunk", self.path)
        if self.release is not None and (not self.release or "/" in self.release):
            raise BadInput("a release has a name without a slash", "release", self.release)


def publish_icechunk(mosaic: Mosaic, request: IcechunkRequest) -> dict[str, str]:
    """Bring both repositories up to date with the registry, each by one commit if anything is new.

    Parameters
    ----------
    mosaic
        A mosaic whose registry is up to date.
    request
        Where the repositories are.

    Returns
    -------
    dict of str to str
        Snapshot at the tip of each, by the name of its layout.

    Raises
    ------
    BadInput
        If the mosaic lies where Icechunk cannot refer to it, there are repositories of another
        mosaic, or the release has its tag already, on another snapshot.
    """
    rows = _rows_done(mosaic)
    for (zone, year), made in rows.items():
        add_to_note(mosaic.storage, year, zone, request.path, [row.tile for row in made])
    tips = {}
    for name in LAYOUTS:
        repository = _open(_place(request.path, name), mosaic.storage)
        tips[name] = _update(repository, mosaic, LAYOUTS[name](mosaic, _rows_of_shards(rows)), rows)
        if request.release is not None:
            _tag(repository, request.release, tips[name])
    return tips


def _rows_done(mosaic: Mosaic) -> dict[tuple[int, int], list[Row]]:
    """Rows of the registry that are done, by zone and year."""
    done: dict[tuple[int, int], list[Row]] = {}
    for zone in mosaic.zones:
        with contextlib.suppress(FileNotFoundError):
            for row in decode_rows(mosaic.storage.read(registry_part_key(zone))).values():
                if row.done:
                    done.setdefault((zone, row.year), []).append(row)
    return done


def _rows_of_shards(done: Mapping[tuple[int, int], Sequence[Row]]) -> dict[int, list[int]]:
    """Rows of shards of each zone, of any year."""
    rows: dict[int, set[int]] = {}
    for (zone, _), made in done.items():
        rows.setdefault(zone, set()).update(row.row for row in made)
    return {zone: sorted(found) for zone, found in sorted(rows.items())}


def _place(path: str, name: str) -> icechunk.Storage:
    """The storage of one of the repositories."""
    import icechunk

    parts = urlsplit(path)
    if parts.scheme == "s3":
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return icechunk.s3_storage(
            bucket=parts.netloc,
            prefix=f"{parts.path.strip('/')}/{name}".strip("/"),
            region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
            endpoint_url=endpoint,
            allow_http=bool(endpoint and endpoint.startswith("http:")),
            force_path_style=bool(endpoint),
            from_env=True,
        )
    if parts.scheme == "gs":
        prefix = f"{parts.path.strip('/')}/{name}".strip("/")
        return icechunk.gcs_storage(bucket=parts.netloc, prefix=prefix, from_env=True)
    folder = Path(parts.path if parts.scheme == "file" else path).resolve() / name
    return icechunk.local_filesystem_storage(str(folder))


def _container(storage: Storage) -> icechunk.VirtualChunkContainer:
    """Where the shards lie, as a repository is told."""
    import icechunk

    store: Any
    if storage.folder is not None:
        folder = str(storage.folder.resolve())
        return icechunk.VirtualChunkContainer(
            f"file://{folder}/", icechunk.local_filesystem_store(folder)
        )
    scheme = urlsplit(storage.url).scheme
    if scheme == "s3":
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        store = icechunk.s3_store(
            region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
            endpoint_url=endpoint,
            allow_http=bool(endpoint and endpoint.startswith("http:")),
            s3_compatible=bool(endpoint),
            force_path_style=bool(endpoint),
        )
    elif scheme in ("gs", "gcs"):
        store = icechunk.gcs_store()
    else:
        raise BadInput(f"{storage.url} lies where Icechunk cannot refer to it", "store")
    return icechunk.VirtualChunkContainer(f"{storage.url.rstrip('/')}/", store)


def _open(place: icechunk.Storage, storage: Storage) -> icechunk.Repository:
    """The repository at a place, made if there is none.

    Raises
    ------
    BadInput
        If there is one of another mosaic.
    """
    import icechunk

    container = _container(storage)
    if not icechunk.Repository.exists(place):
        config = icechunk.RepositoryConfig.default()
        config.set_virtual_chunk_container(container)
        repository = icechunk.Repository.create(place, config)
        repository.save_config()
        return repository
    repository = icechunk.Repository.open(place)
    known = list(repository.config.virtual_chunk_containers or {})
    if container.url_prefix not in known:
        raise BadInput(
            f"the repository there refers to {', '.join(known)}, and this mosaic lies at "
            f"{container.url_prefix}: choose another place",
            "icechunk",
        )
    return repository


def _update(
    repository: icechunk.Repository,
    mosaic: Mosaic,
    hierarchy: Hierarchy,
    done: Mapping[tuple[int, int], Sequence[Row]],
) -> str:
    """Commit what is new, if anything is; the snapshot at the tip."""
    session = repository.writable_session(BRANCH)
    store = session.store
    nodes = {**hierarchy.nodes, **_digest_nodes(mosaic, hierarchy)}
    for path, node in nodes.items():
        _put(store, f"{path}/zarr.json".lstrip("/"), encode_json(dict(node)))
    for key, data in hierarchy.chunks.items():
        _put(store, key, data)
    changed = 0
    for zone in hierarchy.arrays:
        for year in mosaic.years:
            changed += _refer(store, mosaic, hierarchy, zone, year, done.get((zone, year), ()))
    if session.has_uncommitted_changes:
        years = sorted({year for _, year in done})
        told = {"tiles": sum(map(len, done.values())), "changed": changed, "years": years}
        session.commit(f"{changed:,} tiles that are new or were made again", metadata=told)
    return str(repository.lookup_branch(BRANCH))


def _digest_nodes(mosaic: Mosaic, hierarchy: Hierarchy) -> dict[str, Any]:
    """Metadata of the arrays of digests."""
    side, dtype = mosaic.layout.side, np.dtype("<u8")
    across = HEIGHT // side, WIDTH // side
    nodes: dict[str, Any] = {DIGESTS: group_node({})}
    for zone in hierarchy.arrays:
        nodes[f"{DIGESTS}/{zone_group(zone)}"] = array_node(
            (len(mosaic.years), *across),
            (1, DIGEST_ROWS, across[1]),
            dtype,
            0,
            ("time", "tile_row", "tile_col"),
            [BYTES, PLAIN.metadata(dtype)],
        )
    return nodes


def _put(store: icechunk.IcechunkStore, key: str, data: bytes) -> None:
    """Put metadata or a coordinate unless it is there already."""
    prototype = default_buffer_prototype()
    known = sync(store.get(key, prototype))
    if known is not None:
        if known.to_bytes() == data:
            return
        if key.endswith("zarr.json") and _same_node(known.to_bytes(), data):
            return
    sync(store.set(key, prototype.buffer.from_bytes(data)))


def _same_node(known: bytes, data: bytes) -> bool:
    """Whether metadata is the same as Icechunk gives it back, which orders it in its own way."""
    return bool(json.loads(known) == json.loads(data))


def _refer(
    store: icechunk.IcechunkStore,
    mosaic: Mosaic,
    hierarchy: Hierarchy,
    zone: int,
    year: int,
    made: Sequence[Row],
) -> int:
    """Refer to the tiles of a zone and year that are new or other; how many those are."""
    step = mosaic.step(year)
    digests = zarr.open_array(store, path=f"{DIGESTS}/{zone_group(zone)}", mode="r+")
    known = _digests(digests, step)
    today = np.zeros_like(known)
    tiles = {(tile.row, tile.col): tile for tile in made}
    for place, tile in tiles.items():
        today[place] = _digest(tile)
    places = [(int(row), int(col)) for row, col in np.argwhere(known != today)]
    if not places:
        return 0
    written = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1)
    start_of_keys = _container(mosaic.storage).url_prefix
    for placed in hierarchy.arrays[zone]:
        fresh = []
        for row, col in places:
            if not placed.holds(row):
                continue
            size = _size(tiles.get((row, col)), placed.array.name)
            index = placed.index(step, row, col)
            if size is None:
                sync(store.delete(f"{placed.path}/c/{'/'.join(map(str, index))}"))
            else:
                key = placed.array.key(Tile(zone, row, col, mosaic.layout.side), step)
                fresh.append((index, f"{start_of_keys}{key}", size, written))
        for start in range(0, len(fresh), REFERENCES):
            part = [_reference(*each) for each in fresh[start : start + REFERENCES]]
            store.set_virtual_refs(placed.path, part, validate_containers=True)
    for start in sorted({row // DIGEST_ROWS * DIGEST_ROWS for row, _ in places}):
        digests[step, start : start + DIGEST_ROWS] = today[start : start + DIGEST_ROWS]
    return len(places)


def _digests(array: Any, step: int) -> NDArray[np.uint64]:
    """What a snapshot refers to of a step, uint64 (rows, cols); 0 where nothing is."""
    values: NDArray[np.uint64] = np.asarray(array[step], np.uint64)
    return values


def _digest(row: Row) -> int:
    """Eight bytes that tell the version of a tile, never 0."""
    return int((row.digest or "1")[:16], 16) or 1


def _size(row: Row | None, name: str) -> int | None:
    """Bytes of a tile's shard of an array; None where there is none."""
    sizes = json.loads(row.bytes_by_array or "{}") if row else {}
    return sizes.get(name)


def _reference(
    index: list[int], location: str, size: int, written: datetime.datetime
) -> icechunk.VirtualChunkSpec:
    """A reference to a whole shard, which holds as long as the shard is not written again."""
    import icechunk

    return icechunk.VirtualChunkSpec(
        index=index,
        location=location,
        offset=0,
        length=size,
        last_updated_at_checksum=written,
    )


def _tag(repository: icechunk.Repository, release: str, snapshot: str) -> None:
    """Give a snapshot the tag of a release.

    Raises
    ------
    BadInput
        If the release is another snapshot already.
    """
    if release in repository.list_tags():
        if repository.lookup_tag(release) != snapshot:
            raise BadInput(
                "there is such a release of another state: tags never move", "release", release
            )
        return
    repository.create_tag(release, snapshot_id=snapshot)
