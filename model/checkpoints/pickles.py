"""What a pickle of weights may say: nothing that makes more of it than it has bytes.

PyTorch's restricted unpickler runs no code, but it lets a few bytes ask for any amount of memory
or time: a `bytearray` of so many zeros, a list that is copied again and again, a tuple of tuples
each of which holds the one before twice, whose hash is never done. So a pickle is read through
first, word by word, and must keep to what `torch.save` writes of parameters and plain values.
"""

from __future__ import annotations

import pickletools
import re
from pickle import UnpicklingError
from typing import Any

MOST_BYTES = 8 * 2**20
"""Longest pickle that is read, without the bytes of its tensors: some hundred times a published
one. PyTorch reads it word by word, in Python."""

ORDERED = "collections OrderedDict"

KNOWN = re.compile(
    rf"{ORDERED}|torch (?!Typed|Untyped)\w+Storage|torch\._utils _rebuild_(tensor_v2|parameter)"
    r"|torch (b?float|u?int|complex)\d+|torch (bool|device)"
)
"""What a pickle may call or name."""

LEAVES = {"NONE", "NEWTRUE", "NEWFALSE", "BINFLOAT", "BINUNICODE", "GLOBAL"}
LEAVES |= {"BININT", "BININT1", "BININT2", "LONG1"}
"""Opcodes that put one value on the stack which holds no other."""

SMALL_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
"""Opcodes that make a tuple of so many values."""

PUTS, GETS = {"BINPUT", "LONG_BINPUT"}, {"BINGET", "LONG_BINGET"}
"""Opcodes that keep the value on top of the stack under a number, and that fetch it again."""


def check_pickle(data: bytes) -> None:
    """Check that reading a pickle takes no more than a fixed multiple of its bytes.

    Parameters
    ----------
    data
        Bytes of the pickle, as they lie in a weights file beside its tensors.

    Raises
    ------
    UnpicklingError
        If it would, or might.
    ValueError
        If it is no pickle.
    """
    if len(data) > MOST_BYTES:
        raise UnpicklingError(f"{len(data):,} bytes beside the parameters")
    memo: dict[int, str] = {}
    # What lies on the stack, as far as it matters: its kind, and how many leaves are on top.
    kind, leaves = "", 0
    argument: Any
    for opcode, argument, _ in pickletools.genops(data):
        name = opcode.name
        if name in PUTS:
            memo[argument] = kind
            continue
        if name == "GLOBAL" and not KNOWN.fullmatch(argument):
            raise UnpicklingError(f"GLOBAL {argument.replace(' ', '.', 1)}")
        if kind == ORDERED and name != "EMPTY_TUPLE":
            raise UnpicklingError("a dictionary that is made of another")
        if name == "BUILD" and kind.startswith("shared"):
            raise UnpicklingError("attributes that are those of another")
        if name in GETS:
            kind = memo.get(argument, "").removeprefix("shared ")
            if kind == "nested":
                raise UnpicklingError("tuples within tuples, more than once")
            leaves = leaves + 1 if kind in ("leaf", ORDERED) else 0
            kind = kind if kind in ("leaf", ORDERED) else f"shared {kind}"
        elif name in LEAVES:
            ordered = name == "GLOBAL" and argument == ORDERED
            kind, leaves = ORDERED if ordered else "leaf", leaves + 1
        elif name in SMALL_TUPLES:
            kind, leaves = "flat" if leaves >= SMALL_TUPLES[name] else "nested", 0
        else:
            kind, leaves = "nested" if name == "TUPLE" else "other", 0
