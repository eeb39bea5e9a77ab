"""GeoCLIP's location encoder (Vivanco Cepeda et al. 2023), without the rest of its package.

Its package imports CLIP and all that CLIP needs; here its weights alone are read, whose digest is
known, and the network is written anew: the Equal Earth projection, random Fourier features at
three scales, and a perceptron of each, whose vectors are added up.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tessera_mosaic.model.checkpoints.files import CheckpointError, file_digest

DIMS = 512
"""Values of a vector."""

SHA256 = "94b80ae3af89fca78539e129dd2929d321247f5ceeeb0a31bc2c31041a253394"
"""Digest of the weights in `geoclip` 1.2.3 and 1.3.0, which is that of the published ones."""

WEIGHTS = "model/weights/location_encoder_weights.pth"

SCALES = 3
"""Networks that are added up, from the coarsest."""

EQUAL_EARTH = (1.340264, -0.081106, 0.000893, 0.003796)
"""Coefficients of the Equal Earth projection (Savric et al. 2018)."""

UNIT = 66.50336 / 180
"""By what GeoCLIP scales projected coordinates."""

BATCH = 4096
"""Places that are computed at once."""


def geoclip_weights() -> Path | None:
    """Path of the weights in the installed package `geoclip`, which is not imported; or None."""
    found = importlib.util.find_spec("geoclip")
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(next(iter(found.submodule_search_locations))) / WEIGHTS
    return path if path.is_file() else None


def geoclip_vectors(
    lat: NDArray[np.float64], lon: NDArray[np.float64], weights: Path
) -> NDArray[np.float32]:
    """Vectors of places, float32 (P, 512), which are not of length 1.

    Parameters
    ----------
    lat, lon : float64 (P,)
        Latitudes and longitudes in degrees, in GeoCLIP's own order.
    weights
        Path of the published weights.

    Raises
    ------
    CheckpointError
        If it is another file.
    """
    digest = file_digest(weights)
    if digest != SHA256:
        raise CheckpointError(f"{weights} is not what geoclip 1.2.3 has: its sha256 is {digest}")
    state = torch.load(weights, map_location="cpu", weights_only=True)
    places = torch.from_numpy(np.stack([lat, lon], axis=1).astype(np.float32))
    with torch.inference_mode():
        found = [_encoded(state, _projected(part)) for part in places.split(BATCH)]
        return torch.cat(found).numpy()


def _projected(places: Tensor) -> Tensor:
    """Places (P, 2) of latitude and longitude on the Equal Earth projection, x and y."""
    lat, lon = torch.deg2rad(places).T
    a1, a2, a3, a4 = EQUAL_EARTH
    root = torch.sqrt(torch.tensor(3.0))
    theta = torch.asin(root / 2 * torch.sin(lat))
    beside = 3 * (9 * a4 * theta**8 + 7 * a3 * theta**6 + 3 * a2 * theta**2 + a1)
    x = 2 * root * lon * torch.cos(theta) / beside
    y = a4 * theta**9 + a3 * theta**7 + a2 * theta**3 + a1 * theta
    return torch.stack((x, y), dim=1) * UNIT


def _encoded(state: dict[str, Tensor], at: Tensor) -> Tensor:
    total = torch.zeros(len(at), DIMS)
    for scale in range(SCALES):
        name = f"LocEnc{scale}"
        turned = 2 * torch.pi * at @ state[f"{name}.capsule.0.b"].T
        hidden = torch.cat((torch.cos(turned), torch.sin(turned)), dim=1)
        for layer in (1, 3, 5):
            weight, bias = (state[f"{name}.capsule.{layer}.{of}"] for of in ("weight", "bias"))
            hidden = torch.relu(hidden @ weight.T + bias)
        total += hidden @ state[f"{name}.head.0.weight"].T + state[f"{name}.head.0.bias"]
    return total
