"""What a whole BTH opcode means: the transport service in its upper three bits, the operation in its lower five.

Requests of a queue pair and the responses to its peer's requests are numbered apart: a response has the PSN of the
request that it answers. A READ of n response packets takes n PSNs of its requester.

Source: InfiniBand Architecture Specification, volume 1, 9.2.1 (table of opcodes), 9.7.2 and 9.7.3 (PSNs); XRC: annex
A14; FLUSH and ATOMIC WRITE: release 1.6 of volume 1; CNP: annex A17.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

CNP = 0x81                      # congestion notification packet
RC, UC, RD, UD, XRC = 0, 1, 2, 3, 5
SERVICES = {RC: "RC", UC: "UC", XRC: "XRC"}
BTH_SIZE, AETH_SIZE, RETH_SIZE, XRCETH_SIZE, ICRC_SIZE = 12, 4, 16, 4, 4
_RETH_LENGTH = 12               # offset of the DMA length in a RETH

_FIRST, _LAST, _ONLY, _MIDDLE = (True, False), (False, True), (True, True), (False, False)
_SENDS = {0x00: _FIRST, 0x01: _MIDDLE, 0x02: _LAST, 0x03: _LAST, 0x04: _ONLY, 0x05: _ONLY,
          0x16: _LAST, 0x17: _ONLY}             # the last two: with invalidate
_WRITES = {0x06: _FIRST, 0x07: _MIDDLE, 0x08: _LAST, 0x09: _LAST, 0x0A: _ONLY, 0x0B: _ONLY}
_LAST_OF_UC = 0x0B              # it sends and writes, and invalidates nothing
_READ = 0x0C
_RESPONSES = {0x0D: _FIRST, 0x0E: _MIDDLE, 0x0F: _LAST, 0x10: _ONLY, 0x12: _ONLY}      # of READs; the last: of atomics
_ACKNOWLEDGE, _MIDDLE_RESPONSE = 0x11, 0x0E
_SINGLE = {0x13, 0x14, 0x1C, 0x1D}              # compare and swap, fetch and add, FLUSH, ATOMIC WRITE: a response each
UNKNOWN = "RoCEv2 packets of unknown opcodes"
_DATAGRAMS = {
    UD: "unreliable datagrams (UD: connection management and the like), numbered over all their receivers",
    RD: "reliable datagrams (RD), numbered by end-to-end context"}


class Role(Enum):
    """What a packet does with the PSNs of its queue pair."""

    REQUEST = "requests"
    RESPONSE = "responses"
    ACKNOWLEDGE = "ACK or NAK"
    NOTIFICATION = "CNP"


class Meaning(NamedTuple):
    """first, last: of its message. header: bytes before payload. dma_length: offset of a READ's length, from BTH on.

    answered: a request that a response packet answers (READ, atomics).
    """

    role: Role
    service: str = ""
    first: bool = True
    last: bool = True
    header: int = BTH_SIZE
    dma_length: int | None = None
    answered: bool = False


def _meaning(opcode: int) -> Meaning | str:
    service, operation = opcode >> 5, opcode & 0x1F
    if opcode == CNP:
        return Meaning(Role.NOTIFICATION)
    if service in _DATAGRAMS:
        return _DATAGRAMS[service]
    extra = XRCETH_SIZE if service == XRC else 0
    known = _connected(SERVICES[service], operation, extra) if service in SERVICES else None
    if known is None or (service == UC and (known.role is not Role.REQUEST or operation > _LAST_OF_UC)):
        return UNKNOWN
    return known


def _connected(service: str, operation: int, extra: int) -> Meaning | None:
    """extra: bytes of the XRCETH of a request."""
    begin = BTH_SIZE + extra
    if operation in _SENDS:
        return Meaning(Role.REQUEST, service, *_SENDS[operation], begin)
    if operation in _WRITES:
        return Meaning(Role.REQUEST, service, *_WRITES[operation], begin + RETH_SIZE * _WRITES[operation][0])
    if operation == _READ:
        return Meaning(Role.REQUEST, service, header=begin + RETH_SIZE, dma_length=begin + _RETH_LENGTH, answered=True)
    if operation in _SINGLE:
        return Meaning(Role.REQUEST, service, header=begin, answered=True)
    if operation in _RESPONSES:
        aeth = AETH_SIZE if operation != _MIDDLE_RESPONSE else 0
        return Meaning(Role.RESPONSE, service, *_RESPONSES[operation], BTH_SIZE + aeth)
    return Meaning(Role.ACKNOWLEDGE, service) if operation == _ACKNOWLEDGE else None


MEANINGS = tuple(_meaning(opcode) for opcode in range(256))
"""By opcode: what it means, or as what it is left out."""


class Syndrome(Enum):
    """The kinds of an AETH's syndrome (9.7.5.1.2 and table of 9.3.5)."""

    ACK = "ACKs"
    SEQUENCE = "NAKs for a PSN out of order"
    RNR = "RNR NAKs (receiver not ready)"
    ERROR = "NAKs for an error"
    RESERVED = "reserved syndromes"


def syndrome_of(value: int) -> Syndrome:
    """Of the first byte of an AETH."""
    kind = value >> 5 & 0b11
    if kind == 0b11:
        return Syndrome.SEQUENCE if not value & 0x1F else Syndrome.ERROR
    return (Syndrome.ACK, Syndrome.RNR, Syndrome.RESERVED)[kind]
