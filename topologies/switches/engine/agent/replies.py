"""Multipart replies: rules, groups, ports and counters as a controller reads them."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from topologies.switches.engine.agent.flows import LAST_TABLE, Rule
from topologies.switches.engine.agent.groups import Group
from topologies.switches.engine.agent.wire import Type, message, padded

DESC, FLOW_DESC, AGGREGATE, TABLE_STATS, GROUP_STATS, GROUP_DESC, GROUP_FEATURES = 0, 1, 2, 3, 6, 7, 8
TABLE_FEATURES, PORT_DESC, TABLE_DESC, FLOW_STATS = 12, 13, 14, 17
MORE = 1
LINK_DOWN, LIVE = 1, 4
_ROOM = 60_000          # bytes of entries in one message
_OXS = 0x8002
DURATION, IDLE_TIME, FLOW_COUNT, PACKETS, BYTES = 0, 1, 3, 4, 5
MAX_GROUPS = 4096


@dataclass(frozen=True)
class Port:
    """A port of a switch. speed: kbit/s."""

    number: int
    name: str
    mac: bytes
    speed: int


@dataclass(frozen=True)
class GroupCount:
    """Of a group: packets and bytes, and packets of each bucket by its id."""

    packets: int
    bytes: int
    buckets: dict[int, int]


def multipart(kind: int, xid: int, entries: Iterable[bytes]) -> Iterator[bytes]:
    """One reply in as many messages as it takes; at least one."""
    batch, size = list[bytes](), 0
    for entry in entries:
        if size + len(entry) > _ROOM and batch:
            yield _part(kind, xid, batch, MORE)
            batch, size = [], 0
        batch.append(entry)
        size += len(entry)
    yield _part(kind, xid, batch, 0)


def _part(kind: int, xid: int, entries: list[bytes], flags: int) -> bytes:
    return message(Type.MULTIPART_REPLY, xid, struct.pack("!HH4x", kind, flags) + b"".join(entries))


def stats(fields: Iterable[tuple[int, bytes]]) -> bytes:
    """ofp_stats."""
    body = b"".join(struct.pack("!HBB", _OXS, number << 1, len(value)) + value for number, value in fields)
    length = 4 + len(body)
    return struct.pack("!HH", 0, length) + body + bytes(-length % 8)


def _time(seconds: float) -> bytes:
    whole = int(max(seconds, 0.0))
    return struct.pack("!II", whole, int((max(seconds, 0.0) - whole) * 1e9))


def rule_stats(rule: Rule, packets: int, octets: int) -> bytes:
    now = time.monotonic()
    return stats([(DURATION, _time(now - rule.made)), (IDLE_TIME, _time(now - rule.used)),
                  (PACKETS, struct.pack("!Q", packets)), (BYTES, struct.pack("!Q", octets))])


def flow_desc(rule: Rule, packets: int, octets: int) -> bytes:
    body = (struct.pack("!BxHHHHHQ", rule.table, rule.priority, rule.idle, rule.hard, rule.flags, rule.importance,
                        rule.cookie) + rule.match.raw + rule_stats(rule, packets, octets) + rule.do.raw)
    return struct.pack("!H2x", 4 + len(body)) + body


def flow_stats(rule: Rule, packets: int, octets: int) -> bytes:
    body = struct.pack("!BBH", rule.table, 0, rule.priority) + rule.match.raw + rule_stats(rule, packets, octets)
    return struct.pack("!H2x", 4 + len(body)) + body


def flow_removed(rule: Rule, reason: int, packets: int, octets: int) -> bytes:
    return (struct.pack("!BBHHHQ", rule.table, reason, rule.priority, rule.idle, rule.hard, rule.cookie)
            + rule.match.raw + rule_stats(rule, packets, octets))


def aggregate(flows: int, packets: int, octets: int) -> bytes:
    return stats([(FLOW_COUNT, struct.pack("!I", flows)), (PACKETS, struct.pack("!Q", packets)),
                  (BYTES, struct.pack("!Q", octets))])


def group_desc(group: Group) -> bytes:
    mod = group.mod
    properties = mod.raw_properties + bytes(-len(mod.raw_properties) % 8)
    length = 16 + len(mod.raw_buckets) + len(properties)
    return (struct.pack("!HBxIH6x", length, mod.type, mod.id, len(mod.raw_buckets)) + mod.raw_buckets + properties)


def group_stats(group: Group, count: GroupCount, references: int) -> bytes:
    """Bytes of a bucket are not counted apart: 2^64 - 1 says so."""
    buckets = b"".join(struct.pack("!QQ", count.buckets.get(b.id, 0), 2**64 - 1) for b in group.mod.buckets)
    body = (struct.pack("!II4xQQ", group.mod.id, references, count.packets, count.bytes)
            + _time(time.monotonic() - group.made) + buckets)
    return struct.pack("!H2x", 4 + len(body)) + body


def group_features() -> bytes:
    """All four types, 4,096 of each, and which actions their buckets take."""
    actions = 1 << 0 | 1 << 22 | 1 << 24 | 1 << 25 | 1 << 28
    return struct.pack("!II4I4I", 0b1111, 0b0100, *[MAX_GROUPS] * 4, *[actions] * 4)


def port_desc(port: Port, *, up: bool) -> bytes:
    name = port.name.encode()[:15]
    ethernet = struct.pack("!HH4xIIIIII", 0, 32, 0, 0, 0, 0, port.speed, port.speed)
    return struct.pack("!IH2x6s2x16sII", port.number, 40 + len(ethernet), port.mac, name, 0,
                       LIVE if up else LINK_DOWN) + ethernet


def tables(active: dict[int, int]) -> Iterator[bytes]:
    """Look-ups are not counted by table."""
    for table in range(LAST_TABLE + 1):
        yield struct.pack("!B3xIQQ", table, active.get(table, 0), 2**64 - 1, 2**64 - 1)


def table_descs() -> Iterator[bytes]:
    for table in range(LAST_TABLE + 1):
        yield struct.pack("!HBxI", 8, table, 0)


def table_features(most: int) -> Iterator[bytes]:
    for table in range(LAST_TABLE + 1):
        yield struct.pack("!HBBI32sQQII", 64, table, 0, 0, f"table{table}".encode(), 0, 0, 0, most)


def desc(switch: str) -> bytes:
    return struct.pack("!256s256s256s32s256s", b"aifab", b"fabric engine", b"fabricd", switch.encode(), switch.encode())


def flow_match_of_port(port: int) -> bytes:
    """The match of a packet-in: which port."""
    body = struct.pack("!HBBI", 0x8000, 0, 4, port)
    length = 4 + len(body)
    return struct.pack("!HH", 1, length) + body + bytes(padded(length) - length)
