"""The report on a mosaic: one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.ledger.keys import ATTRIBUTION
from tessera_mosaic.pipeline.ledger.records import NOT_THERE, TAKEN_OUT
from tessera_mosaic.pipeline.mosaic.identity import fingerprint, model_name
from tessera_mosaic.pipeline.mosaic.layout import count_array
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.publishing.attribution import terms
from tessera_mosaic.pipeline.publishing.registry import TileState
from tessera_mosaic.pipeline.publishing.totals import STATES, FailureCount, Group, Totals
from tessera_mosaic.pipeline.tiling.boxes import Box
from tessera_mosaic.pipeline.tiling.lattice import PIXEL, zone_group

BINS = 40
"""Bars of a histogram, at most."""

ENOUGH = 8
"""Tiles of which a histogram is drawn, at least."""

MOST_ROWS = 200
"""Rows of the table of zones and years, at most; beyond that the registry tells."""

NAMES = {
    "s2": "Sentinel-2",
    "s1_ascending": "Sentinel-1 ascending",
    "s1_descending": "Sentinel-1 descending",
}

SENSORS = {"s1": "Sentinel-1", "s2": "Sentinel-2"}
"""Sensors by their names in the registry, and what they are called."""

STEPS = {
    "find": "finding scenes",
    "read": "reading imagery",
    "wait": "waiting for imagery",
    "encode": "encoding",
    "write": "writing",
}
"""Kinds of work in a record, and what they are called."""

STYLE = """
:root { color-scheme: light; --ink: #1e2228; --quiet: #5d6672; --line: #d9dde2; --fill: #1a7a6c; }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1080px; padding: 40px 24px 80px; color: var(--ink);
  background: #fff; font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 4px }
h2 { font-size: 20px; margin: 44px 0 10px; padding-top: 14px; border-top: 1px solid var(--line) }
h3 { font-size: 15px; margin: 0 0 4px; font-weight: 600 }
p { margin: 6px 0; max-width: 72ch } .quiet { color: var(--quiet) }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin: 22px 0 }
.card { white-space: nowrap; border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px }
.card b { display: block; font-size: 21px; line-height: 1.3 } .card span { color: var(--quiet) }
.row { display: flex; flex-wrap: wrap; gap: 28px } .row > div { flex: 1 1 300px; min-width: 0 }
img { max-width: 100%; display: block; margin: 10px 0 24px }
svg { width: 100%; max-width: 340px; height: auto }
svg text { font-size: 12px; fill: var(--quiet) }
table { border-collapse: collapse; width: 100%; font-size: 14px; margin: 8px 0 }
th, td { text-align: left; padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: break-word }
.wide { overflow-x: auto } .wide table { min-width: max-content }
.failures table { min-width: 100% } .failures td:first-child { white-space: nowrap }
.failures td:last-child { overflow-wrap: anywhere; min-width: 12em }
figure { flex: 1 1 220px; min-width: 0; margin: 12px 0 }
figcaption { color: var(--quiet); font-size: 14px; margin-top: 4px }
img.embeddings { margin: 0; border: 1px solid var(--line) }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.bar { height: 14px; border-radius: 3px; background: var(--fill) }
pre { overflow: auto; padding: 12px; background: #f5f6f8; border-radius: 8px; font-size: 13px }
code { font-size: 13px; overflow-wrap: anywhere }
"""


def report_page(
    mosaic: Mosaic,
    totals: Totals,
    maps: Mapping[int, bytes],
    pictures: Sequence[tuple[Box, bytes]] = (),
) -> str:
    """The page.

    Parameters
    ----------
    mosaic
        The mosaic that it is about.
    totals
        What the registry's rows come to.
    maps
        The map of the tiles as PNG, by calendar year.
    pictures
        Pictures of the embeddings as JPEG, with their degrees boxes.
    """
    card = model_name(mosaic.identity)
    latest = totals.latest
    as_of = latest[:16].replace("T", " ") + " UTC" if latest else "no record yet"
    years = ", ".join(map(str, totals.made)) or "Empty"
    parts = [
        f"<h1>{years} mosaic of {_text(card)}</h1>",
        f'<p class="quiet">{_text(_place(mosaic))} · as of {as_of}</p>',
        _headline(totals.total()),
        _coverage(maps),
        _embeddings(mosaic, pictures),
        _observations(totals),
        _offsets(mosaic, totals),
        _fidelity(totals),
        _failures(totals.failures),
        _costs(totals),
        _zones(totals.groups),
        _identity(mosaic),
        _licence(mosaic, totals),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Mosaic of {_text(card)}</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _licence(mosaic: Mosaic, totals: Totals) -> str:
    """Whom a reader owes what."""
    years = ", ".join(map(str, totals.made))
    return (
        f"<h2>Licence</h2><p>Contains modified Copernicus Sentinel data {years}. "
        f"{_text(terms(mosaic.identity))} {ATTRIBUTION} beside the mosaic tells more.</p>"
    )


def _headline(total: Group) -> str:
    states = total.states
    cards: dict[str, str] = {
        "tiles planned": f"{total.tiles:,}",
        **{
            state: f"{states[state]:,}"
            for state in STATES
            if states[state] or state is TileState.DONE
        },
        "embedded": f"{_short(total.pixels)} px",
        "of ground": _area(total.pixels * PIXEL**2 / 1e6),
        "stored": _bytes(total.bytes),
    }
    body = "".join(
        f'<div class="card"><b>{_text(value)}</b><span>{_text(name)}</span></div>'
        for name, value in cards.items()
    )
    return f'<div class="cards">{body}</div>'


def _embeddings(mosaic: Mosaic, pictures: Sequence[tuple[Box, bytes]]) -> str:
    if not pictures:
        return ""
    shown = "".join(
        f'<figure><img alt="Embeddings in colours" class="embeddings" '
        f'src="data:image/jpeg;base64,{base64.b64encode(image).decode()}">'
        f"<figcaption>{_degrees(box[0], box[2], 'E', 'W')}, "
        f"{_degrees(box[1], box[3], 'N', 'S')}</figcaption></figure>"
        for box, image in pictures
    )
    return (
        f"<h2>Embeddings</h2><p>Three components of {mosaic.layout.dims} dimensions as red, green "
        "and blue, the same for the whole mosaic: what looks alike is alike to the model. Each "
        "place in its newest year; north is up; hatched where there is nothing.</p>"
        f'<div class="row">{shown}</div>'
    )


def _degrees(low: float, high: float, plus: str, minus: str) -> str:
    """A span of degrees in words."""
    one, other = (f"{abs(v):.3f}° {plus if v >= 0 else minus}" for v in (low, high))
    return f"{one} to {other}"


def _coverage(maps: Mapping[int, bytes]) -> str:
    if not maps:
        return "<h2>Coverage</h2><p>No tile was planned yet.</p>"
    newest, *others = (
        f'<img alt="Tiles of {year} by state" '
        f'src="data:image/png;base64,{base64.b64encode(maps[year]).decode()}">'
        for year in sorted(maps, reverse=True)
    )
    more = f"<details><summary>Other years</summary>{''.join(others)}</details>" if others else ""
    return f"<h2>Coverage</h2>{newest}{more}"


def _observations(totals: Totals) -> str:
    charts = [
        _histogram(
            name,
            totals.values(f"observations_{key}_mean"),
            "Observations of an embedded pixel, mean of a tile",
        )
        for key, name in NAMES.items()
    ]
    return (
        "<h2>Observations</h2><p>How often the tiles were seen. Few observations of a sensor mean "
        f"embeddings that rest on little.</p>{_one_sensor(totals.without)}"
        f'<div class="row">{"".join(charts)}</div>'
    )


def _one_sensor(without: Mapping[str, int]) -> str:
    """What is said of tiles that are from one sensor alone."""
    return "".join(
        f"<p>{count:,} tiles are from one sensor alone, without {_text(SENSORS.get(name, name))}; "
        "the record of each says why.</p>"
        for name, count in sorted(without.items())
    )


def _offsets(mosaic: Mosaic, totals: Totals) -> str:
    """How the radiometric offset of Sentinel-2 was taken out, and where evidence decided."""
    rule = mosaic.identity.get("rules", {}).get("offset")
    if rule is None:
        return ""
    told = f"Taken out by the rule <code>{_text(rule)}</code>."
    if rule == "evidence":
        there, absent = totals.offsets[TAKEN_OUT], totals.offsets[NOT_THERE]
        told += (
            f" Against what the reference takes for granted, {there:,} scenes had it, and it was "
            f"taken out; {absent:,} did not have it, and nothing was. A scene counts once for each "
            "tile; the tiles' records name them, and what showed it."
        )
    return f"<h2>Radiometric offset</h2><p>{told}</p>"


def _fidelity(totals: Totals) -> str:
    power = totals.values("code_power")
    error = 100 * np.sqrt(1 / 12) / np.sqrt(power[power > 0])
    charts = _histogram("Error of rounding", error, "Percent of a vector, mean of a tile")
    charts += _histogram("Scale", totals.values("scale_median"), "Of a pixel, median of a tile")
    return (
        "<h2>Quantization</h2><p>Each pixel is stored as int8 codes and one scale. Rounding to a "
        "code errs by 1/√12 of the scale, which is set against the length of the codes "
        f'themselves.</p><div class="row">{charts}</div>'
    )


def _failures(failures: Mapping[str, FailureCount]) -> str:
    if not failures:
        return "<h2>Failures</h2><p>No tile failed.</p>"
    lines = "".join(
        f'<tr><td>{_text(kind)}</td><td class="n">{of.count:,}</td>'
        f"<td>{_text(of.example)}</td></tr>"
        for kind, of in sorted(failures.items(), key=lambda entry: -entry[1].count)
    )
    return (
        "<h2>Failures</h2><p>Run the same command again to retry them.</p>"
        '<div class="wide failures"><table><tr><th>class</th>'
        f'<th class="n">tiles</th><th>one of them</th></tr>{lines}</table></div>'
    )


def _costs(totals: Totals) -> str:
    names = {count_array(key): f"counts, {name}" for key, name in NAMES.items()}
    stored = {names.get(array, array): size for array, size in totals.sizes.most_common()}
    pixels, spent = totals.total().pixels, totals.seconds.total()
    rate = f" {_short(pixels / spent)} pixels a second of work." if spent else ""
    times = {STEPS.get(step, step): took for step, took in totals.seconds.most_common()}
    return (
        "<h2>Time and bytes</h2>"
        f"<p>Steps of a tile overlap, so their times add up to more than a worker was busy.{rate}"
        '</p><div class="row"><div><h3>Time</h3>'
        + _bars(times, _duration)
        + "</div><div><h3>Bytes</h3>"
        + _bars(stored, _bytes)
        + "</div></div>"
    )


def _zones(groups: Mapping[tuple[int, int], Group]) -> str:
    lines = []
    for (zone, year), of in sorted(groups.items())[:MOST_ROWS]:
        counts = "".join(f'<td class="n">{of.states[state]:,}</td>' for state in STATES)
        lines.append(
            f'<tr><td>{zone_group(zone)}</td><td>{year}</td><td class="n">{of.tiles:,}</td>{counts}'
            f'<td class="n">{_short(of.pixels)}</td><td class="n">{_bytes(of.bytes)}</td></tr>'
        )
    left = len(groups) - len(lines)
    rest = f'<p class="quiet">{left} more in the registry.</p>' if left > 0 else ""
    heads = "".join(f'<th class="n">{head}</th>' for head in ("planned", *STATES, "pixels", "size"))
    return (
        f'<h2>Zones</h2><div class="wide"><table><tr><th>zone</th><th>year</th>{heads}</tr>'
        f"{''.join(lines)}</table></div>{rest}"
    )


def _identity(mosaic: Mosaic) -> str:
    told = json.dumps(mosaic.identity, indent=1)
    return (
        "<h2>What decides the bytes</h2>"
        f"<p>Fingerprint <code>{fingerprint(mosaic.identity)}</code>; made with tessera-mosaic "
        f"{_text(mosaic.version)}; tiles of {mosaic.layout.side} px.</p>"
        f"<details><summary>Identity</summary><pre>{_text(told)}</pre></details>"
    )


def _histogram(title: str, values: NDArray[np.float32], unit: str) -> str:
    """A chart of how values are distributed, with their least, median and greatest in words."""
    if not len(values):
        return f'<div><h3>{_text(title)}</h3><p class="quiet">nothing yet</p></div>'
    low, middle, high = (float(value) for value in np.percentile(values, (0, 50, 100)))
    told = f"median {middle:.3g}, {low:.3g} to {high:.3g}" if high > low else f"{middle:.3g}"
    chart = _bins(values, low, high) if high > low and len(values) >= ENOUGH else ""
    return (
        f"<div><h3>{_text(title)}</h3>{chart}"
        f'<p class="quiet">{_text(unit)}: {_text(told)}</p></div>'
    )


def _bins(values: NDArray[np.float32], low: float, high: float) -> str:
    bins = int(np.clip(math.sqrt(len(values)) * 2, 8, BINS))
    counts, _ = np.histogram(values, bins, (low, high))
    step = 320 / bins
    bars = "".join(
        f'<rect x="{n * step + 0.5:.1f}" y="{110 - 100 * count / counts.max():.1f}" '
        f'width="{step - 1:.1f}" height="{100 * count / counts.max():.1f}" fill="#1a7a6c"/>'
        for n, count in enumerate(counts)
        if count
    )
    return (
        '<svg viewBox="0 0 320 130" role="img">'
        f'{bars}<line x1="0" y1="110.5" x2="320" y2="110.5" stroke="#5d6672"/>'
        f'<text x="0" y="126">{low:.3g}</text>'
        f'<text x="160" y="126" text-anchor="middle">tallest bar {counts.max():,}</text>'
        f'<text x="320" y="126" text-anchor="end">{high:.3g}</text></svg>'
    )


def _bars(amounts: Mapping[str, float], tell: Callable[[float], str]) -> str:
    whole, most = sum(amounts.values()), max(amounts.values(), default=0)
    if not most:
        return '<p class="quiet">nothing yet</p>'
    lines = "".join(
        f'<tr><td>{_text(name)}</td><td class="n">{tell(amount)}</td>'
        f'<td class="n">{amount / whole:.0%}</td><td style="width:40%">'
        f'<div class="bar" style="width:{100 * amount / most:.1f}%"></div></td></tr>'
        for name, amount in amounts.items()
    )
    return f"<table>{lines}</table>"


def _place(mosaic: Mosaic) -> str:
    """The store's own name: where it lies changes when it is copied."""
    return mosaic.storage.url.rstrip("/").rpartition("/")[2]


def _text(words: object) -> str:
    return html.escape(str(words))


def _short(count: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.3g}"


def _bytes(size: float) -> str:
    for unit, power in (("PB", 5), ("TB", 4), ("GB", 3), ("MB", 2), ("kB", 1)):
        if size >= 1000**power:
            return f"{size / 1000**power:.3g} {unit}"
    return f"{size:.0f} B"


def _area(square_kilometres: float) -> str:
    large = square_kilometres >= 1e6
    return f"{(_short if large else _grouped)(square_kilometres)} km²"


def _duration(seconds: float) -> str:
    if seconds >= 2 * 3600:
        return f"{_grouped(seconds / 3600)} h"
    return f"{_grouped(seconds / 60)} min" if seconds >= 120 else f"{seconds:.1f} s"


def _grouped(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
