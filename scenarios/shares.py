"""Classes of a scenario: their shares as the schedule changes them, and what of it cannot be. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controller.intent import DEFAULT_VPC
from scenarios.moves import changes_of
from scenarios.scenario import LinkEvent, Scenario, ShareChange
from topologies.document import Problem, nearest
from topologies.spec import ClassSpec, share_problems

Classes = Mapping[str, ClassSpec]


def reshared(classes: Classes, changes: Mapping[str, ShareChange]) -> dict[str, ClassSpec]:
    """All classes, some of them with other shares."""
    given = {name: change.model_dump(exclude_none=True) for name, change in changes.items()}
    return {name: c.model_copy(update=given.get(name, {})) for name, c in classes.items()}


def class_problems(scenario: Scenario) -> Iterator[Problem]:
    """What does not fit: VPCs that nobody has, and changes of shares. Paths are those of Scenario."""
    vpcs = [*scenario.intent.vpcs, DEFAULT_VPC]
    for name, spec in scenario.fabric.classes.items():
        for n, vpc in enumerate(spec.vpcs):
            if vpc not in vpcs:
                yield Problem(("fabric", "classes", name, "vpcs", n), f"one of the VPCs {', '.join(vpcs)}", vpc,
                              nearest(vpc, vpcs))
    classes = scenario.fabric.classes
    for phase in scenario.phases:
        for n, change in changes_of(scenario, phase.name):
            yield from _unknown(classes, change.shares, n)
            classes = reshared(classes, change.shares)
            if change.shares:
                yield from _misfits(classes, n)
    yield from _rates_change_too(scenario)


def _unknown(classes: Classes, changes: Mapping[str, ShareChange], n: int) -> Iterator[Problem]:
    for name, change in changes.items():
        at = ("schedule", n, "shares", name)
        if name not in classes:
            yield Problem(at, f"one of the classes {', '.join(classes) or 'of the fabric (it has none)'}", name,
                          nearest(name, list(classes)))
        elif change.max is not None and (change.max < 1) != (classes[name].max < 1):
            # The sampler tells by the spec whose packets must not wait while a link has room.
            yield Problem((*at, "max"), "a max that stays at 100%, or stays below it", f"{change.max:.4g} of a link",
                          f"give {name} a max of 99% in the fabric")


def _misfits(classes: Classes, n: int) -> Iterator[Problem]:
    for name, expected, found in share_problems({name: (c.min, c.max) for name, c in classes.items()}):
        yield Problem(("schedule", n, "shares", *([name] if name else [])), expected, found)


def _rates_change_too(scenario: Scenario) -> Iterator[Problem]:
    """A class's share is of the rate in the spec: a scenario changes the one or the other."""
    if not any(change.shares for change in scenario.schedule):
        return
    for n, event in enumerate(scenario.events):
        if isinstance(event, LinkEvent) and event.rate is not None:
            yield Problem(("events", n, "rate"), "rates that stay, where the schedule changes shares", "a new rate")
