"""One-way latency by somebody else's clockwork: captures at both hosts, matched packet by packet.

    tcpdump -i h1-eth0 -w send.pcap --time-stamp-precision=nano udp      (and at the receiver)

A capture at the sender stamps a packet when it leaves the host's own queue, ours before it enters it:
the two agree as long as the sender's queue is empty.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from scapy.error import Scapy_Exception
from scapy.utils import RawPcapReader

from topologies.addressing import ETHERNET_HEADER
from topologies.errors import LabError
from traffic.streams.wire import HEADER, MAGIC

Key = tuple[int, int]           # stream's number in its job, sequence number
LINKTYPE_ETHERNET = 1
ETHERTYPE_IPV4 = 0x0800
PROTOCOL_UDP = 17
UDP_HEADER = 8


def pcap_one_way(send_pcap: Path, recv_pcap: Path) -> dict[Key, float]:
    """Seconds from the stamp in the sender's capture to that in the receiver's, for each packet in both.

    Of duplicates the first counts. Raises LabError for a file that is no Ethernet capture.
    """
    sent, received = _stamps(send_pcap), _stamps(recv_pcap)
    return {key: (received[key] - sent[key]) / 1e9 for key in sent.keys() & received.keys()}


def _stamps(path: Path) -> dict[Key, int]:
    """Capture time in ns of the first sight of each stream packet."""
    seen: dict[Key, int] = {}
    for stamp, frame in _frames(path):
        key = stream_packet(frame)
        if key is not None:
            seen.setdefault(key, stamp)
    return seen


def _frames(path: Path) -> Iterator[tuple[int, bytes]]:
    """(ns, frame) of every frame in a capture of micro- or nanoseconds."""
    try:
        reader = RawPcapReader(str(path))
    except (OSError, Scapy_Exception, struct.error) as error:
        found = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "something else"
        raise LabError(str(path), "a pcap capture", found, "was tcpdump ended before it wrote its header?") from None
    with reader:
        if reader.linktype != LINKTYPE_ETHERNET:
            raise LabError(str(path), "a capture of Ethernet frames", f"link type {reader.linktype}",
                           "capture on a host's interface, not on `any`")
        fraction = 1 if reader.nano else 1000
        for frame, about in reader:
            yield about.sec * 1_000_000_000 + about.usec * fraction, frame


def stream_packet(frame: bytes) -> Key | None:
    """Stream number and sequence number of one of our packets in an Ethernet frame; None for any other."""
    if len(frame) < ETHERNET_HEADER + 20 or int.from_bytes(frame[12:14], "big") != ETHERTYPE_IPV4:
        return None
    payload = ETHERNET_HEADER + (frame[ETHERNET_HEADER] & 0x0F) * 4 + UDP_HEADER
    if frame[ETHERNET_HEADER + 9] != PROTOCOL_UDP or len(frame) < payload + HEADER.size:
        return None
    magic, number, seq, _ = HEADER.unpack_from(frame, payload)
    return (number, seq) if magic == MAGIC else None
