"""Flow mods and group mods: what changes in a switch's tables, and in the engine's."""

from __future__ import annotations

from dataclasses import replace

from topologies.switches.engine.agent import flows, groups, replies, wire
from topologies.switches.engine.agent.flows import FlowMod, Rule
from topologies.switches.engine.agent.groups import Group, GroupMod
from topologies.switches.engine.agent.switch import Connection
from topologies.switches.engine.agent.wire import (
    BAD_ACTION,
    FLOW_MOD_FAILED,
    GROUP_MOD_FAILED,
    HEADER,
    Refused,
    Type,
    message,
)

BAD_OUT_GROUP, TABLE_FULL = 9, 1
DELETED, GROUP_DELETED = 2, 3       # reasons of flow-removed


def flow_mod(session: Connection, whole: bytes) -> None:
    """Raises Refused; then nothing has changed."""
    mod = FlowMod.read(whole[HEADER.size:])
    if mod.command < flows.DELETE and not mod.do.actions.groups <= session.switch.groups.keys():
        raise BAD_ACTION(BAD_OUT_GROUP, "there is no such group")
    if mod.command == flows.ADD:
        _add(session, mod, whole)
    elif mod.command in (flows.MODIFY, flows.MODIFY_STRICT):
        _modify(session, mod, whole)
    else:
        known = session.switch.flows
        for rule in known.chosen(mod) if mod.command == flows.DELETE else known.strictly(mod):
            remove(session, rule, DELETED)


def _add(session: Connection, mod: FlowMod, whole: bytes) -> None:
    known = session.switch.flows
    if mod.flags & flows.CHECK_OVERLAP and known.same(mod) is None and known.overlapping(mod):
        raise FLOW_MOD_FAILED(flows.OVERLAP, "a rule of this priority is certain to match the same packets")
    rule, old = known.new(mod), known.same(mod)
    if old is not None:         # takes its place in one step, with its counters
        rule.number, rule.packets0, rule.bytes0 = old.number, old.packets0, old.bytes0
        known.forget(old)
    known.keep(rule)
    _install(session, rule, old, whole)
    if old is not None and mod.flags & flows.RESET_COUNTS:
        _reset(session, rule)


def _modify(session: Connection, mod: FlowMod, whole: bytes) -> None:
    """Other instructions; cookie, timeouts, flags and counters stay."""
    known = session.switch.flows
    for rule in known.chosen(mod) if mod.command == flows.MODIFY else known.strictly(mod):
        changed = replace(rule, do=mod.do)
        known.forget(rule)
        known.keep(changed)
        _install(session, changed, rule, whole)
        if mod.flags & flows.RESET_COUNTS:
            _reset(session, changed)


def _install(session: Connection, rule: Rule, old: Rule | None, whole: bytes) -> None:
    """To the engine; what it refuses is as it was before."""
    switch = session.switch

    def answered(answer: str) -> None:
        if not answer.startswith("error "):
            return
        session.refuse(FLOW_MOD_FAILED(TABLE_FULL if "at most" in answer else 0, answer), whole)
        if switch.flows.by_number.get(rule.number) is rule:
            switch.flows.forget(rule)
            if old is not None:
                switch.flows.keep(old)

    switch.engine.ask(rule.command(switch.name), answered)


def _reset(session: Connection, rule: Rule) -> None:
    """The engine's counters go on; what they say now is taken off from here on."""

    def counted(answer: str) -> None:
        for word in answer.split(" ")[1:] if answer.startswith("ok") else ():
            number, packets, octets = map(int, word.split(":"))
            if number == rule.number:
                rule.packets0, rule.bytes0 = packets, octets

    session.switch.engine.ask(f"rules {session.switch.name}", counted)


def remove(session: Connection, rule: Rule, reason: int) -> None:
    """Take a rule away; its last counters go to the controller if it asked for them."""
    switch = session.switch
    switch.flows.forget(rule)
    switch.engine.ask(f"unrule {switch.name} {rule.number}", lambda answer: _removed(session, rule, reason, answer))


def _removed(session: Connection, rule: Rule, reason: int, answer: str) -> None:
    if rule.flags & flows.SEND_REMOVED and answer.startswith("ok "):
        packets, octets = map(int, answer.split(" ")[1:3])
        session.send(message(Type.FLOW_REMOVED, 0, replies.flow_removed(
            rule, reason, packets - rule.packets0, octets - rule.bytes0)))


def group_mod(session: Connection, whole: bytes) -> None:
    """Raises Refused; then nothing has changed."""
    mod = GroupMod.read(whole[HEADER.size:])
    known = session.switch.groups
    if mod.command == groups.DELETE:
        for number in list(known) if mod.id in wire.ALL_GROUPS else [mod.id]:
            _delete_group(session, number)
        return
    if mod.command == groups.ADD and mod.id in known:
        raise GROUP_MOD_FAILED(groups.EXISTS, f"group {mod.id}")
    if mod.command == groups.MODIFY and mod.id not in known:
        raise GROUP_MOD_FAILED(groups.UNKNOWN, f"group {mod.id}")
    if any(not bucket.actions.groups <= known.keys() for bucket in mod.buckets):
        raise GROUP_MOD_FAILED(groups.UNKNOWN, "a bucket sends to a group that there is not")
    _set_group(session, mod, whole)


def _set_group(session: Connection, mod: GroupMod, whole: bytes) -> None:
    """Here and in the engine; what the engine refuses is as it was before."""
    switch = session.switch
    group, old = Group(mod), switch.groups.get(mod.id)
    if old is not None:
        group.made = old.made
    switch.groups[mod.id] = group

    def answered(answer: str) -> None:
        if not answer.startswith("error "):
            return
        session.refuse(GROUP_MOD_FAILED(groups.INVALID, answer), whole)
        if switch.groups.get(mod.id) is group:
            del switch.groups[mod.id]
            if old is not None:
                switch.groups[mod.id] = old

    switch.engine.ask(group.command(switch.name), answered)


def _delete_group(session: Connection, number: int) -> None:
    """With the rules that send to it; one that is not there is no error."""
    switch = session.switch
    if switch.groups.pop(number, None) is None:
        return
    for rule in [r for r in switch.flows.by_number.values() if number in r.do.actions.groups]:
        remove(session, rule, GROUP_DELETED)

    def answered(answer: str) -> None:
        if answer.startswith("error "):
            session.refuse(Refused(6, groups.CHAINED, answer), b"")

    switch.engine.ask(f"ungroup {switch.name} {number}", answered)
