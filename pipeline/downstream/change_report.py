"""The report on a map of change: one HTML page that needs nothing but itself, and its figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tessera_mosaic.pipeline.downstream.change import BEYOND, PixelState
from tessera_mosaic.pipeline.downstream.change_baseline import Baseline, read_baseline
from tessera_mosaic.pipeline.downstream.change_tile import CHANGED, COUNTED
from tessera_mosaic.pipeline.downstream.map_figures import as_url, draw_map
from tessera_mosaic.pipeline.downstream.map_page import AreaSection, plain_page, text
from tessera_mosaic.pipeline.downstream.map_store import MapStore
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.ledger.keys import baseline_key, map_report_key
from tessera_mosaic.pipeline.ledger.summary import find_summaries
from tessera_mosaic.pipeline.ledger.tile_lists import planned_tiles
from tessera_mosaic.pipeline.tiling.lattice import Tile

WIDTH, HEIGHT = 640, 160
"""Size of the picture of how cosines are distributed."""


@dataclass(frozen=True)
class ChangeTotals:
    """What the tiles of a map of change add up to.

    Parameters
    ----------
    tiles
        Tiles that are done and have something to see.
    compared
        Number of pixels that were compared.
    radar_gap
        Number of those that radar saw in one of the years alone, which are masked.
    not_in_both
        Number of those that are embedded in one of the years alone.
    changed, changed_square_metres
        Number of those compared that lie beyond the noise, and their true size. Counts are no
        estimates of areas.
    """

    tiles: tuple[Tile, ...]
    compared: int
    radar_gap: int
    not_in_both: int
    changed: int
    changed_square_metres: int

    def to_json(self) -> dict[str, int]:
        """The numbers by name."""
        return {
            "compared": self.compared,
            "radar_gap": self.radar_gap,
            "not_in_both": self.not_in_both,
            "changed": self.changed,
            "changed_square_metres": self.changed_square_metres,
        }


def change_totals(made: MapStore, year: int) -> ChangeTotals:
    """What the records of a year add up to."""
    names = (*COUNTED.values(), CHANGED, f"{CHANGED}_square_metres")
    sums, tiles = dict.fromkeys(names, 0), []
    planned = planned_tiles(made.storage, year, made.zones)
    for each in find_summaries(made.storage, year, planned):
        row = each.summary
        if row is not None and each.finished and row.bytes_written:
            tiles.append(each.tile)
            for name in names:
                sums[name] += row.pixels.get(name, 0)
    return ChangeTotals(tuple(tiles), *sums.values())


def write_change_report(made: MapStore, year: int, areas: AreaSection | None = None) -> str:
    """Write the report on the change to a year, and return the key of its page.

    Parameters
    ----------
    made
        The map.
    year
        The later calendar year.
    areas
        Estimates from a labelled sample, if there are any.

    Raises
    ------
    BadInput
        If the map has lost what it was measured against.
    """
    baseline = read_baseline(made.storage, year)
    if baseline is None:
        raise BadInput(f"{made.storage.url} has no {baseline_key(year)}: run `changed` again")
    totals = change_totals(made, year)
    pictures, _ = draw_map(made, year, totals.tiles)
    told = {
        "from": baseline.from_year,
        "to": baseline.to_year,
        "model": made.identity["change"],
        "mosaic": made.identity["mosaic"],
        "tiles": len(totals.tiles),
        "unit": made.layout.unit,
        **totals.to_json(),
        "beyond": BEYOND,
        "cosine_beyond": baseline.limit,
        "baseline": baseline.to_json(),
        "counts_are_areas": False,
        "areas": None if areas is None else dict(areas.fields),
        "notes": list(baseline.notes),
    }
    page, figures = map_report_key(year, "html"), map_report_key(year, "json")
    made.storage.write(figures, (json.dumps(told, indent=1) + "\n").encode())
    made.storage.write(page, change_page(made, baseline, told, pictures, areas).encode())
    return page


def change_page(
    made: MapStore,
    baseline: Baseline,
    told: Mapping[str, Any],
    pictures: Sequence[bytes],
    areas: AreaSection | None,
) -> str:
    """The page."""
    one, other = baseline.from_year, baseline.to_year
    name = made.storage.url.rstrip("/").rpartition("/")[2]
    notes = "".join(f"<li>{text(note)}</li>" for note in baseline.notes)
    parts = [
        f"<h1>Change from {one} to {other}: {text(name)}</h1>",
        f'<p class="quiet">{told["compared"]:,} pixels compared in {told["tiles"]:,} tiles, by '
        f"embeddings of {text(told['model'])}</p>",
        f"<ul>{notes}</ul>",
        _pictures(told, pictures),
        areas.page if areas is not None else "",
        _counts(told),
        _noise(baseline),
    ]
    return plain_page(f"Change from {one} to {other}", parts)


def _pictures(told: Mapping[str, Any], pictures: Sequence[bytes]) -> str:
    if not pictures:
        why = "no pixel was compared" if told["tiles"] else "it has no tile yet"
        if told["compared"]:
            why = "it has too many tiles for a picture: open its virtual rasters"
        return f"<h2>Map</h2><p>There is no picture: {why}.</p>"
    titles = (
        "Change, from dark (as calm ground) to light",
        "Cosine between the years, from dark (unlike) to light (alike)",
    )
    images = "".join(
        f'<div><h3>{title}</h3><img alt="{title}" src="{as_url(png)}"></div>'
        for title, png in zip(titles, pictures, strict=True)
    )
    return (
        f'<h2>Map</h2><div class="row">{images}</div><p class="quiet">See-through where nothing '
        "was compared. Each picture is stretched from its 2nd to its 98th percentile.</p>"
    )


def _counts(told: Mapping[str, Any]) -> str:
    labels = {"changed": f"of these beyond {BEYOND:g} spreads of the noise"}
    labels |= {
        "radar_gap": f"masked: {PixelState.RADAR_GAP.label}",
        "not_in_both": f"masked: {PixelState.NOT_IN_BOTH.label}",
    }
    lines = f'<tr><td>compared</td><td class="n">{told["compared"]:,}</td></tr>' + "".join(
        f'<tr><td>{text(label)}</td><td class="n">{told[name]:,}</td></tr>'
        for name, label in labels.items()
    )
    return (
        "<h2>Pixels</h2><p><b>These are counts of pixels, not estimates of areas.</b> Those beyond "
        f"the noise are {told['changed_square_metres'] / 1e4:,.2f} ha on the ground.</p>"
        f'<table><tr><th></th><th class="n">pixels</th></tr>{lines}</table>'
    )


def _noise(baseline: Baseline) -> str:
    noise = baseline.noise
    percentiles = "".join(
        f'<tr><td class="n">{percent} %</td><td class="n">{value:.3f}</td>'
        f'<td class="n">{float(noise.change(np.array([value]))[0]):.2f}</td></tr>'
        for percent, value in baseline.percentiles.items()
    )
    limit = (
        "no cosine is small enough to lie beyond it"
        if baseline.limit is None
        else f"a pixel below {baseline.limit:.3f} lies beyond it, {BEYOND:g} spreads away"
    )
    return (
        "<h2>The noise of unchanged ground</h2><p>Embeddings of ground that did not change differ "
        "from year to year, too. How far is taken from the calmest quarter of a sample of the "
        f"region: the middle of this noise is a cosine of {noise.cosine_at(0):.3f}, and {limit}. "
        "Where more than half of the region changed, the noise comes out too large, and fewer "
        "pixels lie beyond it: compare a larger region.</p>"
        f"{_histogram(baseline)}"
        '<table><tr><th class="n">most changed part of the sample</th>'
        '<th class="n">cosine up to</th><th class="n">change from</th></tr>'
        f"{percentiles}</table>"
    )


def _histogram(baseline: Baseline) -> str:
    """How the cosines of the sample are distributed, as SVG, with the limit of the noise."""
    low, high = baseline.edges[0], baseline.edges[-1]
    span, most = max(high - low, 1e-9), max(baseline.counts)
    each, foot = WIDTH / len(baseline.counts), HEIGHT - 24
    bars = "".join(
        f'<rect x="{n * each:.1f}" y="{foot - count / most * (foot - 16):.1f}" '
        f'width="{each - 1:.1f}" height="{count / most * (foot - 16):.1f}" fill="#1a7a6c"/>'
        for n, count in enumerate(baseline.counts)
    )
    lines = ""
    for change, label in ((0.0, "middle of the noise"), (BEYOND, "limit")):
        at = (baseline.noise.cosine_at(change) - low) / span * WIDTH
        if 0 <= at <= WIDTH:
            anchor = "end" if at > WIDTH / 2 else "start"
            lines += (
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="14" y2="{foot}" stroke="#b3401e"/>'
                f'<text x="{at:.1f}" y="10" text-anchor="{anchor}">{label}</text>'
            )
    return (
        f'<svg style="max-width:{WIDTH}px" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="How cosines are distributed">{bars}{lines}'
        f'<text x="0" y="{HEIGHT - 6}">cosine {low:.2f}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 6}" text-anchor="end">{high:.2f}</text></svg>'
    )
