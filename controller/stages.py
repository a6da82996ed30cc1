"""From one tenancy to another without a gap: what switches hold in between. Pure.

    1. all that was, and what packets out of the tunnel will meet       so that nobody is sent what is not taken yet
    2. all that was, and all that will be
    3. what will be

Each stage is a whole rule set, compiled for any state of the links; it is on all switches, with a barrier,
before the next one is sent. What the two tenancies have in common is never touched.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Protocol

from controller.rules.compile import Compiler
from controller.rules.rules import Assembled, Flow, Match, Part, RuleSet, SwitchRules, changed, parts_of
from controller.rules.state import State
from controller.southbound.reconcile import AddFlow, Phase


class RuleSource(Protocol):
    """Whoever says what the switches shall hold in a state of the links."""

    def rules(self, state: State) -> RuleSet: ...


class Stage:
    """All of `old`, and of `new` the rules that are due in `phase` or before it."""

    def __init__(self, old: Compiler, new: Compiler, phase: Phase) -> None:
        self._old, self._new = old, new
        before, after = old.rules(State()), new.rules(State())
        self._steady = {switch: _merged(before[switch].steady, rules.steady, phase) for switch, rules in after.items()}

    def rules(self, state: State) -> RuleSet:
        before, after = self._old.rules(state), self._new.rules(state)
        return {switch: SwitchRules(switch, self._steady[switch], _merged(before[switch].passing, rules.passing),
                                    rules.groups, rules.neighbours) for switch, rules in after.items()}


def stages(old: Compiler, new: Compiler) -> tuple[RuleSource, ...]:
    """What is to be installed one after the other to come from `old` to `new`."""
    return Stage(old, new, Phase.RECEIVE), Stage(old, new, Phase.SEND), new


def _place(flow: Flow) -> tuple[int, int, Match]:
    """A switch holds one rule of each table, priority and match."""
    return flow.table, flow.priority, flow.match


def _merged(old: Part, new: Part, due: Phase = Phase.SEND) -> Part:
    """Old rules, and those of the new ones that are due, which take the places of old ones that go."""
    before, after = parts_of(old), parts_of(new)
    gone, come = changed(before, after)
    added = tuple(f for f in come if AddFlow(f).phase <= due)
    if not added:
        return old
    taken, kept = {_place(f) for f in added}, {id(part) for part in after}
    replaced = {id(f) for f in gone if _place(f) in taken}
    return Assembled([*(part if id(part) in kept else _without(part, replaced) for part in before), added])


def _without(part: Part, gone: Container[int]) -> Part:
    left = tuple(f for f in part if id(f) not in gone) if gone else part
    return left if len(left) < len(part) else part
