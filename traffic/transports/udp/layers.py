"""From a captured frame to its IP packet: link types, VLAN tags, options and extension headers.

What is no whole IP packet is reported as a kind, so that whoever leaves it out can say why.
Source: RFC 791, RFC 8200, RFC 2675 (jumbograms), IEEE 802.1Q, RFC 7348 (VXLAN); link types: tcpdump.org/linktypes.
"""

from __future__ import annotations

from typing import NamedTuple

from traffic.transports.udp.capture_file import ETHERNET, LOOP, NULL, SLL, SLL2, Frame

ETHERTYPE_IPV4, ETHERTYPE_IPV6 = 0x0800, 0x86DD
PROTOCOL_TCP, PROTOCOL_UDP = 6, 17
UDP_HEADER = 8
VXLAN_PORT, VXLAN_HEADER = 4789, 8
CUT = "frames whose headers were cut off"       # by the snap length: not the frame's fault
_TAGS = {0x8100, 0x88A8, 0x9100, 0x9200}
_KINDS = {0x0806: "ARP", 0x88CC: "LLDP", 0x8847: "MPLS", 0x8848: "MPLS", 0x8863: "PPPoE", 0x8864: "PPPoE",
          0x8808: "Ethernet flow control (pause)", 0x8915: "RoCEv1 (Ethertype 0x8915)", 0x8809: "LACP"}
_FRAGMENT = 0x3FFF              # IPv4: more fragments, or an offset
_OPTIONS6 = {0, 43, 60, 135, 139, 140}          # extension headers that have their length in units of 8 bytes
_FRAGMENT6, _AUTHENTICATION = 44, 51
_LINK_PROTOCOL = {SLL: (14, 16), SLL2: (0, 20)}    # where the Ethertype is, and the header's length


class IpPacket(NamedTuple):
    """An IP packet that is no fragment.

    header: IPv4 with its options, or IPv6 without extension headers; extended: there are some. payload: what was
    captured of it, without the padding of a short frame; length: bytes of it on the wire. offset: bytes of the frame
    before IP; tagged: by VLAN tags.
    """

    src: bytes
    dst: bytes
    protocol: int
    header: bytes
    extended: bool
    payload: bytes
    length: int
    offset: int
    tagged: bool

    @property
    def version(self) -> int:
        return 4 if len(self.src) == 4 else 6


def ip_packet(frame: Frame) -> IpPacket | str:
    """The packet of a frame, or what the frame is instead."""
    data = frame.data
    if frame.link == ETHERNET:
        start = 12
    elif frame.link in _LINK_PROTOCOL:
        start = _LINK_PROTOCOL[frame.link][0]
    else:                       # the IP version stands for the Ethertype
        offset = 4 if frame.link in (NULL, LOOP) else 0
        kind = {4: ETHERTYPE_IPV4, 6: ETHERTYPE_IPV6}.get(data[offset] >> 4 if len(data) > offset else 0, 0)
        return _network(frame, kind, offset, tagged=False)
    if len(data) < start + 2:
        return CUT if frame.size >= start + 2 else "frames without a header"
    kind = int.from_bytes(data[start:start + 2], "big")
    at = start + 2 if frame.link == ETHERNET else _LINK_PROTOCOL[frame.link][1]
    tagged = False
    while kind in _TAGS:
        if len(data) < at + 4:
            return CUT if frame.size >= at + 4 else "frames without a header"
        kind, at, tagged = int.from_bytes(data[at + 2:at + 4], "big"), at + 4, True
    return _network(frame, kind, at, tagged=tagged)


def _network(frame: Frame, kind: int, at: int, *, tagged: bool) -> IpPacket | str:
    if kind == ETHERTYPE_IPV4:
        return _ipv4(frame, at, tagged=tagged)
    if kind == ETHERTYPE_IPV6:
        return _ipv6(frame, at, tagged=tagged)
    return _KINDS.get(kind, "other protocols")


def _ipv4(frame: Frame, at: int, *, tagged: bool) -> IpPacket | str:
    data, room = frame.data, frame.size - at
    if len(data) < at + 20:
        return CUT if room >= 20 else "malformed IP headers"
    header = (data[at] & 0x0F) * 4
    if data[at] >> 4 != 4 or header < 20:
        return "malformed IP headers"
    total = int.from_bytes(data[at + 2:at + 4], "big") or room      # 0: larger than the field, by offloads (BIG TCP)
    if total < header:
        return "malformed IP headers"
    if total > room:
        return "IP packets longer than their frame"
    if int.from_bytes(data[at + 6:at + 8], "big") & _FRAGMENT:
        return "fragments"
    return IpPacket(data[at + 12:at + 16], data[at + 16:at + 20], data[at + 9], data[at:at + header], header > 20,
                    data[at + header:at + total], total - header, at, tagged)


def _ipv6(frame: Frame, at: int, *, tagged: bool) -> IpPacket | str:
    data, room = frame.data, frame.size - at - 40
    if len(data) < at + 40:
        return CUT if room >= 0 else "malformed IP headers"
    if data[at] >> 4 != 6:
        return "malformed IP headers"
    length = int.from_bytes(data[at + 4:at + 6], "big") or room     # 0: a jumbogram, or by offloads
    if length > room:
        return "IP packets longer than their frame"
    begin = at + 40
    found = _behind_extensions(data, data[at + 6], begin, begin + length)
    if isinstance(found, str):
        return found
    protocol, body = found
    return IpPacket(data[at + 8:at + 24], data[at + 24:at + 40], protocol, data[at:begin], body > begin,
                    data[body:begin + length], begin + length - body, at, tagged)


def _behind_extensions(data: bytes, protocol: int, body: int, end: int) -> tuple[int, int] | str:
    """(protocol, where its header begins) behind the extension headers of an IPv6 packet that ends at `end`."""
    while protocol in _OPTIONS6 or protocol in (_FRAGMENT6, _AUTHENTICATION):
        if body + 8 > end:
            return "malformed IP headers"
        if len(data) < body + 8:
            return CUT
        if protocol == _FRAGMENT6 and int.from_bytes(data[body + 2:body + 4], "big") & 0xFFF9:
            return "fragments"
        words = data[body + 1]
        size = 8 if protocol == _FRAGMENT6 else (words + 2) * 4 if protocol == _AUTHENTICATION else (words + 1) * 8
        protocol, body = data[body], body + size
    return (protocol, body) if body <= end else "malformed IP headers"


def encapsulated(frame: Frame, packet: IpPacket) -> tuple[Frame, int] | None:
    """(frame inside, VNI) of a VXLAN packet; None for any other."""
    data = packet.payload
    start = UDP_HEADER + VXLAN_HEADER
    if (packet.protocol != PROTOCOL_UDP or len(data) < start or int.from_bytes(data[2:4], "big") != VXLAN_PORT
            or not data[UDP_HEADER] & 0x08):
        return None
    inner = Frame(frame.stamp, packet.length - start, data[start:], ETHERNET, frame.place)
    return inner, int.from_bytes(data[UDP_HEADER + 4:UDP_HEADER + 7], "big")
