"""What is known, while a mosaic is published, of what was and is published of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import keys
from tessera_mosaic.pipeline.publishing.manifest import (
    Digest,
    Manifest,
    put_if_other,
    read_manifest,
    wipe,
)
from tessera_mosaic.pipeline.publishing.stac_item import Extent
from tessera_mosaic.pipeline.publishing.totals import Totals

log = logging.getLogger(__name__)


@dataclass
class Publication:
    """What is known, while it is published, of the store's published objects.

    Parameters
    ----------
    manifest
        Objects that the manifest has, as they are now.
    totals
        What the rows come to so far.
    items
        What the catalogue's items cover, by their keys.
    kept
        Keys of objects that belong to what is published now.
    new, painted
        Numbers of tiles and years whose records were read, and of tiles that were painted.
    """

    manifest: Manifest
    totals: Totals = field(default_factory=Totals)
    items: dict[str, Extent] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    new: int = 0
    painted: int = 0

    def put(self, storage: Storage, key: str, data: bytes) -> None:
        """Put an object unless it is there already, for the manifest."""
        put_if_other(storage, key, data)
        self.manifest[key] = Digest.of(data)
        self.kept.add(key)


def remembered(storage: Storage) -> Manifest:
    """What was published; without a manifest that is whole, all is made afresh."""
    try:
        manifest = read_manifest(storage)
    except Altered as error:
        log.warning("%s: %s; all is published afresh", keys.MANIFEST, error)
        manifest = {}
    if not manifest:
        wipe(storage)
    return manifest
