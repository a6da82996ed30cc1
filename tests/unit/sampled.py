"""Counters for tests: what each direction sent, had waiting and dropped; the rest is that of an idle machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from traffic.runtime.counters import Counters

Numbers = npt.ArrayLike


def sampled(directions: tuple[str, ...], t: Numbers, sent: Numbers | None = None, backlog: Numbers | None = None,
            drops: Numbers | None = None) -> Counters:
    """n samples at t (n,) s of links of 10 Mbit/s; sent, backlog and drops (n, d), 0 where they are left out."""
    times, links = np.asarray(t, float), np.ones(len(directions))
    nothing = np.zeros((len(times), len(directions)), np.int64)
    counts = [nothing if x is None else np.asarray(x, np.int64) for x in (sent, backlog, drops)]
    return Counters(period=0.05, directions=directions, rates=1e7 * links, queues=60_000 * links, frames=1514 * links,
                    switches=(), t=times, took=0 * times, late=0 * times, bytes=counts[0], backlog=counts[1],
                    drops=counts[2], cpu=())
