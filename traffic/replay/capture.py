"""What a capture says about its TCP and UDP packets: when each was seen, how large it was, of which flow it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

from topologies.addressing import ETHERNET_HEADER
from topologies.errors import LabError
from traffic.streams.pcap import ETHERTYPE_IPV4, PROTOCOL_UDP, Frame, frames

PROTOCOL_TCP = 6
_KINDS = {0x0806: "ARP", 0x86DD: "IPv6", 0x8100: "VLAN", 0x88CC: "LLDP"}
_FRAGMENT = 0x3FFF          # more fragments, or an offset: no ports to be read


class Flow(NamedTuple):
    """Who speaks to whom, in the capture's own addresses."""

    src: str
    dst: str
    protocol: int
    sport: int
    dport: int


@dataclass(frozen=True)
class Capture:
    """packets: (ns after the first of them, flow, bytes of the Ethernet frame) each, in the order of time.

    left_out: kind of frame -> how many of it are not packets of that list.
    """

    packets: list[tuple[int, Flow, int]]
    left_out: dict[str, int]


def read_capture(path: Path) -> Capture:
    """TCP and UDP over IPv4 between single hosts; the rest is counted by kind. Raises LabError."""
    packets: list[tuple[int, Flow, int]] = []
    left_out: Counter[str] = Counter()
    for number, frame in enumerate(frames(path), start=1):
        flow = _flow(frame, f"{path}, frame {number}")
        if isinstance(flow, str):
            left_out[flow] += 1
        else:
            packets.append((frame.stamp, flow, frame.size))
    if not packets:
        found = ", ".join(f"{n} of {kind}" for kind, n in left_out.items())
        raise LabError(str(path), "packets of TCP or UDP over IPv4", found or "no frame at all")
    packets.sort(key=lambda p: p[0])        # captures of several interfaces are not in order
    first = packets[0][0]
    return Capture([(stamp - first, flow, size) for stamp, flow, size in packets], dict(left_out))


def _flow(frame: Frame, where: str) -> Flow | str:
    """The flow of a frame, or the kind that it is left out as. Raises LabError where the capture cut its headers."""
    data = frame.data
    kind = int.from_bytes(data[12:14], "big")
    if kind != ETHERTYPE_IPV4:
        return _KINDS.get(kind, "other protocols") if len(data) >= ETHERNET_HEADER else "frames without a header"
    header = (data[ETHERNET_HEADER] & 0x0F) * 4 if len(data) > ETHERNET_HEADER else 20
    ports = ETHERNET_HEADER + header
    if len(data) < ports + 4 <= frame.size:
        raise LabError(where, "its headers up to the ports", f"{len(data)} captured bytes of {frame.size}",
                       "capture with a larger snap length: tcpdump -s 96")
    if len(data) < ports + 4 or data[ETHERNET_HEADER + 9] not in (PROTOCOL_TCP, PROTOCOL_UDP):
        return "other protocols over IPv4"
    if int.from_bytes(data[ETHERNET_HEADER + 6:ETHERNET_HEADER + 8], "big") & _FRAGMENT:
        return "fragments"
    src, dst = (IPv4Address(data[at:at + 4]) for at in (ETHERNET_HEADER + 12, ETHERNET_HEADER + 16))
    if dst.is_multicast or int(dst) == 0xFFFF_FFFF:
        return "multicast and broadcast"
    sport, dport = (int.from_bytes(data[at:at + 2], "big") for at in (ports, ports + 2))
    if not dport:
        return "packets to port 0"
    return Flow(str(src), str(dst), data[ETHERNET_HEADER + 9], sport, dport)
