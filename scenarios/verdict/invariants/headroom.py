"""Invariant 4: the machine had time to spare, in every second of every phase.

    machine idle                        over 15 %       below SUSPECT, below 7 % INVALID
    a switch's wait for a CPU           up to 1/3       of its worst thread's time; beyond 2/3 INVALID
    a traffic process's wait            up to 15 %      beyond 30 % INVALID
    steal                               up to 5 %       beyond 10 % INVALID
    nice of a switch or traffic process up to 0         above SUSPECT: it gives way to everything else
    the engine's edge, p99              up to 0.3 ms    late: frames from and to hosts; beyond twice INVALID
    sentinel's p99                      max(two full frames at the host rate, 1 ms), beyond twice INVALID

A reading that cannot be is no evidence against a run, nor for it: idle or stolen time outside 0 to 105 % of the
processors' time; more waiting than a thread had time for, of which the kernel's scheduler counts some (the cause is in
topologies/proof/run_queue.py). It is named, and SUSPECT unless the most that it can stand for is within the limit.

A second counts if half of it or more lies in phases, or if it is all that touches a phase. The
sentinel's p99 is that of any 1,000 packets in a row that were sent in phases (4 s at 250 a second), of
all sentinels together where one alone has fewer; a p99 is the smallest delay that 99 % do not exceed
(nearest rank).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from scenarios.verdict.invariants.evidence import (
    Check,
    Evidence,
    Level,
    Phase,
    Reason,
    Sentinel,
    over,
    plural,
    under,
)
from traffic.runtime.counters import Cpu, Floats

NUMBER, NAME = 4, "headroom"
IDLE, HALF_IDLE = 0.15, 0.07
SWITCH_WAIT, ENGINE_WAIT, STEAL = 1 / 3, 0.15, 0.05
SENTINEL_FRAMES, SENTINEL_FLOOR = 2, 1e-3
LATE = 300e-6               # s at p99, of an engine's edge: a quarter of a full frame's time at 10 Mbit/s
POSSIBLE = (-0.01, 1.05)    # shares of a second: both clocks have their grain
SAMPLES = 1000              # a p99 is not said of fewer
STRIDE = 250
UNCOVERED, UNCOVERED_SHARE = 0.5, 0.1   # s of a phase, and share of it, that may lie in no counted second


class _Limit(NamedTuple):
    """One measurement of a second: a sentence with {value} and {second}, what it may be, how bad it is."""

    text: str
    limit: float
    level: Callable[[float], Level]
    where: str


def check(evidence: Evidence) -> Check:
    """CPU of machine, switches and traffic processes, and the sentinels' delay."""
    counters = evidence.counters
    cpu, switches = (counters.cpu, counters.switches) if counters else ((), ())
    seconds = counted(cpu, evidence.phases)
    reasons = (*_uncovered(seconds, evidence.phases), *_machine(seconds),
               *_processes(seconds, switches, evidence), *_late(evidence), *_sentinels(evidence))
    figures = _figures(seconds, switches, evidence)
    edge = f", the fabric's edge late by {figures['late_p99_s'] * 1e6:.0f} us at p99 (limit {LATE * 1e6:.0f} us)" \
        if evidence.late else ""
    text = (f"{plural(len(seconds), 'second')}: idle at least {figures['idle']:.0%} (limit {IDLE:.0%}), switches "
            f"waited at most {figures['switch_wait']:.0%} (limit {SWITCH_WAIT:.0%}), traffic "
            f"{figures['engine_wait']:.0%} (limit {ENGINE_WAIT:.0%}), steal {figures['steal']:.0%} (limit "
            f"{STEAL:.0%}), sentinel p99 {figures['sentinel_p99_s'] * 1e3:.2f} ms (limit "
            f"{sentinel_limit(evidence) * 1e3:.2f} ms){edge}")
    return Check(NUMBER, text.replace("nan%", "not measured").replace("nan ms", "not measured"), reasons, figures)


def _overlap(cpu: Cpu, phases: Sequence[Phase]) -> float:
    return sum(max(0.0, min(cpu.t, p.end) - max(cpu.start, p.start)) for p in phases)


def counted(cpu: Sequence[Cpu], phases: Sequence[Phase]) -> list[Cpu]:
    """The seconds that are judged."""
    kept = {c.t: c for c in cpu if _overlap(c, phases) >= c.seconds / 2}
    for phase in phases:
        if not any(_overlap(c, [phase]) for c in kept.values()):
            kept |= {c.t: c for c in cpu if _overlap(c, [phase])}
    return [kept[t] for t in sorted(kept)]


def _uncovered(seconds: Sequence[Cpu], phases: Sequence[Phase]) -> Iterator[Reason]:
    if not phases:
        yield Reason(NAME, Level.SUSPECT, "no phase of the run is known, so no second of it could be judged")
    for p in phases:
        covered = sum(_overlap(c, [p]) for c in seconds)
        length = p.end - p.start
        if length - covered > UNCOVERED + UNCOVERED_SHARE * length or not covered:
            yield Reason(NAME, Level.SUSPECT, f"the processors were watched for {covered:.1f} s of the "
                         f"{length:.1f} s of phase {p.name}", covered, length, p.name)


def _worst(values: Sequence[tuple[float, float]], limit: _Limit) -> Iterator[Reason]:
    """One reason for all seconds beyond a limit: the worst of them, and how many more. (when, value)"""
    beyond = [(limit.level(v), when, v) for when, v in values if limit.level(v)]
    if not beyond:
        return
    level, when, value = max(beyond, key=lambda b: (b[0], abs(b[2] - limit.limit)))
    more = f" (and in {plural(len(beyond) - 1, 'other second')})" if len(beyond) > 1 else ""
    text = limit.text.format(value=value, second=when)
    yield Reason(NAME, level, text + more, value, limit.limit, limit.where, when)


def _machine(seconds: Sequence[Cpu]) -> Iterator[Reason]:
    yield from _impossible([(c.start, c.idle) for c in seconds], "idle")
    yield from _impossible([(c.start, c.steal) for c in seconds], "stolen by the hypervisor")
    yield from _worst([(c.start, c.idle) for c in seconds if _possible(c.idle)], _Limit(
        f"the machine was idle {{value:.1%}} of second {{second:.0f}}; the limit is {IDLE:.0%}", IDLE,
        partial(under, limit=IDLE, half=HALF_IDLE), "machine"))
    yield from _worst([(c.start, c.steal) for c in seconds if _possible(c.steal)], _Limit(
        f"the hypervisor stole {{value:.1%}} of second {{second:.0f}}; the limit is {STEAL:.0%}", STEAL,
        partial(over, limit=STEAL), "machine"))


def _possible(share: float) -> bool:
    return POSSIBLE[0] <= share <= POSSIBLE[1]


def _impossible(values: Sequence[tuple[float, float]], what: str) -> Iterator[Reason]:
    """(when, share of a second) that cannot be: one reason for all, with the first of them."""
    odd = [(when, share) for when, share in values if not _possible(share)]
    if odd:
        when, share = odd[0]
        more = f" (and {plural(len(odd) - 1, 'other second')})" if len(odd) > 1 else ""
        yield Reason(NAME, Level.SUSPECT, f"the kernel counted the machine as {what} for {share:.0%} of second "
                     f"{when:.0f}{more}, which is impossible, so it was not measured", share, None, "machine", when)


def _doubt(name: str, title: str, limit: float, seconds: Sequence[Cpu]) -> Iterator[Reason]:
    """Waiting that the kernel counted and that cannot be, where what it can be at most is beyond the limit."""
    odd = [(c, *c.doubt[name]) for c in seconds if name in c.doubt]
    beyond = [(c, most, claimed) for c, most, claimed in odd if over(most, limit) and not over(c.runq[name], limit)]
    if beyond:
        second, most, claimed = max(beyond, key=lambda b: b[1])
        more = f" (and {plural(len(beyond) - 1, 'other second')})" if len(beyond) > 1 else ""
        yield Reason(NAME, Level.SUSPECT, f"the kernel counted {claimed:.0%} of second {second.start:.0f} as time that "
                     f"{title} waited for the CPU, which cannot be; {most:.0%} can, and the limit is {limit:.0%}: not "
                     f"measured{more}", most, limit, name, second.start)


def _processes(seconds: Sequence[Cpu], switches: Sequence[str], evidence: Evidence) -> Iterator[Reason]:
    limits = {name: (f"{name}'s switch", SWITCH_WAIT) for name in switches}
    limits |= {name: (f"the process {name}", ENGINE_WAIT) for name in evidence.engines}
    for name, (title, limit) in limits.items():
        yield from _worst([(c.start, c.runq[name]) for c in seconds if name in c.runq], _Limit(
            f"{title} waited for the CPU {{value:.0%}} of second {{second:.0f}}; the limit is {limit:.0%}", limit,
            partial(over, limit=limit), name))
        yield from _worst([(c.start, float(c.nice[name])) for c in seconds if name in c.nice], _Limit(
            f"{title} ran at nice {{value:.0f}} in second {{second:.0f}}, so that every other process went first; "
            "the limit is 0", 0.0, partial(over, limit=0.0, twice=float("inf")), name))
        yield from _doubt(name, title, limit, seconds)
        yield from _unwatched(name, title, seconds, evidence)


def _unwatched(name: str, title: str, seconds: Sequence[Cpu], evidence: Evidence) -> Iterator[Reason]:
    """A switch must be seen in every second, unless a declared fault took it; traffic in one at least."""
    if name in evidence.engines:
        if not any(name in c.runq for c in seconds):
            yield Reason(NAME, Level.SUSPECT, f"{title} was not watched", None, None, name)
        return
    faults = [f for f in evidence.faults if name in f.nodes]
    unseen = [c for c in seconds if name not in c.runq and not any(f.overlaps(c.start, c.t) for f in faults)]
    if unseen:
        yield Reason(NAME, Level.SUSPECT, f"{title} was not watched, or gone, in second {unseen[0].start:.0f}"
                     + (f" and {plural(len(unseen) - 1, 'other second')}" if len(unseen) > 1 else ""),
                     None, None, name, unseen[0].start)


def _late(evidence: Evidence) -> Iterator[Reason]:
    for late in evidence.late:
        if late.count and (level := over(late.p99, LATE)):
            yield Reason(NAME, level, f"{late.what} were {late.p99 * 1e6:.0f} us late (p99 of {late.count:,}) in phase "
                         f"{late.phase}; the limit is {LATE * 1e6:.0f} us", late.p99, LATE, late.what)


def sentinel_limit(evidence: Evidence) -> float:
    """Seconds: two full frames' serialisation at the host rate, or 1 ms if that is more."""
    return max(SENTINEL_FRAMES * evidence.host_frame * 8 / evidence.host_rate, SENTINEL_FLOOR)


def sentinel_p99(sentinel: Sentinel, phases: Sequence[Phase]) -> tuple[float, float, int]:
    """The worst p99 of 1,000 delays in a row, when its window began, and how many delays there are; NaN if too few."""
    inside = np.zeros(len(sentinel.sent), bool)
    for p in phases:
        inside |= (sentinel.sent >= p.start) & (sentinel.sent <= p.end)
    inside &= ~np.isnan(sentinel.delay)
    delay, sent = sentinel.delay[inside], sentinel.sent[inside]
    if len(delay) < SAMPLES:
        return float("nan"), float("nan"), len(delay)
    starts = [*range(0, len(delay) - SAMPLES, STRIDE), len(delay) - SAMPLES]
    p99: Floats = np.array([np.percentile(delay[i:i + SAMPLES], 99, method="inverted_cdf") for i in starts])
    worst = int(p99.argmax())
    return float(p99[worst]), float(sent[starts[worst]]), len(delay)


def judged(evidence: Evidence) -> list[Sentinel]:
    """The sentinels whose p99 is judged: each one that has packets enough, else all of them as one.

    On a wide fabric, or in a short phase, one stream has too few packets for a p99; in the pool a stream
    that was delayed still shows, being more than 1 % of it.
    """
    every = list(evidence.sentinels)
    if len(every) < 2 or all(sentinel_p99(s, evidence.phases)[2] >= SAMPLES for s in every):
        return every
    sent, delay = (np.concatenate([getattr(s, what) for s in every]) for what in ("sent", "delay"))
    order = np.argsort(sent)
    return [Sentinel(", ".join(s.where for s in every[:3]) + (" ..." if len(every) > 3 else ""),
                     sent[order], delay[order])]


def _sentinels(evidence: Evidence) -> Iterator[Reason]:
    if not evidence.sentinels:
        yield Reason(NAME, Level.SUSPECT, "no sentinel stream ran: it takes probe hosts")
    limit = sentinel_limit(evidence)
    for s in evidence.sentinels:
        if s.invalid:
            yield Reason(NAME, Level.SUSPECT, f"the delays of sentinel {s.where} mean nothing: {s.invalid}", None,
                         limit, f"sentinel {s.where}")
    for s in judged(evidence):
        p99, when, count = sentinel_p99(s, evidence.phases)
        where = f"sentinel {s.where}"
        if count < SAMPLES:
            yield Reason(NAME, Level.SUSPECT, f"{where} has {plural(count, 'delay')} inside of phases; a p99 takes "
                         f"{SAMPLES:,}", count, SAMPLES, where)
        elif level := over(p99, limit):
            yield Reason(NAME, level, f"the p99 of {where} was {p99 * 1e3:.2f} ms in the {SAMPLES:,} packets from "
                         f"{when:.1f} s on; the limit is {limit * 1e3:.2f} ms", p99, limit, where, when)


def _figures(seconds: Sequence[Cpu], switches: Sequence[str], evidence: Evidence) -> Mapping[str, float]:
    """The worst of each measurement; NaN where nothing was measured."""
    def most(names: Sequence[str]) -> float:
        return max((c.runq[n] for c in seconds for n in names if n in c.runq), default=float("nan"))

    idle, steal = ([v for c in seconds if _possible(v := getattr(c, what))] for what in ("idle", "steal"))
    p99 = [v for s in judged(evidence) if not math.isnan(v := sentinel_p99(s, evidence.phases)[0])]
    return {"seconds": len(seconds), "idle": min(idle, default=float("nan")),
            "steal": max(steal, default=float("nan")), "doubtful_waits": sum(len(c.doubt) for c in seconds),
            "switch_wait": most(switches), "engine_wait": most(evidence.engines),
            "sentinel_p99_s": max(p99, default=float("nan")),
            "late_p99_s": max((late.p99 for late in evidence.late), default=float("nan"))}
