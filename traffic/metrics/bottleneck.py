"""Which link was the bottleneck, found from counters alone: no spec and no prediction is looked at.

A link that holds the others up has packets waiting nearly all the time, while elsewhere they pass at once:

    waiting(d) = samples of d's queue with packets in it / samples within the steps
    achieved(d) = 8 x bytes / time between samples that both found packets waiting, bit/s

    bottleneck_link = the largest waiting(d). It has a culprit if one direction stands out against its peers, those
              in use that lead from and to the same tiers: waiting more than twice as long as their median, or
              getting through less than 0.8 of the median rate of those that were as busy.

Of directions that wait alike (within 0.1) the one that achieved least is named. Where none stands out they are
named together: they pace alike, as the hosts' own links do in an undisturbed ring.
Source: this lab's own; the idea is that of queue-based bottleneck location (Alizadeh et al., CONGA, SIGCOMM 2014,
judges links by their congestion, not by their nominal rate).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import numpy.typing as npt

from topologies.model.fabric import Fabric
from traffic.metrics.metric import Definition, Metric
from traffic.runtime.counters import Counters

WAITS = 0.3             # share of the steps below which nothing paces but the hosts themselves
LONGER, SLOWER = 2.0, 0.8
ALIKE = 0.1
IDLE = 0.1              # of the worst one's bytes: a peer with less carries ACKs, and compares to nothing
MIN_INTERVALS = 3       # with packets waiting, to tell a rate

BOTTLENECK = Definition("bottleneck_link", "", "share of the steps in which packets waited for the bottleneck link",
                        "max over links of samples with packets waiting / samples within the steps", "counters alone")
RATE = Definition("bottleneck_link_rate", "bit/s", "rate of the bottleneck link while packets waited",
                  "8 x bytes / time, between samples with packets waiting", "counters alone")
PEERS = Definition("peer_link_rate", "bit/s", "the same of its peers: the median",
                   "median over links of the same tier with packets waiting", "counters alone")


@dataclass(frozen=True, slots=True)
class Seen:
    """One direction while there were steps: bytes sent; achieved is None where packets hardly ever waited."""

    direction: str
    tier: str
    waiting: float
    achieved: float | None
    sent: float


def metrics(counters: Counters, steps: Sequence[tuple[float, float]], fabric: Fabric) -> list[Metric]:
    """BOTTLENECK with the culprit, or the tier, as its place; RATE and PEERS where they can be determined.

    steps: [start, end] of each, s. Nothing where no sample lies within a step, or hardly anything waited.
    """
    seen = watch(counters, steps, fabric)
    worst = slowest(seen)
    if worst is None or worst.waiting < WAITS:
        return []
    peers = [s for s in seen if s.tier == worst.tier and s is not worst and s.sent >= IDLE * worst.sent]
    alone = stands_out(worst, peers)
    found = [replace(BOTTLENECK.of(worst.waiting, len(seen)), where=worst.direction if alone else worst.tier)]
    if worst.achieved is not None:
        found.append(replace(RATE.of(worst.achieved), where=worst.direction if alone else worst.tier))
    rates = [s.achieved for s in peers if s.achieved is not None]
    if alone and rates:
        found.append(replace(PEERS.of(median(rates), len(rates), (min(rates), max(rates))), where=worst.tier))
    return found


def sent_within(counters: Counters, steps: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Direction -> bytes that it sent from the first step's start to the last one's end; nothing without samples."""
    begin, end = min((s for s, _ in steps), default=0.0), max((e for _, e in steps), default=0.0)
    at = np.flatnonzero((counters.t >= begin) & (counters.t <= end))
    if len(at) < 2:
        return {}
    moved = counters.bytes[at[-1]] - counters.bytes[at[0]]
    return {d: float(b) for d, b in zip(counters.directions, moved, strict=True)}


def watch(counters: Counters, steps: Sequence[tuple[float, float]], fabric: Fabric) -> list[Seen]:
    """Every direction between hosts that are no probes, within the steps."""
    inside = np.zeros(len(counters.t), dtype=bool)
    for start, end in steps:
        inside |= (counters.t >= start) & (counters.t <= end)
    if inside.sum() < 2:
        return []
    probes = {n.name for n in fabric.of("probe")}
    return [_seen(d, i, counters, inside, fabric) for i, d in enumerate(counters.directions)
            if not probes & set(d.split("->"))]


def _seen(direction: str, column: int, counters: Counters, inside: npt.NDArray[np.bool_], fabric: Fabric) -> Seen:
    waits = counters.backlog[:, column] > 0
    full = waits[1:] & waits[:-1] & inside[1:] & inside[:-1]
    achieved = None
    if full.sum() >= MIN_INTERVALS:
        moved = np.diff(counters.bytes[:, column])[full].sum()
        achieved = float(8 * moved / np.diff(counters.t)[full].sum())
    near, far = direction.split("->")
    tier = f"{_kind(fabric, near)} to {_kind(fabric, far)}"
    within = inside[1:] & inside[:-1]
    sent = float(np.diff(counters.bytes[:, column])[within].sum())
    return Seen(direction, tier, float(waits[inside].mean()), achieved, sent)


def _kind(fabric: Fabric, node: str) -> str:
    return {"host": "hosts", "outside": "outside hosts", "spine": "spines", "border": "border leaves",
            "vtep": "routers"}.get(
        fabric.by_name[node].role, "leaves")


def slowest(seen: Sequence[Seen]) -> Seen | None:
    """The direction that waited longest; of those that waited alike, the one that got least through."""
    if not seen:
        return None
    most = max(s.waiting for s in seen)
    alike = [s for s in seen if s.waiting >= most - ALIKE]
    return min(alike, key=lambda s: (s.achieved is None, s.achieved or 0.0, -s.waiting))


def stands_out(worst: Seen, peers: Sequence[Seen]) -> bool:
    """Whether a direction differs from the others of its tier enough to be blamed alone."""
    if not peers:
        return True
    if worst.waiting > LONGER * median(s.waiting for s in peers):
        return True
    rates = [s.achieved for s in peers if s.achieved is not None]
    return worst.achieved is not None and bool(rates) and worst.achieved < SLOWER * median(rates)
