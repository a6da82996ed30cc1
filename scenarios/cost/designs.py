"""Designs side by side: fabrics by their price, runs by what their work cost as well.

Only runs that may be used (complete and VALID) are ranked, only runs of one scale are compared, and only work that
is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from scenarios.cost.bill import Bill, bill_of
from scenarios.cost.prices import Prices
from scenarios.cost.running import CLASSES, Amounts, Cost, Key, cost_of, hour_of, scaled, total
from scenarios.cost.sensitivity import Ranking, ranking
from scenarios.cost.uses import Work, gpus_named, plans_of, uses_of
from scenarios.evidence.results import RunDirectory
from scenarios.spec.scenario import Scenario
from topologies.model.errors import SpecError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec

HOUR = "an hour of the fabric for each host"
Json = dict[str, object]


@dataclass(frozen=True)
class Design:
    """A fabric with its price; of a run also what each workload cost, and what work that was.

    run, verdict: of a run, None for a fabric. usable: whether its costs may be compared.
    """

    name: str
    fabric: Fabric
    bill: Bill
    hour: Amounts
    costs: Mapping[Key, Cost]
    work: Mapping[Key, Work]
    run: str | None = None
    verdict: str | None = None
    usable: bool = True


def of_fabric(name: str, spec: FabricSpec, prices: Prices, host_rate: float | None = None) -> Design:
    """Raises SpecErrors for parts that the price file lacks."""
    fabric = expand(spec)
    bill = bill_of(fabric, prices, host_rate)
    return Design(name, fabric, bill, hour_of(bill, prices), {}, {})


class Priced:
    """A scenario's fabric with its price, and its workloads compiled, for the metrics of one run or of many."""

    def __init__(self, name: str, scenario: Scenario, prices: Prices, host_rate: float | None = None) -> None:
        """Raises LabError for what the price file lacks, or a trace that can no longer be read."""
        self.scenario, self.prices = scenario, prices
        self.base = of_fabric(name, scenario.fabric, prices, host_rate)
        self.plans = plans_of(scenario, self.base.fabric)
        self.gpu_hours = {name: prices.gpu_hour(gpu, f"workload {name}").value
                          for name, gpu in gpus_named(scenario, prices.gpu).items()}

    def design(self, metrics: Mapping[str, Mapping[str, object]]) -> Design:
        """With what the work of these metrics cost."""
        costs, work = {}, {}
        for use, did in uses_of(self.scenario, self.base.fabric, self.plans, metrics, self.prices.gpu):
            cost = cost_of(use, self.base.hour, self.gpu_hours[use.workload])
            costs[cost.key], work[cost.key] = cost, did
        return replace(self.base, costs=costs, work=work)


def of_run(run: RunDirectory, prices: Prices, host_rate: float | None = None) -> Design:
    """Raises LabError where a part of the run is missing or damaged, or the price file lacks one."""
    metrics, verdict = run.read("metrics"), run.read("verdict") or {}
    if metrics is None:
        raise SpecError(str(run.path), "a run that has its metrics", f"one that is {run.meta.status}",
                        "price its fabric instead, or run the scenario again")
    level = str(verdict.get("verdict") or "no verdict")
    priced = Priced(run.id.partition("-")[2] or run.id, run.scenario, prices, host_rate)
    usable = level == "VALID" and run.meta.status == "complete"
    return replace(priced.design(metrics), run=run.id, verdict=level, usable=usable)


def check_together(designs: Sequence[Design]) -> None:
    """Raises SpecError for a design twice, and for runs of different scale."""
    names = [d.run or d.name for d in designs]
    for name in names:
        if names.count(name) > 1:
            raise SpecError("aifab cost", "each fabric and each run once", f"{name} twice")
    scales = {(d.fabric.spec.scale.rate, d.fabric.spec.scale.size): d.name for d in designs if d.verdict}
    if len(scales) > 1:
        one, other = list(scales.items())[:2]
        raise SpecError("aifab cost", "runs of one scale: what does not scale differs between others",
                        f"{one[1]} at rate x {one[0][0]:g}, size x {one[0][1]:g}; {other[1]} at rate x "
                        f"{other[0][0]:g}, size x {other[0][1]:g}", "compare them one at a time")


def rankings(designs: Sequence[Design]) -> list[Ranking]:
    """Of the fabrics' price an hour, and of each work that two usable runs or more did alike."""
    found = []
    if any(d.bill != designs[0].bill for d in designs):
        found.append(ranking(HOUR, {d.name: scaled(d.hour, 1 / d.bill.hosts) for d in designs}))
    for key in dict.fromkeys(k for d in designs for k in d.costs):
        priced = _alike(designs, key)
        if len(priced) > 1:
            found.append(ranking(called(key), priced))
    return found


def called(key: Key) -> str:
    """'a training step of job in phase main'"""
    return f"a {key[2]} of {key[0]} in phase {key[1]}"


def _alike(designs: Sequence[Design], key: Key) -> dict[str, Amounts]:
    """Designs that may be compared in `key`; none of them where they did different work."""
    able = [d for d in designs if d.usable and key in d.costs]
    if len({d.work[key] for d in able}) > 1:
        return {}
    return {d.name: amounts for d in able if (amounts := d.costs[key].amounts) is not None}


def left_out(designs: Sequence[Design]) -> list[str]:
    """Why something is not ranked, in sentences."""
    found = [f"{d.name} is {d.verdict}: its costs are reported, not to be used, and not ranked." for d in designs
             if not d.usable]
    for key in dict.fromkeys(k for d in designs for k in d.costs):
        able = [d for d in designs if d.usable and key in d.costs]
        if len({d.work[key] for d in able}) > 1:
            found.append(f"{key[0]} in phase {key[1]} did not do the same work in {', '.join(d.name for d in able)}: "
                         "its cost is not ranked.")
    return found


def as_json(design: Design) -> Json:
    """With the bill's lines, each with price, source and date."""
    spec, bill = design.fabric.spec, design.bill
    return {
        "design": design.name, "run": design.run, "fabric": spec.name, "verdict": design.verdict,
        "usable": design.usable, "hosts": bill.hosts, "leaves": bill.leaves, "spines": bill.spines,
        "bill": [{**asdict(line), "price": line.price.model_dump(), "watts": line.watts.model_dump(),
                  "total": line.total} for line in bill.lines],
        "price": bill.price, "watts": bill.watts, "hour": {**design.hour, "total": total(design.hour)},
        "costs": [{"workload": c.workload, "phase": c.phase, "unit": c.unit, "total": c.total,
                   "amounts": None if c.amounts is None else {k: c.amounts.get(k, 0.0) for k in CLASSES},
                   "lost_to_network": c.lost, "lost_gpu_hours": c.lost_gpu_hours, "missed_share": c.missed_share}
                  for c in design.costs.values()]}
