"""One card a published model: everything that decides an embedding's bytes besides the weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from model.networks import Sizes

Family = Literal["v1.0", "v1.0-float", "v1.1", "v2", "v2-teacher"]


class CardError(ValueError):
    """A model is unknown, or asked to do what it was not trained for."""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each channel, in stored units.

    Parameters
    ----------
    s2_mean, s2_std
        Of the 10 bands in the order of `observations.S2_BANDS`.
    ascending_mean, ascending_std, descending_mean, descending_std
        Of VV and VH, by orbit direction; equal where one set serves both.
    """

    s2_mean: tuple[float, ...]
    s2_std: tuple[float, ...]
    ascending_mean: tuple[float, float]
    ascending_std: tuple[float, float]
    descending_mean: tuple[float, float]
    descending_std: tuple[float, float]


@dataclass(frozen=True)
class Card:
    """A published model.

    Parameters
    ----------
    name
        As given to `--model`.
    family
        Which network and which rules of sampling.
    imagery
        Sources its statistics and weights hold for: `mpc`, `aws`.
    kernel
        With which the 20 m bands of Sentinel-2 come to 10 m.
    offset
        Rule for the reflectance offset of processing baseline 04.00.
    dims
        Values of an embedding that are stored.
    depths
        Shorter embeddings that its first values are.
    statistics
        With which tokens are standardised.
    sizes
        Of the published network.
    licence
        Of the weights.
    url
        Where the weights live.
    sha256, bytes
        Of the published file, where known.
    notes
        What a user should know.
    """

    name: str
    family: Family
    imagery: tuple[str, ...]
    kernel: Literal["nearest", "bilinear", "cubic"]
    offset: Literal["reference", "item", "none"]
    dims: int
    depths: tuple[int, ...]
    statistics: Statistics
    sizes: Sizes
    licence: str
    url: str
    sha256: str = ""
    bytes: int = 0
    notes: str = ""

    def accepts(self, imagery: str) -> None:
        """Raise unless the model was trained on imagery of this source.

        Raises
        ------
        CardError
            If it was not.
        """
        if imagery not in self.imagery:
            raise CardError(
                f"{self.name} was trained on imagery of {' and '.join(self.imagery)} and this is "
                f"{imagery}: its statistics would be wrong; choose a model for {imagery}"
            )

    def identity(self) -> dict[str, object]:
        """All that decides bytes, as JSON."""
        everything = dataclasses.asdict(self)
        for told in ("licence", "url", "sha256", "bytes", "notes"):
            del everything[told]
        return everything


def card_named(name: str) -> Card:
    """The card of a published model.

    Raises
    ------
    CardError
        If there is none of that name.
    """
    if name not in CARDS:
        raise CardError(f"no model is named {name!r}: there are {', '.join(CARDS)}")
    return CARDS[name]


_V2_STATISTICS = Statistics(
    # TESSERA reference, tessera_infer_v2; one set whatever the imagery's source.
    s2_mean=(
        *(1633.0042, 1341.1090, 1539.5536, 3054.8269, 3117.4658),
        *(2004.1648, 2694.7275, 2945.1504, 2266.6079, 1657.3094),
    ),
    s2_std=(
        *(1999.4603, 2014.7549, 1929.2201, 1754.2493, 1649.9807),
        *(1936.8988, 1748.6041, 1708.6991, 1207.5250, 1108.6046),
    ),
    ascending_mean=(5909.3921, 3405.0322),
    ascending_std=(1507.1750, 1531.2615),
    descending_mean=(5816.1382, 3277.7576),
    descending_std=(1554.6475, 1546.4733),
)


def _student(size: str, sizes: Sizes, sha256: str, length: int) -> Card:
    return Card(
        name=f"v2-{size}",
        family="v2",
        imagery=("mpc", "aws"),
        kernel="bilinear",
        offset="reference",
        dims=128,
        depths=(16, 32, 64),
        statistics=_V2_STATISTICS,
        sizes=sizes,
        licence="see the model's page",
        url=f"https://huggingface.co/geotessera/TESSERA-V-2.0-2B-{size[0].upper()}"
        f"/resolve/main/ckpt/student_{size}.pt",
        sha256=sha256,
        bytes=length,
    )


_ALL = (
    _student(
        "nano",
        Sizes(36, 2, 4, 384, 128),
        "bc9929e3643dfab2744c2ce14e7c14f698703a94e9562e4e0982f9d6540b0691",
        4_288_221,
    ),
    _student(
        "small",
        Sizes(64, 4, 4, 1024, 128),
        "92619d4ffc2936895f145fdcf710140b58c23c860e02f01873828b10c6958d95",
        28_488_531,
    ),
    _student(
        "medium",
        Sizes(110, 4, 4, 1792, 128),
        "3823be7db9d9cfc93f3c2a47c7699be82821ab4e1117d4d2befdb746941ee96e",
        84_163_403,
    ),
    _student(
        "large",
        Sizes(160, 4, 4, 2560, 128),
        "b5f20239dbb1849c01a3e407b095aafe39b0bf764300206af78cb9b85f9ec1e1",
        175_363_923,
    ),
)

CARDS: dict[str, Card] = {card.name: card for card in _ALL}
"""Every published model, by name."""
