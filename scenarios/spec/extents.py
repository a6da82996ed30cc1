"""How much a scenario becomes, against what `check` and a run can hold. Pure, and known before anything is built."""

from __future__ import annotations

from collections.abc import Iterator

from scenarios.spec.scenario import Scenario
from topologies.model.document import Problem
from topologies.model.fabric import Fabric
from traffic.workloads.extent import MAX_ALL_OPS, MAX_ALL_REQUESTS, Extent
from traffic.workloads.kinds.registry import kind_of


def extent_problems(scenario: Scenario, fabric: Fabric) -> Iterator[Problem]:
    """Workloads that become too much by themselves, else all of them together, each once for each of its phases."""
    found = False
    for name, spec in scenario.workloads.items():
        for problem in kind_of(spec).limits(spec, fabric, ("workloads", name)):
            found = True
            yield problem
    if found:
        return
    ops, requests = totals(scenario, fabric)
    for total, most, what in ((ops, MAX_ALL_OPS, "computes and transfers of an iteration"),
                              (requests, MAX_ALL_REQUESTS, "requests")):
        if total > most:
            yield Problem(("phases",), f"at most {most:,} {what} in all phases together", f"{total:,}",
                          "fewer phases, or smaller workloads: several scenarios do what one cannot")


def totals(scenario: Scenario, fabric: Fabric) -> tuple[int, int]:
    """Operations and requests of all phases; a workload counts once for each phase that it runs in."""
    extents: dict[str, Extent] = {name: kind_of(spec).extent(spec, fabric) for name, spec in scenario.workloads.items()}
    runs = [extents[name] for phase in scenario.phases for name in phase.run if name in extents]
    return sum(e.ops for e in runs), sum(e.requests for e in runs)
