"""What captures of RoCEv2 tell of its queue pairs: what is missing, repeated, out of order, by PSN; and how long
packets took, where the same packets were captured at both ends.

One capture cannot tell a packet that was overtaken from one that was lost before and sent again: both come late.
Two can: a PSN that the first saw once and the second saw once is one packet, and only these have a latency and an
order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

import numpy as np

from topologies.addressing import ETHERNET_HEADER
from topologies.errors import LabError
from traffic.metrics.metric import percentile
from traffic.metrics.packets import delay_variation, loss_ppm, reordering
from traffic.packets import Heard, Icrc, icrc_is_right
from traffic.roce.gobackn import nearest
from traffic.roce.wire import ACKNOWLEDGE, HEADERS, NAK_SEQUENCE, ROCE_PORT
from traffic.streams.pcap import ETHERTYPE_IPV4, PROTOCOL_UDP, Frame, frames

PLAIN_IPV4 = 0x45                   # version 4, no options: whose packets the ICRC of the product covers
READ_REQUEST, ATOMICS = 0x0C, (0x13, 0x14)      # a read takes the PSNs of its responses, which go the other way
OPERATION = 0x1F                    # of an opcode; the bits above it are the transport service
NS = 1e-9


class PairKey(NamedTuple):
    """A queue pair as the wire names it: addresses, and the queue pair number at the destination."""

    src: str
    dst: str
    qpn: int


class Seen(NamedTuple):
    """A packet of a queue pair. number: 0 for the first PSN that was captured, whatever it was; time in ns."""

    number: int
    stamp: int
    sport: int


@dataclass
class Sighting:
    """One queue pair in one capture, in the order of the capture."""

    first: int
    packets: list[Seen]
    highest: int = 0
    reads: bool = False             # some PSNs belong to responses: what is missing cannot be told
    bad_icrc: int = 0
    cut: int = 0                    # packets whose ICRC was not captured
    naks: int = 0

    def add(self, psn: int, stamp: int, sport: int) -> None:
        """The next packet of the capture."""
        number = nearest(psn, self.first, self.highest)
        self.highest = max(self.highest, number)
        self.packets.append(Seen(number, stamp, sport))


@dataclass(frozen=True)
class PairFindings:
    """One capture's queue pair. Counts are packets.

    missing: PSNs between the lowest and the highest that the capture never shows; None where reads take PSNs too.
    repeated: packets whose PSN came before. go_backs: times that the sender began to repeat. late, late_extent:
    packets that came for the first time after a higher PSN, and the largest RFC 4737 extent of these.
    """

    src: str
    dst: str
    qpn: int
    packets: int
    missing: int | None
    repeated: int
    go_backs: int
    naks: int
    late: int
    late_extent: int
    source_ports: int
    bad_icrc: int
    icrc_not_captured: int
    seconds: float


@dataclass(frozen=True)
class WayFindings:
    """One queue pair between two captures. lost_ppm counts transmissions; latencies in seconds, None below 1,000
    packets for p99; reordered and extent are of the `matched` packets, which both captures show once.
    """

    src: str
    dst: str
    qpn: int
    sent: int
    received: int
    lost_ppm: float
    matched: int
    latency: float | None
    latency_p99: float | None
    latency_max: float | None
    pdv_p99: float | None
    reordered: int
    reorder_extent: int


def sightings(path: Path) -> dict[PairKey, Sighting]:
    """Queue pairs of a capture. Raises LabError for a file without RoCEv2, or one whose headers were cut off."""
    found: dict[PairKey, Sighting] = {}
    naks: list[tuple[str, str, int]] = []
    icrcs: dict[tuple[bytes, int], Icrc] = {}
    number = 0
    for number, frame in enumerate(frames(path), start=1):
        packet = _roce(frame, f"{path}, frame {number}")
        if packet is None:
            continue
        heard, src, dst = Heard(packet[HEADERS:]), str(IPv4Address(packet[12:16])), str(IPv4Address(packet[16:20]))
        if heard.opcode & OPERATION == ACKNOWLEDGE:
            if heard.syndrome == NAK_SEQUENCE:
                naks.append((dst, src, heard.psn))
            continue
        pair = found.setdefault(PairKey(src, dst, heard.qpn), Sighting(heard.psn, []))
        pair.add(heard.psn, frame.stamp, int.from_bytes(packet[20:22], "big"))
        pair.reads |= heard.opcode & OPERATION in (READ_REQUEST, *ATOMICS)
        _check_icrc(pair, packet, icrcs)
    if not found:
        raise LabError(str(path), f"data packets of RoCEv2 (UDP port {ROCE_PORT})", f"none in {number} frames",
                       "capture on the interface of a host that sends or receives RDMA, before VXLAN is put around it")
    _give(naks, found)
    return found


def _roce(frame: Frame, where: str) -> bytes | None:
    """The packet from IPv4 on if it is RoCEv2 in a plain IPv4 header. Raises LabError where its BTH was cut off."""
    packet = frame.data[ETHERNET_HEADER:]
    if (int.from_bytes(frame.data[12:14], "big") != ETHERTYPE_IPV4 or len(packet) < HEADERS or packet[0] != PLAIN_IPV4
            or packet[9] != PROTOCOL_UDP or int.from_bytes(packet[22:24], "big") != ROCE_PORT):
        return None
    if Heard(packet[HEADERS:]).qpn < 0:
        if len(frame.data) < frame.size:
            raise LabError(where, "its headers up to the AETH", f"{len(frame.data)} captured bytes of {frame.size}",
                           "capture with a larger snap length: tcpdump -s 96")
        return None
    return packet


def _check_icrc(pair: Sighting, packet: bytes, icrcs: dict[tuple[bytes, int], Icrc]) -> None:
    """Count a wrong ICRC, or that it was cut off. What differs in IPv4 and UDP headers has an Icrc of its own."""
    length = int.from_bytes(packet[2:4], "big")
    if len(packet) < length:
        pair.cut += 1
        return
    covered = (bytes(packet[:20]), length)
    icrc = icrcs.setdefault(covered, Icrc(packet[:HEADERS])) if len(icrcs) < 1024 else Icrc(packet[:HEADERS])
    pair.bad_icrc += not icrc_is_right(icrc, int.from_bytes(packet[20:22], "big"), packet[HEADERS:length])


def _give(naks: Sequence[tuple[str, str, int]], found: Mapping[PairKey, Sighting]) -> None:
    """A NAK names the queue pair of its receiver, not the one that it complains of: that is found by its PSN."""
    for src, dst, psn in naks:
        for key, pair in found.items():
            lowest = min(s.number for s in pair.packets)
            number = nearest(psn, pair.first, pair.highest)
            if (key.src, key.dst) == (src, dst) and lowest <= number <= pair.highest + 1:
                pair.naks += 1
                break


def findings(path: Path) -> list[PairFindings]:
    """What one capture tells of each of its queue pairs. Raises LabError."""
    return [_of_pair(key, pair) for key, pair in sightings(path).items()]


def _of_pair(key: PairKey, pair: Sighting) -> PairFindings:
    numbers = [s.number for s in pair.packets]
    firsts = list(dict.fromkeys(numbers))
    order = reordering(np.array(firsts) - min(firsts))
    times = [s.stamp for s in pair.packets]
    return PairFindings(
        *key, packets=len(numbers), missing=None if pair.reads else max(firsts) - min(firsts) + 1 - len(firsts),
        repeated=len(numbers) - len(firsts), go_backs=_go_backs(numbers), naks=pair.naks, late=order.reordered,
        late_extent=order.extent_max, source_ports=len({s.sport for s in pair.packets}), bad_icrc=pair.bad_icrc,
        icrc_not_captured=pair.cut, seconds=(max(times) - min(times)) * NS)


def _go_backs(numbers: Sequence[int]) -> int:
    """Runs of consecutive PSNs that begin below the highest so far and repeat some of them.

    The run's first packet may be new here: it is the one that was lost before.
    """
    seen: set[int] = set()
    begun, highest, before, counted = 0, numbers[0], None, True
    for number in numbers:
        if before != number - 1:
            counted = number > highest
        if number in seen and not counted:
            begun, counted = begun + 1, True
        seen.add(number)
        highest, before = max(highest, number), number
    return begun


def between(sender: Path, receiver: Path) -> list[WayFindings]:
    """Queue pairs that left at one capture and came by another, both of one clock. Raises LabError."""
    sent, received = sightings(sender), sightings(receiver)
    both = [key for key in sent if key in received]
    if not both:
        raise LabError(str(receiver), f"a queue pair of {sender}: " + _name(next(iter(sent))),
                       _name(next(iter(received))), "the first capture is the sender's, the second the receiver's")
    return [_of_way(key, sent[key], received[key]) for key in both]


def _name(key: PairKey) -> str:
    return f"{key.src} -> {key.dst}, queue pair {key.qpn}"


def _of_way(key: PairKey, sent: Sighting, received: Sighting) -> WayFindings:
    shift = nearest(received.first, sent.first, 0)      # numbers of the receiver's capture begin elsewhere
    here, there = _once(sent, 0), _once(received, shift)
    matched = sorted(here.keys() & there.keys(), key=lambda n: here[n])
    delays = np.array([(there[n] - here[n]) * NS for n in matched])
    rank = {n: k for k, n in enumerate(matched)}
    order = reordering(np.array([rank[n] for n in sorted(matched, key=lambda n: there[n])], dtype=np.int64))
    return WayFindings(
        *key, sent=len(sent.packets), received=len(received.packets),
        lost_ppm=loss_ppm(len(sent.packets), len(received.packets)), matched=len(matched),
        latency=float(np.median(delays)) if matched else None, latency_p99=percentile(delays.tolist(), 99),
        latency_max=float(delays.max()) if matched else None,
        pdv_p99=percentile(delay_variation(delays).tolist(), 99), reordered=order.reordered,
        reorder_extent=order.extent_max)


def _once(pair: Sighting, shift: int) -> dict[int, int]:
    """Number -> time of the packets whose PSN was captured once."""
    times = Counter(s.number for s in pair.packets)
    return {s.number + shift: s.stamp for s in pair.packets if times[s.number] == 1}
