"""One-way latency by somebody else's clockwork: captures at both hosts, matched packet by packet.

    tcpdump -i h1-eth0 -w send.pcap --time-stamp-precision=nano udp      (and at the receiver)

A capture at the sender stamps a packet when it leaves the host's own queue, ours before it enters it:
the two agree as long as the sender's queue is empty.
"""

from __future__ import annotations

from pathlib import Path

from traffic.transports.udp.capture_file import Frame, frames
from traffic.transports.udp.layers import PROTOCOL_UDP, UDP_HEADER, ip_packet
from traffic.transports.udp.wire import HEADER, MAGIC

Key = tuple[int, int]           # stream's number in its job, sequence number


def pcap_one_way(send_pcap: Path, recv_pcap: Path) -> dict[Key, float]:
    """Seconds from the stamp in the sender's capture to that in the receiver's, for each packet in both.

    Of duplicates the first counts. Raises LabError for a file that is no whole capture.
    """
    sent, received = _stamps(send_pcap), _stamps(recv_pcap)
    return {key: (received[key] - sent[key]) / 1e9 for key in sent.keys() & received.keys()}


def _stamps(path: Path) -> dict[Key, int]:
    """Capture time in ns of the first sight of each stream packet."""
    seen: dict[Key, int] = {}
    for frame in frames(path):
        key = _key(frame)
        if key is not None:
            seen.setdefault(key, frame.stamp)
    return seen


def stream_packet(frame: bytes) -> Key | None:
    """Stream number and sequence number of one of our packets in an Ethernet frame; None for any other."""
    return _key(Frame(0, len(frame), frame))


def _key(frame: Frame) -> Key | None:
    packet = ip_packet(frame)
    if isinstance(packet, str) or packet.protocol != PROTOCOL_UDP or len(packet.payload) < UDP_HEADER + HEADER.size:
        return None
    magic, number, seq, _ = HEADER.unpack_from(packet.payload, UDP_HEADER)
    return (number, seq) if magic == MAGIC else None
