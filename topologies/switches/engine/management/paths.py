"""Where a switch would send a packet, asked of the switch itself: nothing is sent or counted."""

from __future__ import annotations

import socket
import struct

from topologies.model.inventory import SwitchProcess
from topologies.switches.engine.client import EngineClient
from topologies.switches.engine.management.process import control_socket
from topologies.switches.management import Frame, Sent

TTL = 64
_PROTOCOLS = {"tcp": 6, "udp": 17}


def path_of(switch: SwitchProcess, frame: Frame) -> Sent:
    """What the switch would do with a packet. Raises HostError if the engine does not answer."""
    with EngineClient(control_socket(switch)) as engine:
        return parse(engine.ask(f"trace {switch.name} {frame.in_port} {frame_bytes(frame).hex()}"))


def parse(answer: str) -> Sent:
    """`rules=.. output=.. tunnel=ADDRESS,.. drop=..`, each if there is any."""
    words = dict(word.partition("=")[::2] for word in answer.split())
    return Sent(tuple(words["tunnel"].split(",")) if "tunnel" in words else (), answer[:200] or "nothing")


def frame_bytes(frame: Frame) -> bytes:
    """The packet on the wire, without payload."""
    upper = (struct.pack("!HHIIBBHHH", frame.sport, frame.dport, 0, 0, 5 << 4, 0, 0, 0, 0) if frame.protocol == "tcp"
             else struct.pack("!HHHH", frame.sport, frame.dport, 8, 0))
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(upper), 0, 0, TTL, _PROTOCOLS[frame.protocol], 0,
                       socket.inet_aton(frame.src_ip), socket.inet_aton(frame.dst_ip))
    head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    macs = b"".join(bytes.fromhex(mac.replace(":", "")) for mac in (frame.dst_mac, frame.src_mac))
    return macs + b"\x08\x00" + head + upper


def _checksum(header: bytes) -> int:
    """Of an IPv4 header whose own field is 0 (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
