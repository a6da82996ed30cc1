"""Classes of a scenario: who is in them, their shares as the schedule changes them, and what of it cannot be. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from scenarios.spec.scenario import LinkEvent, Scenario, ShareChange
from scenarios.spec.vpc_schedule import Pairs, at_start, changes_of, places
from topologies.model.document import KeyPath, Problem, nearest
from topologies.model.errors import SpecError, SpecErrors
from topologies.model.spec import DEFAULT_VPC, ClassSpec, class_of, open_classes, share_problems

Classes = Mapping[str, ClassSpec]


def reshared(classes: Classes, changes: Mapping[str, ShareChange]) -> dict[str, ClassSpec]:
    """All classes, some of them with other shares."""
    given = {name: change.model_dump(exclude_none=True) for name, change in changes.items()}
    return {name: c.model_copy(update=given.get(name, {})) for name, c in classes.items()}


def class_problems(scenario: Scenario) -> Iterator[Problem]:
    """What does not fit: VPCs that nobody has, and changes of shares. Paths are those of Scenario."""
    vpcs = [*scenario.intent.vpcs, DEFAULT_VPC]
    for name, spec in scenario.fabric.classes.items():
        for key, named in (("vpcs", spec.vpcs), ("open_to", spec.open_to)):
            for n, vpc in enumerate(named):
                if vpc not in vpcs:
                    yield Problem(("fabric", "classes", name, key, n), f"one of the VPCs {', '.join(vpcs)}", vpc,
                                  nearest(vpc, vpcs))
    classes = scenario.fabric.classes
    for name, workload in scenario.workloads.items():
        chosen = getattr(workload, "traffic_class", None)
        if chosen is not None and chosen not in classes:
            yield _no_class(("workloads", name, "traffic_class"), classes, chosen)
    for phase in scenario.phases:
        for n, change in changes_of(scenario, phase.name):
            yield from _unknown(classes, change.shares, n)
            classes = reshared(classes, change.shares)
            if change.shares:
                yield from _violations(classes, n)
    yield from _rates_change_too(scenario)


def _no_class(at: KeyPath, classes: Classes, name: str) -> Problem:
    return Problem(at, f"one of the classes {', '.join(classes) or 'of the fabric (it has none)'}", name,
                   nearest(name, list(classes)))


def check_classes(scenario: Scenario, traffic: Mapping[str, Pairs]) -> None:
    """Refuse workloads that choose a class which is not open to their hosts: leaves would take it from their packets.

    traffic: phase -> its workloads' pairs. Raises SpecErrors.
    """
    errors = [error for phase in scenario.phases for name, pairs in traffic[phase.name].items()
              for error in _not_open(scenario, phase.name, name, sorted({h for pair in pairs for h in pair}))]
    if errors:
        raise SpecErrors(errors)


def _not_open(scenario: Scenario, phase: str, workload: str, hosts: Sequence[str]) -> Iterator[SpecError]:
    """At most one error: the first host that may not."""
    classes, chosen = scenario.fabric.classes, getattr(scenario.workloads[workload], "traffic_class", None)
    if chosen is None:
        return
    at = places(at_start(scenario, phase))
    for host in hosts:
        vpc = at[host].split("/")[0] if host in at else DEFAULT_VPC
        may = dict.fromkeys([*filter(None, [class_of(classes, vpc)]), *open_classes(classes, vpc)])
        if chosen not in may:
            yield SpecError(f"workloads.{workload}.traffic_class in phase {phase}",
                            f"a class that hosts of the VPC {vpc} may be in: {', '.join(may) or 'none'}",
                            f"{chosen}, for {host}", f"add {vpc} to fabric.classes.{chosen}.open_to")
            return


def _unknown(classes: Classes, changes: Mapping[str, ShareChange], n: int) -> Iterator[Problem]:
    for name, change in changes.items():
        at = ("schedule", n, "shares", name)
        if name not in classes:
            yield _no_class(at, classes, name)
        elif change.max is not None and (change.max < 1) != (classes[name].max < 1):
            # The sampler tells by the spec whose packets must not wait while a link has room.
            yield Problem((*at, "max"), "a max that stays at 100%, or stays below it", f"{change.max:.4g} of a link",
                          f"give {name} a max of 99% in the fabric")


def _violations(classes: Classes, n: int) -> Iterator[Problem]:
    for name, expected, found in share_problems({name: (c.min, c.max) for name, c in classes.items()}):
        yield Problem(("schedule", n, "shares", *([name] if name else [])), expected, found)


def _rates_change_too(scenario: Scenario) -> Iterator[Problem]:
    """A class's share is of the rate in the spec: a scenario changes the one or the other."""
    if not any(change.shares for change in scenario.schedule):
        return
    for n, event in enumerate(scenario.events):
        if isinstance(event, LinkEvent) and event.rate is not None:
            yield Problem(("events", n, "rate"), "rates that stay, where the schedule changes shares", "a new rate")
