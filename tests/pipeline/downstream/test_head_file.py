"""A head meets only a mosaic of its own fingerprint and depth, and is refused in one line else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tessera_mosaic.pipeline.downstream.head_file import check_mosaic
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.identity import adopted_identity, fingerprint
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.store import Mosaic, create_store
from tests.model.heads.test_files import head


@pytest.fixture
def mosaic(tmp_path: Path) -> Mosaic:
    """A mosaic of embeddings of four values."""
    identity = adopted_identity("tessera-v1.1", "arrays", nearest=False, margin=0)
    return create_store(Storage(str(tmp_path / "store")), Layout(64, 4), identity, [2022], [31])


@pytest.mark.parametrize(
    ("of_other", "dims", "said"),
    [
        (True, 4, r"^head: the head rests on embeddings of tessera-v1.1 with fingerprint f{12},"),
        (
            False,
            6,
            r"^head: the head takes embeddings of 6 values, and those of the mosaic have 4: ",
        ),
    ],
)
def test_a_head_of_another_mosaic_or_depth_is_refused_in_one_line(
    mosaic: Mosaic, of_other: bool, dims: int, said: str
) -> None:
    ours = fingerprint(mosaic.identity)
    check_mosaic(replace(head(), mosaic=ours), mosaic)
    other = replace(head(dims=dims), mosaic="f" * 64 if of_other else ours)
    with pytest.raises(BadInput, match=said) as refused:
        check_mosaic(other, mosaic)
    assert "\n" not in refused.value.of_option
