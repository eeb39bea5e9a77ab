"""The cards of the published models, and of the encoder that comes with the package.

Licences, files, sizes and digests are those of the publications of the TESSERA project.
"""

from __future__ import annotations

import dataclasses

from tessera_mosaic.model.cards.card import Card
from tessera_mosaic.model.sizes import Family, Sizes
from tessera_mosaic.model.statistics import (
    V1_0,
    V1_1_AWS,
    V1_1_MPC,
    V2_STUDENT,
    V2_TEACHER,
    Statistics,
)

LICENCE = "CC0-1.0"
DRIVE = "https://drive.google.com/"
FOLDER = DRIVE + "drive/folders/18RPptbUkCIgUfw1aMdMeOrFML_ZVMszn"
"""Licence of all published weights, and where those of v1 lie."""

DRAWS = (
    "The reference draws 40 observations a sensor from an unseeded generator. Here the draws are "
    "keyed by the pixel's place and the year: the same pixel gets the same bytes in any batch, "
    "tile or order, and agrees with a reference run only as two reference runs agree. Where a "
    "sensor saw nothing of a pixel, the reference draws from all dates of its tile, clouds and "
    "gaps too, so that a pixel depends on its neighbours. Here a pixel that was never clear is "
    "left out, and where Sentinel-1 saw nothing there is one empty observation on day 180. "
)
"""What a user of v1.0 should know."""

FROM_MPC = (
    "Its one set of statistics was taken from imagery of mpc, and is applied to that of aws too."
)
"""What a user of v2 should know."""


def _v1_0(
    name: str, family: Family, sizes: Sizes, page: str, file: str, notes: str, parameters: int
) -> Card:
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
        licence=LICENCE,
        page=page,
        file=file,
        notes=DRAWS + notes,
        parameters=parameters,
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
        licence=LICENCE,
        page=page,
        file=f"tessera_v1_1_{source}_encoder.pt",
        bytes=length,
        notes="The first 128 of 192 values are stored; they are not ordered by importance.",
        parameters=57_708_738,
    )


def _student(size: str, sizes: Sizes, length: int, sha256: str, parameters: int) -> Card:
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
        licence=LICENCE,
        page=f"https://huggingface.co/{repository}",
        file=f"ckpt/student_{size}.pt",
        repository=repository,
        sha256=sha256,
        bytes=length,
        notes=FROM_MPC,
        parameters=parameters,
    )


_PUBLISHED = (
    _v1_0(
        "v1.0-float",
        "v1.0-float",
        Sizes(latent=128, layers=8, heads=8, feedforward=4096, representation=128),
        FOLDER,
        "best_model_fsdp_20250427_084307.pt",
        "Made neither published product.",
        parameters=87_841_922,
    ),
    _v1_0(
        "v1.0",
        "v1.0",
        Sizes(latent=128, layers=4, heads=4, feedforward=4096, representation=128),
        DRIVE + "file/d/1HJ92aS5ERXMLfSFYJ4m3OKycJJdC1QvO/view",
        "best_model_fsdp_20250608_220648_QAT.pt",
        "Made the first published int8 product.",
        parameters=45_828_226,
    ),
    _v1_1("mpc", V1_1_MPC, DRIVE + "file/d/1t-gfTxi3Hg_uJXpJ9etROCRgKt2myfJ2/view", 230_891_229),
    _v1_1("aws", V1_1_AWS, DRIVE + "file/d/1taLxwJOId-pfqUafEOCf5zDPXA7kzdyu/view"),
    _student(
        "nano",
        Sizes(latent=36, layers=2, heads=4, feedforward=384, representation=128),
        4_288_221,
        "bc9929e3643dfab2744c2ce14e7c14f698703a94e9562e4e0982f9d6540b0691",
        parameters=1_066_402,
    ),
    _student(
        "small",
        Sizes(latent=64, layers=4, heads=4, feedforward=1024, representation=128),
        28_488_531,
        "92619d4ffc2936895f145fdcf710140b58c23c860e02f01873828b10c6958d95",
        parameters=7_112_322,
    ),
    _student(
        "medium",
        Sizes(latent=110, layers=4, heads=4, feedforward=1792, representation=128),
        84_163_403,
        "3823be7db9d9cfc93f3c2a47c7699be82821ab4e1117d4d2befdb746941ee96e",
        parameters=21_031_506,
    ),
    _student(
        "large",
        Sizes(latent=160, layers=4, heads=4, feedforward=2560, representation=128),
        175_363_923,
        "b5f20239dbb1849c01a3e407b095aafe39b0bf764300206af78cb9b85f9ec1e1",
        parameters=43_831_170,
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
        licence=LICENCE,
        page="https://huggingface.co/geotessera/TESSERA-V-2.0-2B-Teacher",
        file="ckpt/tessera_v2_2B_teacher.pt",
        repository="geotessera/TESSERA-V-2.0-2B-Teacher",
        sha256="bfca890a9956485edf9d6be61375fde4cd0b4cb4b47db79596f0523a289aa555",
        bytes=8_257_134_395,
        notes="For research: 2 billion parameters a pixel. Not to be truncated. " + FROM_MPC,
        parameters=2_064_266_242,
    ),
)

CARDS: dict[str, Card] = {card.name: card for card in _PUBLISHED}
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
