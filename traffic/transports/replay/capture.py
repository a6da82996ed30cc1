"""What a capture says about its TCP and UDP packets: when each was seen, how large it was, of which flow it is."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from topologies.model.addressing import ETHERNET_HEADER
from topologies.model.errors import LabError, SpecError
from traffic.transports.udp.capture_file import Frame, frames
from traffic.transports.udp.layers import CUT, PROTOCOL_TCP, PROTOCOL_UDP, ip_packet
from traffic.transports.udp.plan import MAX_PACKETS

MOST_FLOWS = 1024           # of one capture: each is a stream of a job
Integers = npt.NDArray[np.int64]


class Flow(NamedTuple):
    """Who speaks to whom, in the capture's own addresses."""

    src: str
    dst: str
    protocol: int
    sport: int
    dport: int


@dataclass(frozen=True)
class Capture:
    """times (ns after the first), numbers of flows and sizes (bytes of the Ethernet frame) of the packets, in the
    order of time.

    Whatever a packet was captured in, its frame is counted with an Ethernet header and no VLAN tag, as it will be on
    the fabric; tagged: packets that had one. left_out: kind of frame -> how many are not among the packets.
    """

    flows: tuple[Flow, ...]
    times: Integers
    numbers: Integers
    sizes: Integers
    left_out: dict[str, int]
    tagged: int = 0

    @property
    def packets(self) -> list[tuple[int, Flow, int]]:
        """(time, flow, size) of each."""
        return [(t, self.flows[k], size) for t, k, size in zip(
            self.times.tolist(), self.numbers.tolist(), self.sizes.tolist(), strict=True)]


def read_capture(path: Path, most: int = MAX_PACKETS) -> Capture:
    """TCP and UDP over IPv4 between single hosts; the rest is counted by kind.

    Raises LabError; SpecError as soon as there are more than `most` packets or MOST_FLOWS flows.
    """
    flows: dict[Flow, int] = {}
    stamps, numbers, sizes = array("q"), array("q"), array("q")
    left_out: Counter[str] = Counter()
    tagged = 0
    for number, frame in enumerate(frames(path), start=1):
        found = _flow(frame, f"{path}, frame {number}")
        if isinstance(found, str):
            left_out[found] += 1
            continue
        flow, size, tags = found
        stamps.append(frame.stamp)
        numbers.append(flows.setdefault(flow, len(flows)))
        sizes.append(size)
        tagged += tags
        _check_amounts(path, len(flows), len(stamps), most)
    if not stamps:
        kinds = ", ".join(f"{n} of {kind}" for kind, n in left_out.items())
        raise LabError(str(path), "packets of TCP or UDP over IPv4", kinds or "no frame at all")
    times = np.array(stamps, np.int64)
    order = np.argsort(times, kind="stable")        # captures of several interfaces are not in order
    seen = np.array(numbers, np.int64)[order]
    _, first = np.unique(seen, return_index=True)
    by_time = np.argsort(first, kind="stable")      # flows are numbered by their first packets
    names = list(flows)
    return Capture(tuple(names[int(k)] for k in by_time), (times - times.min())[order], np.argsort(by_time)[seen],
                   np.array(sizes, np.int64)[order], dict(left_out), tagged)


def _check_amounts(path: Path, flows: int, packets: int, most: int) -> None:
    if flows > MOST_FLOWS:
        raise SpecError(str(path), f"at most {MOST_FLOWS} flows", f"{flows} or more in {path}",
                        "cut the capture: tcpdump -r OLD -w NEW with a filter such as 'host 10.0.0.1'")
    if packets > most:
        raise SpecError(str(path), f"at most {most} packets", f"more in {path}",
                        "cut the capture: tcpdump -r OLD -w NEW -c COUNT")


def _flow(frame: Frame, where: str) -> tuple[Flow, int, bool] | str:
    """(flow, size, whether it had a VLAN tag), or the kind that the frame is left out as.

    Raises LabError where the capture cut its headers.
    """
    packet = ip_packet(frame)
    if packet == CUT or (not isinstance(packet, str) and len(packet.payload) < 4 <= packet.length):
        raise LabError(where, "its headers up to the ports", f"{len(frame.data)} captured bytes of {frame.size}",
                       "capture with a larger snap length: tcpdump -s 96")
    if isinstance(packet, str):
        return packet
    if packet.version != 4:
        return "IPv6"
    if packet.protocol not in (PROTOCOL_TCP, PROTOCOL_UDP) or packet.length < 4:
        return "other protocols over IPv4"
    src, dst = IPv4Address(packet.src), IPv4Address(packet.dst)
    if dst.is_multicast or int(dst) == 0xFFFF_FFFF:
        return "multicast and broadcast"
    sport, dport = (int.from_bytes(packet.payload[at:at + 2], "big") for at in (0, 2))
    if not dport:
        return "packets to port 0"
    size = frame.size - packet.offset + ETHERNET_HEADER
    return Flow(str(src), str(dst), packet.protocol, sport, dport), size, packet.tagged
