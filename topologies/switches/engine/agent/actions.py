"""Actions, instructions and buckets of messages, in the engine's words. Each raises Refused."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from topologies.switches.engine.agent.oxm import FIELDS, Field, fields_in
from topologies.switches.engine.agent.wire import (
    ANY,
    BAD_ACTION,
    BAD_INSTRUCTION,
    CONTROLLER,
    GROUP_MOD_FAILED,
    padded,
)

OUTPUT, GROUP, DEC_NW_TTL, SET_FIELD, COPY_FIELD = 0, 22, 24, 25, 28
GOTO_TABLE, APPLY_ACTIONS = 1, 4
# codes of BAD_ACTION
BAD_TYPE, BAD_LEN, BAD_OUT_PORT, BAD_OUT_GROUP, BAD_SET_TYPE, BAD_SET_LEN, BAD_SET_MASK = 0, 1, 4, 9, 13, 14, 16
UNKNOWN_INSTRUCTION, UNSUPPORTED_INSTRUCTION, BAD_GOTO, BAD_INSTRUCTION_LEN = 0, 1, 2, 7
UNKNOWN_INSTRUCTIONS_FROM = 8
# codes of GROUP_MOD_FAILED
WEIGHT_UNSUPPORTED, WATCH_UNSUPPORTED, BAD_BUCKET, BAD_WATCH = 2, 6, 12, 13
_SHORT = BAD_ACTION(BAD_LEN, "an action is cut short")
_BAD_FIELD = BAD_ACTION(BAD_SET_TYPE, "no field that can be set")


@dataclass(frozen=True)
class Actions:
    """A list of actions: in words, and the ports and groups that it sends to."""

    words: tuple[str, ...] = ()
    ports: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()

    @property
    def text(self) -> str:
        return ";".join(self.words) or "drop"


@dataclass(frozen=True)
class Instructions:
    """What a rule does. raw: the instructions as they came."""

    actions: Actions
    goto: int | None
    raw: bytes


def parts(data: bytes, least: int) -> Iterator[tuple[int, bytes]]:
    """(type, whole) of each of a row of things that begin with a type and a length."""
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("!HH", data, at) if at + 4 <= len(data) else (0, 0)
        if length < least or length % 8 or at + length > len(data):
            raise _SHORT
        yield kind, data[at: at + length]
        at += length


def read_actions(data: bytes) -> Actions:
    words: list[str] = []
    ports, groups = set[int](), set[int]()
    for kind, body in parts(data, 8):
        if kind == OUTPUT:
            words.append(_output(body))
            ports.add(int.from_bytes(body[4:8], "big"))
        elif kind == GROUP:
            groups.add(int.from_bytes(body[4:8], "big"))
            words.append(f"group:{int.from_bytes(body[4:8], 'big')}")
        elif kind == SET_FIELD:
            words.append(_set(body))
        elif kind == COPY_FIELD:
            words.append(_copy(body))
        elif kind == DEC_NW_TTL:
            words.append("dec_ttl")
        else:
            raise BAD_ACTION(BAD_TYPE, f"action {kind}")
    return Actions(tuple(words), frozenset(ports), frozenset(groups))


def _output(body: bytes) -> str:
    if len(body) != 16:
        raise _SHORT
    port, most = struct.unpack_from("!IH", body, 4)
    if port == CONTROLLER:
        return f"controller:{most}"
    if port in (0, ANY):
        raise BAD_ACTION(BAD_OUT_PORT, f"port {port}")
    return f"output:{port}"


def _set(body: bytes) -> str:
    length = 4 + body[7]
    if 4 + length > len(body) or padded(4 + length) != len(body):
        raise BAD_ACTION(BAD_SET_LEN, "a field to be set is cut short")
    found = list(fields_in(body[4:4 + length], BAD_ACTION(BAD_SET_LEN, "a field to be set is cut short")))
    field, value, mask = found[0]
    if not field.settable:
        raise _BAD_FIELD
    if mask is not None:
        raise BAD_ACTION(BAD_SET_MASK, f"set-field of {field.name} with a mask")
    return f"set:{field.name}={field.show(value)}"


def _copy(body: bytes) -> str:
    """All bits of one field into another of the same width, or nothing that the engine does."""
    if len(body) < 20:
        raise _SHORT
    bits, source_offset, target_offset = struct.unpack_from("!HHH", body, 4)
    source, target = _oxm_id(body[12:16]), _oxm_id(body[16:20])
    if source_offset or target_offset or not source.bits == target.bits == bits:
        raise BAD_ACTION(BAD_TYPE, "copy-field of a part of a field")
    if not target.settable:
        raise _BAD_FIELD
    return f"copy:{source.name}>{target.name}"


def _oxm_id(data: bytes) -> Field:
    field = FIELDS.get((data[0] << 8 | data[1], data[2] >> 1))
    if field is None:
        raise _BAD_FIELD
    return field


def read_instructions(data: bytes, table: int) -> Instructions:
    """Apply-actions and goto, each once at most."""
    actions, goto = Actions(), None
    for kind, body in _instructions(data):
        if kind == APPLY_ACTIONS:
            actions = read_actions(body[8:])
        elif kind == GOTO_TABLE:
            goto = body[4]
            if goto <= table or goto > 253:
                raise BAD_INSTRUCTION(BAD_GOTO, f"from table {table} to {goto}")
        else:
            known = 0 < kind < UNKNOWN_INSTRUCTIONS_FROM
            raise BAD_INSTRUCTION(UNSUPPORTED_INSTRUCTION if known else UNKNOWN_INSTRUCTION, f"instruction {kind}")
    return Instructions(actions, goto, data)


def _instructions(data: bytes) -> Iterator[tuple[int, bytes]]:
    at, seen = 0, set[int]()
    while at < len(data):
        kind, length = struct.unpack_from("!HH", data, at) if at + 4 <= len(data) else (0, 0)
        if length < 8 or length % 8 or at + length > len(data):
            raise BAD_INSTRUCTION(BAD_INSTRUCTION_LEN, "an instruction is cut short")
        if kind in seen:
            raise BAD_INSTRUCTION(UNKNOWN_INSTRUCTION, f"instruction {kind} twice")
        seen.add(kind)
        yield kind, data[at: at + length]
        at += length


@dataclass(frozen=True)
class Bucket:
    """One bucket of a group. watch: the port whose state decides whether it is taken, None for none."""

    id: int
    watch: int | None
    actions: Actions

    @property
    def text(self) -> str:
        return f"{self.id}:{'-' if self.watch is None else self.watch}:{self.actions.text}"


def read_buckets(data: bytes) -> list[Bucket]:
    found: list[Bucket] = []
    at = 0
    short = GROUP_MOD_FAILED(BAD_BUCKET, "a bucket is cut short")
    while at < len(data):
        length, actions_length, number = struct.unpack_from("!HHI", data, at) if at + 8 <= len(data) else (0, 0, 0)
        if length < 8 or length % 8 or at + length > len(data) or 8 + actions_length > length:
            raise short
        actions = read_actions(data[at + 8: at + 8 + actions_length])
        watch = _watched(data[at + 8 + actions_length: at + length])
        if number in {bucket.id for bucket in found}:
            raise GROUP_MOD_FAILED(BAD_BUCKET, f"bucket {number} twice")
        found.append(Bucket(number, watch, actions))
        at += length
    return found


def _watched(data: bytes) -> int | None:
    """The watch port among a bucket's properties."""
    watch = None
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("!HH", data, at) if at + 4 <= len(data) else (0, 0)
        if length < 8 or at + length > len(data):
            raise GROUP_MOD_FAILED(BAD_BUCKET, "a property is cut short")
        (number,) = struct.unpack_from("!I", data, at + 4)
        if kind == 0 and number >> 16 > 1:
            raise GROUP_MOD_FAILED(WEIGHT_UNSUPPORTED, "a weight above 1: repeat the bucket")
        if kind == 1 and number != ANY:
            watch = number
        if kind == 2 and number != ANY:
            raise GROUP_MOD_FAILED(WATCH_UNSUPPORTED, "watch-group")
        at += padded(length)
    return watch
