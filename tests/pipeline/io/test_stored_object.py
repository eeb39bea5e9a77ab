"""An object is compared with what is remembered of it, whatever its size."""

from __future__ import annotations

from pathlib import Path

import pytest

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.stored_object import Damage, Damaged, StoredObject, check_object


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 16, 100])
def test_an_object_is_read_piece_by_piece(tmp_path: Path, size: int) -> None:
    storage, data = Storage(str(tmp_path)), bytes(range(size))
    stored = StoredObject.of("one", data)
    storage.write("one", data)
    check_object(storage, stored, piece=8)
    storage.write("one", data + b"more")
    with pytest.raises(Damaged, match="one does not end") as raised:
        check_object(storage, stored, piece=8)
    assert raised.value.damage is Damage.SIZE
    storage.delete("one")
    with pytest.raises(Damaged) as raised:
        check_object(storage, stored, piece=8)
    assert raised.value.damage is Damage.MISSING
