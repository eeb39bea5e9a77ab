"""Compute the tables of docs/planet.md and put them where its markers are.

python tools/planet_page.py
"""

from __future__ import annotations

import re
from pathlib import Path

from tessera_mosaic.model.cards import card_named
from tessera_mosaic.pipeline.planning.estimate import Bill, Plan, likely, make_plan
from tessera_mosaic.pipeline.planning.priors import Drawn, read_priors
from tessera_mosaic.pipeline.planning.revisits import ground_of
from tessera_mosaic.pipeline.planning.scan_plan import plan_scan
from tessera_mosaic.pipeline.tiling.area import AreaRequest, read_area

PAGE = Path(__file__).resolve().parents[1] / "docs" / "planet.md"
YEAR = 2025
MODELS = ("v2-nano", "v2-small", "v2-medium", "v2-large", "v1.1-mpc")
SHOWN = "v2-large"
WORKERS = 1000


def tables() -> dict[str, str]:
    """The page's tables, by the name of their markers."""
    ground, priors = ground_of(read_area(AreaRequest("global"))), read_priors()
    plans = {
        model: make_plan(ground, YEAR, card_named(model), "bf16", workers=WORKERS, priors=priors)
        for model in MODELS
    }
    return {
        "size": size_table(plans[SHOWN]),
        "money": money_table(plans),
        "search": search_table(),
        "figures": "\n".join(
            [
                "| figure | value | range | what | source, date |",
                "| --- | ---: | --- | --- | --- |",
                *(
                    f"| `{entry.name}` | {entry.value:,g} | {entry.low:,g} to {entry.high:,g} "
                    f"| {entry.unit} | {entry.source}, {entry.date} |"
                    for entry in priors.figures.values()
                ),
            ]
        ),
    }


def size_table(plan: Plan) -> str:
    """What a global year is, whatever it runs on."""
    rows = {
        "tiles of 2048 px": f"{plan.tiles:,} tiles",
        "pixels that they own": f"{plan.owned:,} pixels",
        "pixels to embed, with the margin at zone lines": f"{plan.pixels:,} pixels",
        "scenes to open, summed over tiles": ranged(plan.scenes / 1e6, "million"),
        "tokens a pixel (v2)": ranged(plan.tokens, ""),
        "read": ranged(plan.bytes_read / 1e15, "PB"),
        "requests for it": ranged(plan.requests["read"] / 1e9, "thousand million"),
        "written": ranged(plan.bytes_written / 1e12, "TB"),
        "to keep it": ranged(plan.storage_usd_per_year / 1e3, "thousand USD a year"),
    }
    return "\n".join(["| | |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in rows.items())])


def money_table(plans: dict[str, Plan]) -> str:
    """Hours and money of each model on each machine."""
    lines = [
        f"| model | machine | accelerator hours | machine hours | days on {WORKERS:,} "
        "| machines, USD | Dataflow, USD | Cloud NAT, USD |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for model, plan in plans.items():
        for bill in sorted(plan.bills, key=lambda bill: bill.machine.name):
            note = " *" if "scaled" in bill.source else ""
            lines.append(
                f"| {model} | {bill.machine.name} ({bill.machine.device}) "
                f"| {ranged(bill.accelerator_hours, '')}{note} | {ranged(bill.machine_hours, '')} "
                f"| {ranged(bill.days, '')} | {ranged(bill.cost_usd['machines'], '')} "
                f"| {part(bill, 'dataflow')} | {part(bill, 'cloud_nat')} |"
            )
    return "\n".join(lines)


def search_table() -> str:
    """What a search of a year of all land is, and what a map is."""
    area = AreaRequest("global")
    plans = [plan_scan(job, area, WORKERS) for job in ("search", "map")]
    rows = {
        "read, TB": [ranged(plan.bytes_read / 1e12, "") for plan in plans],
        "written, TB": [ranged(plan.bytes_written / 1e12, "") for plan in plans],
        "hours of a virtual core": [ranged(plan.core_hours, "") for plan in plans],
        f"hours on {WORKERS:,} of them": [ranged(plan.days * 24, "") for plan in plans],
        "USD": [ranged(plan.total, "") for plan in plans],
    }
    return "\n".join(
        [
            "| | one query of examples | a map of ten classes |",
            "| --- | --- | --- |",
            *(f"| {name} | {' | '.join(values)} |" for name, values in rows.items()),
        ]
    )


def part(bill: Bill, name: str) -> str:
    """A part of the cost; nothing where the deployment has none of it."""
    return ranged(bill.cost_usd[name], "") if name in bill.cost_usd else ""


def ranged(drawn: Drawn, unit: str) -> str:
    """A value with three figures, and where it lies in nine cases of ten."""
    value, low, high = (short(number) for number in (drawn[0], *likely(drawn)))
    return f"{value} {unit} ({low} to {high})".replace("  ", " ")


def short(number: float) -> str:
    """A number with three figures."""
    return f"{float(f'{number:.3g}'):,.10g}"


def main() -> None:
    """Rewrite the page."""
    text = PAGE.read_text(encoding="utf-8")
    for name, table in tables().items():
        marker = f"<!-- {name} -->"
        text = re.sub(
            f"{marker}.*?{marker}", lambda _, t=table, m=marker: f"{m}\n{t}\n{m}", text, flags=re.S
        )
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
