"""Blocks of a pcapng file: which interfaces there are, and the packets, whose lengths have been checked.

    type 4 | length 4 | body | length 4        in the byte order of its section, padded to 32 bits

Source: draft-ietf-opsawg-pcapng, sections 3 and 4.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

LARGEST_FRAME = 262_144         # bytes
SECTION_HEADER = b"\x0a\x0d\x0d\x0a"
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_PACKETS = (_OLD_PACKET, _SIMPLE, _ENHANCED)
_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_RESOLUTION, _OFFSET = 9, 14    # options of an interface: if_tsresol, if_tsoffset
_MOST_OPTIONS = 1_000_000       # bytes in one block that is read
_FRAMING = 12                   # type and both lengths


class Malformed(Exception):  # noqa: N818 - it becomes an error that names the file
    """A block that cannot be. short: it is the file's end that cuts it off."""

    def __init__(self, expected: str, found: str, *, short: bool = False) -> None:
        self.expected, self.found, self.short = expected, found, short
        super().__init__(expected, found)


class Interface(NamedTuple):
    """Where packets were captured. ticks_a_second, offset (s): of their time stamps; snap: 0 is no limit."""

    link: int
    snap: int
    ticks_a_second: int = 1_000_000
    offset: int = 0

    def nanoseconds(self, ticks: int) -> int:
        """Since 1970."""
        return ticks * 1_000_000_000 // self.ticks_a_second + self.offset * 1_000_000_000


class PacketBlock(NamedTuple):
    """A packet. interface: its number in the section; ticks: None without a time stamp."""

    interface: int
    ticks: int | None
    size: int
    data: bytes


@dataclass
class Section:
    """What the section that is being read has said so far."""

    order: str = "<"
    interfaces: list[Interface] = field(default_factory=list)


def blocks(file: BinaryIO, section: Section) -> Iterator[PacketBlock]:
    """The packets of a file whose first four bytes were read; `section` is what holds for each. Raises Malformed."""
    end = os.fstat(file.fileno()).st_size
    kind = SECTION_HEADER
    while kind:
        if len(kind) < 4:
            raise Malformed("a block", "the file's end within its header", short=True)
        at = file.tell() - 4
        lengths = _read(file, 4)
        if kind == SECTION_HEADER:
            section.order, section.interfaces = _order(file), []
        number, length = (int(struct.unpack(section.order + "I", b)[0]) for b in (kind, lengths))
        body = _body(file, section, at, number, length, end)
        if number == _INTERFACE:
            section.interfaces.append(_interface(body, section.order))
        elif number in _PACKETS:
            yield _packet(number, body, section)
        kind = file.read(4)


def _read(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise Malformed("a whole block", "the file's end within it", short=True)
    return data


def _order(file: BinaryIO) -> str:
    mark = _read(file, 4)
    if mark not in _ORDERS:
        raise Malformed("the byte order of a section", mark.hex())
    return _ORDERS[mark]


def _body(file: BinaryIO, section: Section, at: int, number: int, length: int, end: int) -> bytes:
    """What is between the lengths of the block that begins at `at`; nothing of a block that tells us nothing."""
    if length < _FRAMING or length % 4:
        raise Malformed("the length of a block: a multiple of 4, at least 12", f"{length}")
    if at + length > end:
        raise Malformed("a whole block", f"{end - at} of its {length} bytes", short=True)
    wanted = number == _INTERFACE or number in _PACKETS
    if wanted and length > LARGEST_FRAME + _MOST_OPTIONS:
        raise Malformed(f"a block of at most {LARGEST_FRAME + _MOST_OPTIONS} bytes", f"{length}")
    file.seek(at + 8)
    body = file.read(length - _FRAMING) if wanted else b""
    file.seek(at + length - 4)
    again = int(struct.unpack(section.order + "I", _read(file, 4))[0])
    if again != length:
        raise Malformed(f"the block's length of {length} at its end too", f"{again}")
    return body


def _interface(body: bytes, order: str) -> Interface:
    if len(body) < 8:
        raise Malformed("8 bytes in the description of an interface", f"{len(body)}")
    link, _, snap = struct.unpack(order + "HHI", body[:8])
    ticks, offset, at = 1_000_000, 0, 8
    while at < len(body):
        if at + 4 > len(body):
            raise Malformed("a whole option of an interface", f"{len(body) - at} bytes of it")
        code, length = struct.unpack(order + "HH", body[at:at + 4])
        if code == 0:
            break
        value = body[at + 4:at + 4 + length]
        if len(value) < length:
            raise Malformed(f"an option of {length} bytes", f"{len(value)} of them")
        if code == _RESOLUTION and length == 1:
            power = value[0] & 0x7F
            ticks = 2**power if value[0] & 0x80 else 10**power
        elif code == _OFFSET and length == 8:
            offset = int(struct.unpack(order + "q", value)[0])
        at += 4 + length + -length % 4
    return Interface(link, snap, ticks, offset)


def _packet(number: int, body: bytes, section: Section) -> PacketBlock:
    order = section.order
    if number == _SIMPLE:
        if len(body) < 4:
            raise Malformed("4 bytes in a simple packet block", f"{len(body)}")
        size, at = int(struct.unpack(order + "I", body[:4])[0]), 4
        snap = section.interfaces[0].snap if section.interfaces else 0
        interface, ticks, captured = 0, None, min(size, snap or size)
    else:
        if len(body) < 20:
            raise Malformed("20 bytes in a packet block", f"{len(body)}")
        layout = "IIIII" if number == _ENHANCED else "HxxIIII"
        interface, high, low, captured, size = struct.unpack(order + layout, body[:20])
        ticks, at = high << 32 | low, 20
    data = body[at:at + captured]
    if len(data) < captured:
        raise Malformed(f"{captured} captured bytes in the block", f"{len(data)}")
    return PacketBlock(interface, ticks, size, data)
