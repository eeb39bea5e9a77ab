"""GeoCLIP's vectors without its package: against those that its package computed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tessera_mosaic.model.checkpoints.files import CheckpointError
from tessera_mosaic.model.locations.geoclip import DIMS, geoclip_vectors, geoclip_weights


def test_vectors_are_those_of_the_package_and_it_is_not_imported(shared: Path) -> None:
    path, weights = shared / "data/downstream/points_biomass.npz", geoclip_weights()
    if weights is None or not path.is_file():
        pytest.skip("the package geoclip, or vectors that it computed, are not here")
    with np.load(path) as file:
        lat, lon = file["lat"][:400], file["lon"][:400]
        codes, scales = file["geoclip"][:400], file["geoclip_scale"][:400].astype(np.float64)
    found = geoclip_vectors(lat, lon, weights)
    assert found.shape == (400, DIMS)
    # What is kept of them is rounded to the nearest of 255 steps.
    steps = np.abs(found / scales[:, None] - codes)
    assert steps.max() < 0.55
    swapped = geoclip_vectors(lon, lat, weights)
    assert np.abs(swapped / scales[:, None] - codes).mean() > 10
    assert not {"geoclip", "transformers"} & sys.modules.keys()


def test_other_weights_are_refused_by_their_digest(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"PK of somebody")
    with pytest.raises(CheckpointError, match=r"is not what geoclip 1\.2\.3 has: its sha256 is"):
        geoclip_vectors(np.zeros(1), np.zeros(1), tmp_path / "weights.pth")
