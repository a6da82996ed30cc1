"""RoCEv2 packets and captures for tests, made by Scapy."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from scapy.contrib.roce import AETH, BTH, cnp
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

A, B = "192.0.2.1", "192.0.2.2"
AT_A, AT_B = 0x11, 0x22         # a queue pair of each, connected to the other
MTU = 1024
SEND_FIRST, SEND_MIDDLE, SEND_LAST, SEND_ONLY = 0, 1, 2, 4
WRITE_FIRST, WRITE_MIDDLE, WRITE_LAST, WRITE_ONLY = 6, 7, 8, 10
READ, READ_FIRST, READ_MIDDLE, READ_LAST, READ_ONLY, ACKNOWLEDGE, ATOMIC_ACK, FETCH_ADD = 12, 13, 14, 15, 16, 17, 18, 20
UC, UD, XRC = 0x20, 0x60, 0xA0


def reth(length: int) -> bytes:
    return struct.pack("!QII", 0x7000, 1, length)


def roce(opcode: int, psn: int, body: bytes | Packet = b"", *, back: bool = False, qpn: int | None = None,
         ip: Packet | None = None, sport: int = 50_000) -> Packet:
    """From A to B's queue pair; back: from B to A's. Scapy adds the ICRC."""
    outer = ip if ip is not None else IP(src=B, dst=A) if back else IP(src=A, dst=B)
    to = qpn if qpn is not None else AT_A if back else AT_B
    bth = BTH(opcode=opcode, psn=psn % 2**24, dqpn=to, migreq=1)
    return outer / UDP(sport=sport, dport=4791, chksum=0) / bth / (Raw(body) if isinstance(body, bytes) else body)


def aeth(syndrome: int = 0x1F) -> bytes:
    return bytes(AETH(syndrome=syndrome))


def ack(psn: int, syndrome: int = 0x1F, *, back: bool = True) -> Packet:
    return roce(ACKNOWLEDGE, psn, AETH(syndrome=syndrome), back=back)


def notification(*, back: bool = True) -> Packet:
    ip = IP(src=B, dst=A) if back else IP(src=A, dst=B)
    return ip / UDP(sport=50_000, dport=4791, chksum=0) / cnp(AT_A if back else AT_B)


def read_responses(psn: int, count: int, *, back: bool = True) -> list[Packet]:
    """All packets of the response to a READ of `count` full packets."""
    if count == 1:
        return [roce(READ_ONLY, psn, aeth() + bytes(MTU), back=back)]
    middle = [roce(READ_MIDDLE, psn + k, bytes(MTU), back=back) for k in range(1, count - 1)]
    return [roce(READ_FIRST, psn, aeth() + bytes(MTU), back=back), *middle,
            roce(READ_LAST, psn + count - 1, aeth() + bytes(MTU), back=back)]


def ethernet(packet: Packet, *vlans: int, kinds: Iterable[int] = ()) -> bytes:
    """The frame, with a VLAN tag for each number; kinds: Ethertypes of the tags, else 802.1Q."""
    frame: Packet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    tags = list(kinds) or [0x8100] * len(vlans)
    if vlans:
        frame.type = tags[0]
    for k, vlan in enumerate(vlans):
        tag = Dot1Q(vlan=vlan)
        if k + 1 < len(vlans):
            tag.type = tags[k + 1]
        frame = frame / tag
    return bytes(frame / packet)


def written(path: Path, *frames: bytes | Packet | tuple[float, bytes | Packet], link: int = 1, order: str = "<",
            nano: bool = True, snap: int = 262_144) -> Path:
    """A pcap file; frames without a time (s) are a millisecond apart. IP packets get an Ethernet header."""
    unit = 10**9 if nano else 10**6
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    with path.open("wb") as file:
        file.write(struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65_535, link))
        for k, item in enumerate(frames):
            seconds, frame = item if isinstance(item, tuple) else (1 + k / 1000, item)
            whole = frame if isinstance(frame, bytes) else ethernet(frame)
            ticks = round(seconds * unit)
            file.write(struct.pack(order + "IIII", ticks // unit, ticks % unit, min(len(whole), snap), len(whole)))
            file.write(whole[:snap])
    return path


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """Of a pcapng file."""
    padded = body + bytes(-len(body) % 4)
    length = 12 + len(padded)
    return struct.pack(order + "II", kind, length) + padded + struct.pack(order + "I", length)


def pcapng(path: Path, *packets: tuple[int, int, bytes], links: Iterable[int] = (1,), order: str = "<",
           resolution: int | None = 9, offset: int | None = None) -> Path:
    """packets: (interface, ticks, frame)."""
    options = b""
    if resolution is not None:
        options += struct.pack(order + "HHBxxx", 9, 1, resolution)
    if offset is not None:
        options += struct.pack(order + "HHq", 14, 8, offset)
    end = struct.pack(order + "HH", 0, 0)
    parts = [block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)]
    parts += [block(1, struct.pack(order + "HHI", link, 0, 0) + options + end, order) for link in links]
    parts.append(block(5, bytes(8), order))         # statistics, which tell nothing here
    for interface, ticks, frame in packets:
        head = struct.pack(order + "IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
        parts.append(block(6, head + frame + bytes(-len(frame) % 4) + end, order))
    path.write_bytes(b"".join(parts))
    return path
