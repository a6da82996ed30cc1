"""Figures out of the runs that came back from the VM, each held against what the lab VM must reach."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RING_SHARE = 0.90       # of the ring's limit, over links of 1 ms
QUEUE_SHARE = 0.5       # DCTCP's p90 queue over Cubic's
RATE_SHARE = 0.95       # DCTCP's throughput over Cubic's
SETTLED = 0.25          # of the time with traffic, left out at the start: slow start


@dataclass(frozen=True)
class Figure:
    """One sentence with a measured value, and whether it reaches what it must."""

    text: str
    good: bool


@dataclass(frozen=True)
class Direction:
    """One direction of a wire while it was busy: bit/s sent, bytes waiting (p90)."""

    rate: float
    queue: float


def run_of(runs: Path, name: str) -> Path | None:
    """The last run of a scenario, or None."""
    return max((p for p in runs.glob(f"*-{name}-*") if (p / "metrics.json").exists()), default=None)


def busy(lines: Sequence[Mapping[str, Any]], direction: str) -> Direction:
    """Of counters.jsonl: from a quarter into the time in which the direction had packets waiting, to its end."""
    header = next(x for x in lines if x["kind"] == "header")
    at = header["directions"].index(direction)
    samples = [(x["t"], *x["v"][at]) for x in lines if x["kind"] == "wires"]
    waiting = [n for n, (_, _, _, _, backlog) in enumerate(samples) if backlog]
    first = waiting[int(len(waiting) * SETTLED)]
    part = samples[first:waiting[-1] + 1]
    backlogs = sorted(backlog for _, _, _, _, backlog in part)
    return Direction(rate=8 * (part[-1][1] - part[0][1]) / (part[-1][0] - part[0][0]),
                     queue=backlogs[int(0.9 * (len(backlogs) - 1))])


def ring(runs: Path) -> Iterator[Figure]:
    """The ring over links of 1 ms."""
    run = run_of(runs, "vm-delay")
    if run is not None:
        share = json.loads((run / "metrics.json").read_text())["ring.busbw_of_limit"]["value"]
        yield Figure(f"ring over links of 1 ms: {share:.3f} of its limit (at least {RING_SHARE})", share >= RING_SHARE)


def marking(runs: Path) -> Iterator[Figure]:
    """DCTCP with marking against Cubic with a plain queue, in front of the receiver of an incast."""
    found = [run_of(runs, name) for name in ("vm-dctcp", "vm-cubic")]
    if None in found:
        return
    dctcp, cubic = (busy([json.loads(x) for x in (run / "counters.jsonl").read_text().splitlines()], "leaf1->h1")
                    for run in found if run is not None)
    queue, rate = dctcp.queue / cubic.queue, dctcp.rate / cubic.rate
    yield Figure(f"DCTCP's p90 queue {dctcp.queue / 1e3:.1f} kB, Cubic's {cubic.queue / 1e3:.1f} kB: {queue:.2f} "
                 f"(below {QUEUE_SHARE})", queue < QUEUE_SHARE)
    yield Figure(f"DCTCP's throughput {dctcp.rate / 1e6:.2f} Mbit/s, Cubic's {cubic.rate / 1e6:.2f}: {rate:.3f} "
                 f"(at least {RATE_SHARE})", rate >= RATE_SHARE)


def figures(runs: Path) -> list[Figure]:
    return [*ring(runs), *marking(runs)]
