"""wanted - installed -> ordered changes, make before break. Pure.

On one switch the order is that of Phase: what a rule needs is there before the rule, and goes after
it. Over several switches the same order holds phase by phase, transit and destination before source,
so that no leaf sends what its peer does not yet take.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from controller.rules.rules import Flow, Group, SwitchRules, changed
from controller.rules.tables import Table
from topologies.model import addressing as addr


class Phase(IntEnum):
    """When a change is due."""

    GROUP = 0           # groups, before the flows that use them
    RECEIVE = 1         # flows that only packets already under way meet: out of the tunnel, delivery
    SEND = 2            # all other flows
    REMOVE = 3          # flows that are wanted no more
    REMOVE_GROUP = 4    # groups, after the flows that used them


@dataclass(frozen=True)
class AddFlow:
    """Replaces a flow of the same table, priority and match in one step."""

    flow: Flow

    @property
    def phase(self) -> Phase:
        takes = self.flow.table == Table.DELIVER or self.flow.match.in_port == addr.VXLAN_PORT
        return Phase.RECEIVE if takes else Phase.SEND


@dataclass(frozen=True)
class DeleteFlows:
    """Every flow with this cookie."""

    cookie: int
    phase: Phase = Phase.REMOVE


@dataclass(frozen=True)
class SetGroup:
    """A whole group, new or in the place of what `exists` under its number."""

    group: Group
    exists: bool
    phase: Phase = Phase.GROUP


@dataclass(frozen=True)
class DeleteGroup:
    group: int
    phase: Phase = Phase.REMOVE_GROUP


Change = AddFlow | DeleteFlows | SetGroup | DeleteGroup
Changes = Mapping[str, tuple[Change, ...]]      # switch -> what to send it, in order of their phases
FlowKey = tuple[int, int, int]      # table, priority, cookie


@dataclass(frozen=True)
class Installed:
    """What a switch holds, as read from it; a group that is none of ours in kind is None."""

    flows: Counter[FlowKey] = field(default_factory=Counter)
    groups: Mapping[int, Group | None] = field(default_factory=dict)


def key(flow: Flow) -> FlowKey:
    return int(flow.table), int(flow.priority), flow.cookie


def reconcile(wanted: SwitchRules, installed: Installed) -> tuple[Change, ...]:
    """What turns a switch's installed rules into the wanted ones; nothing if they are equal."""
    flows = {key(f): f for f in wanted.flows}
    cookies = {f.cookie for f in flows.values()}
    # Our cookie on another rule, or on two: no longer our rule. Both go, then ours comes again.
    forged = {k[2] for k, count in installed.flows.items() if k[2] in cookies and (k not in flows or count > 1)}
    foreign = {k[2] for k in installed.flows if k[2] not in cookies}
    return (*(DeleteFlows(c, Phase.GROUP) for c in sorted(forged)),
            *_ordered([*_group_changes(wanted.groups, installed.groups),
                       *(AddFlow(f) for k, f in flows.items() if k not in installed.flows or f.cookie in forged),
                       *(DeleteFlows(c) for c in sorted(foreign))]))


def difference(old: SwitchRules, new: SwitchRules) -> tuple[Change, ...]:
    """What turns one rule set of a switch into another; costs little where the steady part is the same."""
    gone, come = changed(old.parts, new.parts)
    return _ordered([*_group_changes(new.groups, {g.id: g for g in old.groups}),
                     *map(AddFlow, come), *(DeleteFlows(f.cookie) for f in gone)])


def _group_changes(wanted: Iterable[Group], installed: Mapping[int, Group | None]) -> Iterator[Change]:
    groups = {g.id: g for g in wanted}
    for number, group in groups.items():
        if installed.get(number) != group:
            yield SetGroup(group, number in installed)
    for number in installed:
        if number not in groups:
            yield DeleteGroup(number)


def _ordered(changes: list[Change]) -> tuple[Change, ...]:
    return tuple(sorted(changes, key=lambda c: c.phase))


def by_phase(changes: Changes) -> Iterator[tuple[str, tuple[Change, ...]]]:
    """Changes of several switches as (switch, its changes of one phase), in the order to send them."""
    for phase in Phase:
        for switch, all_of_it in changes.items():
            due = tuple(c for c in all_of_it if c.phase == phase)
            if due:
                yield switch, due
