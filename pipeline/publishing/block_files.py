"""Files of blocks in a mosaic's store, as their records tell them."""

from __future__ import annotations

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.keys import BLOCKS
from tessera_mosaic.pipeline.ledger.map_recipe import read_map_recipe
from tessera_mosaic.pipeline.ledger.records import State, read_records
from tessera_mosaic.pipeline.ledger.tile_lists import planned_tiles
from tessera_mosaic.pipeline.publishing.manifest import Digest, Manifest


def block_files(storage: Storage) -> Manifest:
    """Size and digest of every file of blocks by its key; nothing where none were made."""
    below = Storage(storage.locate(BLOCKS.rstrip("/")), patience=storage.patience)
    try:
        years = read_map_recipe(below).years
    except FileNotFoundError:
        return {}
    return {
        f"{BLOCKS}{stored.key}": Digest(stored.size, stored.sha256)
        for year in years
        for _, record in read_records(below, year, planned_tiles(below, year))
        if record is not None and record.state is State.DONE
        for stored in record.objects
    }
