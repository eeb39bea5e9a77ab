"""Times as catalogues and databases write them, all brought into one form in UTC."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

_TIME = re.compile(
    r"\s*(?P<date>\d{4}-\d\d-\d\d|\d{8})"
    r"(?:(?:[Tt]|\s+|(?=$|[Zz]))"
    r"(?:(?P<hour>\d\d):?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?)?"
    r"\s*(?P<zone>[Zz]|UTC|GMT|[+-]\d\d(?::?\d\d)?(?::00)?)?)\s*",
    re.ASCII,
)
"""RFC 3339 and what is written in its place: a space for the `T`, neither seconds nor a time of
day, a comma, PostgreSQL's `+00`, the basic form of ISO 8601."""

MIDNIGHT = "T00:00:00.000000Z"
"""How times end of which no time of day is known."""


def utc(value: Any) -> str | None:
    """A time as `2024-05-01T10:30:31.024000Z`, so that texts sort by time.

    Parameters
    ----------
    value
        Text of a date or a time; where it names no zone it is in UTC.

    Returns
    -------
    None if it is none, or none that there can be.

    Examples
    --------
    >>> utc("2024-05-01 12:30:31.024+02")
    '2024-05-01T10:30:31.024000Z'
    >>> utc("2024-05-01")
    '2024-05-01T00:00:00.000000Z'
    """
    match = _TIME.fullmatch(value) if isinstance(value, str) and len(value) < 80 else None
    if match is None:
        return None
    date, second, zone = match["date"].replace("-", ""), match["second"] or "00", match["zone"]
    # A leap second counts as the first of the next minute, which is what clocks make of it.
    leap = dt.timedelta(seconds=1 if second == "60" else 0)
    second = "59" if leap else second
    text = f"{date}T{match['hour'] or '00'}{match['minute'] or '00'}{second}"
    try:
        moment = dt.datetime.strptime(text, "%Y%m%dT%H%M%S") + leap
        moment += dt.timedelta(microseconds=int(f"{(match['fraction'] or '0')[:6]:0<6}"))
        if zone and zone[0] in "+-":
            digits = zone[1:].replace(":", "").ljust(4, "0")
            away = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]))
            moment -= away if zone[0] == "+" else -away
    except (ValueError, OverflowError):
        return None
    return f"{moment.isoformat(timespec='microseconds')}Z"
