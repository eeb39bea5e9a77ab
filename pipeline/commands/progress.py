"""The bar that shows on a terminal how far a command has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from tessera_mosaic.pipeline.console import quiet


@contextmanager
def progress_bar(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for a piece of work; none off a terminal, or where people asked for errors alone.

    Parameters
    ----------
    what
        What is done, such as `drawing`.
    unit
        Of what it is counted, in the plural.

    Yields
    ------
    To be called with how many are done, and with how many there are.
    """
    with tqdm(desc=what, unit=f" {unit}", disable=quiet() or None) as bar:

        def tell(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        yield tell
