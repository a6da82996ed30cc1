"""The RoCEv2 packets of a capture, by queue pair, in the order of their time stamps.

A queue pair of an RC has two rows of PSNs in one direction: of the requests that `src` sends to queue pair `qpn` of
`dst`, and of the responses that it sends there to the requests of its peer. What is no such packet is counted by kind.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import numpy as np

from topologies.model.errors import LabError
from traffic.transports.rocev2.opcodes import (
    AETH_SIZE,
    BTH_SIZE,
    ICRC_SIZE,
    MEANINGS,
    Meaning,
    Role,
    Syndrome,
    syndrome_of,
)
from traffic.transports.rocev2.packets import icrc_of
from traffic.transports.rocev2.wire import ROCE_PORT
from traffic.transports.udp.capture_file import SLL2, Frame, frames
from traffic.transports.udp.layers import CUT, PROTOCOL_TCP, PROTOCOL_UDP, UDP_HEADER, IpPacket, encapsulated, ip_packet

MOST_PACKETS = 2_000_000        # that are analysed: 300 bytes of memory each, at worst
MOST_PAIRS = 50_000
MTUS = (256, 512, 1024, 2048, 4096)
LARGEST = UDP_HEADER + 128 + MTUS[-1] + ICRC_SIZE   # bytes of a UDP datagram: headers, the largest MTU
JOINED = "packets that the host joined (GRO, GSO)"
DEEPEST = 2                     # VXLAN in VXLAN


class Way(NamedTuple):
    """From whom to which queue pair of whom. place: a VNI, an interface; '' where there is only one."""

    src: str
    dst: str
    qpn: int
    place: str


class PairKey(NamedTuple):
    """One row of PSNs. service: RC, UC or XRC; carries: requests or responses."""

    way: Way
    service: str
    carries: Role


@dataclass
class Packets:
    """Packets of one row of PSNs, in the order of the capture until `sort`. lengths: of READ requests, else -1."""

    stamps: array[int] = field(default_factory=lambda: array("q"))
    psns: array[int] = field(default_factory=lambda: array("I"))
    sports: array[int] = field(default_factory=lambda: array("H"))
    opcodes: array[int] = field(default_factory=lambda: array("B"))
    lengths: array[int] = field(default_factory=lambda: array("q"))
    full: set[int] = field(default_factory=set)         # payload of packets that another of their message follows
    largest: int = 0            # payload; immediate data is counted as some
    bad_icrc: int = 0
    cut: int = 0                # packets whose ICRC was not captured
    unchecked: int = 0          # behind IP options or extension headers
    joined: int = 0             # frames of several packets, whose PSNs cannot be read

    def sort(self) -> None:
        """By time; those of one time stay in the order of the capture."""
        order = np.argsort(np.array(self.stamps, np.int64), kind="stable").tolist()
        if order != list(range(len(order))):
            for name in ("stamps", "psns", "sports", "opcodes", "lengths"):
                values = getattr(self, name)
                setattr(self, name, array(values.typecode, (values[k] for k in order)))


@dataclass
class Answers:
    """ACKs, NAKs and CNPs that went one way. psns: (time, PSN, kind) of the ACKs and NAKs."""

    kinds: Counter[Syndrome] = field(default_factory=Counter)
    cnps: int = 0
    psns: list[tuple[int, int, Syndrome]] = field(default_factory=list)


@dataclass
class Sightings:
    """What a capture shows. left_out: kind of frame -> how many. unordered: frames before an earlier one's time."""

    path: Path
    frames: int = 0
    unordered: int = 0
    pairs: dict[PairKey, Packets] = field(default_factory=dict)
    answers: dict[Way, Answers] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    _count: int = 0
    _latest: int = 0

    def note(self, frame: Frame, where: str) -> None:
        """The next frame of the capture. Raises LabError."""
        self.frames += 1
        self.unordered += frame.stamp < self._latest
        self._latest = max(self._latest, frame.stamp)
        found = _roce(frame, where)
        if isinstance(found, str):
            self.left_out[found] += 1
            return
        packet, place = found
        bth = packet.payload[UDP_HEADER:]
        meaning = MEANINGS[bth[0]]
        if isinstance(meaning, str):
            self.left_out[meaning] += 1
            return
        self._count += 1
        way = Way(_address(packet.src), _address(packet.dst), int.from_bytes(bth[5:8], "big"), place)
        if meaning.role in (Role.ACKNOWLEDGE, Role.NOTIFICATION):
            self._answer(way, meaning, frame.stamp, bth)
        else:
            self._packet(PairKey(way, meaning.service, meaning.role), meaning, frame.stamp, packet)
        if self._count > MOST_PACKETS or len(self.pairs) + len(self.answers) > MOST_PAIRS:
            raise LabError(str(self.path), f"at most {MOST_PACKETS:,} packets of RoCEv2 and {MOST_PAIRS:,} queue pairs",
                           "more", "cut the capture: tcpdump -r OLD -w NEW -c COUNT, or with a filter on a host")

    def _answer(self, way: Way, meaning: Meaning, stamp: int, bth: bytes) -> None:
        answers = self.answers.setdefault(way, Answers())
        if meaning.role is Role.NOTIFICATION:
            answers.cnps += 1
            return
        kind = syndrome_of(bth[BTH_SIZE])
        answers.kinds[kind] += 1
        answers.psns.append((stamp, _psn(bth), kind))

    def _packet(self, key: PairKey, meaning: Meaning, stamp: int, packet: IpPacket) -> None:
        bth = packet.payload[UDP_HEADER:]
        pair = self.pairs.setdefault(key, Packets())
        payload = packet.length - UDP_HEADER - meaning.header - ICRC_SIZE - (bth[1] >> 4 & 0b11)
        if _is_joined(meaning, packet.length, payload):
            pair.joined += 1
            self.left_out[JOINED] += 1
            return
        pair.stamps.append(stamp)
        pair.psns.append(_psn(bth))
        pair.sports.append(int.from_bytes(packet.payload[:2], "big"))
        pair.opcodes.append(bth[0])
        at = meaning.dma_length
        pair.lengths.append(-1 if at is None else int.from_bytes(bth[at:at + 4], "big"))
        if not meaning.last:
            pair.full.add(payload)
        pair.largest = max(pair.largest, payload)
        if len(packet.payload) < packet.length:
            pair.cut += 1
        elif packet.extended:
            pair.unchecked += 1
        else:
            pair.bad_icrc += icrc_of(packet.header, packet.payload) != packet.payload[-ICRC_SIZE:]


@lru_cache(1024)
def _address(packed: bytes) -> str:
    return str(ip_address(packed))


def _psn(bth: bytes) -> int:
    return int.from_bytes(bth[9:12], "big")


def _roce(frame: Frame, where: str) -> tuple[IpPacket, str] | str:
    """The IP packet of a RoCEv2 packet and its place, or what the frame is instead. Raises LabError where the
    capture cut its headers.
    """
    number = int.from_bytes(frame.data[4:8], "big") if frame.link == SLL2 else frame.place
    place = f"interface {number}" if number else ""
    packet = ip_packet(frame)
    for _ in range(DEEPEST):
        inside = None if isinstance(packet, str) else encapsulated(frame, packet)
        if inside is None:
            break
        frame, place = inside[0], f"VNI {inside[1]}"
        packet = ip_packet(frame)
    if packet == CUT:
        raise _cut(frame, where)
    found = packet if isinstance(packet, str) else _datagram(frame, packet, where)
    return found if isinstance(found, str) else (found, place)


def _datagram(frame: Frame, packet: IpPacket, where: str) -> IpPacket | str:
    """The packet if it is RoCEv2, cut to what UDP says of its length."""
    if packet.protocol != PROTOCOL_UDP:
        return "TCP" if packet.protocol == PROTOCOL_TCP else f"other protocols over IPv{packet.version}"
    data = packet.payload
    if len(data) < UDP_HEADER <= packet.length:
        raise _cut(frame, where)
    length = int.from_bytes(data[4:6], "big") or packet.length      # 0: larger than the field
    if not UDP_HEADER <= length <= packet.length:
        return "malformed UDP headers"
    if int.from_bytes(data[2:4], "big") != ROCE_PORT:
        return "UDP to other ports"
    needed = UDP_HEADER + _header(data)
    if length < needed + ICRC_SIZE:
        return "RoCEv2 packets too short for their headers"
    if len(data) < needed:
        raise _cut(frame, where)
    if data[UDP_HEADER + 1] & 0x0F:
        return "RoCEv2 packets of another version of BTH"
    return packet._replace(payload=data[:length], length=length)


def _header(datagram: bytes) -> int:
    """Bytes from BTH on that are read here: all headers of a READ, the AETH of an ACK."""
    meaning = MEANINGS[datagram[UDP_HEADER]] if len(datagram) > UDP_HEADER else ""
    if isinstance(meaning, str):
        return BTH_SIZE
    if meaning.role is Role.ACKNOWLEDGE:
        return BTH_SIZE + AETH_SIZE
    return meaning.header if meaning.dma_length is not None else BTH_SIZE


def _is_joined(meaning: Meaning, length: int, payload: int) -> bool:
    """Whether a datagram of `length` bytes holds several packets, as far as its size can tell."""
    if length > LARGEST:
        return True
    between = BTH_SIZE + ICRC_SIZE      # of two payloads
    return not meaning.last and payload > MTUS[0] and payload not in MTUS and any(
        (payload + between) % (mtu + between) == 0 for mtu in MTUS)


def _cut(frame: Frame, where: str) -> LabError:
    return LabError(where, "its headers up to the AETH", f"{len(frame.data)} captured bytes of {frame.size}",
                    "capture with a larger snap length: tcpdump -s 160")


def sightings(path: Path) -> Sightings:
    """Of a capture. Raises LabError for a file without RoCEv2, or one whose headers were cut off."""
    seen = Sightings(path)
    for number, frame in enumerate(frames(path), start=1):
        seen.note(frame, f"{path}, frame {number}")
    if not seen.answers and not any(p.psns for p in seen.pairs.values()):
        kinds = ": " + ", ".join(f"{n:,} {kind}" for kind, n in seen.left_out.most_common()) if seen.left_out else ""
        raise LabError(str(path), f"packets of RoCEv2 (UDP port {ROCE_PORT})", f"none in {seen.frames} frames{kinds}",
                       "capture on the interface of a host that sends or receives RDMA")
    for pair in seen.pairs.values():
        pair.sort()
    for answers in seen.answers.values():
        answers.psns.sort(key=lambda a: a[0])
    return seen

