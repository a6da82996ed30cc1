"""What captures of RoCEv2 tell of its queue pairs: what is missing, repeated, out of order, by PSN; and how long
packets took, where the same packets were captured at both ends.

One capture cannot tell a packet that was overtaken from one that was lost before and sent again: both come late.
It can where the sender went back and repeated others too, or where a NAK had asked for the packet. Two captures can:
a PSN that the first saw once and the second saw once is one packet, and only these have a latency and an order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from topologies.model.errors import LabError
from traffic.metrics.metric import percentile
from traffic.metrics.packets import delay_variation, loss_ppm, reordering
from traffic.transports.rocev2.gobackn import nearest
from traffic.transports.rocev2.numbers import Row, rows
from traffic.transports.rocev2.opcodes import Role, Syndrome
from traffic.transports.rocev2.sightings import PairKey, Sightings, sightings
from traffic.transports.rocev2.spans import Spans, Taken

NS = 1e-9


@dataclass(frozen=True)
class PairFindings:
    """One row of PSNs in one capture: the requests or the responses of a queue pair, one way. Counts are packets.

    place: VNI or interface that it was seen in. missing: PSNs between the lowest and the highest that the capture
    never shows; None where it cannot be determined: what a READ takes is not known, or a host joined packets.
    repeated: packets whose PSN came before. go_backs: times that the sender began to repeat. naks: for a PSN out of
    order, of this row. late, late_extent: packets that came for the first time after a higher PSN, and the largest
    RFC 4737 extent of these; resent: those of them that were surely sent again, not overtaken.
    icrc_not_captured, icrc_unchecked: the snap length cut it off; it is behind IP options or extension headers.
    joined: frames of several packets, which are in no other count.
    """

    src: str
    dst: str
    qpn: int
    place: str
    service: str
    carries: str
    packets: int
    missing: int | None
    repeated: int
    go_backs: int
    naks: int
    late: int
    late_extent: int
    resent: int
    source_ports: int
    bad_icrc: int
    icrc_not_captured: int
    icrc_unchecked: int
    joined: int
    seconds: float


@dataclass(frozen=True)
class AnswerFindings:
    """ACKs, NAKs by kind, and congestion notifications that `src` sent to queue pair `qpn` of `dst`."""

    src: str
    dst: str
    qpn: int
    place: str
    acks: int
    sequence_naks: int
    rnr_naks: int
    error_naks: int
    reserved: int
    cnps: int


@dataclass(frozen=True)
class Analysis:
    """One capture. left_out: kind of frame -> how many of them are in no other count; unordered: frames that stand
    in the file behind one of a later time, and were put in their places.
    """

    frames: int
    unordered: int
    pairs: list[PairFindings]
    answers: list[AnswerFindings]
    left_out: dict[str, int]


@dataclass(frozen=True)
class WayFindings:
    """One row of PSNs between two captures. Counts are packets.

    back: it left at the second capture and came by the first, as its stamps tell. lost_ppm counts transmissions, None
    where more arrived than were seen leaving; latencies in seconds, None below 1,000 packets for p99; reordered and
    extent are of the `matched` packets, which both captures show once.
    """

    src: str
    dst: str
    qpn: int
    place: str
    service: str
    carries: str
    back: bool
    sent: int
    received: int
    lost_ppm: float | None
    matched: int
    latency: float | None
    latency_p99: float | None
    latency_max: float | None
    pdv_p99: float | None
    reordered: int
    reorder_extent: int


def analysis(path: Path) -> Analysis:
    """Of one capture. Raises LabError."""
    return analysis_of(sightings(path))


def analysis_of(seen: Sightings) -> Analysis:
    """Of a capture that was read."""
    found = rows(seen)
    answers = [AnswerFindings(
        *way, acks=a.kinds[Syndrome.ACK], sequence_naks=a.kinds[Syndrome.SEQUENCE], rnr_naks=a.kinds[Syndrome.RNR],
        error_naks=a.kinds[Syndrome.ERROR], reserved=a.kinds[Syndrome.RESERVED], cnps=a.cnps)
        for way, a in seen.answers.items()]
    return Analysis(seen.frames, seen.unordered, [_of_pair(key, row) for key, row in found.items()], answers,
                    dict(seen.left_out.most_common()))


def findings(path: Path) -> list[PairFindings]:
    """What one capture tells of each of its queue pairs. Raises LabError."""
    return analysis(path).pairs


def _named(key: PairKey) -> tuple[str, str, int, str, str, str]:
    return (*key.way, key.service, key.carries.value)


def _of_pair(key: PairKey, row: Row) -> PairFindings:
    order = _Order(row)
    late = reordering(np.array(order.firsts, np.int64))
    packets, times = row.packets, row.packets.stamps
    return PairFindings(
        *_named(key), packets=len(times), missing=_missing(key, row), repeated=order.repeated, go_backs=order.go_backs,
        naks=len(row.naks), late=late.reordered, late_extent=late.extent_max, resent=order.resent,
        source_ports=len(set(packets.sports)), bad_icrc=packets.bad_icrc, icrc_not_captured=packets.cut,
        icrc_unchecked=packets.unchecked, joined=packets.joined, seconds=(times[-1] - times[0]) * NS if times else 0.0)


class _Order:
    """Repeats in a row of packets, in the order of time.

    A run is a row of consecutive PSNs. One that begins below the highest so far and repeats some of them is a
    go-back; its first packets may be new here: they are what was lost before.
    """

    def __init__(self, row: Row) -> None:
        self.firsts: list[int] = []     # numbers at their first coming
        self.repeated = self.go_backs = self.resent = 0
        asked = {number: stamp for stamp, number in reversed(row.naks)}
        taken, highest, before = Taken(), -1 << 62, None
        back = repeats = False          # this run begins below the highest; has repeated something
        waiting = 0                     # packets of this run that may have been overtaken or sent again
        for stamp, number, span in zip(row.packets.stamps, row.numbers, row.spans, strict=True):
            if number != before:
                back, repeats, waiting = number <= highest, False, 0
            if number in taken:
                self.repeated += 1
                self.go_backs += back and not repeats
                self.resent += waiting
                repeats, waiting = True, 0
            else:
                self.firsts.append(number)
                taken.add(number, span)
                if number < highest:
                    known = (back and repeats) or asked.get(number, stamp + 1) <= stamp
                    self.resent += known
                    waiting += not known
            highest, before = max(highest, number + span - 1), number + span


def _missing(key: PairKey, row: Row) -> int | None:
    if row.packets.joined or not row.numbers:
        return None
    if key.carries is Role.RESPONSE:
        return _missing_responses(row)
    if not row.spans_known:
        return None
    covered = Spans((n, n + span) for n, span in zip(row.numbers, row.spans, strict=True))
    ends = max(n + span for n, span in zip(row.numbers, row.spans, strict=True))
    return ends - min(row.numbers) - covered.size


def _missing_responses(row: Row) -> int | None:
    """PSNs of responses that were not seen: those that a captured request asked for; without it, those in the middle
    of a message. Between two messages the requester's other requests have theirs, so a gap there cannot be determined.
    """
    missing = 0
    by_number = dict(zip(row.numbers, row.edges, strict=True))
    numbers = sorted(by_number)
    for here, there in pairwise(numbers):
        if there == here + 1:
            continue
        if row.asked is not None and here + 1 >= row.asked_from:
            missing += row.asked.within(here + 1, there)
        elif by_number[here][1] or by_number[there][0]:      # the last of its message, the first of one
            return None
        else:
            missing += there - here - 1
    return missing


def between(sender: Path, receiver: Path) -> list[WayFindings]:
    """Queue pairs that left at one capture and came by another, both of one clock. Raises LabError."""
    return between_sightings(sightings(sender), sightings(receiver))


def between_sightings(sender: Sightings, receiver: Sightings) -> list[WayFindings]:
    """Raises LabError where the two have no queue pair in common."""
    sent, received = (_without_interface(rows(seen)) for seen in (sender, receiver))
    both = [key for key in sent if key in received]
    if not both:
        raise LabError(str(receiver.path), f"a queue pair of {sender.path}: {_name(sent)}", _name(received),
                       "the first capture is the sender's, the second the receiver's")
    return [_of_way(key, sent[key], received[key]) for key in both]


def unmatched(one: Sightings, other: Sightings) -> dict[str, int]:
    """Rows of PSNs that only the first of two captures shows, with their packets."""
    here, there = (_without_interface(rows(seen)) for seen in (one, other))
    return {f"{_name([key])}, {key.carries.value}": len(row.numbers) for key, row in here.items() if key not in there}


def _without_interface(found: Mapping[PairKey, Row]) -> dict[PairKey, Row]:
    """Interfaces are numbered by each capture; rows that were seen at several of one capture stay apart."""
    shown = {key: row for key, row in found.items() if row.numbers}
    ways = Counter(_anywhere(key) for key in shown)
    return {_anywhere(key): row for key, row in shown.items() if ways[_anywhere(key)] == 1}


def _anywhere(key: PairKey) -> PairKey:
    place = key.way.place if key.way.place.startswith("VNI") else ""
    return key._replace(way=key.way._replace(place=place))


def _name(found: Iterable[PairKey]) -> str:
    key = next(iter(found), None)
    return f"{key.way.src} -> {key.way.dst}, queue pair {key.way.qpn}" if key else "none at one place alone"


def _of_way(key: PairKey, sent: Row, received: Row, *, back: bool = False) -> WayFindings:
    shift = nearest(received.first, sent.first, 0)      # numbers of the receiver's capture begin elsewhere
    here, there = _once(sent, 0), _once(received, shift)
    matched = sorted(here.keys() & there.keys(), key=lambda n: here[n])
    delays = np.array([(there[n] - here[n]) * NS for n in matched])
    if matched and not back and np.median(delays) < 0:      # both captures hold both directions
        return _of_way(key, received, sent, back=True)
    rank = {n: k for k, n in enumerate(matched)}
    order = reordering(np.array([rank[n] for n in sorted(matched, key=lambda n: there[n])], dtype=np.int64))
    left, came = len(sent.numbers), len(received.numbers)
    return WayFindings(
        *_named(key), back=back, sent=left, received=came, lost_ppm=loss_ppm(left, came) if came <= left else None,
        matched=len(matched), latency=float(np.median(delays)) if matched else None,
        latency_p99=percentile(delays.tolist(), 99), latency_max=float(delays.max()) if matched else None,
        pdv_p99=percentile(delay_variation(delays).tolist(), 99), reordered=order.reordered,
        reorder_extent=order.extent_max)


def _once(row: Row, shift: int) -> dict[int, int]:
    """Number -> time of the packets whose PSN was captured once."""
    times = Counter(row.numbers)
    stamps: Sequence[int] = row.packets.stamps
    return {n + shift: stamp for n, stamp in zip(row.numbers, stamps, strict=True) if times[n] == 1}
