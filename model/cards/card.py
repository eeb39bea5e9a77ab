"""What stands on a card: everything that decides an embedding's bytes besides the weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from tessera_mosaic.model.sizes import Family, Sizes
from tessera_mosaic.model.statistics import Statistics

TOLD = (
    "licence",
    "page",
    "file",
    "repository",
    "revision",
    "sha256",
    "bytes",
    "notes",
    "parameters",
)
"""Fields that tell a reader about a model and decide no byte of an embedding."""


class CardError(ValueError):
    """A model is unknown, or asked to do what it was not trained for."""


@dataclass(frozen=True)
class Card:
    """A known model.

    Parameters
    ----------
    name
        Name that a user gives to choose the model.
    family
        Family of encoders that it belongs to, which decides the network's architecture and which
        observations become tokens.
    imagery
        Sources of imagery that its statistics and weights hold for: `mpc` (Microsoft Planetary
        Computer), `aws` (Earth Search and OPERA).
    kernel
        Resampling kernel with which the 20 m bands of Sentinel-2 come to 10 m.
    offset
        Rule by which the reflectance offset of processing baseline 04.00 is taken out.
    dims
        Number of values of an embedding that a mosaic stores.
    depths
        Numbers of leading values that are embeddings by themselves, ascending.
    statistics
        Mean and standard deviation of each channel, with which tokens are standardised.
    sizes
        Sizes of the network.
    licence
        SPDX name of the licence of the weights.
    page
        Address of the page where a person finds the weights; empty if they come with the package.
    file
        Name of the weights file in its repository or on its page.
    repository, revision
        Repository of the Hugging Face Hub and its revision; empty where the weights are not there.
    sha256
        Hexadecimal digest of the weights file; empty where it is not known.
    bytes
        Length of the weights file in bytes; 0 where it is not known.
    notes
        Sentences on what a user should know.
    parameters
        Number of the network's parameters; 0 where nobody counted them.
    """

    name: str
    family: Family
    imagery: tuple[str, ...]
    kernel: Literal["nearest", "bilinear", "cubic"]
    offset: Literal["reference", "evidence", "item", "none"]
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
    parameters: int = 0

    def accepts(self, imagery: str) -> None:
        """Check that the model was trained on imagery of a source.

        Parameters
        ----------
        imagery
            Name of the source: `mpc` or `aws`.

        Raises
        ------
        CardError
            If it was not.

        Examples
        --------
        >>> from tessera_mosaic.model.cards import card_named
        >>> card_named("v1.1-mpc").accepts("mpc")
        """
        if imagery not in self.imagery:
            raise CardError(
                f"{self.name} was trained on imagery of {' and '.join(self.imagery)} and this is "
                f"{imagery}: its statistics would be wrong; choose a model for {imagery}"
            )

    def check_depth(self, dims: int | None) -> int:
        """Number of values that an embedding keeps.

        Parameters
        ----------
        dims
            Number of leading values that were asked for; None for all that are stored.

        Raises
        ------
        CardError
            If so many values are no embedding of this model.

        Examples
        --------
        >>> from tessera_mosaic.model.cards import card_named
        >>> card_named("v2-nano").check_depth(None), card_named("v2-nano").check_depth(16)
        (128, 16)
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

        Parameters
        ----------
        family, sizes
            Family and sizes of the parameters.

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
        if sizes == self.sizes:
            return self
        dims = min(self.dims, sizes.representation)
        return dataclasses.replace(
            self,
            name=f"{self.name} (other sizes)",
            sizes=sizes,
            dims=dims,
            depths=tuple(depth for depth in self.depths if depth < dims),
            parameters=0,
        )

    def identity(self) -> dict[str, object]:
        """All fields that decide bytes, as JSON takes them."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in TOLD}
