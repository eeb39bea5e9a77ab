"""SatCLIP's location encoder (Klemmer et al. 2023) with weights that a user gives.

Written from its public code (microsoft/satclip, MIT): real spherical harmonics up to a degree, then
a network of sines. The sizes are read from the weights. No published weights could be had where
this was written, so what comes out was compared with the formulas alone, not with SatCLIP itself.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tessera_mosaic.model.checkpoints.files import CheckpointError, file_digest
from tessera_mosaic.model.checkpoints.untrusted import read_weights

FIRST_FREQUENCY = 30.0
"""Factor within the sine of the first layer; that of the others is 1."""

MOST_DEGREES, MOST_WIDTH, MOST_LAYERS = 100, 4096, 16
"""Sizes beyond which a file is no SatCLIP."""

BATCH = 4096
"""Places that are computed at once."""

_LAYER = re.compile(r"(?:.*\.)?nnet\.(?:layers\.(\d{1,2})|last_layer)\.(weight|bias)")


@dataclass(frozen=True)
class SatClip:
    """A location encoder.

    Parameters
    ----------
    layers
        Weight (outputs, inputs) and bias (outputs,) of each layer, float64, the last one last.
    degrees
        Degrees of the spherical harmonics, which are so many squared.
    sha256
        Digest of the file.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    degrees: int
    sha256: str

    def vectors(self, lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.float32]:
        """Vectors of places, float32 (P, D).

        Parameters
        ----------
        lat, lon : float64 (P,)
            Latitudes and longitudes in degrees.
        """
        found = []
        with torch.inference_mode():
            for at in range(0, len(lat), BATCH):
                part = slice(at, at + BATCH)
                hidden = torch.from_numpy(harmonics(lat[part], lon[part], self.degrees))
                for number, (weight, bias) in enumerate(self.layers):
                    hidden = hidden @ weight.T + bias
                    if number < len(self.layers) - 1:
                        hidden = torch.sin(hidden * (1.0 if number else FIRST_FREQUENCY))
                found.append(hidden.float())
            return torch.cat(found).numpy()


def read_satclip(path: str | Path) -> SatClip:
    """Read weights.

    Parameters
    ----------
    path
        Path of a checkpoint, or of safetensors, with the layers `nnet.layers.0` and so on and
        `nnet.last_layer`, whatever stands before `nnet`.

    Raises
    ------
    CheckpointError
        In one line, if it cannot be read safely or holds something else.
    """
    path = Path(path)
    digest = file_digest(path)
    try:
        payload = read_weights(path).payload
        held = payload.get("state_dict", payload)
        return SatClip(*_layers(held if isinstance(held, dict) else {}), digest)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _layers(state: dict[Any, Any]) -> tuple[tuple[tuple[Tensor, Tensor], ...], int]:
    """The layers in their order, and the degrees that the first one takes."""
    found: dict[tuple[int, str], Tensor] = {}
    for name, value in state.items():
        match = _LAYER.fullmatch(name) if isinstance(name, str) else None
        if match and isinstance(value, Tensor):
            place = (int(match[1] or MOST_LAYERS), match[2])
            if place in found:
                raise CheckpointError(f"it has two layers like {name[:80]}")
            found[place] = value
    order = sorted({number for number, _ in found})
    count = len(order)
    if not 2 <= count <= MOST_LAYERS or order != [*range(count - 1), MOST_LAYERS]:
        raise CheckpointError("it has no layers nnet.layers.0 and on, and nnet.last_layer")
    layers, inputs = [], 0
    for number in order:
        weight, bias = found.get((number, "weight")), found.get((number, "bias"))
        if weight is None or bias is None or weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise CheckpointError(f"layer {number} is no matrix with a bias")
        if (inputs and weight.shape[1] != inputs) or weight.shape[0] > MOST_WIDTH:
            raise CheckpointError(f"a layer of {tuple(weight.shape)} behind one of {inputs}")
        if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
            raise CheckpointError(f"layer {number} has values that are no numbers")
        layers.append((weight.double(), bias.double()))
        inputs = weight.shape[0]
    wanted = layers[0][0].shape[1]
    degrees = math.isqrt(wanted)
    if degrees**2 != wanted or not 1 <= degrees <= MOST_DEGREES:
        raise CheckpointError(f"its first layer takes {wanted} values, not a square of harmonics")
    return tuple(layers), degrees


def harmonics(
    lat: NDArray[np.float64], lon: NDArray[np.float64], degrees: int
) -> NDArray[np.float64]:
    """Real spherical harmonics as SatCLIP has them, float64 (P, degrees squared).

    Their angles are longitude + 180 and latitude + 90, and those of order 0 are larger by pi than
    elsewhere: the published networks were trained so. They come by recurrence, where the published
    code has written-out polynomials, which lose digits at high degrees.

    Parameters
    ----------
    lat, lon : float64 (P,)
        Latitudes and longitudes in degrees.
    degrees
        Number of degrees, from 0 on; of degree l there are orders -l to l.

    Examples
    --------
    >>> harmonics(np.array([0.0]), np.array([-180.0]), 2).round(4).tolist()
    [[0.8862, 0.0, 0.0, 0.4886]]
    """
    phi, theta = np.deg2rad(lon + 180.0), np.deg2rad(lat + 90.0)
    x, s = np.cos(theta), np.sin(theta)
    found = np.empty((len(lat), degrees * degrees))
    sector = np.full(len(lat), math.sqrt(1 / (4 * math.pi)))
    for m in range(degrees):
        if m:
            sector = sector * s * math.sqrt((2 * m + 1) / (2 * m))
        before, here = np.zeros(len(lat)), sector
        for degree in range(m, degrees):
            middle = degree * degree + degree
            if m:
                found[:, middle + m] = math.sqrt(2) * here * np.cos(m * phi)
                found[:, middle - m] = math.sqrt(2) * here * np.sin(m * phi)
            else:
                found[:, middle] = math.pi * here
            up = degree + 1
            a = math.sqrt((4 * up * up - 1) / (up * up - m * m))
            b = math.sqrt((degree * degree - m * m) / (4 * degree * degree - 1)) if degree else 0.0
            before, here = here, a * (x * here - b * before)
    return found
