"""One card a published model: everything that decides an embedding's bytes besides the weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from model.networks import Family, Sizes


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
    page
        Where a person finds the weights.
    file
        Name of the published file.
    repository, revision
        Of the Hugging Face Hub, where the weights can be fetched from there.
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
    page: str
    file: str
    repository: str = ""
    revision: str = "main"
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

    def check_depth(self, dims: int | None) -> int:
        """How many values an embedding keeps.

        Raises
        ------
        CardError
            If so many are no embedding of this model.
        """
        choices = (*self.depths, self.dims)
        if dims is None:
            return self.dims
        if dims not in choices:
            raise CardError(
                f"{self.name} has no embedding of {dims} values: choose from "
                f"{', '.join(map(str, choices))}"
            )
        return dims

    def of(self, family: Family, sizes: Sizes) -> Card:
        """This card for parameters that may have other sizes than the published ones.

        Raises
        ------
        CardError
            If they are of another family.
        """
        if family != self.family:
            raise CardError(
                f"{self.name} is a model of the family {self.family}, and the weights are of the "
                f"family {family}"
            )
        dims = min(self.dims, sizes.representation)
        depths = tuple(depth for depth in self.depths if depth < dims)
        return dataclasses.replace(self, sizes=sizes, dims=dims, depths=depths)

    def identity(self) -> dict[str, object]:
        """All that decides bytes, as JSON."""
        everything = dataclasses.asdict(self)
        for told in _TOLD:
            del everything[told]
        return everything


_TOLD = ("licence", "page", "file", "repository", "revision", "sha256", "bytes", "notes")
"""Fields that tell about a model and decide nothing."""


def card_for(family: Family, sizes: Sizes, imagery: str | None = None) -> Card:
    """The card of parameters that came without a name: the published model of those sizes.

    Where no published model has them, the family's own statistics and rules apply, if it has one
    set of them.

    Parameters
    ----------
    family, sizes
        Of the parameters.
    imagery
        Source of the imagery they shall meet, where it is known.

    Raises
    ------
    CardError
        If the family has several sets of statistics and the imagery does not decide.
    """
    cards = [card for card in CARDS.values() if card.family == family]
    if imagery is not None and any(imagery in card.imagery for card in cards):
        cards = [card for card in cards if imagery in card.imagery]
    if len({card.statistics for card in cards}) > 1:
        names = " or ".join(card.name for card in cards)
        raise CardError(
            f"{family} encoders were trained with several sets of statistics: name one with "
            f"--model {names}"
        )
    for card in cards:
        if card.sizes == sizes:
            return card
    return dataclasses.replace(cards[0], name=family).of(family, sizes)


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


def _statistics(
    s2_mean: tuple[float, ...],
    s2_std: tuple[float, ...],
    ascending: tuple[float, float, float, float],
    descending: tuple[float, float, float, float],
) -> Statistics:
    """Statistics, those of an orbit direction as mean VV, mean VH, std VV, std VH."""
    return Statistics(s2_mean, s2_std, ascending[:2], ascending[2:], descending[:2], descending[2:])


# Statistics of the TESSERA reference, in stored units. v1.0 and the v2 teacher have one set for
# both orbit directions.
_V1_0_S1 = (5484.0407, 3003.7812, 1871.2334, 1726.0670)
_V1_0 = _statistics(
    (
        *(1711.0938, 1308.8511, 1546.4543, 3010.1293, 3106.5083),
        *(2068.3044, 2685.0845, 2931.5889, 2514.6928, 1899.4922),
    ),
    (
        *(1926.1026, 1862.9751, 1803.1792, 1741.7837, 1677.4543),
        *(1888.7862, 1736.3090, 1715.8104, 1514.5199, 1398.4779),
    ),
    _V1_0_S1,
    _V1_0_S1,
)
_V1_1_MPC = _statistics(
    (
        *(2683.4553, 2223.3630, 2432.0950, 3633.1970, 3602.1755),
        *(3006.4324, 3400.2710, 3515.6392, 2456.9163, 1983.8783),
    ),
    (
        *(2739.5217, 2846.2993, 2690.8250, 2290.0439, 2088.8970),
        *(2673.1106, 2381.4521, 2229.5225, 1601.0942, 1495.3545),
    ),
    (5588.3291, 3025.6270, 1713.4646, 1693.0471),
    (5552.9683, 2955.0520, 1685.5857, 1677.6414),
)
_V1_1_AWS = _statistics(
    (
        *(2793.6589, 2356.7776, 2551.0496, 3741.9229, 3713.7844),
        *(3120.1997, 3516.3342, 3637.0342, 2501.0283, 2038.1504),
    ),
    (
        *(2810.0093, 2933.8835, 2755.6360, 2344.5027, 2145.7986),
        *(2743.9019, 2438.8601, 2286.5977, 1680.7367, 1585.5529),
    ),
    (5697.0859, 2838.6687, 1671.3737, 1789.4116),
    (5759.1367, 2873.2854, 1583.2858, 1747.8390),
)
_V2_S2_MEAN = (
    *(1633.0042, 1341.1090, 1539.5536, 3054.8269, 3117.4658),
    *(2004.1648, 2694.7275, 2945.1504, 2266.6079, 1657.3094),
)
_V2_S2_STD = (
    *(1999.4603, 2014.7549, 1929.2201, 1754.2493, 1649.9807),
    *(1936.8988, 1748.6041, 1708.6991, 1207.5250, 1108.6046),
)
_V2_STUDENT = _statistics(
    _V2_S2_MEAN,
    _V2_S2_STD,
    (5909.3921, 3405.0322, 1507.1750, 1531.2615),
    (5816.1382, 3277.7576, 1554.6475, 1546.4733),
)
_V2_TEACHER_S1 = (5862.7652, 3341.3949, 1531.8051, 1540.2014)
_V2_TEACHER = _statistics(_V2_S2_MEAN, _V2_S2_STD, _V2_TEACHER_S1, _V2_TEACHER_S1)

_LICENCE = "CC0-1.0"
_DRIVE = "https://drive.google.com/"
_FOLDER = _DRIVE + "drive/folders/18RPptbUkCIgUfw1aMdMeOrFML_ZVMszn"
_DRAWS = (
    "The reference draws 40 observations a sensor from an unseeded generator. Here the draws are "
    "keyed by the pixel's place and the year: the same pixel gets the same bytes in any batch, "
    "tile or order, and agrees with a reference run only as two reference runs agree. "
)


def _v1_0(name: str, family: Family, sizes: Sizes, page: str, file: str, notes: str) -> Card:
    return Card(
        name=name,
        family=family,
        imagery=("mpc",),
        kernel="nearest",
        offset="reference",
        dims=128,
        depths=(),
        statistics=_V1_0,
        sizes=sizes,
        licence=_LICENCE,
        page=page,
        file=file,
        notes=_DRAWS + notes,
    )


def _v1_1(source: str, statistics: Statistics, page: str, length: int = 0) -> Card:
    return Card(
        name=f"v1.1-{source}",
        family="v1.1",
        imagery=(source,),
        kernel="nearest",
        offset="reference",
        dims=128,
        depths=(),
        statistics=statistics,
        sizes=Sizes(latent=192, layers=4, heads=4, feedforward=2048, representation=192),
        licence=_LICENCE,
        page=page,
        file=f"tessera_v1_1_{source}_encoder.pt",
        bytes=length,
        notes="The first 128 of 192 values are stored; they are not ordered by importance.",
    )


def _student(size: str, sizes: Sizes, length: int, sha256: str) -> Card:
    repository = f"geotessera/TESSERA-V-2.0-2B-{size[0].upper()}"
    return Card(
        name=f"v2-{size}",
        family="v2",
        imagery=("mpc", "aws"),
        kernel="bilinear",
        offset="reference",
        dims=128,
        depths=(16, 32, 64),
        statistics=_V2_STUDENT,
        sizes=sizes,
        licence=_LICENCE,
        page=f"https://huggingface.co/{repository}",
        file=f"ckpt/student_{size}.pt",
        repository=repository,
        sha256=sha256,
        bytes=length,
    )


_CARDS = (
    _v1_0(
        "v1.0-float",
        "v1.0-float",
        Sizes(latent=128, layers=8, heads=8, feedforward=4096, representation=128),
        _FOLDER,
        "best_model_fsdp_20250427_084307.pt",
        "Made neither published product.",
    ),
    _v1_0(
        "v1.0",
        "v1.0",
        Sizes(latent=128, layers=4, heads=4, feedforward=4096, representation=128),
        _DRIVE + "file/d/1HJ92aS5ERXMLfSFYJ4m3OKycJJdC1QvO/view",
        "best_model_fsdp_20250608_220648_QAT.pt",
        "Made the first published int8 product.",
    ),
    _v1_1("mpc", _V1_1_MPC, _DRIVE + "file/d/1t-gfTxi3Hg_uJXpJ9etROCRgKt2myfJ2/view", 230_891_229),
    _v1_1("aws", _V1_1_AWS, _DRIVE + "file/d/1taLxwJOId-pfqUafEOCf5zDPXA7kzdyu/view"),
    _student(
        "nano",
        Sizes(latent=36, layers=2, heads=4, feedforward=384, representation=128),
        4_288_221,
        "bc9929e3643dfab2744c2ce14e7c14f698703a94e9562e4e0982f9d6540b0691",
    ),
    _student(
        "small",
        Sizes(latent=64, layers=4, heads=4, feedforward=1024, representation=128),
        28_488_531,
        "92619d4ffc2936895f145fdcf710140b58c23c860e02f01873828b10c6958d95",
    ),
    _student(
        "medium",
        Sizes(latent=110, layers=4, heads=4, feedforward=1792, representation=128),
        84_163_403,
        "3823be7db9d9cfc93f3c2a47c7699be82821ab4e1117d4d2befdb746941ee96e",
    ),
    _student(
        "large",
        Sizes(latent=160, layers=4, heads=4, feedforward=2560, representation=128),
        175_363_923,
        "b5f20239dbb1849c01a3e407b095aafe39b0bf764300206af78cb9b85f9ec1e1",
    ),
    Card(
        name="v2-teacher",
        family="v2-teacher",
        imagery=("mpc", "aws"),
        kernel="bilinear",
        offset="reference",
        dims=1024,
        depths=(),
        statistics=_V2_TEACHER,
        sizes=Sizes(latent=1024, layers=4, heads=4, feedforward=16384, representation=1024),
        licence=_LICENCE,
        page="https://huggingface.co/geotessera/TESSERA-V-2.0-2B-Teacher",
        file="ckpt/tessera_v2_2B_teacher.pt",
        repository="geotessera/TESSERA-V-2.0-2B-Teacher",
        sha256="bfca890a9956485edf9d6be61375fde4cd0b4cb4b47db79596f0523a289aa555",
        bytes=8_257_134_395,
        notes="For research: 2 billion parameters a pixel. Not to be truncated.",
    ),
)

CARDS: dict[str, Card] = {card.name: card for card in _CARDS}
"""Every published model, by name."""
