"""One-way latency by somebody else's clockwork: captures at both hosts, matched packet by packet.

    tcpdump -i h1-eth0 -w send.pcap --time-stamp-precision=nano udp      (and at the receiver)

A capture at the sender stamps a packet when it leaves the host's own queue, ours before it enters it:
the two agree as long as the sender's queue is empty.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from topologies.addressing import ETHERNET_HEADER
from topologies.errors import LabError
from traffic.streams.wire import HEADER, MAGIC

Key = tuple[int, int]           # stream's number in its job, sequence number
LINKTYPE_ETHERNET = 1
ETHERTYPE_IPV4 = 0x0800
PROTOCOL_UDP = 17
UDP_HEADER = 8
logging.getLogger("scapy.runtime").setLevel(logging.ERROR)      # what it warns of in a capture is our error
FILE_HEADER, FRAME_HEADER = 24, 16      # of a pcap file


def pcap_one_way(send_pcap: Path, recv_pcap: Path) -> dict[Key, float]:
    """Seconds from the stamp in the sender's capture to that in the receiver's, for each packet in both.

    Of duplicates the first counts. Raises LabError for a file that is no whole Ethernet capture.
    """
    sent, received = _stamps(send_pcap), _stamps(recv_pcap)
    return {key: (received[key] - sent[key]) / 1e9 for key in sent.keys() & received.keys()}


def _stamps(path: Path) -> dict[Key, int]:
    """Capture time in ns of the first sight of each stream packet."""
    seen: dict[Key, int] = {}
    for frame in frames(path):
        key = stream_packet(frame.data)
        if key is not None:
            seen.setdefault(key, frame.stamp)
    return seen


class Frame(NamedTuple):
    """A frame of a capture: its time in ns, its bytes on the wire, and those that were captured."""

    stamp: int
    size: int
    data: bytes


def frames(path: Path) -> Iterator[Frame]:
    """Every frame in a pcap file of micro- or nanoseconds.

    Raises LabError for a file that is none, is not of Ethernet, or ends within a frame.
    """
    from scapy.error import Scapy_Exception  # noqa: PLC0415 - slow to import, and few runs read a capture
    from scapy.utils import RawPcapNgReader, RawPcapReader  # noqa: PLC0415

    try:
        reader = RawPcapReader(str(path))
    except (OSError, Scapy_Exception, struct.error) as error:
        found = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "something else"
        raise LabError(str(path), "a pcap capture", found, "was tcpdump ended before it wrote its header?") from None
    with reader:
        if isinstance(reader, RawPcapNgReader):
            raise LabError(str(path), "a pcap capture", "one in the pcapng format",
                           "convert it: editcap -F pcap, or tcpdump -r OLD -w NEW")
        if reader.linktype != LINKTYPE_ETHERNET:
            raise LabError(str(path), "a capture of Ethernet frames", f"link type {reader.linktype}",
                           "capture on a host's interface, not on `any`")
        fraction, number, expected = 1 if reader.nano else 1000, 0, FILE_HEADER
        for number, (data, about) in enumerate(reader, start=1):
            expected += FRAME_HEADER + about.caplen
            if len(data) < about.caplen:
                raise _truncated(path, number, f"{len(data)} of its {about.caplen} captured bytes")
            yield Frame(about.sec * 1_000_000_000 + about.usec * fraction, about.wirelen, data)
        if reader.f.tell() != expected:
            raise _truncated(path, number + 1, "the file's end within its header")


def _truncated(path: Path, number: int, found: str) -> LabError:
    return LabError(f"{path}, frame {number}", "a whole frame", found,
                    "the capture is truncated: was tcpdump killed, or the copy of the file cut off?")


def stream_packet(frame: bytes) -> Key | None:
    """Stream number and sequence number of one of our packets in an Ethernet frame; None for any other."""
    if len(frame) < ETHERNET_HEADER + 20 or int.from_bytes(frame[12:14], "big") != ETHERTYPE_IPV4:
        return None
    payload = ETHERNET_HEADER + (frame[ETHERNET_HEADER] & 0x0F) * 4 + UDP_HEADER
    if frame[ETHERNET_HEADER + 9] != PROTOCOL_UDP or len(frame) < payload + HEADER.size:
        return None
    magic, number, seq, _ = HEADER.unpack_from(frame, payload)
    return (number, seq) if magic == MAGIC else None
