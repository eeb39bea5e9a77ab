"""A plan as people read it: one table, in hours and minutes, dollars and cents."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from pyproj import Geod

from tessera_mosaic.pipeline.planning.estimate import Bill, Plan, likely
from tessera_mosaic.pipeline.planning.priors import Drawn
from tessera_mosaic.pipeline.planning.scan_plan import ScanPlan
from tessera_mosaic.pipeline.scenes.scene import Sensor
from tessera_mosaic.pipeline.tiling.area import AreaRequest, read_area

WORTH_SAYING = 0.8
"""Share of a plan's pixels below which those inside the region alone are worth a word."""

PARTS = {
    "machines": "machines",
    "dataflow": "Dataflow",
    "cloud_nat": "Cloud NAT",
    "requests": "requests",
    "storage_first_year": "storage, a year",
}
"""Words for what money is paid for."""


def describe(plan: Plan, bill: Bill, hint: str = "") -> str:
    """A plan as a table.

    Parameters
    ----------
    plan, bill
        The plan, and what it takes on one kind of machine.
    hint
        What is said of the pixels besides.
    """
    origin = "by the orbits" if plan.passes.origin == "prior" else f"in {plan.passes.origin}"
    machine, written = bill.machine, plan.bytes_written
    pixels = f"{plan.pixels:,}, " + (
        "those inside the region" if plan.inside else "all of the tiles that touch the region"
    )
    asked = np.sum(list(bill.requests.values()), axis=0)
    lines = [
        _line("tiles", f"{plan.tiles:,}"),
        _line("pixels", pixels + (f"; {hint}" if hint else "")),
        _row("scenes", plan.scenes, amount, origin),
        *(
            _line(
                "from one sensor",
                f"{of.tiles:,} of {of.looked_up:,} tiles looked up, without "
                f"{Sensor(sensor).label}: {of.example}",
            )
            for sensor, of in plan.passes.absent.items()
        ),
        _row("tokens a pixel", plan.tokens, amount),
        _row("read", plan.bytes_read, size, f"{plan.bytes_read[0] / plan.pixels:,.0f} a pixel"),
        _row("written", written, size, f"{written[0] / plan.pixels:,.0f} a pixel"),
        _row("requests", asked, amount),
        _row("encoding", bill.accelerator_hours, duration, f"{machine.device}, {plan.precision}"),
        _row("machines", bill.machine_hours, duration, machine.name),
        _row("start to end", bill.days * 24, duration, f"with {plan.workers:,}"),
        *_money(bill.cost_usd),
        _line("speed from", bill.source),
        *_others(plan, bill),
    ]
    return "\n".join(lines)


def _others(plan: Plan, bill: Bill) -> list[str]:
    """The other kinds of machines, a line each."""
    others = [other for other in plan.bills if other is not bill]
    return [
        _line(
            "or on" if other is others[0] else "",
            f"{other.machine.name:17}{other.machine.device:6}"
            f"{duration(other.machine_hours[0]):>22}{money(other.total[0]):>16}"
            + ("" if other.machine.preset else "  not by deploy/"),
        ).rstrip()
        for other in others
    ]


def describe_scan(plan: ScanPlan) -> str:
    """A plan of a map or a search as a table."""
    lines = [
        _line("tiles", f"{plan.tiles:,} with {plan.pixels:,} pixels"),
        _row("read", plan.bytes_read, size),
        _row("written", plan.bytes_written, size),
        _row("requests", plan.requests, amount),
        _row("cores", plan.core_hours, duration),
        _row("start to end", plan.days * 24, duration, f"with {plan.cores:,}"),
        *_money(plan.cost_usd),
    ]
    return "\n".join(lines)


def inside_hint(area: AreaRequest, pixels: int) -> str:
    """What `--pixels inside` would leave of a plan; empty where it hardly matters."""
    if area.inside or area.is_list or area.region.strip().casefold() == "global":
        return ""
    ground = abs(Geod(ellps="WGS84").geometry_area_perimeter(read_area(area).region)[0]) / 100
    if ground > WORTH_SAYING * pixels:
        return ""
    times = pixels / max(ground, 1.0)
    return f"--pixels inside leaves about {amount(ground)}, {amount(times)} times fewer"


def _money(costs: Mapping[str, Drawn]) -> list[str]:
    """The cost, and then what it is for."""
    parts = sorted(costs.items(), key=lambda part: -part[1][0])
    return [
        _row("cost", np.sum(list(costs.values()), axis=0), money),
        *(_row(f"  {PARTS.get(name, name)}", drawn, money) for name, drawn in parts),
    ]


def _line(name: str, text: str) -> str:
    return f"{name:18}{text}"


def _row(name: str, drawn: Drawn, words: Callable[[float], str], more: str = "") -> str:
    """A name, a value, where it lies in nine cases of ten, and what else is said."""
    low, high = (words(end) for end in likely(drawn))
    between = "" if low == high else f"{low} to {high}"
    return _line(name, f"{words(drawn[0]):22}{between:38}{more}".rstrip())


def money(usd: float) -> str:
    """Dollars as people say them.

    Examples
    --------
    >>> money(0.0008), money(0.463), money(5.438), money(70_213.0)
    ('under 1 cent', '46 cents', '5.44 USD', '70,200 USD')
    """
    if usd <= 0:
        return "nothing"
    if usd < 0.01:
        return "under 1 cent"
    if round(usd, 2) < 1:
        cents = round(usd * 100)
        return f"{cents} cent{'s' * (cents > 1)}"
    return f"{usd:,.2f} USD" if usd < 100 else f"{amount(usd)} USD"


def duration(hours: float) -> str:
    """Hours as people say them.

    Examples
    --------
    >>> duration(0.005), duration(8 / 60), duration(1.21), duration(30), duration(300)
    ('under 1 minute', '8 minutes', '1 hour 13 minutes', '30 hours', '12.5 days')
    """
    minutes = round(hours * 60)
    if minutes < 1:
        return "under 1 minute"
    if minutes < 60:
        return f"{minutes} minute{'s' * (minutes > 1)}"
    if hours >= 48:
        return f"{amount(hours / 24)} days"
    whole, rest = divmod(minutes, 60)
    if whole >= 10:
        return f"{round(hours)} hours"
    told = f"{whole} hour{'s' * (whole > 1)}"
    return told + (f" {rest} minute{'s' * (rest > 1)}" if rest else "")


def size(count: float) -> str:
    """Bytes in the unit that fits.

    Examples
    --------
    >>> size(75.5e9), size(1.04e6)
    ('75.5 GB', '1.04 MB')
    """
    power = min(max(int(np.log10(max(count, 1.0)) // 3), 1), 5)
    return f"{amount(count / 1000**power)} {'kMGTP'[power - 1]}B"


def amount(value: float) -> str:
    """Three figures, and no zeros that say nothing.

    Examples
    --------
    >>> amount(125.4), amount(66_845), amount(1_603_000_000_000), amount(0.0629)
    ('125', '66,800', '1.6 million million', '0.0629')
    """
    for power, word in ((1e12, " million million"), (1e6, " million")):
        if abs(value) >= 10 * power or (abs(value) >= power and power > 1e6):
            return amount(value / power) + word
    if not value:
        return "0"
    short = float(f"{value:.3g}")
    digits = max(0, 2 - int(np.floor(np.log10(abs(short)))))
    text = f"{short:,.{min(digits, 9)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
