"""One card a known model: everything that decides an embedding's bytes besides the weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from tessera_mosaic.model.sizes import Family, Sizes
from tessera_mosaic.model.statistics import (
    V1_0,
    V1_1_AWS,
    V1_1_MPC,
    V2_STUDENT,
    V2_TEACHER,
    Statistics,
)


class CardError(ValueError):
    """A model is unknown, or asked to do what it was not trained for."""


@dataclass(frozen=True)
class Card:
    """A known model.

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
        Where a person finds the weights, if they do not come with the package.
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
        name = self.name if sizes == self.sizes else f"{self.name} (other sizes)"
        return dataclasses.replace(self, name=name, sizes=sizes, dims=dims, depths=depths)

    def identity(self) -> dict[str, object]:
        """All that decides bytes, as JSON."""
        everything = dataclasses.asdict(self)
        for told in _TOLD:
            del everything[told]
        return everything


_TOLD = ("licence", "page", "file", "repository", "revision", "sha256", "bytes", "notes")
"""Fields that tell about a model and decide nothing."""


def card_of_weights(
    family: Family,
    sizes: Sizes,
    sha256: str,
    name: str | None = None,
    imagery: str | None = None,
) -> Card:
    """The card of some weights: their own where they are known, else the one that is named.

    Parameters
    ----------
    family, sizes, sha256
        Of the weights.
    name
        Of the card whose statistics shall apply, where the user names one.
    imagery
        Source of the imagery they shall meet, where it is known.

    Raises
    ------
    CardError
        If the name is another model's than the weights are, in digest, family or sizes.
    """
    for card in KNOWN.values():
        if card.sha256 == sha256:
            if name not in (None, card.name):
                raise CardError(
                    f"these are the weights of {card.name}, and {name} was asked for: use "
                    f"--model {card.name}"
                )
            return card
    if name is None:
        return card_for(family, sizes, imagery)
    card = card_named(name)
    namesakes = [c.name for c in CARDS.values() if (c.family, c.sizes) == (family, sizes)]
    if namesakes and card.family == family and card.sizes != sizes:
        raise CardError(
            f"these weights have the sizes of {' and '.join(namesakes)}, and {name} was asked "
            f"for: use --model {' or '.join(namesakes)}"
        )
    return card.of(family, sizes)


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
    return dataclasses.replace(cards[0].of(family, sizes), name=f"{family} (other sizes)")


def card_named(name: str) -> Card:
    """The card of a known model.

    Raises
    ------
    CardError
        If there is none of that name.
    """
    if name not in KNOWN:
        raise CardError(f"no model is named {name!r}: there are {', '.join(KNOWN)}")
    return KNOWN[name]


_LICENCE = "CC0-1.0"
_DRIVE = "https://drive.google.com/"
_FOLDER = _DRIVE + "drive/folders/18RPptbUkCIgUfw1aMdMeOrFML_ZVMszn"
_DRAWS = (
    "The reference draws 40 observations a sensor from an unseeded generator. Here the draws are "
    "keyed by the pixel's place and the year: the same pixel gets the same bytes in any batch, "
    "tile or order, and agrees with a reference run only as two reference runs agree. Where a "
    "sensor saw nothing of a pixel, the reference draws from all dates of its tile, clouds and "
    "gaps too, so that a pixel depends on its neighbours. Here a pixel that was never clear is "
    "left out, and where Sentinel-1 saw nothing there is one empty observation on day 180. "
)
_FROM_MPC = (
    "Its one set of statistics was taken from imagery of mpc, and is applied to that of aws too."
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
        statistics=V1_0,
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
        statistics=V2_STUDENT,
        sizes=sizes,
        licence=_LICENCE,
        page=f"https://huggingface.co/{repository}",
        file=f"ckpt/student_{size}.pt",
        repository=repository,
        sha256=sha256,
        bytes=length,
        notes=_FROM_MPC,
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
    _v1_1("mpc", V1_1_MPC, _DRIVE + "file/d/1t-gfTxi3Hg_uJXpJ9etROCRgKt2myfJ2/view", 230_891_229),
    _v1_1("aws", V1_1_AWS, _DRIVE + "file/d/1taLxwJOId-pfqUafEOCf5zDPXA7kzdyu/view"),
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
        statistics=V2_TEACHER,
        sizes=Sizes(latent=1024, layers=4, heads=4, feedforward=16384, representation=1024),
        licence=_LICENCE,
        page="https://huggingface.co/geotessera/TESSERA-V-2.0-2B-Teacher",
        file="ckpt/tessera_v2_2B_teacher.pt",
        repository="geotessera/TESSERA-V-2.0-2B-Teacher",
        sha256="bfca890a9956485edf9d6be61375fde4cd0b4cb4b47db79596f0523a289aa555",
        bytes=8_257_134_395,
        notes="For research: 2 billion parameters a pixel. Not to be truncated. " + _FROM_MPC,
    ),
)

CARDS: dict[str, Card] = {card.name: card for card in _CARDS}
"""Every published model, by name."""

SHIPPED = dataclasses.replace(
    CARDS["v2-nano"],
    name="flanders-nano",
    imagery=("mpc",),
    depths=(),
    licence="Apache-2.0",
    page="",
    file="flanders_nano.safetensors",
    repository="",
    sha256="5e70831a3da24a8d2cfe116c7aaedbd5c9024a70b0e4cca35131481199c2e3d0",
    bytes=4_273_368,
    notes="Comes with the package, so that the whole way from imagery to a mosaic can be gone "
    "without a download. Trained on the 4,096 pixels of one square in Flanders (modified "
    "Copernicus Sentinel data 2018), see docs/pretraining.md. It is no TESSERA release, its "
    "embeddings cannot be compared with theirs, and it has seen no other climate and no "
    "descending pass. Its first values are not trained to hold the most.",
)
"""The encoder that is used where none is named. It has the sizes, the statistics and the rules of
a v2-nano."""

KNOWN: dict[str, Card] = {SHIPPED.name: SHIPPED, **CARDS}
"""Every model that has a card, by name."""
