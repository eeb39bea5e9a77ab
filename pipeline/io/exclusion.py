"""Whether a store puts an object only where there is none: tried, and not believed.

Locks and claims stand on that. Some servers take the condition and put the object all the same,
some refuse it, and neither can be told from the store's address.
"""

from __future__ import annotations

import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tessera_mosaic.pipeline.errors import BadInput, StoreDenied, StoreError, StoreUnavailable
from tessera_mosaic.pipeline.io.file_systems import open_files
from tessera_mosaic.pipeline.io.local_files import PARTIAL
from tessera_mosaic.pipeline.io.protocols import Use, check_use
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import before_work

RIVALS = 2
"""Writers of the same object at once, of which one has to be told that it was too late."""

log = logging.getLogger(__name__)


def check_job_store(url: str) -> None:
    """Refuse an address to which no job can write.

    Raises
    ------
    BadInput
        If the place is only read, or is not seen by other processes.
    """
    storage = Storage(url)
    check_use(storage.url, storage.protocol, Use.WRITING)


def settled(storage: Storage, single_launcher: bool = False) -> Storage:
    """The same store, with the knowledge whether it excludes; tried once a process.

    Parameters
    ----------
    storage
        The store, which is about to be written to.
    single_launcher
        Whether the user has said that nobody else writes to it meanwhile.

    Raises
    ------
    BadInput
        If the store does not exclude, and the user has not said that; or if it denies the trial.
    """
    if storage.folder is not None or storage.excludes is not None:
        return storage
    with before_work():
        place = open_files(storage.url, storage.protocol)
        if place.excludes is None:
            place.excludes = excludes(storage)
    if not place.excludes:
        if not single_launcher:
            raise BadInput(
                f"store {storage.url} puts an object also where there is one already, so that two "
                "launchers would not notice one another: see that nobody else writes to it, and "
                "say so with this option",
                "single_launcher",
            )
        log.warning("%s: locks count for this launch alone", storage.url)
    return replace(storage, excludes=place.excludes)


def excludes(storage: Storage) -> bool:
    """Try whether of several writers of an object all but one are told that they were too late.

    Parameters
    ----------
    storage
        The store, in which the object is put and taken away again.
    """
    key = f"{PARTIAL}/exclusion-{uuid.uuid4().hex}"
    try:
        with ThreadPoolExecutor(RIVALS) as pool:
            won = list(pool.map(lambda n: storage.create(key, b"%d" % n), range(RIVALS)))
        # Where none has won, an answer was lost on its way: the object is there all the same.
        return sum(won) == 1 or (not any(won) and storage.exists(key))
    except (StoreDenied, StoreUnavailable):
        raise
    except StoreError:
        # It may have refused the condition or the object: without the condition it shows.
        storage.write(key, b"")
        return False
    finally:
        storage.delete(key)
