"""Heads at a path or URL, and which mosaic they may meet."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tessera_mosaic.model.heads.files import MOST_BYTES, decode_head, encode_head
from tessera_mosaic.model.heads.head import Head, HeadError
from tessera_mosaic.pipeline.contracts.rules import other_depth, other_embeddings
from tessera_mosaic.pipeline.contracts.state import (
    STATE,
    Input,
    Kind,
    Numbers,
    State,
)
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.file_place import file_place
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, state_of


@dataclass(frozen=True)
class ReadHead:
    """A head as it was read.

    Parameters
    ----------
    head
        The head.
    data
        Bytes of its file.
    """

    head: Head
    data: bytes

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of the file."""
        return hashlib.sha256(self.data).hexdigest()


def read_head(url: str) -> ReadHead:
    """Read a head.

    Parameters
    ----------
    url
        Path or URL of the file.

    Raises
    ------
    BadInput
        If there is none, or it is no head, or not as it was written.
    """
    storage, key = file_place(url, "head")
    try:
        # One byte more than a head may have, so that a larger file is not read whole.
        data = storage.read_range(key, 0, MOST_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError):
        raise BadInput("there is no such file: make one with `train`", "head", url) from None
    try:
        return ReadHead(decode_head(data), data)
    except HeadError as error:
        raise BadInput(str(error), "head", url) from None


def write_head(url: str, head: Head) -> bytes:
    """Write a head to a path or URL, whole, and return its bytes."""
    storage, key = file_place(url, "head")
    data = encode_head(head, {STATE: head_state(head).to_json()})
    storage.write(key, data)
    return data


def head_state(head: Head) -> State:
    """What a head says of itself. A file cannot hold its own digest: who reads it adds that."""
    return State(
        Kind.HEAD,
        inputs=(Input(Kind.MOSAIC, head.mosaic), Input(Kind.PLACES, head.labels_sha256)),
        product=head.model,
        fingerprint=head.mosaic,
        dims=head.dims,
        years=tuple(sorted(head.years)),
        dtype="float32",
        numbers=Numbers.CODES_AND_SCALES,
        unit=head.unit or None,
        valid_range=head.valid_range,
        classes={each.code: each.name for each in head.classes} or None,
        uncertainty="scores" if head.scores else None,
    )


def check_mosaic(head: Head, mosaic: AnyMosaic, extra: bool = False) -> None:
    """Check that a head was trained on embeddings like those of a mosaic.

    Parameters
    ----------
    head, mosaic
        The head and the mosaic.
    extra
        Whether numbers of another source can be given beside the embeddings.

    Raises
    ------
    BadInput
        If the mosaic has another fingerprint, or embeddings of another length, or the head takes
        numbers that nobody can give.
    """
    if not extra:
        check_extra(head)
    check_embeddings(head, state_of(mosaic), mosaic.storage.url)


def check_extra(head: Head) -> None:
    """Refuse a head that takes numbers which nobody can give it."""
    if head.extra:
        raise BadInput(
            f"it takes {', '.join(head.extra)} beside the embeddings, which only `map` can give it",
            "head",
        )


def check_embeddings(head: Head, embeddings: State, where: str) -> None:
    """Check that a head was trained on embeddings like those of a mosaic or a field.

    Parameters
    ----------
    head
        The head.
    embeddings
        What a mosaic with these embeddings says of itself.
    where
        Path or URL of what has them, for the message.

    Raises
    ------
    BadInput
        If they are others, or of another length.
    """
    chain = (embeddings, head_state(head))
    for rule in (other_embeddings, other_depth):
        if said := rule(chain, 1):
            raise BadInput(f"{said}: train one on {where}", "head")
