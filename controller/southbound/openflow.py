"""Rules -> OpenFlow 1.5 messages and back: the only file that touches os-ken's parser.

os-ken 4.2's parsers of group descriptions and of copy-field actions read past the end of what they
parse, and its class for experimenter properties packs 4-byte words only. Replies are therefore read
here, and no further than the controller needs them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from os_ken.ofproto import ofproto_v1_5 as ofp
from os_ken.ofproto import ofproto_v1_5_parser as parser

from controller.rules.rules import (
    Action,
    Bucket,
    CopyField,
    DecTtl,
    Flow,
    Group,
    Match,
    Output,
    SetField,
    ToGroup,
    Value,
)
from controller.southbound.connection import (
    Datapath,
    FlowCounter,
    GroupCounters,
    Message,
    Port,
    RemovedFlow,
    Request,
)
from controller.southbound.reconcile import AddFlow, Change, DeleteFlows, DeleteGroup, SetGroup

VERSION: int = ofp.OFP_VERSION
OWN_TABLE = 254     # Open vSwitch's own
ALL_BITS = 2**64 - 1
NO_BUCKET = 0xFFFFFFFF      # OFPG_BUCKET_ALL
MESSAGE_LIMIT = 60_000      # bytes of messages in one write to a switch

# selection method property of a group: Open vSwitch's experimenter extension (NTR)
_NTR_VENDOR, _NTR_SELECTION = 0x0000154D, 1
_OXM_BASIC = 0x8000
_HASH_FIELDS = {"ip_src": (11, 4), "ip_dst": (12, 4), "ip_proto": (10, 1), "tcp_src": (13, 2), "tcp_dst": (14, 2),
                "udp_src": (15, 2), "udp_dst": (16, 2)}     # name -> OXM field number, bytes
_HASH_NAMES = {number: name for name, (number, _) in _HASH_FIELDS.items()}
_COPY_BITS = {"eth_src": 48, "eth_dst": 48, "arp_sha": 48, "arp_tha": 48, "arp_spa": 32, "arp_tpa": 32,
              "ipv4_src": 32, "ipv4_dst": 32}
_OXS_PACKETS, _OXS_BYTES = 4, 5
_WEIGHTS = {ofp.OFPGT_SELECT: 1, ofp.OFPGT_FF: 0}   # kind of a group that we make -> weight of its buckets


@dataclass(frozen=True)
class SelectionMethod:
    """`selection_method=hash` over fields, as a property of a group mod."""

    fields: tuple[str, ...]

    def serialize(self) -> bytes:
        """Vendor, subtype, method name, parameter, then each field with an all-ones mask."""
        chosen = b"".join(struct.pack("!HBB", _OXM_BASIC, number << 1, size) + b"\xff" * size
                          for number, size in (_HASH_FIELDS[name] for name in self.fields))
        body = struct.pack("!II4x16sQ", _NTR_VENDOR, _NTR_SELECTION, b"hash", 0) + chosen
        length = 4 + len(body)
        return struct.pack("!HH", ofp.OFPGPT_EXPERIMENTER, length) + body + bytes(-length % 8)


# ---- rules -> messages

def messages(datapath: Datapath, changes: Iterable[Change]) -> Iterator[Message]:
    """One OpenFlow message per change, in the same order."""
    for change in changes:
        match change:
            case AddFlow(flow):
                yield _add_flow(datapath, flow)
            case DeleteFlows(cookie):
                # Open vSwitch's own hidden rules have cookie 0 as well, in table 254: a deletion over all tables
                # that finds no other rule with it is refused.
                for table in range(OWN_TABLE) if cookie == 0 else (ofp.OFPTT_ALL,):
                    yield parser.OFPFlowMod(datapath, cookie=cookie, cookie_mask=ALL_BITS, table_id=table,
                                            command=ofp.OFPFC_DELETE, out_port=ofp.OFPP_ANY, out_group=ofp.OFPG_ANY)
            case SetGroup(group, exists):
                yield _group_mod(datapath, group, ofp.OFPGC_MODIFY if exists else ofp.OFPGC_ADD)
            case DeleteGroup(number):
                yield parser.OFPGroupMod(datapath, ofp.OFPGC_DELETE, ofp.OFPGT_SELECT, number, NO_BUCKET)


def packed(datapath: Datapath, outgoing: Iterable[Message]) -> Iterator[bytes]:
    """Messages serialised in few buffers, because each buffer costs two thread switches and a write."""
    buffer = b""
    for message in outgoing:
        if message.xid is None:
            datapath.set_xid(message)
        message.serialize()
        buffer += message.buf
        if len(buffer) > MESSAGE_LIMIT:
            yield buffer
            buffer = b""
    if buffer:
        yield buffer


# ---- what a switch is asked

BARRIER = Request[None](parser.OFPBarrierRequest)
FLOWS = Request[FlowCounter](parser.OFPFlowDescStatsRequest)
GROUPS = Request[tuple[int, Group | None]](lambda d: parser.OFPGroupDescStatsRequest(d, 0, ofp.OFPG_ALL))
GROUP_COUNTERS = Request[GroupCounters](lambda d: parser.OFPGroupStatsRequest(d, 0, ofp.OFPG_ALL))


# ---- rules -> os-ken's parts of messages

def _add_flow(datapath: Datapath, flow: Flow) -> Message:
    instructions = []
    if flow.actions:
        instructions.append(parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, [*map(_action, flow.actions)]))
    if flow.goto is not None:
        instructions.append(parser.OFPInstructionGotoTable(int(flow.goto)))
    message: Message = parser.OFPFlowMod(
        datapath, cookie=flow.cookie, table_id=int(flow.table), command=ofp.OFPFC_ADD, priority=int(flow.priority),
        buffer_id=ofp.OFP_NO_BUFFER, match=_match(flow.match), instructions=instructions,
        # a drop's last counter comes back when the rule goes
        flags=ofp.OFPFF_SEND_FLOW_REM if flow.is_drop else 0)
    return message


def _match(match: Match) -> object:
    fields = parser.OFPMatch(**{name: _masked(name, value) for name, value in match.set_fields}).items()
    # os-ken sorts fields by number, which puts Nicira's before eth_type; Open vSwitch wants prerequisites first
    return parser.OFPMatch(_ordered_fields=sorted(fields, key=lambda field: field[0] == "nw_ttl"))


def _masked(name: str, value: Value) -> Value | tuple[str, str]:
    """os-ken takes a mask as a tuple; for IPv4 a dotted one."""
    if not isinstance(value, str) or "/" not in value:
        return value
    base, mask = value.split("/")
    if name.startswith("ipv4"):
        bits = 2**32 - 2 ** (32 - int(mask))
        mask = ".".join(str(byte) for byte in bits.to_bytes(4, "big"))
    return base, mask


def _action(action: Action) -> object:
    match action:
        case Output(port):
            return parser.OFPActionOutput(port, 0)
        case ToGroup(group):
            return parser.OFPActionGroup(group)
        case SetField(name, value):
            return parser.OFPActionSetField(**{name: value})
        case CopyField(source, target):
            return parser.OFPActionCopyField(_COPY_BITS[source], 0, 0,
                                             [parser.OFPOxmId(source), parser.OFPOxmId(target)])
        case DecTtl():
            return parser.OFPActionDecNwTtl()


def _group_mod(datapath: Datapath, group: Group, command: int) -> Message:
    weight = [] if group.is_failover else [parser.OFPGroupBucketPropWeight(type_=ofp.OFPGBPT_WEIGHT, weight=1)]
    buckets = [parser.OFPBucket(bucket_id=b.id, actions=[*map(_action, b.actions)], properties=[
        *weight, parser.OFPGroupBucketPropWatch(type_=ofp.OFPGBPT_WATCH_PORT, watch=b.watch_port),
    ]) for b in group.buckets]
    kind, properties = ((ofp.OFPGT_FF, []) if group.is_failover
                        else (ofp.OFPGT_SELECT, [SelectionMethod(group.hash_fields)]))
    message: Message = parser.OFPGroupMod(datapath, command, kind, group.id, NO_BUCKET, buckets, properties)
    return message


# ---- replies -> values

class _Entry:
    """One entry of a multipart reply, read by us: `value`, and the `length` that os-ken steps by."""

    def __init__(self, length: int, value: object) -> None:
        self.length, self.value = length, value


def _padded(length: int) -> int:
    return length + -length % 8


def _read_flow(data: bytes, offset: int) -> _Entry:
    """ofp_flow_desc: header, match (skipped), statistics, instructions (skipped)."""
    length, table, priority, cookie = struct.unpack_from("!H2xBxH8xQ", data, offset)
    (match_length,) = struct.unpack_from("!2xH", data, offset + 24)
    packets, octets = _read_stats(data, offset + 24 + _padded(match_length))
    return _Entry(length, FlowCounter(table, priority, cookie, packets, octets))


def _read_stats(data: bytes, offset: int) -> tuple[int, int]:
    """ofp_stats -> packets, bytes."""
    (length,) = struct.unpack_from("!2xH", data, offset)
    found = {}
    at, end = offset + 4, offset + length
    while at < end:
        number, size = struct.unpack_from("!2xBB", data, at)
        if number >> 1 in (_OXS_PACKETS, _OXS_BYTES):
            (found[number >> 1],) = struct.unpack_from("!Q", data, at + 4)
        at += 4 + size
    return found.get(_OXS_PACKETS, 0), found.get(_OXS_BYTES, 0)


def _read_group(data: bytes, offset: int) -> _Entry:
    """ofp_group_desc -> (number, Group), or (number, None) for a group that we never make."""
    length, kind, number, buckets_length = struct.unpack_from("!HBxIH", data, offset)
    start = offset + 16
    try:
        buckets = tuple(_read_buckets(data, start, start + buckets_length, _WEIGHTS[kind]))
        found = Group(number, "", _read_selection(data, start + buckets_length, offset + length), buckets)
        group = found if kind == (ofp.OFPGT_FF if found.is_failover else ofp.OFPGT_SELECT) else None
    except (KeyError, ValueError, struct.error):
        group = None
    return _Entry(length, (number, group))


def _read_buckets(data: bytes, at: int, end: int, usual_weight: int) -> Iterator[Bucket]:
    while at < end:
        length, actions_length, bucket_id = struct.unpack_from("!HHI", data, at)
        actions = tuple(_read_actions(data, at + 8, at + 8 + actions_length))
        watch = 0
        for kind, body in _properties(data, at + 8 + actions_length, at + length):
            if kind == ofp.OFPGBPT_WATCH_PORT:
                (watch,) = struct.unpack_from("!I", body)
            elif kind != ofp.OFPGBPT_WEIGHT or struct.unpack_from("!H", body) != (usual_weight,):
                raise ValueError("no bucket of ours")
        yield Bucket(bucket_id, watch, actions)
        at += length


def _read_actions(data: bytes, at: int, end: int) -> Iterator[Action]:
    while at < end:
        action = parser.OFPAction.parser(data, at)
        if isinstance(action, parser.OFPActionOutput):
            yield Output(action.port)
        elif isinstance(action, parser.OFPActionSetField):
            yield SetField(action.key, action.value)
        else:
            raise ValueError("no action of our buckets")
        at += action.len


def _properties(data: bytes, at: int, end: int) -> Iterator[tuple[int, bytes]]:
    while at < end:
        kind, length = struct.unpack_from("!HH", data, at)
        yield kind, data[at + 4: at + length]
        at += _padded(length)


def removed_flow(message: RemovedFlow) -> FlowCounter:
    """The last counters of a flow that was removed."""
    return FlowCounter(message.table_id, message.priority, message.cookie,
                       message.stats["packet_count"], message.stats["byte_count"])


def is_up(port: Port) -> bool:
    """Whether a port can carry packets: neither without carrier nor taken down."""
    return not (port.state & ofp.OFPPS_LINK_DOWN or port.config & ofp.OFPPC_PORT_DOWN)


def _read_selection(data: bytes, at: int, end: int) -> tuple[str, ...]:
    """The hashed fields, in the order of FIVE_TUPLE's own definition; ValueError for another method."""
    names: list[str] = []
    for kind, body in _properties(data, at, end):
        vendor, subtype, method = struct.unpack_from("!II4x16s", body)
        if (kind, vendor, subtype, method.rstrip(b"\0")) != (ofp.OFPGPT_EXPERIMENTER, _NTR_VENDOR,
                                                             _NTR_SELECTION, b"hash"):
            raise ValueError("no property of our groups")
        place = 36
        while place < len(body):
            _, number, size = struct.unpack_from("!HBB", body, place)
            names.append(_HASH_NAMES[number >> 1])
            place += 4 + size
    return tuple(name for name in _HASH_FIELDS if name in names)


def read_replies_here() -> None:
    """Let os-ken use the readers above for descriptions of flows and groups."""
    parser.OFPFlowDesc.parser = staticmethod(_read_flow)
    parser.OFPGroupDescStats.parser = staticmethod(_read_group)
