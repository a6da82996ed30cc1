"""Does each wire have the rate of its spec, and a path the round-trip time of its hops?

Rates: every direction is fed with frames of an experimental Ethertype, which any switch drops by
rule, a little faster than its rate; what its queue sends while it never runs empty, over that time,
is its rate. No rule and no route takes part, so a wrong rate is the wire's.

Round trips: ICMP between probe hosts against the sum of their hops' delays and a floor, the same
trip in the sentinel class, which neither rates nor delays hold up. How long a lone packet takes over a hop, the
lab's datapath says (topologies/switches).

Full once per fabric and boot, kept under the fabric's fingerprint; four wires before every run.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from topologies.access import files
from topologies.access.netns import inside
from topologies.lab import journal
from topologies.lab.shell import run
from topologies.model.addressing import SENTINEL_DSCP, VXLAN_OVERHEAD
from topologies.model.fabric import Fabric, Link
from topologies.model.inventory import Inventory
from topologies.switches.datapath import Datapath, Direction
from topologies.switches.datapaths import datapath_of

EXPERIMENTAL = 0x88B5           # IEEE 802 local experimental Ethertype
BUDGET = 60e6                   # bit/s fed at once: well below what two cores forward
OVERFEED = 1.15
MIN_FRAMES = 150                # a frame more or less is then under 0.7 %
MIN_SECONDS = 0.25
FEED_STEP = 0.004               # seconds
SPOT = 4                        # wires checked before every run
PINGS = 21
PING_FRAME = 98                 # bytes of an echo request or reply as ping makes it
RATE_LIMIT = 0.03               # of the rate
RTT_SHARE, RTT_LIMIT = 0.10, 0.3e-3     # of the expected round trip, or seconds if that is more
AGAIN = 2                       # more measurements of what was beyond its limit; the median of all counts,
PATIENCE = 4                    # and each of them takes this many times as long: what a busy moment of the
                                # machine takes from the measurement weighs that much less;
CALMER = 4                      # and feeds so many times less at once: a slow machine is busy with the feeding


@dataclass(frozen=True)
class RateCheck:
    """bit/s as the spec says and as measured."""

    direction: str
    spec: float
    measured: float

    @property
    def error(self) -> float:
        return self.measured / self.spec - 1

    @property
    def within(self) -> bool:
        return abs(self.error) <= RATE_LIMIT


@dataclass(frozen=True)
class RttCheck:
    """seconds; `floor` is the sentinel's trip, `expected` = floor + 2 x delays of the hops one way."""

    src: str
    dst: str
    measured: float
    expected: float
    floor: float

    @property
    def limit(self) -> float:
        """Seconds that the measured trip may be off."""
        return max(RTT_SHARE * self.expected, RTT_LIMIT)

    @property
    def within(self) -> bool:
        return abs(self.measured - self.expected) <= self.limit


@dataclass(frozen=True)
class Calibration:
    rates: tuple[RateCheck, ...]
    rtts: tuple[RttCheck, ...]
    full: bool          # every wire, or the spot check

    @property
    def within(self) -> bool:
        return all(r.within for r in self.rates) and all(r.within for r in self.rtts)

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def fingerprint(inventory: Inventory) -> str:
    """The same for the same fabric on the same boot of the same machine."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    text = inventory.fabric.model_dump_json() + inventory.datapath + boot
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def calibrate(inventory: Inventory, seed: int) -> Calibration:
    """The full calibration, once; then the kept one of this fabric with a fresh spot check.

    One with anything beyond its limits is reported but not kept: the next run measures anew.
    """
    kept = journal.state() / "calibration" / f"{fingerprint(inventory)}.json"
    if not kept.exists():
        done = Calibration(tuple(settled_rates(inventory, datapath_of(inventory).directions(inventory))),
                           tuple(settled_rtts(inventory)), full=True)
        if done.within:
            _keep(kept, done)
        return done
    before = json.loads(kept.read_text())
    every = datapath_of(inventory).directions(inventory)
    wanted = random.Random(seed).sample(every, min(SPOT, len(every)))    # noqa: S311
    fresh = settled_rates(inventory, wanted)
    names = {c.direction for c in fresh}
    rates = [*fresh, *(RateCheck(**r) for r in before["rates"] if r["direction"] not in names)]
    return Calibration(tuple(rates), tuple(RttCheck(**r) for r in before["rtts"]), full=False)


def _keep(path: Path, done: Calibration) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(path, json.dumps(done.as_json()).encode(), ours=True)


def settled_rates(inventory: Inventory, wanted: Sequence[Direction]) -> list[RateCheck]:
    """check_rates; a direction beyond its limit is measured again, and its median counts: a busy moment of the
    machine is no property of a wire, nor is what feeding many of them at once costs."""
    found = check_rates(inventory, wanted)
    doubtful = {c.direction for c in found if not c.within}
    again = [check_rates(inventory, [q for q in wanted if q.direction in doubtful], PATIENCE, BUDGET / CALMER)
             for _ in range(AGAIN if doubtful else 0)]
    measured = {d: [c.measured for part in (found, *again) for c in part if c.direction == d] for d in doubtful}
    return [replace(c, measured=statistics.median(measured.get(c.direction, [c.measured]))) for c in found]


def settled_rtts(inventory: Inventory) -> list[RttCheck]:
    """check_rtts; if a trip is beyond its limit all are measured again, and of each the median one counts."""
    found = [check_rtts(inventory)]
    if not all(c.within for c in found[0]):
        found += [check_rtts(inventory) for _ in range(AGAIN)]
    return [sorted(same, key=lambda c: c.measured - c.expected)[len(same) // 2] for same in zip(*found, strict=True)]


def check_rates(inventory: Inventory, wanted: Sequence[Direction], patience: int = 1,
                budget: float = BUDGET) -> list[RateCheck]:
    """Measure some directions for `patience` times the shortest time, as many at once as the budget (bit/s) allows."""
    results: list[RateCheck] = []
    group: list[Direction] = []
    for queue in sorted(wanted, key=lambda q: q.rate):
        if group and sum(q.rate for q in group) + queue.rate > budget:
            results += _measure(inventory, group, patience)
            group = []
        group.append(queue)
    return results + (_measure(inventory, group, patience) if group else [])


class _Feeder:
    """Sends calibration frames into one direction, a little faster than its rate."""

    def __init__(self, inventory: Inventory, queue: Direction) -> None:
        self.queue = queue
        self.size = inventory.fabric.links_by_name[queue.link].max_frame
        frame = b"\x02\xff\xff\xff\xff\xff" + b"\x02\xff\xff\xff\xff\xfe" + EXPERIMENTAL.to_bytes(2, "big")
        self.out = datapath_of(inventory).feeder(inventory, queue, frame + bytes(self.size - len(frame)))
        self.fed, self.started = 0.0, time.monotonic()
        # Half a queue up front, so that the queue never runs empty while we sleep.
        self.ahead = min(queue.limit / 2, max(queue.rate / 8 * 0.05, 4 * self.size))

    def feed(self, now: float) -> None:
        due = self.ahead + self.queue.rate / 8 * (now - self.started) * OVERFEED
        while self.fed < due:
            try:
                self.out.send()
            except OSError:     # the socket's or the queue's own limit: it is full, which is what we want
                break
            self.fed += self.size


def _sent(datapath: Datapath, queue: Direction) -> tuple[float, int]:
    """Time of reading, bytes that the queue has sent."""
    begin = time.monotonic()
    found = datapath.sent(queue)
    return (begin + time.monotonic()) / 2, found


def _measure(inventory: Inventory, group: Sequence[Direction], patience: int) -> list[RateCheck]:
    frames = {q.direction: inventory.fabric.links_by_name[q.link].max_frame for q in group}
    seconds = patience * max([MIN_SECONDS, *(MIN_FRAMES * frames[q.direction] * 8 / q.rate for q in group)])
    feeders, datapath = [_Feeder(inventory, q) for q in group], datapath_of(inventory)
    try:
        _feed_for(feeders, 0.05)
        start = {q.direction: _sent(datapath, q) for q in group}
        _feed_for(feeders, seconds)
        end = {q.direction: _sent(datapath, q) for q in group}
    finally:
        for f in feeders:
            f.out.close()
    _let_drain(inventory, group)
    return [RateCheck(q.direction, q.rate,
                      8 * (end[q.direction][1] - start[q.direction][1]) / (end[q.direction][0] - start[q.direction][0]))
            for q in group]


def _feed_for(feeders: Sequence[_Feeder], seconds: float) -> None:
    until = time.monotonic() + seconds
    while (now := time.monotonic()) < until:
        for f in feeders:
            f.feed(now)
        time.sleep(FEED_STEP)


def _let_drain(inventory: Inventory, group: Sequence[Direction]) -> None:
    """Until the fed queues are empty, or nothing moves any more: the next measurement must not see our frames."""
    deadline, datapath = time.monotonic() + 5, datapath_of(inventory)
    while datapath.waiting(group) and time.monotonic() < deadline and not datapath.ended(inventory):
        time.sleep(0.01)


def hops(fabric: Fabric, src: str, dst: str) -> list[tuple[Link, int]]:
    """Links of a path one way, with the bytes that encapsulation adds on each."""
    a, b = fabric.host(src), fabric.host(dst)
    inside = [(link, VXLAN_OVERHEAD) for link in fabric.paths(a.leaf, b.leaf)[0].links]
    return [(fabric.access_link(src), 0), *inside, (fabric.access_link(dst), 0)]


def serialisation(fabric: Fabric, src: str, dst: str, frame: int) -> float:
    """Seconds that a frame of so many bytes spends on being sent, over all hops of one way.

    What an isolated frame would pay on real links, and does not pay here.
    """
    return sum(8 * (frame + extra) / link.rate for link, extra in hops(fabric, src, dst))


def ping(inventory: Inventory, src: str, dst: str, dscp: int = 0, count: int = PINGS) -> list[float]:
    """Round-trip times in seconds; the first, which waits for ARP, left out."""
    with inside(inventory.netns_path(src)):
        text = run("ping", "-n", "-c", str(count + 1), "-i", "0.02", "-W", "2", "-Q", str(dscp << 2),
                   inventory.fabric.host(dst).ip, check=False)
    return [float(ms) / 1e3 for ms in re.findall(r"time=([\d.]+) ms", text)][1:]


def _pairs(fabric: Fabric) -> list[tuple[str, str]]:
    """Probe hosts: the first with each other one that it reaches (they stand on every leaf)."""
    return [(ring[0], p) for ring in fabric.probe_rings for p in ring[1:]]


def check_rtts(inventory: Inventory) -> list[RttCheck]:
    """One trip per remote leaf; none without probe hosts."""
    found = []
    for src, dst in _pairs(inventory.fabric):
        floor, measured = ping(inventory, src, dst, SENTINEL_DSCP), ping(inventory, src, dst)
        if not floor or not measured:
            found.append(RttCheck(src, dst, float("inf"), 0.0, 0.0))
            continue
        low = statistics.median(floor)
        delays = 2 * sum(datapath_of(inventory).crossing_time(link, PING_FRAME + extra)
                         for link, extra in hops(inventory.fabric, src, dst))
        found.append(RttCheck(src, dst, statistics.median(measured), low + delays, low))
    return found
