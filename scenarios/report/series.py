"""Counters of wires as arrays: how loaded each direction was, and what its queue dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
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


@dataclass(frozen=True)
class WireSeries:
    """Cumulative counters, (samples, directions): bytes, drops; and backlog as sampled."""

    directions: tuple[str, ...]
    rates: Floats
    queues: Floats
    t: Floats
    sent: Floats
    drops: Floats
    backlog: Floats

    @property
    def usable(self) -> bool:
        """Two samples make a rate."""
        return len(self.t) > 1

    def share(self, width: float) -> tuple[Floats, Floats]:
        """Middle of each window of at least `width` seconds, and (windows, directions) share of the rate used."""
        edges = window_edges(self.t, width)
        spans = np.diff(self.t[edges])
        used = np.diff(self.sent[edges], axis=0) * 8 / spans[:, None] / self.rates
        return self.t[edges[:-1]] + spans / 2, used

    def active(self) -> tuple[int, int]:
        """First and last sample of the time with traffic, pauses included; all samples if there was none."""
        edges = window_edges(self.t, PEAK_WINDOW)
        busy = np.flatnonzero(np.max(self.share(PEAK_WINDOW)[1], axis=1) >= QUIET)
        return (int(edges[busy[0]]), int(edges[busy[-1] + 1])) if len(busy) else (0, len(self.t) - 1)

    def loads(self) -> list[Load]:
        """Every direction, the busiest (mean) first. The mean is over the time with traffic."""
        if not self.usable:
            return []
        first, last = self.active()
        mean = (self.sent[last] - self.sent[first]) * 8 / (self.t[last] - self.t[first]) / self.rates
        peak = np.max(self.share(PEAK_WINDOW)[1], axis=0)
        found = [Load(d, float(self.rates[i]), float(self.queues[i]), float(mean[i]), float(peak[i]),
                      int(self.drops[-1, i] - self.drops[0, i]), float(np.max(self.backlog[:, i])))
                 for i, d in enumerate(self.directions)]
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


def wire_series(lines: Iterable[Mapping[str, Any]]) -> WireSeries | None:
    """The sampler's wires; None without a header, as when the sampler never started."""
    header: Mapping[str, Any] | None = None
    times: list[float] = []
    values: list[list[list[float]]] = []
    for line in lines:
        if line.get("kind") == "header":
            header = line
        elif line.get("kind") == "wires":
            times.append(line["t"])
            values.append(line["v"])
    if header is None:
        return None
    v = np.asarray(values, dtype=float).reshape(len(times), len(header["directions"]), 4)
    return WireSeries(
        tuple(header["directions"]), np.asarray(header["rates"], dtype=float),
        np.asarray(header["queues"], dtype=float), np.asarray(times, dtype=float), v[..., 0], v[..., 2], v[..., 3])
