"""The index of a folder of d-pixels: what each of its files holds, and which tiles failed."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.locks import locked
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.strict import check_format, member, named, text, whole
from tessera_mosaic.pipeline.ledger.keys import INDEX, dpixels_key
from tessera_mosaic.pipeline.ledger.records import State, read_records
from tessera_mosaic.pipeline.ledger.summary import find_summaries
from tessera_mosaic.pipeline.ledger.tile_lists import planned_tiles, years_planned

FORMAT = 1
"""Version of the format of folders, raised when readers of an earlier one would misread it."""

MOST_FILES = 1_000_000
"""Most files of d-pixels that one folder may list."""

INDEX_LOCK = "index"
"""Name of the lock under which the index is written."""


@dataclass(frozen=True)
class SampleIndex:
    """What a folder of d-pixels holds.

    Parameters
    ----------
    files
        Number of d-pixels by key of the file.
    failed
        Reason by name of the tile.
    """

    files: dict[str, int]
    failed: dict[str, str]


def index_of(storage: Storage, year: int) -> SampleIndex:
    """The index that the records of a folder come to."""
    files, failed = {}, {}
    for found in find_summaries(storage, year, planned_tiles(storage, year)):
        row = found.summary
        if row is None:
            continue
        if row.state is State.DONE:
            files[dpixels_key(found.tile, year)] = row.pixels["drawn"]
        elif row.error is not None:
            failed[found.tile.name] = f"{row.error.kind}: {row.error.message}"
    return SampleIndex(dict(sorted(files.items())), dict(sorted(failed.items())))


def renew_index(storage: Storage, year: int) -> SampleIndex:
    """Write the index that the records of a folder come to, and give it.

    Of several launchers that end at once, the last to write has seen the records of all.
    """
    with locked(storage, INDEX_LOCK):
        index = index_of(storage, year)
        write_index(storage, index)
    return index


def recorded_digests(storage: Storage) -> dict[str, str]:
    """Digest of each file of a folder of d-pixels that its tile's record tells, by its key."""
    years = years_planned(storage)
    return {
        written.key: written.sha256
        for year in years
        for _, record in read_records(storage, year, planned_tiles(storage, year))
        for written in (record.objects if record is not None else ())
    }


def write_index(storage: Storage, index: SampleIndex) -> None:
    """Write a folder's index."""
    fields = {"format": FORMAT, "files": index.files, "failed": index.failed}
    storage.write(INDEX, (json.dumps(fields, indent=1) + "\n").encode())


def read_index(storage: Storage) -> SampleIndex:
    """The index of a folder of d-pixels.

    Raises
    ------
    BadInput
        If the folder has none, or it is damaged, or of a later format.
    """
    try:
        index = read_json(storage.read_document(INDEX))
        check_format(index, "format", FORMAT, storage.url)
        return SampleIndex(
            member(index, "files", lambda value: named(value, whole, MOST_FILES)),
            member(index, "failed", lambda value: named(value, text, MOST_FILES)),
        )
    except FileNotFoundError:
        raise BadInput(f"{storage.url} has no {INDEX}: make d-pixels with `sample`") from None
    except BadInput:
        raise
    except ValueError as error:
        raise BadInput(f"{storage.url}/{INDEX} is damaged: {error}") from None
