"""RoCEv2 packets: Scapy builds each kind once, after that a few fields are patched for every packet.

    IPv4 20 | UDP 8, port 4791 | BTH 12: opcode, queue pair, PSN | payload, or AETH 4 | ICRC 4

The UDP source port is the entropy that ECMP hashes. The ICRC is a CRC-32 over the packet from IPv4 on,
behind eight bytes of ones, with the fields that routers change set to ones.

Source: InfiniBand Architecture Specification, volume 1, 9.2 (BTH), 9.3.5 (AETH) and annex A17 (RoCEv2).
"""

from __future__ import annotations

import struct
from zlib import crc32

from scapy.contrib.roce import AETH, BTH
from scapy.layers.inet import IP, UDP
from scapy.packet import Packet, Raw

from traffic.transports.rocev2.wire import (
    ACK,
    ACKNOWLEDGE,
    AETH_SIZE,
    BTH_SIZE,
    HEADERS,
    ICRC_SIZE,
    PSNS,
    ROCE_PORT,
    SERVICE_BITS,
)

STAMP = struct.Struct("!Iq")                        # first bytes of our payload: transmission, CLOCK_REALTIME ns
_SPORT, _OPCODE, _PSN, _BODY = 20, 28, 36, 40       # offsets from IPv4 on
_ACK_REQUEST = 1 << 31
_IP_ID = 1                      # the ICRC covers it; the kernel replaces a 0
_IPV4 = 20                      # bytes of a header without options
_PORT, _WORD = struct.Struct("!H"), struct.Struct("!I")


class Icrc:
    """ICRC of packets whose IPv4 and UDP headers differ in the source port alone."""

    def __init__(self, headers: bytes) -> None:
        """headers: IPv4 and UDP header, 28 bytes."""
        masked = bytearray(b"\xff" * 8 + headers)
        for field in (8 + 1, 8 + 8, 8 + 10, 8 + 11, 8 + 26, 8 + 27):    # TOS, TTL, both checksums
            masked[field] = 0xFF
        self._masked = masked
        self._begun: dict[int, int] = {}

    def of(self, sport: int, rest: bytes | memoryview) -> bytes:
        """The four bytes of the wire; `rest` is BTH and what follows it, without ICRC."""
        begun = self._begun.get(sport)
        if begun is None:
            _PORT.pack_into(self._masked, 8 + _SPORT, sport)
            begun = self._begun[sport] = crc32(self._masked)
        begun = crc32(b"\xff", crc32(rest[:4], begun))      # FECN, BECN and the reserved bits
        return crc32(rest[5:], begun).to_bytes(ICRC_SIZE, "little")


def icrc_of(header: bytes, datagram: bytes) -> bytes:
    """The ICRC that a packet should have. header: IPv4 without options, or IPv6; datagram: UDP header to ICRC."""
    covered = bytearray(b"\xff" * 8 + header + datagram[:-ICRC_SIZE])
    udp = 8 + len(header)
    masked = (8 + 1, 8 + 8, 8 + 10, 8 + 11) if len(header) == _IPV4 else (8 + 1, 8 + 2, 8 + 3, 8 + 7)
    for field in (*masked, udp + 6, udp + 7, udp + 8 + 4):
        covered[field] = 0xFF       # IPv4: TOS, TTL, checksum; IPv6: class, flow label, hop limit; UDP's checksum; BTH
    if len(header) != _IPV4:
        covered[8] |= 0x0F          # the class's upper half; the version stays
    return crc32(covered).to_bytes(ICRC_SIZE, "little")


def _built(src: str, dst: str, dscp: int, bth: Packet, body: Packet) -> bytearray:
    packet = IP(src=src, dst=dst, id=_IP_ID, flags="DF", ttl=64, tos=dscp << 2)
    return bytearray(bytes(packet / UDP(sport=0, dport=ROCE_PORT, chksum=0) / bth / body))


class DataTemplate:
    """Packets of one queue pair with payload of one size."""

    def __init__(self, src: str, dst: str, qpn: int, payload: int, service: str, dscp: int = 0) -> None:
        if payload % 4 or payload < STAMP.size:
            raise ValueError(f"a payload of whole words, at least {STAMP.size} bytes; found {payload}")
        self._bits = SERVICE_BITS[service]
        self._packet = _built(src, dst, dscp, BTH(opcode=self._bits, migreq=1, dqpn=qpn), Raw(bytes(payload)))
        self.icrc = Icrc(bytes(self._packet[:HEADERS]))
        self._covered = memoryview(self._packet)[HEADERS:-ICRC_SIZE]

    def packet(self, sport: int, psn: int, opcode: int, ack_request: bool, transmission: int, stamp: int) -> bytearray:
        """The whole packet from IPv4 on; the same memory is used for the next one."""
        packet = self._packet
        _PORT.pack_into(packet, _SPORT, sport)
        packet[_OPCODE] = self._bits | opcode
        _WORD.pack_into(packet, _PSN, psn | (_ACK_REQUEST if ack_request else 0))
        STAMP.pack_into(packet, _BODY, transmission, stamp)
        packet[-ICRC_SIZE:] = self.icrc.of(sport, self._covered)
        return packet


class AckTemplate:
    """ACKs and NAKs of one queue pair."""

    def __init__(self, src: str, dst: str, qpn: int, dscp: int = 0) -> None:
        self._packet = _built(src, dst, dscp, BTH(opcode=ACKNOWLEDGE, migreq=1, dqpn=qpn), AETH(syndrome=ACK))
        self.icrc = Icrc(bytes(self._packet[:HEADERS]))
        self._covered = memoryview(self._packet)[HEADERS:-ICRC_SIZE]

    def packet(self, sport: int, psn: int, syndrome: int, messages: int) -> bytearray:
        """messages: those completed so far (MSN). The same memory is used for the next one."""
        packet = self._packet
        _PORT.pack_into(packet, _SPORT, sport)
        _WORD.pack_into(packet, _PSN, psn)
        _WORD.pack_into(packet, _BODY, syndrome << 24 | messages % PSNS)
        packet[-ICRC_SIZE:] = self.icrc.of(sport, self._covered)
        return packet


class Heard:
    """What a packet says, read from its UDP payload. `qpn` is -1 if it is too short to be RoCE."""

    __slots__ = ("ack_request", "opcode", "psn", "qpn", "syndrome")

    def __init__(self, data: bytes) -> None:
        if len(data) < BTH_SIZE + AETH_SIZE + ICRC_SIZE:
            self.qpn = self.opcode = self.psn = self.syndrome = -1
            self.ack_request = False
            return
        self.opcode = data[0]
        self.qpn = int.from_bytes(data[5:8], "big")
        self.ack_request = bool(data[8] & 0x80)
        self.psn = int.from_bytes(data[9:12], "big")
        self.syndrome = data[12]        # of an ACK; payload of any other


def icrc_is_right(icrc: Icrc, sport: int, data: bytes) -> bool:
    """Of a packet's UDP payload, BTH to ICRC."""
    return icrc.of(sport, data[:-ICRC_SIZE]) == data[-ICRC_SIZE:]


def stamp_of(data: bytes) -> tuple[int, int]:
    """(transmission, CLOCK_REALTIME ns of its sending) from the UDP payload of one of our data packets."""
    transmission, stamp = STAMP.unpack_from(data, BTH_SIZE)
    return int(transmission), int(stamp)
