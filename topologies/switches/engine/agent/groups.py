"""The groups of one switch as its controller knows them."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from topologies.switches.engine.agent.actions import Bucket, read_buckets
from topologies.switches.engine.agent.oxm import fields_in
from topologies.switches.engine.agent.wire import BAD_REQUEST, GROUP_MOD_FAILED, need, padded

ADD, MODIFY, DELETE, INSERT_BUCKET, REMOVE_BUCKET = 0, 1, 2, 3, 5
TYPES = ("all", "select", "indirect", "failover")
LAST_GROUP = 0xFFFFFF00
# codes of GROUP_MOD_FAILED
EXISTS, INVALID, OUT_OF_GROUPS, CHAINED, UNKNOWN, BAD_TYPE, BAD_COMMAND = 0, 1, 3, 5, 8, 10, 11
_MOD = struct.Struct("!HBxIH2xI")
_NTR_VENDOR, _NTR_SELECTION = 0x0000154D, 1     # selection method of a group, Open vSwitch's extension


@dataclass(frozen=True)
class GroupMod:
    """A group mod, read. hash: the fields that flows are told apart by; raw: the buckets, and the properties."""

    command: int
    type: int
    id: int
    buckets: tuple[Bucket, ...]
    hash: tuple[str, ...]
    raw_buckets: bytes
    raw_properties: bytes

    @classmethod
    def read(cls, body: bytes) -> GroupMod:
        need(body, _MOD.size, BAD_REQUEST(6, "a group mod is cut short"))
        command, kind, number, length, _ = _MOD.unpack_from(body)
        if command not in (ADD, MODIFY, DELETE):
            raise GROUP_MOD_FAILED(BAD_COMMAND, f"command {command}: send the whole group")
        if kind >= len(TYPES):
            raise GROUP_MOD_FAILED(BAD_TYPE, f"group type {kind}")
        if command != DELETE and number > LAST_GROUP:
            raise GROUP_MOD_FAILED(INVALID, f"group {number:#x}")
        end = _MOD.size + length
        need(body, end, BAD_REQUEST(6, "a group mod is cut short"))
        raw_buckets, raw_properties = body[_MOD.size:end], body[end:]
        buckets = tuple(read_buckets(raw_buckets)) if command != DELETE else ()
        if kind == 2 and command != DELETE and len(buckets) != 1:
            raise GROUP_MOD_FAILED(INVALID, "an indirect group has one bucket")
        if kind == 3 and any(bucket.watch is None for bucket in buckets):
            raise GROUP_MOD_FAILED(13, "a bucket of a failover group watches a port")
        return cls(command, kind, number, buckets, _hashed(raw_properties), raw_buckets, raw_properties)


@dataclass(slots=True)
class Group:
    """One group as it was sent."""

    mod: GroupMod
    made: float = field(default_factory=time.monotonic)

    def command(self, switch: str) -> str:
        """In the engine's words."""
        mod = self.mod
        hashed = f" hash={','.join(mod.hash)}" if mod.hash and mod.type == 1 else ""
        buckets = " ".join(["buckets", *(bucket.text for bucket in mod.buckets)])
        return f"group {switch} {mod.id} type={TYPES[mod.type]}{hashed} {buckets}"


def _hashed(data: bytes) -> tuple[str, ...]:
    """The fields of `selection_method=hash`; none without the property. Raises Refused."""
    refusal = GROUP_MOD_FAILED(INVALID, "the only property of a group is selection_method=hash")
    for body in _properties(data):
        if len(body) < 40:
            raise refusal
        kind, _, vendor, subtype, method = struct.unpack_from("!HHII4x16s", body)
        if (kind, vendor, subtype) != (0xFFFF, _NTR_VENDOR, _NTR_SELECTION):
            raise refusal
        if method.rstrip(b"\0") != b"hash":
            raise GROUP_MOD_FAILED(INVALID, f"selection method {method!r}")
        length = int.from_bytes(body[2:4], "big")
        return tuple(field.name for field, _, _ in fields_in(body[40:length], refusal))
    return ()


def _properties(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at + 2: at + 4], "big") if at + 4 <= len(data) else 0
        if length < 4 or at + length > len(data):
            raise GROUP_MOD_FAILED(INVALID, "a property of a group is cut short")
        yield data[at: at + length]
        at += padded(length)
