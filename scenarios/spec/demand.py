"""What a phase asks of the machine, against what it carries without its own work showing in the results. Pure.

Jobs ask for what saturates their busiest port; requests and serving for their mean (traffic/workloads/kinds).
"""

from __future__ import annotations

import os
from collections.abc import Collection

from topologies.model.fabric import Fabric
from topologies.model.units import show_rate
from traffic.workloads.kinds.kind import Built

PER_PROCESSOR = 40e6    # bit/s of TCP over three switches that a processor carries with headroom. Measured on two:
#                         rings of 8 hosts at 10 Mbit/s, 16 at 5, 32 at 2.5 leave a quarter of them idle (README)
SLACK = 1.05


def carried(processors: int | None = None) -> float:
    """bit/s that a machine carries; of this one where nothing is said."""
    return PER_PROCESSOR * (processors or len(os.sched_getaffinity(0)))


def demand(traffic: Collection[Built], fabric: Fabric, seconds: float) -> float:
    """bit/s between hosts while all of a phase runs, which takes so many seconds; no more than its hosts can send."""
    asked = sum(built.demand(fabric, seconds) for built in traffic)
    return min(asked, sum(fabric.access_link(h.name).rate for h in fabric.all_hosts if h.role != "probe"))


def warning(phase: str, asked: float, processors: int | None = None) -> str:
    """What to expect of a phase that asks for too much; '' of one that does not."""
    count = processors or len(os.sched_getaffinity(0))
    if asked <= SLACK * carried(count):
        return ""
    return (f"warning: phase {phase} asks for {show_rate(asked)} between hosts, and {count} processor"
            f"{'s' * (count > 1)} carry some {show_rate(carried(count))} with headroom: expect SUSPECT or INVALID; "
            "lower the rates, take fewer hosts or more processors")
