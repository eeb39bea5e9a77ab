"""What makers name and workers open: a catalogue with its reader, and an encoder."""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass
from typing import Protocol

from tessera_mosaic.model.cores import usable_cores
from tessera_mosaic.model.encoder import Encoder
from tessera_mosaic.pipeline.embedding.encoders import load_encoder
from tessera_mosaic.pipeline.embedding.worker_device import device_of_worker
from tessera_mosaic.pipeline.errors import BadInput, NoCatalogue, SceneError
from tessera_mosaic.pipeline.imagery.read_budget import SPARE, ReadLimits
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.scenes.source import Source


class CatalogName(Protocol):
    """A catalogue by its name; small and picklable."""

    def open(self) -> Source:
        """Open the catalogue."""


class EncoderName(Protocol):
    """An encoder by its name; small and picklable."""

    def load(self, threads: int) -> Encoder:
        """Load the encoder, for a number of threads."""


@dataclass(frozen=True)
class CatalogAddress:
    """Where a catalogue is.

    Parameters
    ----------
    address
        Path, URL, or the name of a public catalogue.
    allow_hosts
        Hosts of private addresses that the catalogue may point to.
    found
        Private addresses at which the launcher found the catalogue's host; None where none has
        looked it up.
    """

    address: str
    allow_hosts: tuple[str, ...] = ()
    found: frozenset[str] | None = None

    def open(self) -> Source:
        """Open the catalogue.

        Raises
        ------
        BadInput
            If it cannot be used.
        Unavailable
            If its provider asks for patience or does not answer.
        """
        return open_catalogue(self.address, self.allow_hosts, found=self.found)

    def as_found(self, source: Source) -> CatalogAddress:
        """The same for workers, whom its host's name may lead only where it led the launcher.

        Parameters
        ----------
        source
            The catalogue, opened.
        """
        return dataclasses.replace(self, found=source.remote.hosts.found)


@dataclass(frozen=True)
class ChosenEncoder:
    """The encoder that a run was asked for, by what names it.

    Parameters
    ----------
    model, weights
        Name of the card, and the checkpoint's file or URL; None for the shipped ones.
    weights_sha256
        Digest that the checkpoint has to have.
    precision, device
        The arithmetic (`fp32` or `bf16`), and where it is done (`cpu` or `cuda`; workers of one
        machine share its GPUs out).
    imagery
        Kind of imagery that the scenes are: `mpc` or `aws`.
    reproducible
        Whether the processor's instructions are pinned.
    """

    model: str | None
    weights: str | None
    weights_sha256: str
    precision: str
    device: str
    imagery: str
    reproducible: bool = False

    def load(self, threads: int) -> Encoder:
        """Load the encoder, for a number of threads."""
        return load_encoder(
            self.model,
            self.weights,
            self.precision,
            threads,
            self.weights_sha256,
            device_of_worker(self.device),
            self.imagery,
            self.reproducible,
        )


class LazyReader:
    """Opens the catalogue when the first tile needs it, so that an outage fails tiles, not the job.

    Parameters
    ----------
    catalog
        Name of the catalogue.
    threads
        Number of threads that read where the catalogue is on this machine: the process's share of
        its cores.
    limits
        How much memory and local disk of the machine stacks may take.
    """

    def __init__(self, catalog: CatalogName, threads: int, limits: ReadLimits = SPARE) -> None:
        self._catalog, self._threads = catalog, threads
        self._budget = limits.budget(min(1.0, threads / usable_cores()))
        self._reader: SceneReader | None = None
        self._lock = threading.Lock()

    def __call__(self) -> SceneReader:
        """The process's one reader.

        Raises
        ------
        NoCatalogue
            If the catalogue cannot be opened now. The launcher opened it, so it may come back.
        """
        with self._lock:
            if self._reader is None:
                try:
                    source = self._catalog.open()
                except (BadInput, SceneError) as error:
                    raise NoCatalogue(str(error)) from error
                self._reader = SceneReader(
                    source,
                    self._threads if source.remote.is_local else None,
                    budget=self._budget,
                )
            return self._reader
