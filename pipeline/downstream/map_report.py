"""The report on a map: one HTML page that needs nothing but itself, and its figures as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tessera_mosaic.model.heads.files import decode_head
from tessera_mosaic.model.heads.head import Head
from tessera_mosaic.pipeline.downstream.map_figures import (
    Doubt,
    Totals,
    as_url,
    draw_map,
    totals_of,
)
from tessera_mosaic.pipeline.downstream.map_page import AreaSection, plain_page, swatch, text
from tessera_mosaic.pipeline.downstream.map_rasters import class_colours, class_names
from tessera_mosaic.pipeline.downstream.map_store import MapStore
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.ledger.keys import HEAD, map_report_key

COUNTS_ARE_NOT_AREAS = (
    "These are counts of mapped pixels, not estimates of areas: a map that is wrong counts wrong. "
    "Draw points with `points`, label them, and run `areas`."
)


def write_report(
    made: MapStore,
    year: int,
    notes: Sequence[str] | None = None,
    areas: AreaSection | None = None,
) -> str:
    """Write the report on a map's year, and return the key of its page.

    Parameters
    ----------
    made
        The map.
    year
        Calendar year.
    notes
        What has to be said of the map; None for what the report there says already.
    areas
        Estimates of areas, if there are any.
    """
    storage = made.storage
    page, figures = map_report_key(year, "html"), map_report_key(year, "json")
    if notes is None:
        notes = _notes(made, figures)
    head = decode_head(storage.read_document(HEAD))
    totals = totals_of(made, year)
    pictures, doubt = draw_map(made, year, totals.tiles)
    told = report_fields(made, year, head, totals, doubt, notes, areas)
    storage.write(figures, (json.dumps(told, indent=1) + "\n").encode())
    storage.write(page, report_page(made, told, pictures, areas).encode())
    return page


def report_fields(
    made: MapStore,
    year: int,
    head: Head,
    totals: Totals,
    doubt: Doubt | None,
    notes: Sequence[str],
    areas: AreaSection | None,
) -> dict[str, Any]:
    """All figures of a report, as JSON values."""
    names = class_names(made.layout)
    colours = {each.code: each.to_json()["colour"] for each in made.layout.classes}
    return {
        "year": year,
        "task": head.task.value,
        "head": {
            "kind": head.kind.value,
            "model": head.model,
            "years": list(head.years),
            "pixels": len(head.pixels),
            "labels_sha256": head.labels_sha256,
        },
        "mosaic": head.mosaic,
        "tiles": len(totals.tiles),
        "mapped_pixels": totals.mapped,
        "unit": made.layout.unit,
        "counts": [
            {
                "code": code,
                "class": names.get(code, str(code)),
                "colour": colours.get(code, "#808080"),
                "pixels": pixels,
                "square_metres": totals.square_metres[code],
            }
            for code, pixels in sorted(totals.pixels.items())
        ],
        "counts_are_areas": False,
        "areas": None if areas is None else dict(areas.fields),
        "doubt": [] if doubt is None else doubt.to_json(made.layout),
        "scores": dict(head.scores),
        "notes": list(notes),
        "matched_to_year": made.matched.get(year),
    }


def report_page(
    made: MapStore, told: Mapping[str, Any], pictures: Sequence[bytes], areas: AreaSection | None
) -> str:
    """The page."""
    name = made.storage.url.rstrip("/").rpartition("/")[2]
    notes = "".join(f"<li>{text(note)}</li>" for note in told["notes"])
    parts = [
        f"<h1>Map of {told['year']}: {text(name)}</h1>",
        f'<p class="quiet">{told["mapped_pixels"]:,} pixels in {told["tiles"]:,} tiles, by a '
        f"{text(told['head']['kind'])} head that was trained on {told['head']['pixels']:,} pixels "
        f"of {', '.join(map(str, told['head']['years']))}, on embeddings of "
        f"{text(told['head']['model'] or 'an unnamed model')}</p>",
        f"<ul>{notes}</ul>" if notes else "",
        _pictures(made, pictures),
        areas.page if areas is not None else "",
        _counts(told),
        _scores(told["scores"], [each.name for each in made.layout.classes]),
        _doubt(told),
    ]
    return plain_page(f"Map of {told['year']}", parts)


def _pictures(made: MapStore, pictures: Sequence[bytes]) -> str:
    if not pictures:
        return "<h2>Map</h2><p>It has too many tiles for a picture: open its virtual rasters.</p>"
    titles = ("Classes", "Confidence, from dark (none) to light (certain)")
    if not made.layout.of_classes:
        titles = ("Values, from dark (low) to light (high)", "Uncertainty of a pixel")
    images = "".join(
        f'<div><h3>{title}</h3><img alt="{title}" src="{as_url(png)}"></div>'
        for title, png in zip(titles, pictures, strict=True)
    )
    legend = "".join(
        f'<span style="margin-right:18px">{swatch("#{:02x}{:02x}{:02x}".format(*colour))}'
        f"{text(class_names(made.layout)[code])}</span>"
        for code, colour in class_colours(made.layout).items()
        if made.layout.of_classes
    )
    return f'<h2>Map</h2><p>{legend}</p><div class="row">{images}</div>'


def _counts(told: Mapping[str, Any]) -> str:
    if not told["counts"]:
        return ""
    lines = "".join(
        f"<tr><td>{swatch(row['colour'])}{text(row['class'])}</td>"
        f'<td class="n">{row["pixels"]:,}</td>'
        f'<td class="n">{row["square_metres"] / 1e4:,.2f}</td></tr>'
        for row in told["counts"]
    )
    return (
        f"<h2>Mapped pixels</h2><p><b>{COUNTS_ARE_NOT_AREAS}</b></p><table><tr><th>class</th>"
        '<th class="n">pixels counted</th><th class="n">their true size, ha</th></tr>'
        f"{lines}</table>"
    )


def _scores(scores: Mapping[str, Any], names: Sequence[str]) -> str:
    """The scores of the head on labels held out; whatever the head does not tell is left out."""
    try:
        return _score_tables(scores, names)
    except (KeyError, TypeError, ValueError, IndexError):
        return ""


def _score_tables(scores: Mapping[str, Any], names: Sequence[str]) -> str:
    folds = scores["folds"]
    trusted = next((each for each in folds if each["folds"] == scores["trusted"]), None)
    of_classes = bool(names)
    first, second = ("macro_f1", "accuracy") if of_classes else ("r2", "rmse")
    lines = "".join(
        f"<tr><td>{text(each['folds'])}{_metres(each)}"
        f"{' (trust this)' if each is trusted else ''}</td>"
        f'<td class="n">{_interval(each[first])}</td><td class="n">{_interval(each[second])}</td>'
        "</tr>"
        for each in folds
    )
    heads = ("macro F1", "accuracy") if of_classes else ("R²", "error")
    page = (
        "<h2>Scores on labels held out</h2><p>Folds that cut nothing but pixels flatter: "
        "neighbours are alike. Intervals are 95 %, by drawing what the folds did not cut.</p>"
        f'<table><tr><th>folds by</th><th class="n">{heads[0]}</th><th class="n">{heads[1]}</th>'
        f"</tr>{lines}</table>"
    )
    if trusted is None or not of_classes:
        return page
    return page + _confusion(trusted, names) + _calibration(trusted)


def _confusion(sheet: Mapping[str, Any], names: Sequence[str]) -> str:
    head = "".join(f'<th class="n">{text(name)}</th>' for name in names)
    lines = "".join(
        f"<tr><td>{text(name)}</td>"
        + "".join(f'<td class="n">{count:,}</td>' for count in sheet["confusion"][number])
        + f'<td class="n">{sheet["recall"][number]:.3f}</td>'
        f'<td class="n">{sheet["precision"][number]:.3f}</td></tr>'
        for number, name in enumerate(names)
    )
    return (
        "<h3>Confusion: rows are labels, columns what the head said</h3>"
        f'<table><tr><th></th>{head}<th class="n">recall</th><th class="n">precision</th></tr>'
        f"{lines}</table>"
    )


def _calibration(sheet: Mapping[str, Any]) -> str:
    lines = "".join(
        f'<tr><td class="n">{row["confidence"]:.2f}</td><td class="n">{row["right"]:.2f}</td>'
        f'<td class="n">{row["pixels"]:,}</td></tr>'
        for row in sheet["calibration"]
    )
    return (
        "<h3>Calibration</h3><p>How often pixels of a confidence are right.</p>"
        '<table><tr><th class="n">confidence</th><th class="n">right</th>'
        f'<th class="n">labelled pixels</th></tr>{lines}</table>'
    )


def _doubt(told: Mapping[str, Any]) -> str:
    lines = "".join(
        f"<tr><td>{text(row['class'])}</td>"
        f'<td class="n">{row["confidence"]:.2f}</td><td class="n">{row["doubtful"]:.1%}</td></tr>'
        for row in told["doubt"]
    )
    if not lines:
        return ""
    return (
        "<h2>Where it is doubtful</h2><p>Dark places in the picture of confidence, and classes "
        "that are often doubtful. The array <code>quality</code> tells for every pixel how often "
        "it was seen and how unlike the training data it is.</p><table><tr><th>class</th>"
        '<th class="n">mean confidence</th><th class="n">pixels below one half</th></tr>'
        f"{lines}</table>"
    )


def _notes(made: MapStore, key: str) -> list[str]:
    try:
        return [str(note) for note in read_json(made.storage.read_document(key))["notes"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []


def _metres(each: Mapping[str, Any]) -> str:
    return f" of {each['metres']:g} m" if each["metres"] else ""


def _interval(value: Sequence[float]) -> str:
    middle, low, high = value
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"
