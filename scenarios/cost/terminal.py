"""Costs for a terminal (rich), and as one JSON object for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scenarios.cost.designs import Design, as_json, left_out, rankings
from scenarios.cost.prices import Prices
from scenarios.cost.running import CLASSES, ELECTRICITY, GPU_HOUR, total
from scenarios.cost.sensitivity import STEPS, Ranking
from scenarios.cost.summary import basis, caveats, money, sentences
from scenarios.report.text import number, percent


def json_object(designs: Sequence[Design], prices: Prices) -> dict[str, object]:
    """Designs with their bills and costs, rankings with their sensitivities, and which prices these are."""
    found = rankings(designs)
    return {"prices": {"file": prices.file, "currency": prices.currency,
                       "amortisation_years": prices.amortisation_years,
                       "assumptions": sum(f.assumed for f in prices.figures), "figures": len(prices.figures)},
            "designs": [as_json(d) for d in designs],
            "rankings": [{**asdict(r), "order": r.order, "sentences": sentences(r, prices.currency)} for r in found],
            "left_out": left_out(designs)}


def render(designs: Sequence[Design], prices: Prices) -> RenderableType:
    """Findings first, then each design's bill, then what an hour and the work cost, then the sensitivities."""
    found = rankings(designs)
    runs = sum(d.verdict is not None for d in designs)
    parts: list[RenderableType] = [Text(s) for r in found for s in sentences(r, prices.currency)]
    parts += [Text(s, style="yellow") for s in left_out(designs)]
    parts += [Text(s, style="dim") for s in caveats(runs, found)]
    sources = _sources(designs)
    for design in designs:
        parts += [Text(), _bill(design, prices, sources)]
    parts += [Text(), _hours(designs, prices)]
    for table in (_costs(designs, prices), *(_sensitivity(r) for r in found)):
        if table.row_count:
            parts += [Text(), table]
    notes = [f"[{n}] {source}" for source, n in sources.items()]
    return Group(*parts, Text(), *(Text(line, style="dim") for line in (basis(prices), *notes)))


def _sources(designs: Sequence[Design]) -> dict[str, int]:
    """Source -> its number among the notes."""
    found = dict.fromkeys(line.price.source for d in designs for line in d.bill.lines if not line.price.assumed)
    return {source: n for n, source in enumerate(found, start=1)}


def _bill(design: Design, prices: Prices, sources: Mapping[str, int]) -> Table:
    bill, spec = design.bill, design.fabric.spec
    verdict = f", {design.verdict}" if design.verdict else ""
    table = _table(f"{design.name}{verdict}: fabric {spec.name}, {bill.hosts} hosts, {bill.leaves} leaves, "
                   f"{bill.spines} spines",
                   "part", "", "quantity", f"{prices.currency} each", prices.currency, "source")
    for line in bill.lines:
        table.add_row(line.kind, line.part, number(line.quantity), number(line.price.value), number(line.total),
                      "assumption" if line.price.assumed else f"[{sources[line.price.source]}]")
    table.add_row("all", "", "", "", number(round(bill.price)), f"{number(round(bill.watts))} W")
    return table


def _hours(designs: Sequence[Design], prices: Prices) -> Table:
    table = _table(f"An hour of the fabric, {prices.currency}", "design", "hardware", "electricity", "all", "a host")
    for d in designs:
        all_of = total(d.hour)
        power = d.hour[ELECTRICITY]
        table.add_row(d.name, number(all_of - power), number(power), number(all_of), number(all_of / d.bill.hosts))
    return table


def _costs(designs: Sequence[Design], prices: Prices) -> Table:
    table = _table(f"Work, {prices.currency}", "design", "work", "cost", "fabric", "GPUs", "waiting for the network",
                   "tokens outside the SLOs")
    for d in designs:
        for c in d.costs.values():
            gpus = (c.amounts or {}).get(GPU_HOUR, 0.0)
            table.add_row(
                d.name, f"a {c.unit} of {c.workload} in {c.phase}", money(c.total, ""), number((c.total or 0.0) - gpus),
                number(gpus), money(c.lost, ""), "-" if c.missed_share is None else percent(c.missed_share))
    return table


def _sensitivity(found: Ranking) -> Table:
    table = _table(f"Cheapest by the cost of {found.what}, if one price were another", "price",
                   *(f"x {f:g}" for f in STEPS), "turns at")
    for s in sorted(found.sensitivities, key=lambda s: CLASSES.index(s.price)):
        turns = [f"x {t.factor:.3g}: {t.design}" for t in (s.down, s.up) if t is not None]
        table.add_row(s.price, *(order[0] for order in s.orders), "; ".join(turns) or "never")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, overflow="fold",
                         justify="left" if name in _WORDS else "right")
    return table


_WORDS = {"part", "", "source", "design", "work", "price", "turns at",
          *(f"x {f:g}" for f in STEPS)}

