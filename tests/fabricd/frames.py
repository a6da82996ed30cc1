"""Frames from fields, with the checksums that belong to them; and whether a frame's checksums hold."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from typing import Any

ARP, IPV4 = 0x0806, 0x0800
ICMP, TCP, UDP = 1, 6, 17
VXLAN_PORT = 4789


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def checksum(data: bytes) -> int:
    """RFC 1071; over data that has its checksum, 0."""
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _pseudo(source: bytes, target: bytes, protocol: int, length: int) -> bytes:
    return source + target + struct.pack("!BBH", 0, protocol, length)


def _segment(p: Mapping[str, Any], source: bytes, target: bytes, payload: bytes) -> bytes:
    """What is behind the IPv4 header."""
    protocol = p["ip_proto"]
    if protocol == UDP:
        head = struct.pack("!HHHH", p["udp_src"], p["udp_dst"], 8 + len(payload), 0)
        sum_ = checksum(_pseudo(source, target, UDP, 8 + len(payload)) + head + payload) or 0xFFFF
        return head[:6] + struct.pack("!H", 0 if p.get("no_udp_checksum") else sum_) + payload
    if protocol == TCP:
        head = struct.pack("!HHIIBBHHH", p["tcp_src"], p["tcp_dst"], 1, 2, 0x50, 0x10, 512, 0, 0)
        sum_ = checksum(_pseudo(source, target, TCP, 20 + len(payload)) + head + payload)
        return head[:16] + struct.pack("!H", sum_) + head[18:] + payload
    if protocol == ICMP:
        head = struct.pack("!BBHI", p.get("icmpv4_type", 8), p.get("icmpv4_code", 0), 0, 7)
        return head[:2] + struct.pack("!H", checksum(head + payload)) + head[4:] + payload
    return payload


def frame(p: Mapping[str, Any], payload: bytes = b"payload") -> bytes:
    """A frame with these fields by their OXM names; `inner` makes it VXLAN, with that frame inside."""
    ethernet = mac(p["eth_dst"]) + mac(p["eth_src"]) + struct.pack("!H", p["eth_type"])
    if p["eth_type"] == ARP:
        return (ethernet + bytes.fromhex("0001080006 04") + struct.pack("!H", p["arp_op"]) + mac(p["arp_sha"])
                + socket.inet_aton(p["arp_spa"]) + mac(p.get("arp_tha", "00:00:00:00:00:00"))
                + socket.inet_aton(p["arp_tpa"]))
    if p["eth_type"] != IPV4:
        return ethernet + payload
    if "inner" in p:
        payload = struct.pack("!II", 0x08000000, p["inner"]["vni"] << 8) + p["inner"]["frame"]
    source, target = socket.inet_aton(p["ipv4_src"]), socket.inet_aton(p["ipv4_dst"])
    segment = _segment(p, source, target, payload)
    head = struct.pack("!BBHHHBBH", 0x45, p.get("ip_dscp", 0) << 2 | p.get("ip_ecn", 0), 20 + len(segment), 0,
                       p.get("fragment", 0x4000), p.get("nw_ttl", 64), p["ip_proto"], 0)
    head += source + target
    return ethernet + head[:10] + struct.pack("!H", checksum(head)) + head[12:] + segment


def checksums_hold(it: bytes) -> bool:
    """Of an untagged IPv4 frame without options that is whole: the header's, and that of what is behind it."""
    total, protocol = struct.unpack("!2xH5xB", it[14:24])
    ip, segment = it[14:34], it[34:14 + total]
    pseudo = _pseudo(ip[12:16], ip[16:20], protocol, len(segment))
    if checksum(ip) != 0:
        return False
    if protocol == UDP:
        return segment[6:8] == b"\0\0" or checksum(pseudo + segment) == 0
    if protocol == TCP:
        return checksum(pseudo + segment) == 0
    return protocol != ICMP or checksum(segment) == 0
