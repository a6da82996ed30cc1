"""What checks name against the scenario that they are of: metrics, phases, links, hosts. Pure.

What a metric is called is known before the run but for the names of operations that a trace brings along; whether it
can be measured (is it above scale? did a link pace?) is known only afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from scenarios.evidence.old_names import renamed
from scenarios.spec.scenario import Scenario
from scenarios.spec.vpc_schedule import changes_of
from scenarios.validation.limits import EXAMPLES, amount
from scenarios.validation.spec import CheckSpec, bounds
from topologies.model.document import KeyPath, Problem, nearest
from topologies.model.fabric import Fabric
from traffic.workloads.kinds.registry import kind_of

ALL_DROPS = {   # a place of `drops` that is a whole cause -> its name in ledger.json
    "queues": "queue_drops", "policy": "policy_drops", "links": "link_losses", "faults": "fault_losses"}
_LINK = re.compile(r"[a-z]\w*->?[a-z]\w*")      # everything else that a metric may name is not known before the run


def check_problems(scenario: Scenario, fabric: Fabric, checks: Mapping[str, CheckSpec] | None = None,
                   ) -> Iterator[Problem]:
    """Everything that checks (default: the scenario's own) name and the scenario or its fabric does not have."""
    for name, check in (scenario.checks if checks is None else checks).items():
        for problem in _of_check(scenario, fabric, check):
            yield Problem(("validate", name, *problem.path), problem.expected, problem.found, problem.hint)


def _of_check(scenario: Scenario, fabric: Fabric, check: CheckSpec) -> Iterator[Problem]:
    if check.phase is not None and check.phase not in (names := [p.name for p in scenario.phases]):
        yield Problem(("phase",), f"one of the phases {', '.join(names)}", check.phase, nearest(check.phase, names))
    if check.metric is not None:
        yield from _metrics(scenario, fabric, check)
    if check.drops is not None:
        yield from _drops(fabric, check)
    if check.culprit is not None:
        yield from _culprit(scenario, fabric, check)
    if check.isolation or check.reachable or check.unreachable:
        yield from _pairs(scenario, fabric, check)


def _metrics(scenario: Scenario, fabric: Fabric, check: CheckSpec) -> Iterator[Problem]:
    keys = {key: value for key in ("metric", "of", "of_prediction") if (value := getattr(check, key)) is not None}
    wrong = [p for key, value in keys.items() for p in _metric(scenario, fabric, value, (key,))]
    yield from wrong
    if wrong:
        return
    ratio = len(keys) > 1
    units = {_unit(value) for value in keys.values()}
    if len(units) > 1:
        yield Problem(("of" if check.of else "of_prediction",), f"a metric of the same unit as {check.metric}",
                      str(check.of or check.of_prediction))
        return
    unit = "" if ratio else units.pop()
    for key, limit in bounds(check):
        number, given = amount(limit)
        if given != (unit if unit in EXAMPLES else "") and number:
            what = f"a number with the metric's unit, such as {EXAMPLES[unit]}" if unit in EXAMPLES else \
                "a bare number, for a ratio" if ratio else f"a bare number of {unit or 'no unit'}"
            yield Problem((key,), what, str(limit))


def _unit(key: str) -> str:
    from traffic.metrics.known import unit_of  # noqa: PLC0415 - brings numpy, which files without checks do not need

    return unit_of(key.rpartition(".")[2]) or ""


def _metric(scenario: Scenario, fabric: Fabric, key: str, at: KeyPath) -> Iterator[Problem]:
    """A key of metrics.json: workload.tag, workload.phase.tag, workload.op.tag, fabric.tag, fabric.leaf1.tag."""
    from traffic.metrics.known import definitions, unit_of  # noqa: PLC0415 - as above

    owner, *between, tag = key.split(".") if "." in key else (key, "")
    owners = [*scenario.workloads, "fabric"]
    if owner not in owners:
        bare = not tag and unit_of(key) is not None
        yield Problem(at, f"a metric of {', '.join(owners)}, such as {owners[0]}.{tag or (key if bare else 'jct')}",
                      key, "" if bare else nearest(owner, owners))
    elif unit_of(tag) is None:
        yield Problem(at, "a metric of docs/reference/methods.md", tag or f"{key}, which names none",
                      renamed(tag) or nearest(tag, list(definitions())))
    elif owner == "fabric":
        places = [p.name for p in scenario.phases] + [n.name for n in fabric.of("leaf", "border")]
        if between and (len(between) > 1 or between[0] not in places):
            yield Problem(at, f"fabric.{tag}, or fabric.PLACE.{tag}, PLACE one of {', '.join(places)}", key,
                          nearest(".".join(between), places))
    elif between:
        yield from _phase_of_workload(scenario, owner, between, key, at)


def _phase_of_workload(scenario: Scenario, workload: str, between: list[str], key: str, at: KeyPath,
                       ) -> Iterator[Problem]:
    """What may stand between a workload and a tag: its phase if it runs in several, an operation of a trace."""
    phases = [p.name for p in scenario.phases if workload in p.run]
    several = kind_of(scenario.workloads[workload]).per_operation
    tag = key.rpartition(".")[2]
    if between[0] in phases and len(phases) > 1:
        between = between[1:]
    elif between[0] in phases and not several:
        yield Problem(at, f"{workload}.{tag}", key, f"{workload} runs in one phase only, which is not named again")
        return
    if between and (not several or len(between) > 1):
        where = f"{workload}.PHASE.{tag}, PHASE one of {', '.join(phases)}" if len(phases) > 1 else f"{workload}.{tag}"
        yield Problem(at, where, key, nearest(between[0], phases))


def _drops(fabric: Fabric, check: CheckSpec) -> Iterator[Problem]:
    for key, place in (("drops", check.drops), ("of", check.of)):
        if place is not None:
            yield from _place(fabric, place, (key,), of_phase=check.phase is not None)
    for key, limit in bounds(check):
        if amount(limit)[1]:
            yield Problem((key,), "a ratio of drops" if check.of else "a number of packets", str(limit))


def _place(fabric: Fabric, place: str, at: KeyPath, *, of_phase: bool) -> Iterator[Problem]:
    if of_phase and (place in ("policy", "links", "faults") or " " in place):
        yield Problem(at, "queues, a link or a direction: the other losses are not counted phase by phase", place)
        return
    first, _, rest = place.partition(" ")
    if place in ALL_DROPS or (rest and first in [s.name for s in fabric.switches]):
        return
    names = link_names(fabric)
    if first not in names or (rest and not rest.startswith("class ")):
        yield Problem(at, f"one of {', '.join(ALL_DROPS)}, or a queue such as leaf1->h1", place,
                      nearest(first, [*names, *ALL_DROPS]))


def link_names(fabric: Fabric) -> list[str]:
    """Every link, and its two directions."""
    return [name for link in fabric.links for name in (link.name, *link.directions)]


def _culprit(scenario: Scenario, fabric: Fabric, check: CheckSpec) -> Iterator[Problem]:
    yield from _metric(scenario, fabric, check.culprit or "", ("culprit",))
    names = link_names(fabric)
    named = [("equals", str(check.equals))] if check.equals is not None else [("one_of", x) for x in check.one_of or ()]
    for at, value in named:
        if _LINK.fullmatch(value) and value not in names:
            yield Problem((at,), "a link of the fabric such as leaf1-spine1, or a direction such as leaf1->spine1",
                          value, nearest(value, names))


def _pairs(scenario: Scenario, fabric: Fabric, check: CheckSpec) -> Iterator[Problem]:
    if not scenario.vpcs:
        yield Problem((check.subject,), "a scenario with vpcs, whose isolation is proved by packets", "no vpcs")
    changing = [p.name for p in scenario.phases if changes_of(scenario, p.name)]
    if check.phase is not None and check.phase not in changing:
        yield Problem(("phase",), "a phase that changes something, after which there is a proof: " +
                      (", ".join(changing) or "there is none"), check.phase)
    hosts = [n.name for n in fabric.of("host", "outside")]
    for n, pair in enumerate(check.reachable or check.unreachable or ()):
        for k, host in enumerate(pair):
            if host not in hosts:
                yield Problem((check.subject, n, k), f"a host of the fabric, from {hosts[0]} to {hosts[-1]}", host,
                              nearest(host, hosts))
