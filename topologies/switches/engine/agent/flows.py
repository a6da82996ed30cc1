"""The rules of one switch as its controller knows them; the engine knows each by a number."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from topologies.switches.engine.agent.actions import Instructions, read_instructions
from topologies.switches.engine.agent.oxm import Match, read_match
from topologies.switches.engine.agent.wire import (
    ALL_TABLES,
    ANY,
    BAD_REQUEST,
    BUFFER_UNKNOWN,
    FLOW_MOD_FAILED,
    NO_BUFFER,
    need,
)

ADD, MODIFY, MODIFY_STRICT, DELETE, DELETE_STRICT = range(5)
SEND_REMOVED, CHECK_OVERLAP, RESET_COUNTS = 1, 2, 4
BAD_TABLE, OVERLAP, BAD_COMMAND, BAD_FLAGS = 2, 3, 6, 7
LAST_TABLE = 253
ALL_BITS = 2**64 - 1
_MOD = struct.Struct("!QQBBHHHIIIHH")
_FILTER = struct.Struct("!B3xII4xQQ")


@dataclass(slots=True)
class Rule:
    """One rule. number: the engine's. packets0, bytes0: what the engine had counted when its counters were reset."""

    number: int
    table: int
    priority: int
    cookie: int
    match: Match
    do: Instructions
    idle: int = 0
    hard: int = 0
    flags: int = 0
    importance: int = 0
    made: float = field(default_factory=time.monotonic)
    used: float = field(default_factory=time.monotonic)
    seen: int = 0           # packets when it was last found to have been used
    packets0: int = 0
    bytes0: int = 0

    def command(self, switch: str) -> str:
        """In the engine's words."""
        goto = "" if self.do.goto is None else f" goto={self.do.goto}"
        return (f"rule {switch} {self.number} table={self.table} priority={self.priority} cookie={self.cookie} "
                f"match {self.match.text} do {self.do.actions.text}{goto}")


@dataclass(frozen=True)
class FlowMod:
    """A flow mod, read. Raises Refused."""

    cookie: int
    cookie_mask: int
    table: int
    command: int
    idle: int
    hard: int
    priority: int
    out_port: int
    out_group: int
    flags: int
    importance: int
    match: Match
    do: Instructions

    @classmethod
    def read(cls, body: bytes) -> FlowMod:
        need(body, _MOD.size + 8, BAD_REQUEST(6, "a flow mod is cut short"))
        (cookie, mask, table, command, idle, hard, priority, buffer, out_port, out_group, flags,
         importance) = _MOD.unpack_from(body)
        if command > DELETE_STRICT:
            raise FLOW_MOD_FAILED(BAD_COMMAND, f"command {command}")
        if buffer != NO_BUFFER and command < DELETE:
            raise BAD_REQUEST(BUFFER_UNKNOWN, "this switch keeps no packets")
        if table > LAST_TABLE and not (table == ALL_TABLES and command >= DELETE):
            raise FLOW_MOD_FAILED(BAD_TABLE, f"table {table}")
        match, size = read_match(body[_MOD.size:])
        do = read_instructions(body[_MOD.size + size:], table)
        return cls(cookie, mask, table, command, idle, hard, priority, out_port, out_group, flags, importance, match,
                   do)


@dataclass(frozen=True)
class Filter:
    """Which rules a request is about."""

    table: int
    out_port: int
    out_group: int
    cookie: int
    cookie_mask: int
    match: Match

    @classmethod
    def read(cls, body: bytes) -> Filter:
        need(body, _FILTER.size + 8, BAD_REQUEST(6, "a request for rules is cut short"))
        table, out_port, out_group, cookie, mask = _FILTER.unpack_from(body)
        return cls(table, out_port, out_group, cookie, mask, read_match(body[_FILTER.size:])[0])


class Flows:
    """All rules of one switch."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[int, int, frozenset[tuple[str, bytes, bytes | None]]], Rule] = {}
        self._by_cookie: dict[int, dict[int, Rule]] = {}
        self.by_number: dict[int, Rule] = {}
        self._next = 0
        self.timed: dict[int, Rule] = {}

    def clear(self) -> None:
        """The switch lost power; numbers are not used again."""
        for known in (self._by_key, self._by_cookie, self.by_number, self.timed):
            known.clear()

    def new(self, mod: FlowMod) -> Rule:
        """The rule of an add; not yet in."""
        self._next += 1
        return Rule(self._next, mod.table, mod.priority, mod.cookie, mod.match, mod.do, mod.idle, mod.hard, mod.flags,
                    mod.importance)

    def same(self, mod: FlowMod) -> Rule | None:
        """The rule of the same table, priority and match."""
        return self._by_key.get((mod.table, mod.priority, mod.match.key))

    def overlapping(self, mod: FlowMod) -> bool:
        """Whether a rule of the same table and priority is certain to match a packet that the new one matches."""
        return any(r.table == mod.table and r.priority == mod.priority
                   and (r.match.covers(mod.match) or mod.match.covers(r.match)) for r in self.by_number.values())

    def keep(self, rule: Rule) -> None:
        self._by_key[rule.table, rule.priority, rule.match.key] = rule
        self._by_cookie.setdefault(rule.cookie, {})[rule.number] = rule
        self.by_number[rule.number] = rule
        if rule.idle or rule.hard:
            self.timed[rule.number] = rule

    def forget(self, rule: Rule) -> None:
        """Also one that is not there."""
        if self.by_number.pop(rule.number, None) is None:
            return
        del self._by_key[rule.table, rule.priority, rule.match.key]
        cookies = self._by_cookie[rule.cookie]
        del cookies[rule.number]
        if not cookies:
            del self._by_cookie[rule.cookie]
        self.timed.pop(rule.number, None)

    def chosen(self, which: Filter | FlowMod) -> list[Rule]:
        """The rules that a filter, or a modify or delete that is not strict, is about."""
        if which.cookie_mask == ALL_BITS:
            candidates = list(self._by_cookie.get(which.cookie, {}).values())
        else:
            wanted = which.cookie & which.cookie_mask
            candidates = [r for r in self.by_number.values() if r.cookie & which.cookie_mask == wanted]
        return [r for r in candidates if self._fits(r, which)]

    @staticmethod
    def _fits(rule: Rule, which: Filter | FlowMod) -> bool:
        if which.table not in (ALL_TABLES, rule.table):
            return False
        filters = not isinstance(which, FlowMod) or which.command >= DELETE
        if filters and which.out_port != ANY and which.out_port not in rule.do.actions.ports:
            return False
        if filters and which.out_group != ANY and which.out_group not in rule.do.actions.groups:
            return False
        return which.match.covers(rule.match)

    def strictly(self, mod: FlowMod) -> list[Rule]:
        """The one rule of a strict modify or delete, if it is there."""
        tables = range(LAST_TABLE + 1) if mod.table == ALL_TABLES else (mod.table,)
        found = (self._by_key.get((table, mod.priority, mod.match.key)) for table in tables)
        return [r for r in found if r is not None and r.cookie & mod.cookie_mask == mod.cookie & mod.cookie_mask
                and self._fits(r, mod)]

    def expired(self, now: float) -> Iterator[tuple[Rule, int]]:
        """Rules whose time is over, each with the reason (0 idle, 1 hard)."""
        for rule in list(self.timed.values()):
            if rule.hard and now - rule.made >= rule.hard:
                yield rule, 1
            elif rule.idle and now - rule.used >= rule.idle:
                yield rule, 0
