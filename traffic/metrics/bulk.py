"""Long TCP transfers: what they got of their links, and what it took."""

from __future__ import annotations

from collections.abc import Sequence

from topologies.model.fabric import Fabric
from traffic.metrics.metric import Definition, Metric
from traffic.runtime.records import IperfRecord
from traffic.transports.tcp import TCP

GOODPUT = Definition("goodput", "bit/s", "goodput of a bulk transfer (median)",
                     "median over transfers of 8 x payload bytes received / seconds", "iperf3, sum_received")
OF_LIMIT = Definition("goodput_of_limit", "", "goodput over the limit of its slower access link (median)",
                      "median of goodput / (rate x 1448/1514 at MTU 1500)",
                      "docs/reference/methods.md: limits to compare with")
RETRANSMITS = Definition("retransmits", "segments", "segments sent again",
                         "sum over transfers, by the sender's kernel", "iperf3, sum_sent")


def metrics(transfers: Sequence[IperfRecord], fabric: Fabric) -> list[Metric]:
    """Of the iperf records of one workload and phase; at least one."""
    return [GOODPUT.median([t.bits_per_second for t in transfers]),
            OF_LIMIT.median([t.bits_per_second / _limit(t, fabric) for t in transfers]),
            RETRANSMITS.of(sum(t.retransmits for t in transfers), len(transfers))]


def _limit(transfer: IperfRecord, fabric: Fabric) -> float:
    """Payload bit/s that the slower access link of the two hosts carries one way."""
    links = map(fabric.access_link, (transfer.src, transfer.dst))
    return min(TCP.overhead.bulk_limit(k.rate, k.mtu) for k in links)
