"""A catalogue that the launcher opened may come back when a worker cannot open it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tessera_mosaic.pipeline.embedding.named_inputs import CatalogAddress, LazyReader
from tessera_mosaic.pipeline.errors import BadInput, NoCatalogue, Throttled, TimedOut
from tessera_mosaic.pipeline.scenes.source import Source


class OftenClosed:
    """A catalogue that cannot be opened while there are failures to come."""

    def __init__(self, catalog: Path, failures: list[Exception]) -> None:
        self.catalog, self.failures = CatalogAddress(str(catalog)), failures

    def open(self) -> Source:
        if self.failures:
            raise self.failures.pop()
        return self.catalog.open()


@pytest.mark.parametrize(
    "failure", [BadInput("it is gone"), Throttled("HTTP 503"), TimedOut("no answer")], ids=repr
)
def test_a_catalogue_is_asked_for_again_whatever_its_provider_said(
    archive: Path, failure: Exception
) -> None:
    read = LazyReader(OftenClosed(archive, [failure]), threads=1)
    with pytest.raises(NoCatalogue, match=str(failure)) as caught:
        read()
    assert caught.value.tries > 1
    reader = read()
    assert read() is reader
    reader.close()
