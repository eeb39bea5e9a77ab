"""Tensors with JSON beside them in one safetensors file that says its own digest. Never a pickle.

Such files come from strangers as often as from oneself, so nothing in them is believed before it
is checked: sizes, names, types, and a digest over all of it.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

T = TypeVar("T")

MOST_VALUES = 1_000_000
"""Most values of the JSON in a file."""

MARKS = "[{,:"
"""One of these stands before every value of JSON but the first."""

SEAL = "sha256"
"""Field of the JSON with the digest of all the rest."""

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class SealedFormat:
    """A kind of file.

    Parameters
    ----------
    entry
        Name of the entry of the metadata with the JSON.
    version
        Version of what the JSON holds.
    what, maker
        What such a file is called, and the command that writes it.
    most_bytes
        Largest such file.
    error
        What is raised where a file is none; its message is one line.
    """

    entry: str
    version: int
    what: str
    maker: str
    most_bytes: int
    error: type[ValueError]

    def encode(self, told: Mapping[str, Any], tensors: Tensors) -> bytes:
        """The bytes of a file, the same for the same content.

        Parameters
        ----------
        told
            What the JSON holds, without version and digest.
        tensors
            Arrays by name.
        """
        sealed = {"version": self.version, **told}
        sealed[SEAL] = digest_of(sealed, tensors)
        text = json.dumps(sealed, separators=(",", ":"), allow_nan=False)
        # The only entry: the library writes several in any order, which would be other bytes.
        return safetensors.numpy.save(tensors, {self.entry: text})

    def decode(self, data: bytes, make: Callable[[dict[str, Any], Tensors], T]) -> T:
        """Read a file back.

        Parameters
        ----------
        data
            Bytes of a file.
        make
            Makes what the file stands for of its JSON and its arrays, and may raise whatever
            follows from values that are not what they should be.

        Raises
        ------
        ValueError
            The `error` of the format, if they are not those of such a file, or not as they were
            written; one line says why.
        """
        if len(data) > self.most_bytes:
            raise self.error(
                f"a file of {len(data):,} bytes, and a {self.what} has {self.most_bytes:,} at most"
            )
        # The length of a sound file's JSON, which comes first, may begin with the same byte.
        if data[8:9] != b"{" and (data[:1] == b"\x80" or data[:2] == b"PK"):
            raise self.error(
                "it is a pickle, which may run any program when it is read: never trust it"
            )
        try:
            tensors = safetensors.numpy.load(data)
            told = self.told(data)
            if told.get(SEAL) != digest_of(told, tensors):
                raise self.error("it is not as it was written: its digest is another")
            return make(told, {name: np.array(values) for name, values in tensors.items()})
        except self.error:
            raise
        except (
            safetensors.SafetensorError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
            struct.error,
        ) as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())[:120]
            raise self.error(f"it is no {self.what} that `{self.maker}` wrote ({said})") from None

    def claims(self, start: bytes) -> bool:
        """Whether a file that starts so says that it is of this kind."""
        return start[8:].startswith(f'{{"__metadata__":{{"{self.entry}":'.encode())

    def told(self, data: bytes) -> dict[str, Any]:
        """The JSON of a file, before its digest is looked at."""
        (length,) = struct.unpack_from("<Q", data)
        metadata = self._read_json(data[8 : 8 + length].decode())["__metadata__"]
        told = self._read_json(metadata[self.entry])
        if not isinstance(told, dict) or told["version"] != self.version:
            raise self.error(f"a version of {self.what}s that is not {self.version}")
        return told

    def _read_json(self, text: str) -> Any:
        """Decode JSON whose values are counted before: a few bytes of each would take 60."""
        if sum(text.count(mark) for mark in MARKS) > MOST_VALUES:
            raise self.error(f"it tells more than {MOST_VALUES:,} values")
        return json.loads(text)


def digest_of(told: Mapping[str, Any], tensors: Tensors) -> str:
    """Digest of what is told, but for the digest itself, and of all tensors."""
    fields = {name: value for name, value in told.items() if name != SEAL}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
