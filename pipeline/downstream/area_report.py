"""The report of `areas`: one HTML page that needs nothing but itself, with bars and intervals."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tessera_mosaic.pipeline.downstream.area_result import AreaResult, ClassArea, Domain
from tessera_mosaic.pipeline.evaluation.stratified_estimates import Estimate
from tessera_mosaic.pipeline.publishing.report import STYLE

MOST_DOMAINS = 200
"""Districts in the tables, at most; beyond that `areas.csv` tells."""

MOST_MATRIX = 30
"""Classes up to which the error matrix is shown; beyond that `areas.json` tells."""

MOST_BARS = 40
"""Districts in a chart, at most."""

VALUE_COLOUR = "#1a7a6c"
"""Of the bars of means."""

LABELS, BARS, FIGURES, ROW = 190, 430, 220, 34
"""Widths of the parts of a chart and height of its rows, in its own units."""

OWN_STYLE = """
svg.areas { max-width: 860px } svg.areas text { font-size: 13px; fill: var(--ink) }
svg.areas text.quiet { fill: var(--quiet); font-size: 12px }
.card { white-space: normal }
table.estimates th { white-space: normal; overflow-wrap: normal; vertical-align: bottom }
table.estimates td:first-child { white-space: nowrap } td.right { background: #e8f2f0 }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 8px;
  vertical-align: -1px; border: 1px solid #0002 }
.scroll { overflow-x: auto } .note { border-left: 3px solid var(--line); padding-left: 12px }
"""


def report_page(result: AreaResult) -> str:
    """The page.

    Parameters
    ----------
    result
        What it tells.
    """
    title = f"Areas of {result.year}" if result.classes else f"Mean and total of {result.year}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}{OWN_STYLE}</style></head><body>\n"
        f"<h1>{title}</h1>\n" + "\n".join(interval_sections(result)) + "\n</body></html>\n"
    )


def page_section(result: AreaResult) -> str:
    """What another page, in the style of reports, takes up of this one.

    Parameters
    ----------
    result
        What it tells.
    """
    title = "How much there is" if result.classes else "Mean and total"
    parts = "\n".join(interval_sections(result))
    return f"<style>{OWN_STYLE}</style><h2>{title}</h2>\n{parts}"


def interval_sections(result: AreaResult) -> list[str]:
    """The parts of the page below its title.

    Parameters
    ----------
    result
        What they tell.
    """
    place = f" · {_text(result.region)}" if result.region else ""
    parts = [
        f'<p class="quiet">{_text(result.map)}{place} · {_hectares(result.hectares)} · '
        f"{result.points} points, design {_text(result.design)}, seed {result.seed} · "
        f"intervals of {result.confidence:.0%}</p>"
    ]
    parts += _classes(result) if result.classes else _values(result)
    if result.domains:
        parts.append(_domains(result))
    notes = "".join(f'<p class="note">{_text(note)}</p>' for note in result.notes)
    return [*parts, f"<h2>What to know</h2>{notes}{_method(result)}", _strata(result)]


def _classes(result: AreaResult) -> list[str]:
    overall = result.overall
    cards = (
        ""
        if overall is None
        else (
            f'<div class="cards"><div class="card"><b>{_share(overall)}</b>'
            f"<span>of the ground is mapped right</span></div></div>"
        )
    )
    rows = "".join(
        f"<tr><td>{_swatch(each)}{_text(each.name)}</td>"
        f'<td class="n">{_number(each.area.value)}</td><td class="n">{_range(each.area)}</td>'
        f'<td class="n">{_number(each.counted)}</td>'
        f'<td class="n">{_share(each.users)}</td><td class="n">{_share(each.producers)}</td>'
        f'<td class="n">{each.points}</td></tr>'
        for each in result.classes
        if each.is_class
    )
    bars = [
        _Bar(each.name, each.colour, each.area, each.counted)
        for each in sorted(result.classes, key=lambda each: -each.area.value)
        if each.is_class
    ]
    heads = (
        ("class", ""),
        ("estimated area, ha", "n"),
        ("interval, ha", "n"),
        ("pixel count, ha (no estimate)", "n"),
        ("right of what is mapped so", "n"),
        ("found of what is so", "n"),
        ("points", "n"),
    )
    return [
        cards,
        f"<h2>Areas</h2>{_chart(bars, 'hectares')}"
        '<p class="quiet">Bars are estimates, lines their intervals. The open mark is the area by '
        "pixel count, which has the map's errors in it.</p>"
        f"{_table(heads, rows)}",
        _matrix(result),
    ]


@dataclass(frozen=True)
class _Bar:
    """A row of a chart: an estimate, and what the map shows by itself."""

    name: str
    colour: str
    estimate: Estimate
    shown: float | None


def _chart(bars: Sequence[_Bar], unit: str) -> str:
    """Bars of estimates of 0 or more with their intervals, in the order given."""
    largest = max(max(bar.estimate.high, bar.shown or 0.0) for bar in bars) or 1.0
    step = _step(largest / 4)
    height = ROW * len(bars) + 44
    width = LABELS + BARS + FIGURES

    def x(value: float) -> str:
        return f"{LABELS + BARS * value / largest:.1f}"

    parts = [
        f'<svg class="areas" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="Estimates with their intervals">'
    ]
    for number in range(int(largest / step + 0.001) + 1):
        at = x(number * step)
        parts.append(
            f'<line x1="{at}" x2="{at}" y1="6" y2="{height - 36}" stroke="#d9dde2"/>'
            f'<text class="quiet" x="{at}" y="{height - 18}" text-anchor="middle">'
            f"{_figure(number * step)}</text>"
        )
    parts.append(f'<text class="quiet" x="{LABELS}" y="{height - 3}">{_text(unit)}</text>')
    for number, bar in enumerate(bars):
        parts.append(_drawn_bar(bar, 10 + ROW * number + ROW / 2, x))
    return "".join([*parts, "</svg>"])


def _drawn_bar(bar: _Bar, middle: float, x: Callable[[float], str]) -> str:
    """A bar with whiskers, a mark for what the map shows, and its figures beside it."""
    estimate = bar.estimate
    ends = "".join(
        f'<line x1="{x(end)}" x2="{x(end)}" y1="{middle - 6}" y2="{middle + 6}" '
        'stroke="#1e2228" stroke-width="2"/>'
        for end in (estimate.low, estimate.high)
    )
    mark = (
        ""
        if bar.shown is None
        else f'<circle cx="{x(bar.shown)}" cy="{middle}" r="5" fill="#fff" stroke="#1e2228" '
        'stroke-width="1.5"/>'
    )
    return (
        f'<text x="{LABELS - 10}" y="{middle + 4}" text-anchor="end">'
        f"{_text(_shortened(bar.name))}</text>"
        f'<rect x="{LABELS}" y="{middle - 9}" width="{float(x(estimate.value)) - LABELS:.1f}" '
        f'height="18" rx="2" fill="{bar.colour}" stroke="#0003"/>'
        f'<line x1="{x(estimate.low)}" x2="{x(estimate.high)}" y1="{middle}" y2="{middle}" '
        f'stroke="#1e2228" stroke-width="2"/>{ends}{mark}'
        f'<text x="{LABELS + BARS + 12}" y="{middle + 4}">{_number(estimate.value)} '
        f'<tspan fill="#5d6672">({_range(estimate)})</tspan></text>'
    )


def _matrix(result: AreaResult) -> str:
    names = [each.name for each in result.classes]
    if len(names) > MOST_MATRIX:
        return f"<h2>Errors</h2><p>{len(names)} classes: see areas.json.</p>"
    heads = [("in the map", ""), *((name, "n") for name in names), ("all", "n")]
    rows = []
    for name, shares, counts in zip(names, result.matrix, result.counts, strict=True):
        cells = "".join(
            f'<td class="n{" right" if names[k] == name else ""}">'
            + (f"{share:.2%} <span class='quiet'>({count})</span>" if count else "")
            + "</td>"
            for k, (share, count) in enumerate(zip(shares, counts, strict=True))
        )
        rows.append(f'<tr><td>{_text(name)}</td>{cells}<td class="n">{sum(shares):.2%}</td></tr>')
    truth = "".join(f'<td class="n">{each.share.value:.2%}</td>' for each in result.classes)
    rows.append(f'<tr><td>in truth</td>{truth}<td class="n">100.00%</td></tr>')
    return (
        "<h2>Errors</h2><p>Estimated share of the ground by class in the map and in truth, with "
        f"the points behind it.</p>{_table(heads, ''.join(rows))}"
    )


def _values(result: AreaResult) -> list[str]:
    unit = f" {result.unit}" if result.unit else ""
    whole = result.bands[0]
    cards = {
        "mean": f"{_plain(result.mean)}{_text(unit)}",
        "total": f"{_plain(result.total)}{_text(f'{unit} x ha' if unit else ' x ha')}",
        "mean of the map (no estimate)": f"{_figure(result.mapped_mean)}{_text(unit)}",
    }
    if whole.covering is not None:
        cards[f"holds {result.confidence:.0%} of pixels"] = f"± {_figure(whole.covering)}"
    body = "".join(
        f'<div class="card"><b>{value}</b><span>{_text(name)}</span></div>'
        for name, value in cards.items()
    )
    rows = "".join(
        f"<tr><td>{'all' if number == 0 else 'where the map shows'}</td>"
        f'<td class="n">{_figure(band.low)} to {_figure(band.high)}</td>'
        f'<td class="n">{band.points}</td><td class="n">{_figure(band.bias)}</td>'
        f'<td class="n">{_figure(band.rmse)}</td>'
        f'<td class="n">{"too few points" if band.covering is None else _figure(band.covering)}'
        "</td></tr>"
        for number, band in enumerate(result.bands)
    )
    heads = (
        ("pixels", ""),
        (f"mapped{unit}", "n"),
        ("points", "n"),
        ("true less mapped, mean", "n"),
        ("root mean square error", "n"),
        (f"distance that holds {result.confidence:.0%}", "n"),
    )
    means = [
        ("all", result.mean, result.mapped_mean),
        *((each.name, each.mean, None) for each in result.domains[:MOST_BARS]),
    ]
    bars = [_Bar(name, VALUE_COLOUR, mean, shown) for name, mean, shown in means if mean]
    drawn = all(bar.estimate.low >= 0 for bar in bars)
    return [
        f'<div class="cards">{body}</div>',
        f"<h2>Means</h2>{_chart(bars, f'mean{unit}')}" if drawn else "",
        f"<h2>A pixel</h2>{_table(heads, rows)}",
    ]


def _domains(result: AreaResult) -> str:
    heads: list[tuple[str, str]] = [("district", ""), ("ha", "n"), ("points", "n")]
    shown = [k for k, each in enumerate(result.classes) if each.is_class]
    heads += [(result.classes[k].name, "n") for k in shown] or [("mean", "n"), ("total", "n")]
    rows = "".join(_domain(each, shown) for each in result.domains[:MOST_DOMAINS])
    more = len(result.domains) - MOST_DOMAINS
    rest = f"<p>{more} more in areas.csv.</p>" if more > 0 else ""
    quantity = "Areas in hectares" if result.classes else "Means and totals"
    return (
        f"<h2>By district</h2><p>{quantity}, with intervals. Where few points lie, little is known."
        f"</p>{_table(heads, rows)}{rest}"
    )


def _domain(domain: Domain, shown: Sequence[int]) -> str:
    estimates: list[Estimate | None] = [domain.areas[k] for k in shown]
    estimates = estimates or [domain.mean, domain.total]
    cells = "".join(f'<td class="n">{_plain(each)}</td>' for each in estimates)
    return (
        f'<tr><td>{_text(domain.name)}</td><td class="n">{_number(domain.hectares)}</td>'
        f'<td class="n">{domain.points}</td>{cells}</tr>'
    )


def _strata(result: AreaResult) -> str:
    rows = "".join(
        f'<tr><td>{_text(name)}</td><td class="n">{pixels:,}</td>'
        f'<td class="n">{_number(hectares)}</td><td class="n">{points}</td></tr>'
        for name, pixels, hectares, points in result.strata
    )
    heads = (("stratum", ""), ("pixels", "n"), ("ha", "n"), ("points", "n"))
    return f"<h2>The sample</h2>{_table(heads, rows)}"


def _method(result: AreaResult) -> str:
    said = (
        "Areas, accuracies and their standard errors are the stratified estimators of Olofsson et "
        "al. (2014) and Stehman (2014) for finite populations. Intervals are score intervals with "
        "continuity correction, which hold in small strata, too. Hectares are true ground: the "
        "scale of UTM is taken out."
        if result.classes
        else "Mean and total are those of the map, corrected by what the points say of its error "
        "(difference estimator), with intervals by Student's distribution."
    )
    return f'<p class="quiet">{said}</p>'


def _table(heads: Sequence[tuple[str, str]], rows: str) -> str:
    """A table under names of columns, each with the class of its cells."""
    cells = "".join(
        f'<th class="{kind}">{_text(name)}</th>' if kind else f"<th>{_text(name)}</th>"
        for name, kind in heads
    )
    return f'<div class="scroll"><table class="estimates"><tr>{cells}</tr>{rows}</table></div>'


def _swatch(each: ClassArea) -> str:
    return f'<span class="swatch" style="background:{each.colour}"></span>'


def _share(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "unknown"
    return f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"


def _range(estimate: Estimate) -> str:
    return f"{_number(estimate.low)} to {_number(estimate.high)}"


def _plain(estimate: Estimate | None) -> str:
    if estimate is None:
        return "too few points"
    if math.isnan(estimate.value):
        return f"{_figure(estimate.low)} to {_figure(estimate.high)}"
    low, high = _figure(estimate.low), _figure(estimate.high)
    return f'{_figure(estimate.value)} <span class="quiet">({low} to {high})</span>'


def _number(value: float) -> str:
    """Hectares in whole numbers, or with as many places as make three figures."""
    if value == 0 or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.{2 if value < 10 else 1}f}"


def _figure(value: float | None) -> str:
    """A value in four figures."""
    if value is None:
        return "unknown"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _hectares(value: float) -> str:
    return f"{_number(value)} ha"


def _step(rough: float) -> float:
    """The number of the kind 1, 2 or 5 times a power of ten that comes next."""
    power = 10 ** math.floor(math.log10(rough))
    return next(each * power for each in (1, 2, 5, 10) if each * power >= rough * 0.999)


def _shortened(name: str) -> str:
    return name if len(name) <= 26 else f"{name[:25]}…"


def _text(value: object) -> str:
    return html.escape(str(value))
