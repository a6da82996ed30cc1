"""Which link held the slowest requests up, found from the counters of the links' queues while they were on the network.

    on the network    in     [sent, arrived]      client -> gateway -> replica      own bytes: the prompt
                      fetch  [asked, last byte]   store -> replica                  the KV blocks
                      out    [made, first]        replica -> gateway -> client      next to nothing

    waiting(d, r) = sum over r's windows, of those whose shortest paths lead over direction d, of
                    max(0, seconds in which packets waited there - 8 x r's own bytes as frames / rate of d)
    tail_link     = max over d of (mean waiting over the slowest tenth - over all) / (the same of TTFT)

That packets waited at d while these requests were on the network, longer than their own bytes need, is counted. That
they waited in that queue is inferred: certain is it only of links that all paths of a request lead over
(`tail_only_path_share`). It is never more than the time that the network took. Nothing is reported where the slowest
are hardly slower than all, or below LEAST, unless links dropped packets meanwhile and the network's parts grew: a lost
packet waits for its retransmission in no queue.

Own of this lab, in the manner of queue-based bottleneck location (bottleneck.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from topologies.model.fabric import Fabric
from traffic.inference.records import ServingRecord, ServingSetupRecord, StoreRecord
from traffic.metrics.metric import ENOUGH, Definition, Metric
from traffic.metrics.serving.inference import FETCH, IN, OUT, SOURCE, arrived, made, parts, ttft
from traffic.runtime.counters import Counters
from traffic.runtime.records import reached
from traffic.transports.tcp import TCP

Floats = npt.NDArray[np.float64]
LEAST = 0.1             # share of what the slowest took longer, from which on a link is named
SLOWER = 0.1            # of the mean TTFT, what they must have taken longer: else there is no tail to explain

LINK = Definition("tail_link", "", "tail: time in which packets waited at the link that grew most",
                  "max over links of (mean waiting over the slowest tenth - over all) / (the same of TTFT)", SOURCE)
WAIT = Definition("tail_wait", "s", "tail: waiting at that link (mean)", "mean over the slowest tenth of the seconds "
                  "on the network in which packets waited there - own bytes / rate", SOURCE)
ONLY_PATH = Definition("tail_only_path_share", "", "tail: requests that had no other path than that link",
                       "requests of the slowest tenth whose shortest paths all lead over it / all of these", SOURCE)
DROPS = Definition("tail_drops", "packets", "tail: packets dropped at that link", "drops of its queue while any of the "
                   "slowest tenth was on a way over it", SOURCE)


class Window(NamedTuple):
    """A request's bytes on their way from one host to another."""

    request: int
    src: str
    dst: str
    start: float
    end: float
    own: float      # bytes


@dataclass(frozen=True)
class Ways:
    """Where packets of windows may have gone, and what waited and was dropped there meanwhile."""

    counters: Counters
    fabric: Fabric
    windows: Sequence[Window]

    @cached_property
    def by_direction(self) -> dict[str, list[tuple[Window, bool]]]:
        """Direction -> windows that may have led over it, and whether they had no other path."""
        pairs: dict[tuple[str, str], tuple[frozenset[str], frozenset[str]]] = {}
        found: dict[str, list[tuple[Window, bool]]] = {}
        for w in self.windows:
            if (w.src, w.dst) not in pairs:
                pairs[w.src, w.dst] = directions(self.fabric, w.src, w.dst)
            some, every = pairs[w.src, w.dst]
            for d in some:
                found.setdefault(d, []).append((w, d in every))
        return {d: windows for d, windows in found.items() if d in self.counters.directions}

    def waiting(self, direction: str, requests: int) -> Floats:
        """(requests,) s: packets waiting there beyond the own bytes."""
        t, column = self.counters.t, self.counters.directions.index(direction)
        waits = (self.counters.backlog[:, column] > 0).astype(float)
        passed = np.concatenate(([0.0], np.cumsum(np.diff(t) * (waits[1:] + waits[:-1]) / 2)))
        windows = [w for w, _ in self.by_direction[direction]]
        seconds = np.interp([w.end for w in windows], t, passed) - np.interp([w.start for w in windows], t, passed)
        wire_bits = 8 * TCP.overhead.expansion(self.fabric.spec.mtu) * np.array([w.own for w in windows])
        own = wire_bits / self.fabric.link(direction).rate
        found = np.zeros(requests)
        np.add.at(found, [w.request for w in windows], np.maximum(seconds - own, 0.0))
        return found

    def dropped(self, direction: str, requests: frozenset[int]) -> int:
        """Packets lost there while any of these requests was on a way over it."""
        t, drops = self.counters.t, self.counters.drops[:, self.counters.directions.index(direction)]
        inside = np.zeros(len(t) - 1, dtype=bool)       # between two samples each
        for w, _ in self.by_direction[direction]:
            if w.request in requests:
                first = max(int(np.searchsorted(t, w.start, "right")) - 1, 0)
                inside[first:int(np.searchsorted(t, w.end))] = True
        return int(np.diff(drops)[inside].sum())

    def only_path(self, direction: str, requests: frozenset[int]) -> int:
        """How many of these requests had no other path."""
        return len({w.request for w, alone in self.by_direction[direction] if alone and w.request in requests})


def directions(fabric: Fabric, src: str, dst: str) -> tuple[frozenset[str], frozenset[str]]:
    """(on some, on every) shortest path from one host to another; none where they are the same."""
    if src == dst:
        return frozenset(), frozenset()
    import networkx as nx  # noqa: PLC0415 - as in topologies/model/fabric.py

    ways = [frozenset(f"{a}->{b}" for a, b in pairwise(path))
            for path in nx.all_shortest_paths(fabric.graph, src, dst)]
    return frozenset.union(*ways), frozenset.intersection(*ways)


def windows_of(answered: Sequence[ServingRecord], moves: Sequence[StoreRecord], gateway: str) -> Iterator[Window]:
    """When the bytes of each answered request, numbered by its place, were between which hosts."""
    place = {r.id: n for n, r in enumerate(answered)}
    for n, r in enumerate(answered):
        for src, dst in ((r.client, gateway), (gateway, r.replica)):
            yield Window(n, src, dst, reached(r.sent), arrived(r), r.request_bytes)
        for src, dst in ((r.replica, gateway), (gateway, r.client)):
            yield Window(n, src, dst, made(r), reached(r.first), 0.0)
    for m in moves:
        if m.what == "fetch" and m.end is not None and m.request in place:
            yield Window(place[m.request], m.store, m.replica, m.start, m.end, m.bytes)


def metrics(requests: Sequence[ServingRecord], moves: Sequence[StoreRecord], setups: Sequence[ServingSetupRecord],
            counters: Counters, fabric: Fabric) -> list[Metric]:
    """The link of one workload's slowest tenth in one phase, or nothing where no link stands out.

    From its serving, serving-store and serving-setup records; reported from 100 answered requests, as the tail is.
    """
    answered = [r for r in requests if r.status == "ok"]
    if len(answered) < ENOUGH[90] or not setups or len(counters.t) < 2:
        return []
    order = sorted(range(len(answered)), key=lambda n: ttft(answered[n]))
    slowest = order[-(len(answered) // 10):]
    times = np.array([ttft(r) for r in answered])
    excess = float(times[slowest].mean() - times.mean())
    ways = Ways(counters, fabric, list(windows_of(answered, moves, setups[0].gateway)))
    if excess < SLOWER * times.mean() or not ways.by_direction:
        return []
    waiting = {d: ways.waiting(d, len(answered)) for d in ways.by_direction}
    shares = {d: float(x[slowest].mean() - x.mean()) / excess for d, x in waiting.items()}
    worst = max(shares, key=lambda d: shares[d])
    if shares[worst] >= LEAST:
        found = [LINK.of(shares[worst], len(slowest)), WAIT.mean([float(v) for v in waiting[worst][slowest]])]
        return [replace(m, where=worst) for m in (*found, *_seen(ways, worst, frozenset(slowest)))]
    return _of_drops(answered, slowest, excess, ways)


def _seen(ways: Ways, direction: str, slowest: frozenset[int]) -> Iterator[Metric]:
    yield ONLY_PATH.of(ways.only_path(direction, slowest) / len(slowest), len(slowest))
    yield DROPS.of(ways.dropped(direction, slowest), len(slowest))


def _of_drops(answered: Sequence[ServingRecord], slowest: Sequence[int], excess: float, ways: Ways) -> list[Metric]:
    """The link that dropped most, where the network's parts of TTFT grew though nothing waited for long."""
    network = sum(float(np.array(values)[slowest].mean() - np.mean(values))
                  for definition, values in parts(answered) if definition in (IN, FETCH, OUT))
    dropped = {d: ways.dropped(d, frozenset(slowest)) for d in ways.by_direction}
    worst = max(dropped, key=lambda d: dropped[d])
    if network / excess < LEAST or not dropped[worst]:
        return []
    return [replace(m, where=worst) for m in _seen(ways, worst, frozenset(slowest))]
