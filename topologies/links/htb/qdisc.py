"""Queueing disciplines by raw rtnetlink: what `tc -s qdisc show` says, in a fraction of its time.

A fabric of 30 wires has about 250 qdiscs that are read 20 times a second; `tc -j` or a general
netlink library would take more of the CPU than the switches that are being watched.

    sock = open_socket("/run/netns/af1-w")      # stays in that namespace for good
    for q in dump(sock, handle=0x0010_0000):    # every bfifo 10: of the namespace
        print(q.ifindex, q.bytes, q.drops)

Layouts: linux/rtnetlink.h (tcmsg), linux/gen_stats.h, linux/pkt_sched.h. Numbers are in host byte order.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import NamedTuple

from topologies.access.netns import inside
from topologies.links.htb.disciplines import DISCIPLINES
from topologies.model.errors import HostError

TRAFFIC_QUEUE = 0x0010_0000     # 10:, the emulated queue of a direction
SENTINEL_QUEUE = 0x0005_0000    # bfifo 5:, the probes' queue beside it
IMPAIRMENT = 0x0002_0000        # netem 2:, ahead of the emulated queue
TRAFFIC_CLASS = 0x0001_0010     # HTB class 1:10

RTM_NEWQDISC, RTM_GETQDISC, RTM_NEWTCLASS, RTM_GETTCLASS = 36, 38, 40, 42
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP, NLM_F_DUMP_INTR = 0x1, 0x300, 0x10
TCA_KIND, TCA_OPTIONS, TCA_STATS2 = 1, 2, 7
TCA_STATS_BASIC, TCA_STATS_QUEUE, TCA_STATS_PKT64 = 1, 3, 8
TCA_HTB_PARMS, TCA_HTB_RATE64, TCA_HTB_CEIL64 = 1, 6, 7
TCA_NETEM_REORDER, TCA_NETEM_CORRUPT, TCA_NETEM_LOSS, TCA_NETEM_RATE, TCA_NETEM_RATE64 = 3, 4, 5, 6, 8
TCA_NETEM_LATENCY64, TCA_NETEM_JITTER64 = 10, 11
NLA_TYPE_MASK = 0x3FFF          # without the flag bits for nested and byte order

_REQUEST = struct.Struct("=IHHII BxxxiIII")     # nlmsghdr, tcmsg
_HEADER = struct.Struct("=IHH")                 # length, type, flags
_TCMSG = struct.Struct("=16x4xiII")               # ifindex, handle, parent
_BODY = _REQUEST.size                           # where the attributes begin: 16 + 20
_ATTRIBUTE = struct.Struct("=HH")
_BASIC = struct.Struct("=QI")
_QUEUE = struct.Struct("=III")                  # qlen, backlog, drops
_U32, _U64 = struct.Struct("=I"), struct.Struct("=Q")
_NETEM = struct.Struct("=4xII4xI4x")            # tc_netem_qopt: limit, loss, duplicate
_ALL = 0xFFFF_FFFF                              # a probability of 1
_RATESPEC_RATE, _RATESPEC_SIZE = 8, 12          # u32 bytes/s is the last field of tc_ratespec
_RECEIVE = 1 << 16      # the kernel fills at most 32 kB of it
_TRIES = 5              # a dump that a change of the devices ran into is done again
_TIMEOUT = 5.0
_NESTED = {wire.tc: wire.nested for wire in DISCIPLINES.values() if wire.nested is not None}


class Qdisc(NamedTuple):
    """One qdisc as read. bytes and packets have left it, drops never will; cumulative.

    handle, parent  major << 16 | minor; parent 0xFFFFFFFF is the root
    backlog, qlen   bytes and packets waiting now
    limit           bytes (bfifo, red) or packets (pfifo, fq_codel), None for other kinds
    """

    ifindex: int
    kind: str
    handle: int
    parent: int
    bytes: int
    packets: int
    drops: int
    backlog: int
    qlen: int
    limit: int | None


class HtbClass(NamedTuple):
    """One HTB class; rate and ceil in bit/s as the kernel holds them (whole bytes per second)."""

    ifindex: int
    handle: int
    parent: int
    rate: int
    ceil: int
    bytes: int
    packets: int


class Netem(NamedTuple):
    """What one netem is set to. delay, jitter: seconds; rate: bit/s, 0: none; limit: packets; the rest: shares.

    loss of a model (tc-netem(8): state, gemodel) is the probability to leave its good state.
    """

    ifindex: int
    delay: float
    jitter: float
    loss: float
    reorder: float
    duplicate: float
    corrupt: float
    rate: int
    limit: int


def open_socket(netns_path: str) -> socket.socket:
    """An rtnetlink socket in the namespace at `netns_path`. Raises HostError if it cannot be entered."""
    with inside(netns_path):
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    sock.settimeout(_TIMEOUT)
    sock.bind((0, 0))
    return sock


def interfaces(netns_path: str) -> dict[str, int]:
    """Interface name -> ifindex of a namespace."""
    with inside(netns_path):
        return {name: index for index, name in socket.if_nameindex()}


def dump(sock: socket.socket, handle: int = 0) -> list[Qdisc]:
    """All qdiscs of the socket's namespace, or those with this handle. Raises HostError."""
    return [_qdisc(*message) for message in _messages(sock, RTM_GETQDISC, 0, handle)]


def classes(sock: socket.socket, ifindex: int) -> list[HtbClass]:
    """The HTB classes of one interface. Raises HostError."""
    found = []
    for data, start, end, index, handle, parent in _messages(sock, RTM_GETTCLASS, ifindex):
        attributes = _attributes(data, start, end)
        if index == ifindex and _kind(data, attributes) == "htb" and TCA_OPTIONS in attributes:
            found.append(_class(data, attributes, index, handle, parent))
    return found


def impairments(sock: socket.socket) -> list[Netem]:
    """Every netem of the socket's namespace. Raises HostError."""
    found = []
    for data, start, end, index, _, _ in _messages(sock, RTM_GETQDISC, 0):
        attributes = _attributes(data, start, end)
        if _kind(data, attributes) == "netem" and TCA_OPTIONS in attributes:
            found.append(_netem(data, *attributes[TCA_OPTIONS], index))
    return found


_Attributes = dict[int, tuple[int, int]]        # type -> begin, end of the payload
_Message = tuple[memoryview, int, int, int, int, int]     # data, begin, end, ifindex, handle, parent


def _attributes(data: memoryview, start: int, end: int) -> _Attributes:
    """Where each attribute between start and end has its payload."""
    found = {}
    while start + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, start)
        if length < 4:
            break
        found[kind & NLA_TYPE_MASK] = start + 4, start + length
        start += (length + 3) & ~3
    return found


def _kind(data: memoryview, attributes: _Attributes) -> str:
    start, end = attributes[TCA_KIND]
    return bytes(data[start:end - 1]).decode()


def _basic(data: memoryview, stats: _Attributes) -> tuple[int, int]:
    """bytes, packets; the packets in 64 bits where the kernel needs them."""
    if TCA_STATS_BASIC not in stats:
        return 0, 0
    octets, packets = _BASIC.unpack_from(data, stats[TCA_STATS_BASIC][0])
    if TCA_STATS_PKT64 in stats:
        packets = _U64.unpack_from(data, stats[TCA_STATS_PKT64][0])[0]
    return octets, packets


def _qdisc(data: memoryview, start: int, end: int, ifindex: int, handle: int, parent: int) -> Qdisc:
    attributes = _attributes(data, start, end)
    kind = _kind(data, attributes)
    stats = _attributes(data, *attributes[TCA_STATS2]) if TCA_STATS2 in attributes else {}
    octets, packets = _basic(data, stats)
    qlen = backlog = drops = 0
    if TCA_STATS_QUEUE in stats:
        qlen, backlog, drops = _QUEUE.unpack_from(data, stats[TCA_STATS_QUEUE][0])
    limit = _limit(data, kind, attributes[TCA_OPTIONS]) if TCA_OPTIONS in attributes else None
    return Qdisc(ifindex, kind, handle, parent, octets, packets, drops, backlog, qlen, limit)


def _limit(data: memoryview, kind: str, options: tuple[int, int]) -> int | None:
    """Where the discipline has it (disciplines.Wire.nested); None for another kind."""
    at: int | None = options[0] if kind in ("bfifo", "pfifo") else None
    nested = _NESTED.get(kind)
    if nested is not None:
        at = _attributes(data, *options).get(nested, (None,))[0]
    return None if at is None else int(_U32.unpack_from(data, at)[0])


def _class(data: memoryview, attributes: _Attributes, ifindex: int, handle: int, parent: int) -> HtbClass:
    options = _attributes(data, *attributes[TCA_OPTIONS])
    stats = _attributes(data, *attributes[TCA_STATS2]) if TCA_STATS2 in attributes else {}
    parameters = options[TCA_HTB_PARMS][0]
    rate = _U32.unpack_from(data, parameters + _RATESPEC_RATE)[0]
    ceil = _U32.unpack_from(data, parameters + _RATESPEC_SIZE + _RATESPEC_RATE)[0]
    if TCA_HTB_RATE64 in options:       # 34.4 Gbit/s and more do not fit 32 bits
        rate = _U64.unpack_from(data, options[TCA_HTB_RATE64][0])[0]
    if TCA_HTB_CEIL64 in options:
        ceil = _U64.unpack_from(data, options[TCA_HTB_CEIL64][0])[0]
    return HtbClass(ifindex, handle, parent, rate * 8, ceil * 8, *_basic(data, stats))


def _netem(data: memoryview, start: int, end: int, ifindex: int) -> Netem:
    """Options are tc_netem_qopt and attributes behind it (linux/pkt_sched.h); times in ns, shares of 2^32 - 1."""
    limit, loss, duplicate = _NETEM.unpack_from(data, start)
    options = _attributes(data, start + _NETEM.size, end)

    def value(kind: int, form: struct.Struct = _U32) -> int:
        return int(form.unpack_from(data, options[kind][0])[0]) if kind in options else 0

    if TCA_NETEM_LOSS in options:       # one model's parameters, whose first is that probability
        for at, _ in _attributes(data, *options[TCA_NETEM_LOSS]).values():
            (loss,) = _U32.unpack_from(data, at)
    return Netem(
        ifindex, limit=limit, loss=loss / _ALL, duplicate=duplicate / _ALL,
        reorder=value(TCA_NETEM_REORDER) / _ALL, corrupt=value(TCA_NETEM_CORRUPT) / _ALL,
        delay=value(TCA_NETEM_LATENCY64, _U64) / 1e9, jitter=value(TCA_NETEM_JITTER64, _U64) / 1e9,
        rate=8 * (value(TCA_NETEM_RATE64, _U64) or value(TCA_NETEM_RATE)))


def _messages(sock: socket.socket, request: int, ifindex: int, handle: int = 0) -> list[_Message]:
    """The answers to one dump request; a dump that devices changed under is done again."""
    for _ in range(_TRIES):
        answers = _one_dump(sock, request, ifindex, handle)
        if answers is not None:
            return answers
    raise HostError("traffic control of a namespace", "a reading between two changes of its devices",
                    f"changes during {_TRIES} readings in a row")


def _one_dump(sock: socket.socket, request: int, ifindex: int, handle: int) -> list[_Message] | None:
    """Every message of one dump (with this handle, if any), or None if it was interrupted by a change."""
    answers: list[_Message] = []
    interrupted = False
    try:
        sock.send(_REQUEST.pack(_BODY, request, NLM_F_REQUEST | NLM_F_DUMP, 0, 0, 0, ifindex, 0, 0, 0))
        while True:
            data = memoryview(sock.recv(_RECEIVE))
            at = 0
            while at < len(data):
                length, kind, flags = _HEADER.unpack_from(data, at)
                interrupted |= bool(flags & NLM_F_DUMP_INTR)
                if kind == NLMSG_DONE:
                    return None if interrupted else answers
                if kind == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", data, at + 16)[0]
                    raise OSError(code, os.strerror(code))
                index, own, parent = _TCMSG.unpack_from(data, at)
                if not handle or own == handle:
                    answers.append((data, at + _BODY, at + length, index, own, parent))
                at += (length + 3) & ~3
    except OSError as error:
        if error.errno == errno.EBUSY:
            return None
        raise HostError("traffic control of a namespace", "an answer of the kernel",
                        error.strerror or str(error)) from None
