"""A mosaic as xarray opens one: `xarray.open_dataset(store, engine="tessera")`.

The zone is named as `zone=31` or `group="utm31"`, and need not be where there is only one. The
dataset is that of `open_mosaic`, whose chunks are few.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

import xarray
from xarray.backends import BackendEntrypoint

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.mosaic.datasets import Zones, open_mosaic
from tessera_mosaic.pipeline.mosaic.region_windows import listed_zones


class TesseraBackend(BackendEntrypoint):
    """What xarray asks of the engine `tessera`."""

    description = "Open mosaics of TESSERA embeddings, a dataset a UTM zone"
    url = "https://github.com/ucam-eo/geotessera"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "zone", "group")
    supports_groups = True

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        zone: int | None = None,
        group: str | None = None,
    ) -> xarray.Dataset:
        """The dataset of a zone.

        Parameters
        ----------
        filename_or_obj
            Path or URL of the mosaic.
        drop_variables
            Names of variables to leave out.
        zone, group
            Number of the zone, or the name of its group; neither where there is only one.

        Raises
        ------
        BadInput
            If there is no mosaic, no such zone, or no one zone to take.
        """
        zones = open_mosaic(os.fspath(filename_or_obj))
        return _without(zones[_chosen(zones, zone, group)], drop_variables)

    def open_groups_as_dict(
        self, filename_or_obj: Any, *, drop_variables: str | Iterable[str] | None = None
    ) -> dict[str, xarray.Dataset]:
        """The datasets of all zones by the paths of their groups."""
        tree = self.open_datatree(filename_or_obj, drop_variables=drop_variables)
        return {node.path: node.to_dataset() for node in tree.subtree}

    def open_datatree(
        self, filename_or_obj: Any, *, drop_variables: str | Iterable[str] | None = None
    ) -> xarray.DataTree:
        """All zones as a tree."""
        zones = open_mosaic(os.fspath(filename_or_obj))
        return zones.to_datatree().map_over_datasets(lambda of: _without(of, drop_variables))

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Never: a store is opened so where the engine is named."""
        return False


def _without(dataset: xarray.Dataset, names: str | Iterable[str] | None) -> xarray.Dataset:
    dropped = [names] if isinstance(names, str) else list(names or ())
    return dataset.drop_vars(dropped, errors="ignore")


def _chosen(zones: Zones, zone: int | None, group: str | None) -> int:
    """The zone that is meant."""
    if group is not None:
        named = re.fullmatch(r"/?utm(\d\d)", group)
        zone = int(named[1]) if named else 0
    if zone is None and len(zones) == 1:
        return next(iter(zones))
    if zone not in zones or zone is None:
        raise BadInput(f"name one of {listed_zones(list(zones))}", "zone", zone or group or "none")
    return zone
