"""How single packets of UDP streams fared: loss, one-way latency, jitter, delay variation, reordering, outages.

Delays are kernel arrival stamp - sender's stamp, both CLOCK_REALTIME of this machine; a stream whose
clock stepped has no latency metrics, and its record says why. Percentiles are reported only where the
samples carry them (p90 from 100, p99 from 1,000, p99.9 from 10,000); the median has its range always.

Sources: docs/reference/methods.md: packets; RFC 3550 section 6.4.1 and A.8; RFC 4737 sections 3.3 and 4.2; RFC 5481
section 4.2; RFC 3357 (loss runs).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from traffic.metrics.metric import Definition, Metric, percentile
from traffic.transports.udp.records import Outage, PacketsRecord, StreamRecord

Floats = npt.NDArray[np.float64]
ENOUGH_P999 = 10_000

LOSS = Definition("loss", "ppm", "packets lost", "1e6 x (sent - received) / sent", "docs/reference/methods.md: packets")
LATENCY = Definition("latency", "s", "one-way latency (median)",
                     "median of kernel arrival stamp - send stamp, both CLOCK_REALTIME",
                     "docs/reference/methods.md: packets")
LATENCY_MAX = Definition("latency_max", "s", "one-way latency (largest)",
                         "max of kernel arrival stamp - send stamp", "docs/reference/methods.md: packets")
JITTER = Definition("jitter", "s", "interarrival jitter of the worst stream",
                    "J += (|delay(i) - delay(i-1)| - J) / 16 in order of arrival, J after the last packet", "RFC 3550")
PDV = Definition("pdv_p99", "s", "packet delay variation (p99)",
                 "p99 of delay - smallest delay of the packet's stream", "RFC 5481 section 4.2")
REORDERED = Definition("reordered", "", "share of packets reordered",
                       "packets that came after one with a higher number / packets received", "RFC 4737 section 3.3")
EXTENT = Definition("reorder_extent", "packets", "largest reordering extent",
                    "max over reordered packets i of i - j, j the first arrival with a higher number",
                    "RFC 4737 section 4.2")
OUTAGE_PACKETS = Definition("outage_packets", "packets", "longest outage in packets",
                            "most consecutive packets of one stream lost", "RFC 3357, loss period")
OUTAGE = Definition("outage", "s", "longest outage",
                    "sending time of the first packet that arrived after the loss run of most packets - "
                    "sending time of its first lost packet", "RFC 3357, loss period")


@dataclass(frozen=True, slots=True)
class Reordering:
    """reordered: packets (RFC 4737 Type-P-Reordered); extent_max: the largest extent, in packets."""

    reordered: int
    extent_max: int


def loss_ppm(sent: int, received: int) -> float:
    """1e6 x (sent - received) / sent; 0 where nothing was sent."""
    return 1e6 * (sent - received) / sent if sent else 0.0


def reordering(arrivals: Sequence[int] | npt.NDArray[np.int64]) -> Reordering:
    """Reordering of sequence numbers in their order of arrival, each number once.

    Packet i is reordered if a higher number arrived before it; its extent is i - j, j the earliest
    such arrival. Source: RFC 4737 sections 3.3 and 4.2.
    """
    numbers = np.asarray(arrivals, dtype=np.int64)
    if not len(numbers):
        return Reordering(0, 0)
    highest = np.maximum.accumulate(numbers)
    late = np.flatnonzero(numbers < highest)
    if not len(late):
        return Reordering(0, 0)
    first_higher = np.searchsorted(highest, numbers[late], side="right")
    return Reordering(len(late), int((late - first_higher).max()))


def _runs(arrived: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Begins and ends (exclusive) of the runs of packets that did not arrive."""
    edges = np.diff(np.concatenate(([0], (~arrived).astype(np.int8), [0])))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def loss_runs(arrived: Sequence[bool] | npt.NDArray[np.bool_]) -> int:
    """Number of runs of consecutive losses, by sequence number (RFC 3357: loss periods)."""
    return len(_runs(np.asarray(arrived, dtype=bool))[0])


def longest_outage(arrived: Sequence[bool] | npt.NDArray[np.bool_], sent: Sequence[float] | Floats) -> Outage:
    """The longest run of losses: packets, and seconds from its first packet's sending to the sending of
    the packet after it (the last packet's, where the stream ends in the run).

    `arrived[seq]` and `sent[seq]` (seconds) by sequence number. Of several runs of most packets the first.
    """
    begins, ends = _runs(np.asarray(arrived, dtype=bool))
    if not len(begins):
        return Outage(0, 0.0)
    k = int(np.argmax(ends - begins))
    after = min(int(ends[k]), len(sent) - 1)
    return Outage(int(ends[k] - begins[k]), float(sent[after] - sent[int(begins[k])]))


def jitter(delays: Iterable[float]) -> float:
    """Interarrival jitter in seconds after the last of `delays` (seconds, in order of arrival).

    D(i-1, i) of RFC 3550 is the difference of two transit times, which are our delays.
    """
    estimate, previous = 0.0, None
    for delay in delays:
        if previous is not None:
            estimate += (abs(delay - previous) - estimate) / 16
        previous = delay
    return estimate


def delay_variation(delays: Sequence[float] | Floats) -> Floats:
    """delay - smallest delay, for each packet of one stream. Source: RFC 5481 section 4.2 (PDV)."""
    values = np.asarray(delays, dtype=np.float64)
    return values - values.min() if len(values) else values


@dataclass(frozen=True, slots=True)
class Samples:
    """Packets of one stream that arrived, in sequence: sending times and delays, seconds."""

    sent: Floats
    delay: Floats
    thinned: bool

    @property
    def by_arrival(self) -> Floats:
        return self.delay[np.argsort(self.sent + self.delay, kind="stable")]


def samples(packets: Iterable[PacketsRecord]) -> dict[str, Samples]:
    """Stream -> its packets that arrived, from records of kind `packets`."""
    rows: dict[str, tuple[list[float], list[float], list[int]]] = {}
    for row in packets:
        sent, delay, steps = rows.setdefault(row.stream, ([], [], []))
        there = [(t, d) for t, d in zip(row.t, row.delay, strict=True) if d is not None]
        sent += [t for t, _ in there]
        delay += [d for _, d in there]
        steps.append(row.step)
    return {name: Samples(np.array(sent), np.array(delay), max(steps) > 1)
            for name, (sent, delay, steps) in rows.items()}


def metrics(streams: Sequence[StreamRecord], packets: Iterable[PacketsRecord]) -> list[Metric]:
    """Metrics of one workload from its records of kinds `stream` and `packets`, all streams together."""
    if not any(s.sent for s in streams):
        return []
    found = [*_loss(streams), *_order(streams)]
    if any(s.latency_invalid for s in streams):
        return found
    arrived = [s for s in samples(packets).values() if len(s.delay)]
    return [*_latency(arrived), *found] if arrived else found


def _loss(streams: Sequence[StreamRecord]) -> list[Metric]:
    sent, received = sum(s.sent for s in streams), sum(s.received for s in streams)
    each = [loss_ppm(s.sent, s.received) for s in streams if s.sent]
    worst = max((s.outage for s in streams), key=lambda o: (o.packets, o.seconds))
    return [
        LOSS.of(loss_ppm(sent, received), sent, (min(each), max(each)) if len(each) > 1 else None),
        OUTAGE_PACKETS.of(worst.packets, len(streams)), OUTAGE.of(worst.seconds, len(streams))]


def _order(streams: Sequence[StreamRecord]) -> list[Metric]:
    received = sum(s.received for s in streams)
    if not received:
        return []
    return [REORDERED.of(sum(s.reordered for s in streams) / received, received),
            EXTENT.of(max(s.reorder_extent_max for s in streams), len(streams))]


def _latency(arrived: Sequence[Samples]) -> list[Metric]:
    delays = np.concatenate([s.delay for s in arrived])
    n, variation = len(delays), np.concatenate([delay_variation(s.delay) for s in arrived])
    found = [LATENCY.of(float(np.median(delays)), n, _range(delays)), LATENCY_MAX.of(float(delays.max()), n)]
    found += [_at(q).of(value, n) for q in (90, 99) if (value := percentile(delays.tolist(), q)) is not None]
    if n >= ENOUGH_P999:
        found.append(_at(99.9).of(float(np.percentile(delays, 99.9)), n))
    if (value := percentile(variation.tolist(), 99)) is not None:
        found.append(PDV.of(value, n, _range(variation)))
    whole = [s for s in arrived if not s.thinned and len(s.delay) > 1]     # J is made of neighbours
    if whole:
        each = [jitter(s.by_arrival.tolist()) for s in whole]
        found.append(JITTER.of(max(each), sum(len(s.delay) for s in whole), (min(each), max(each))))
    return found


def _range(values: Floats) -> tuple[float, float] | None:
    return (float(values.min()), float(values.max())) if len(values) > 1 else None


def _at(q: float) -> Definition:
    name = f"p{q:g}"
    return Definition(f"latency_{name.replace('.', '')}", LATENCY.unit, f"one-way latency ({name})",
                      f"{name} of kernel arrival stamp - send stamp, both CLOCK_REALTIME", LATENCY.source)
