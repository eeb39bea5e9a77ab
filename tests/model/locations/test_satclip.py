"""SatCLIP's formulas against another implementation, and weights that are none of it."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from tessera_mosaic.model.checkpoints.files import CheckpointError
from tessera_mosaic.model.locations.satclip import harmonics, read_satclip

DEGREES, WIDTH, DIMS = 6, 32, 16


def state(prefix: str = "net.location.nnet.") -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    sizes = [(WIDTH, DEGREES**2), (WIDTH, WIDTH), (DIMS, WIDTH)]
    names = ["layers.0", "layers.1", "last_layer"]
    found = {}
    for name, (out, into) in zip(names, sizes, strict=True):
        found[f"{prefix}{name}.weight"] = torch.randn(out, into, generator=draw) / into**0.5
        found[f"{prefix}{name}.bias"] = torch.randn(out, generator=draw)
    return found


def places(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    lat = np.concatenate([draw.uniform(-90, 90, count), [-90.0, 0.0, 90.0]])
    return lat, np.concatenate([draw.uniform(-180, 180, count), [-180.0, 0.0, 180.0]])


@pytest.mark.parametrize("degrees", [10, 40])
def test_harmonics_are_those_of_scipy_with_the_factor_of_the_published_code(degrees: int) -> None:
    from scipy.special import sph_harm_y

    lat, lon = places()
    found = harmonics(lat, lon, degrees)
    phi, theta = np.deg2rad(lon + 180), np.deg2rad(lat + 90)
    for degree in range(degrees):
        for order in range(degree + 1):
            known = sph_harm_y(degree, order, theta, phi) * (-1) ** order
            at = degree * degree + degree
            factor = math.sqrt(2) if order else math.pi
            np.testing.assert_allclose(found[:, at + order], factor * known.real, atol=1e-11)
            if order:
                np.testing.assert_allclose(found[:, at - order], factor * known.imag, atol=1e-11)


def test_harmonics_are_the_written_out_ones_of_the_published_code() -> None:
    lat, lon = places()
    found, x = harmonics(lat, lon, 3), np.cos(np.deg2rad(lat + 90))
    phi = np.deg2rad(lon + 180)
    np.testing.assert_allclose(found[:, 0], 0.886226925452758)
    np.testing.assert_allclose(found[:, 2], 1.53499006191973 * x, atol=1e-14)
    np.testing.assert_allclose(
        found[:, 3], 0.48860251190292 * (1.0 - x**2) ** 0.5 * np.cos(phi), atol=1e-8
    )
    np.testing.assert_allclose(found[:, 6], 2.97249547320451 * x**2 - 0.990831824401503, atol=1e-13)


@pytest.mark.parametrize("kind", ["safetensors", "checkpoint", "plain"])
def test_the_network_is_one_of_sines(tmp_path: Path, kind: str) -> None:
    held, path = state(), tmp_path / f"satclip.{kind}"
    if kind == "safetensors":
        safetensors.torch.save_file(held, path)
    else:
        torch.save({"state_dict": held, "epoch": 7} if kind == "checkpoint" else held, path)
    encoder = read_satclip(path)
    assert encoder.degrees == DEGREES
    lat, lon = places()
    layers = []
    for name in ("layers.0", "layers.1", "last_layer"):
        weight = held[f"net.location.nnet.{name}.weight"]
        layer = nn.Linear(weight.shape[1], weight.shape[0]).double()
        layer.load_state_dict({"weight": weight, "bias": held[f"net.location.nnet.{name}.bias"]})
        layers.append(layer)
    hidden = torch.from_numpy(harmonics(lat, lon, DEGREES))
    expected = layers[2](torch.sin(layers[1](torch.sin(30 * layers[0](hidden)))))
    found = encoder.vectors(lat, lon)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5, atol=1e-6)


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return print, ("code of a stranger runs",)


def without(name: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in state().items() if name not in key}


BAD = {
    "no weights": (b"lon,lat\n1,2\n", "neither PyTorch's zip nor safetensors"),
    "a bare pickle": (pickle.dumps(Evil()), "neither PyTorch's zip nor safetensors"),
    "code": ({"state_dict": state(), "more": Evil()}, "cannot be read safely as weights"),
    "no last layer": (without("last_layer"), "no layers nnet.layers.0 and on"),
    "a gap": (without("layers.0"), "no layers nnet.layers.0 and on"),
    "another network": ({"conv.weight": torch.zeros(3, 3)}, "no layers nnet.layers.0"),
    "no square": (
        state() | {"net.location.nnet.layers.0.weight": torch.zeros(WIDTH, 37)},
        "takes 37 values, not a square",
    ),
    "no numbers": (
        state() | {"net.location.nnet.layers.1.bias": torch.full((WIDTH,), torch.nan)},
        "values that are no numbers",
    ),
    "no fit": (
        state() | {"net.location.nnet.last_layer.weight": torch.zeros(DIMS, WIDTH + 1)},
        "behind one of 32",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_satclip_is_one_clear_line(
    tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content, says = BAD[what]
    path = tmp_path / "weights.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=says) as raised:
        read_satclip(path)
    assert "\n" not in str(raised.value)
    assert capsys.readouterr().out == ""
