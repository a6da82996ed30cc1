"""How queue pairs of RoCEv2 fared: what was delivered, and what going back N packets cost.

Loss, latency and reordering of single packets are those of `packets`, over all transmissions.
"""

from __future__ import annotations

from collections.abc import Sequence

from traffic.metrics.metric import Definition, Metric
from traffic.runtime.records import reached
from traffic.transports.rocev2.records import RoceRecord
from traffic.transports.udp.records import StreamRecord

IBTA = "InfiniBand Architecture Specification, volume 1, 9.7 and 9.9"
GOODPUT = Definition("rdma_goodput", "bit/s", "payload delivered, all queue pairs together",
                     "8 x bytes delivered (rc: in order; uc: of whole messages) / (last delivery - first sending)",
                     IBTA)
RETRANSMITTED = Definition("retransmitted", "", "share of packets sent that were sent again",
                           "(packets sent - different packets sent) / packets sent", IBTA)
DISCARDED = Definition("discarded", "", "share of packets received that the receiver had to drop",
                       "packets with a PSN above the expected one (uc: of messages that did not come whole and in "
                       "order) / packets received", IBTA)
NAKS = Definition("naks", "packets", "NAKs for a PSN out of order", "sum over queue pairs", IBTA)
TIMEOUTS = Definition("retransmission_timeouts", "", "retransmission time-outs",
                      "sum over queue pairs", IBTA)
FAILED = Definition("queue_pairs_failed", "", "queue pairs whose retries were exceeded",
                    "queue pairs that ended after 8 time-outs in a row without progress", IBTA)


def metrics(records: Sequence[RoceRecord], streams: Sequence[StreamRecord]) -> list[Metric]:
    """Of the records of one workload and phase."""
    ran = [r for r in records if r.start is not None]
    if not ran:
        return []
    n, sent = len(ran), sum(r.sent for r in ran)
    received = sum(s.received for s in streams)
    found = []
    ends = [r.end for r in ran if r.end is not None]
    if not ends:
        found.append(GOODPUT.of(0.0, n))
    elif (seconds := max(ends) - min(reached(r.start) for r in ran)) > 0:
        found.append(GOODPUT.of(8 * sum(r.bytes for r in ran) / seconds, n))
    if received:
        found.append(DISCARDED.of(sum(r.discarded for r in ran) / received, received))
    if all(r.service == "uc" for r in ran):
        return found
    found.append(RETRANSMITTED.of(sum(r.retransmitted for r in ran) / sent, sent))
    return [*found, NAKS.of(sum(r.naks for r in ran), n),
            TIMEOUTS.of(sum(r.retransmission_timeouts for r in ran), n),
            FAILED.of(sum(r.status == "retries exceeded" for r in ran), n)]
