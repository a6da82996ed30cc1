"""Frames of a capture file: pcap of micro- or nanoseconds, or pcapng, in either byte order.

Scapy's readers cut frames at 65,535 bytes, unpack gzip without a bound, and end in silence where a file is broken;
here one frame is in memory at a time, every length is looked at before something is read by it, and what is wrong is
an error with the number of the frame.

Source: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng; largest frame: MAXIMUM_SNAPLEN of libpcap.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from topologies.model.errors import LabError
from traffic.transports.udp.blocks import LARGEST_FRAME, SECTION_HEADER, Interface, Malformed, Section, blocks

NULL, ETHERNET, RAW, LOOP, SLL, IPV4, IPV6, SLL2 = 0, 1, 101, 108, 113, 228, 229, 276
RAW_ELSEWHERE = 12, 14          # DLT_RAW as some systems number it
LINK_TYPES = {NULL, ETHERNET, RAW, *RAW_ELSEWHERE, LOOP, SLL, IPV4, IPV6, SLL2}
LATEST = 2**63                  # ns; a stamp beyond it fits no array
_PCAP = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}       # magic number: ns in a unit of the fraction
_HEADER, _RECORD = 20, 16       # of a pcap file behind its magic number, of a frame
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zX": "xz", b"BZh": "bzip2",
               b"\x04\x22\x4d\x18": "lz4", b"PK\x03\x04": "zip"}
_ALIKE = {0xA1B2CD34: "the pcap format that Kuznetzov modified"}


class Frame(NamedTuple):
    """A frame of a capture: its time in ns, its bytes on the wire, and those that were captured.

    link: its link type. place: number of the interface that it was captured on, where the file names several.
    """

    stamp: int
    size: int
    data: bytes
    link: int = ETHERNET
    place: int = 0


def frames(path: Path) -> Iterator[Frame]:
    """Every frame in the file, in the order of the file.

    Raises LabError for what is no capture, has a link type of another kind, ends within a frame, or has lengths that
    cannot be.
    """
    try:
        with _opened(path) as file:
            magic = file.read(4)
            if magic == SECTION_HEADER:
                yield from _pcapng(path, file)
            else:
                yield from _pcap(path, file, magic)
    except OSError as error:
        found = os.strerror(error.errno) if error.errno else str(error)
        raise LabError(str(path), "a pcap capture", found) from None


def _opened(path: Path) -> BinaryIO:
    if not stat.S_ISREG(path.stat().st_mode):
        raise LabError(str(path), "a pcap capture", "no regular file", "save the capture in a file first")
    return path.open("rb")


def _no_capture(path: Path, found: str) -> LabError:
    return LabError(str(path), "a pcap capture", found, "was tcpdump ended before it wrote its header?")


def _pcap(path: Path, file: BinaryIO, magic: bytes) -> Iterator[Frame]:
    order, unit = _order(path, magic)
    header = file.read(_HEADER)
    if len(header) < _HEADER:
        raise _no_capture(path, f"{4 + len(header)} bytes, which is less than its header")
    major, minor, _, _, _, link = struct.unpack(order + "HHIIII", header)
    if (major, minor) not in ((2, 3), (2, 4)):
        raise LabError(str(path), "a pcap capture of version 2.4", f"version {major}.{minor}",
                       "convert it: editcap -F pcap OLD NEW")
    _check_link(path, link)
    record = struct.Struct(order + "IIII")
    number = 0
    while head := file.read(_RECORD):
        number += 1
        if len(head) < _RECORD:
            raise _truncated(path, number, "the file's end within its header")
        seconds, fraction, captured, size = record.unpack(head)
        _check_lengths(path, number, captured, size)
        data = file.read(captured)
        if len(data) < captured:
            raise _truncated(path, number, f"{len(data)} of its {captured} captured bytes")
        yield Frame(seconds * 1_000_000_000 + fraction * unit, size, data, link)


def _order(path: Path, magic: bytes) -> tuple[str, int]:
    """(byte order of the file, ns in a unit of the fraction)."""
    for order in "<>":
        if len(magic) == 4 and (number := int(struct.unpack(order + "I", magic)[0])) in _PCAP:
            return order, _PCAP[number]
        if len(magic) == 4 and number in _ALIKE:
            raise LabError(str(path), "a pcap capture", _ALIKE[number], "convert it: editcap -F pcap OLD NEW")
    for begin, kind in _COMPRESSED.items():
        if magic.startswith(begin):
            raise LabError(str(path), "a pcap capture", f"a file compressed by {kind}",
                           f"unpack it first{': gunzip -k FILE' if kind == 'gzip' else ''}")
    raise _no_capture(path, "something else" if magic else "an empty file")


def _pcapng(path: Path, file: BinaryIO) -> Iterator[Frame]:
    section, number = Section(), 0
    try:
        for packet in blocks(file, section):
            number += 1
            interface = _interface(path, number, section, packet.interface)
            _check_link(path, interface.link)
            _check_lengths(path, number, len(packet.data), packet.size)
            if packet.ticks is None:
                raise LabError(f"{path}, frame {number}", "a time stamp", "a simple packet block, which has none",
                               "capture again, in the pcap format")
            stamp = interface.nanoseconds(packet.ticks)
            if not 0 <= stamp < LATEST:
                raise LabError(f"{path}, frame {number}", "a time between 1970 and 2262", f"{stamp} ns after 1970")
            yield Frame(stamp, packet.size, packet.data, interface.link, packet.interface)
    except Malformed as error:
        if error.short:
            raise _truncated(path, number + 1, error.found) from None
        raise _broken(path, number + 1, error.expected, error.found) from None


def _interface(path: Path, number: int, section: Section, k: int) -> Interface:
    if k >= len(section.interfaces):
        raise _broken(path, number, "an interface that the file describes",
                      f"number {k} of {len(section.interfaces)}")
    return section.interfaces[k]


def _check_link(path: Path, link: int) -> None:
    if link not in LINK_TYPES:
        raise LabError(str(path), "a capture of Ethernet frames, Linux cooked (SLL) ones or raw IP packets",
                       f"link type {link}", "capture on a host's network interface")


def _check_lengths(path: Path, number: int, captured: int, size: int) -> None:
    if captured > LARGEST_FRAME:
        raise _broken(path, number, f"at most {LARGEST_FRAME} captured bytes", f"{captured}")
    if captured > size:
        raise _broken(path, number, "no more captured bytes than the frame had", f"{captured} of {size}")


def _broken(path: Path, number: int, expected: str, found: str) -> LabError:
    return LabError(f"{path}, frame {number}", expected, found, "the file is broken from here on: copy it again")


def _truncated(path: Path, number: int, found: str) -> LabError:
    return LabError(f"{path}, frame {number}", "a whole frame", found,
                    "the capture is truncated: was tcpdump killed, or the copy of the file cut off?")
