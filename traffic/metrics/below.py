"""Which classes of transfers are too small to mean anything at this scale, and why.

A class is the transfers of one collective, all requests, or all responses of a workload. One whose
median has under 10 packets, or takes under 5 idle RTTs on the wire, is below scale: its bandwidth is
not reported and designs are not compared on it.

Source: docs/reference/methods.md: scale; the rule itself is topologies.model.scale.below_scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from topologies.model.fabric import Fabric
from topologies.model.scale import below_scale
from traffic.collectives import schedule
from traffic.metrics.collective import slowest_rate
from traffic.transports.registry import transport
from traffic.workloads.workload import Collective, Transfer, Workload


def classes_below_scale(workload: Workload, fabric: Fabric, idle_rtt: float = 0.0) -> dict[str, str]:
    """Class ('c1-all_to_all', 'requests', 'responses') -> why it is below scale; the others are left out.

    idle_rtt: seconds, as calibrated; at 0 only packets are counted. The rate is that of the slowest
    access link in the workload.
    """
    rate = slowest_rate(workload.hosts, fabric)
    payload = transport(workload.transport).overhead.payload(fabric.spec.mtu)
    reasons = {name: below_scale(median(sizes), rate, idle_rtt, payload) for name, sizes in _classes(workload) if sizes}
    return {name: why for name, why in reasons.items() if why}


def _classes(workload: Workload) -> Iterator[tuple[str, list[int]]]:
    """Name of each class and the sizes of its transfers, empty ones left out."""
    transfers = [op for op in workload.ops if isinstance(op, Transfer) and op.size]
    yield "requests", [op.size for op in transfers if not op.reply]
    yield "responses", [op.size for op in transfers if op.reply]
    for op in workload.ops:
        if isinstance(op, Collective):
            yield op.id, [move.size for move in schedule(op) if move.size]
