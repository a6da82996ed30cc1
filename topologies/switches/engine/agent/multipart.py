"""Multipart requests: what a controller asks about a switch."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable

from topologies.switches.engine.agent import replies, wire
from topologies.switches.engine.agent.flows import Filter, Rule
from topologies.switches.engine.agent.replies import GroupCount, multipart
from topologies.switches.engine.agent.switch import Connection, Count
from topologies.switches.engine.agent.wire import ALL_GROUPS, ANY, BAD_REQUEST, need

MOST_RULES = 131_072
_SHORT = BAD_REQUEST(wire.BAD_LEN, "a multipart request is cut short")


def answer(session: Connection, body: bytes, xid: int) -> None:
    """Raises Refused for one that is not known or is cut short."""
    need(body, 8, _SHORT)
    kind, flags = struct.unpack_from("!HH", body)
    if flags & replies.MORE:
        raise BAD_REQUEST(wire.BAD_MULTIPART, "requests of several messages are not taken")
    known = _KINDS.get(kind)
    if known is None:
        raise BAD_REQUEST(wire.BAD_MULTIPART, f"multipart type {kind}")
    known(session, body[8:], xid)


def _send(session: Connection, kind: int, xid: int, entries: Iterable[bytes]) -> None:
    for part in multipart(kind, xid, entries):
        session.send(part)


def _rules(kind: int, show: Callable[[Rule, int, int], bytes]) -> Callable[[Connection, bytes, int], None]:
    """Of the rules that a filter chooses, what `show` makes of each with its counters."""

    def asked(session: Connection, body: bytes, xid: int) -> None:
        chosen = Filter.read(body)

        def counted(counts: dict[int, Count]) -> None:
            found = session.switch.flows.chosen(chosen)
            _send(session, kind, xid, (show(rule, *counts.get(rule.number, (0, 0))) for rule in found))

        session.switch.rule_counts(counted)

    return asked


def _aggregate(session: Connection, body: bytes, xid: int) -> None:
    chosen = Filter.read(body)

    def counted(counts: dict[int, Count]) -> None:
        found = [counts.get(rule.number, (0, 0)) for rule in session.switch.flows.chosen(chosen)]
        total = replies.aggregate(len(found), sum(p for p, _ in found), sum(o for _, o in found))
        _send(session, replies.AGGREGATE, xid, [total])

    session.switch.rule_counts(counted)


def _group_number(body: bytes) -> int:
    need(body, 8, _SHORT)
    return int.from_bytes(body[:4], "big")


def _group_stats(session: Connection, body: bytes, xid: int) -> None:
    wanted = _group_number(body)

    def counted(counts: dict[int, GroupCount]) -> None:
        switch = session.switch
        uses = Counter(number for rule in switch.flows.by_number.values() for number in rule.do.actions.groups)
        _send(session, replies.GROUP_STATS, xid, (
            replies.group_stats(group, counts.get(number, GroupCount(0, 0, {})), uses[number])
            for number, group in switch.groups.items() if wanted in (number, *ALL_GROUPS)))

    session.switch.group_counts(counted)


def _group_desc(session: Connection, body: bytes, xid: int) -> None:
    wanted = _group_number(body)
    known = session.switch.groups
    _send(session, replies.GROUP_DESC, xid, (replies.group_desc(group) for number, group in known.items()
                                             if wanted in (number, *ALL_GROUPS)))


def _port_desc(session: Connection, body: bytes, xid: int) -> None:
    wanted = int.from_bytes(body[:4], "big") if len(body) >= 4 else ANY
    switch = session.switch
    _send(session, replies.PORT_DESC, xid, (replies.port_desc(port, up=switch.up[number])
                                            for number, port in switch.ports.items() if wanted in (number, ANY)))


def _table_stats(session: Connection, _: bytes, xid: int) -> None:
    active = Counter(rule.table for rule in session.switch.flows.by_number.values())
    _send(session, replies.TABLE_STATS, xid, replies.tables(active))


_KINDS: dict[int, Callable[[Connection, bytes, int], None]] = {
    replies.DESC: lambda session, _, xid: _send(session, replies.DESC, xid, [replies.desc(session.switch.name)]),
    replies.FLOW_DESC: _rules(replies.FLOW_DESC, replies.flow_desc),
    replies.FLOW_STATS: _rules(replies.FLOW_STATS, replies.flow_stats),
    replies.AGGREGATE: _aggregate,
    replies.TABLE_STATS: _table_stats,
    replies.GROUP_STATS: _group_stats,
    replies.GROUP_DESC: _group_desc,
    replies.GROUP_FEATURES: lambda session, _, xid: _send(
        session, replies.GROUP_FEATURES, xid, [replies.group_features()]),
    replies.TABLE_FEATURES: lambda session, _, xid: _send(
        session, replies.TABLE_FEATURES, xid, replies.table_features(MOST_RULES)),
    replies.PORT_DESC: _port_desc,
    replies.TABLE_DESC: lambda session, _, xid: _send(session, replies.TABLE_DESC, xid, replies.table_descs()),
}
