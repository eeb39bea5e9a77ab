"""What a mosaic is made of: everything that decides its bytes, and one digest of it.

A store carries the identity of the run that made it and refuses any other, so that embeddings of
two models, or of two sets of rules, can never meet in one mosaic.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tessera_mosaic.pipeline.io.strict import member, named, shallow, text, whole

ALGORITHM = 1
"""Version of what makes pixels: raised whenever the same inputs would come out as others."""

Identity = dict[str, Any]
"""A document of JSON values alone, so that it survives a store's attributes unchanged, also that
of a later version."""


ALL, INSIDE = "all", "inside"
"""How an identity names the pixels that are written: all of the tiles, or those inside an outline,
which may grow, so that it is no part of the identity."""


def run_identity(
    encoder: Identity, imagery: str, rules: Identity, margin: int, pixels: str = ALL
) -> Identity:
    """Put together what decides the bytes of a run.

    Parameters
    ----------
    encoder
        The digest of the weights, the card and the precision.
    imagery
        Whose products the scenes are: `mpc` or `aws`.
    rules
        How pixels become observations: resampling kernel, offset, and which of several scenes.
    margin
        Number of pixels that are written beyond a zone's meridians.
    pixels
        Which pixels are written: `all`, `inside`, or what an older store says in place of that.
    """
    identity = {
        "algorithm": ALGORITHM,
        "encoder": encoder,
        "imagery": imagery,
        "rules": rules,
        "margin": margin,
        "pixels": pixels,
    }
    return json.loads(json.dumps(identity))


def adopted_identity(model: str, source: str, nearest: bool, margin: int) -> Identity:
    """Put together what decides the bytes of embeddings that were made elsewhere.

    Parameters
    ----------
    model
        Name of the product, as it was given.
    source
        What the embeddings are read from: `arrays` or `cells`.
    nearest
        Whether pixels of the lattice take the nearest of another grid.
    margin
        Number of pixels that are written beyond a zone's meridians.
    """
    return {
        "algorithm": ALGORITHM,
        "adopted": {"model": model, "source": source, "pixels": "nearest" if nearest else "same"},
        "margin": margin,
        "pixels": ALL,
    }


def adopted_model(identity: Identity) -> str | None:
    """Name of the product whose embeddings were adopted; None where a run of ours made them."""
    adopted = identity.get("adopted")
    return None if adopted is None else str(adopted["model"])


def model_name(identity: Identity) -> str:
    """Name of the model that made the embeddings, as far as a mosaic says so."""
    if (published := identity.get("published")) is not None:
        return str(published.get("geoemb:model", "a model that is not named"))
    return adopted_model(identity) or str(identity["encoder"]["card"]["name"])


def is_outlined(identity: Identity) -> bool:
    """Whether only pixels inside an outline are written.

    Older stores name the digest of the only region that they could have. That stands for `inside`
    today, and stays in their identity, of which all their records hold the digest.
    """
    return str(identity["pixels"]).split(" ")[0] == INSIDE


def pixels_named(inside: bytes | None) -> str:
    """How the identity of a map names the pixels that are written."""
    return ALL if inside is None else f"inside {hashlib.sha256(inside).hexdigest()}"


def fingerprint(identity: Identity) -> str:
    """Digest of an identity: sha256 over its canonical JSON, as 64 hex digits."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differences(ours: Identity, theirs: Identity, path: str = "") -> list[str]:
    """Name the fields in which two identities differ, with both values."""
    found: list[str] = []
    for name in sorted(ours.keys() | theirs.keys()):
        here, there, where = ours.get(name), theirs.get(name), f"{path}{name}"
        if isinstance(here, dict) and isinstance(there, dict):
            found += differences(here, there, f"{where}.")
        elif here != there:
            found.append(f"{where}: {_short(here)} here, {_short(there)} there")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def checked_identity(value: Any) -> Identity:
    """An identity out of a store, whose fields that are used here are what they should be.

    Raises
    ------
    ValueError
        If one is not.
    """
    identity: Identity = named(value, shallow, 1000)
    member(value, "margin", lambda margin: whole(margin, 0, 1 << 20))
    member(value, "pixels", text)
    if value.get("adopted") is not None:
        member(value["adopted"], "model", text)
        return identity
    encoder = member(value, "encoder", shallow)
    member(encoder, "weights_sha256", text)
    member(member(encoder, "card", shallow), "name", text)
    member(value, "imagery", text)
    member(value, "rules", lambda rules: named(rules, shallow, 1000))
    return identity
