"""Words of a command line that can be no path, address or text, told before anything is done."""

from __future__ import annotations

from collections.abc import Sequence

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.addresses import why_no_address


def check_words(words: Sequence[str]) -> None:
    """Refuse words that no command can use.

    Parameters
    ----------
    words
        Of the command line, without the program's name.

    Raises
    ------
    BadInput
        Naming the option and what to do.

    Examples
    --------
    >>> check_words(["run", "--store", "file:/data"])
    Traceback (most recent call last):
        ...
    tessera_mosaic.pipeline.errors.BadInput: --store file:/data: two slashes are missing: write \
file:///data, or the path alone
    """
    option = ""
    for word in words:
        name, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if name and not equals:
            option = name
            continue
        if why := why_no_address(value):
            raise BadInput(f"{name or option} {value}: {why}".strip())
