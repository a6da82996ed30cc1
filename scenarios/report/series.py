"""Counters of wires as arrays: how loaded each direction was, and what its queue dropped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traffic.runtime.counters import Counters, Floats

MAX_POINTS = 500        # of one line of a figure: more cannot be seen, and the page would grow
QUIET = 0.02            # share of a rate: below it on every link there is no traffic, but ARP and the like
PEAK_WINDOW = 0.25      # seconds; shorter peaks are single frames


@dataclass(frozen=True)
class Load:
    """One direction over the run. Loads are shares of its rate; drops in packets, backlog in bytes."""

    direction: str
    rate: float
    queue: float
    mean: float
    peak: float
    drops: int
    max_backlog: float


def usable(counters: Counters) -> bool:
    """Two samples make a rate."""
    return len(counters.t) > 1


def share(counters: Counters, width: float) -> tuple[Floats, Floats]:
    """Middle of each window of at least `width` seconds, and (windows, directions) share of the rate used."""
    edges = window_edges(counters.t, width)
    spans = np.diff(counters.t[edges])
    used = np.diff(counters.bytes[edges], axis=0) * 8 / spans[:, None] / counters.rates
    return counters.t[edges[:-1]] + spans / 2, used


def active(counters: Counters) -> tuple[int, int]:
    """First and last sample of the time with traffic, pauses included; all samples if there was none."""
    edges = window_edges(counters.t, PEAK_WINDOW)
    busy = np.flatnonzero(np.max(share(counters, PEAK_WINDOW)[1], axis=1) >= QUIET)
    return (int(edges[busy[0]]), int(edges[busy[-1] + 1])) if len(busy) else (0, len(counters.t) - 1)


def loads(counters: Counters) -> list[Load]:
    """Every direction, the busiest (mean) first. The mean is over the time with traffic."""
    if not usable(counters):
        return []
    first, last = active(counters)
    sent = counters.bytes[last] - counters.bytes[first]
    mean = sent * 8 / (counters.t[last] - counters.t[first]) / counters.rates
    peak = np.max(share(counters, PEAK_WINDOW)[1], axis=0)
    found = [Load(d, float(counters.rates[i]), float(counters.queues[i]), float(mean[i]), float(peak[i]),
                  int(counters.drops[-1, i] - counters.drops[0, i]), float(np.max(counters.backlog[:, i])))
             for i, d in enumerate(counters.directions)]
    return sorted(found, key=lambda load: (-load.mean, load.direction))


def window_edges(t: Floats, width: float) -> NDArray[np.intp]:
    """Indices of samples that cut `t` into windows of at least `width` seconds; at least one window."""
    edges = [0]
    for i, at in enumerate(t):
        if at - t[edges[-1]] >= width - 1e-9:
            edges.append(i)
    if len(edges) == 1:
        edges.append(len(t) - 1)
    return np.asarray(edges, dtype=np.intp)


def window_width(t: Floats) -> float:
    """Windows that make a readable line of this series: a quarter of a second, wider for long runs."""
    return max(PEAK_WINDOW, float(t[-1] - t[0]) / (MAX_POINTS - 1))
