"""Replicas on several hosts: which part of their steps the fabric takes, and how that compares with an idle network.

    start ─ compute ─ exchange ─ compute ─ exchange ─ (activations ─ wait for the stage ─ compute ...) ─ end

The time of a step is compute + exchange + waiting for a stage. What the exchange takes on an idle network is
arithmetic on the tokens of that very step (traffic/inference/parallel.py), so the ratio is what contention and
collisions cost. Below 10 packets a message the share and ITL's part are not reported; the ratio is not reported below
100 packets in a row, of which a link that was idle lets up to four pass at once (decisions 003 and 009).

Source: docs/reference/methods.md: serving.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from topologies.model.scale import MIN_PACKETS
from traffic.inference.records import StepRecord
from traffic.metrics.metric import Definition, Metric
from traffic.transports.tcp import TCP

SOURCE = "docs/reference/methods.md: serving"
SEGMENT = TCP.overhead.payload()    # bytes, at an MTU of 1500
LONG = 100      # packets, as of a KV transfer whose rate is reported

STEP = Definition("replica_step", "s", "step of a replica (median)", "median of end - start, over its hosts", SOURCE)
SHARE = Definition("fabric_share", "", "share of the steps that the fabric takes",
                   "sum over steps of seconds that workers exchanged / sum of (end - start)", SOURCE)
SLOWDOWN = Definition("communication_slowdown", "", "communication slowdown against an idle network",
                      "sum over steps of seconds that workers exchanged / sum of what an idle network takes for the "
                      "same tokens; reported where a worker sends 100 packets in a row", SOURCE)
ITL_FABRIC = Definition("itl_fabric", "s", "inter-token latency: the fabric's part (median)",
                        "median, over steps that decode, of seconds that workers exchanged", SOURCE)
WAIT = Definition("stage_wait", "", "share of the steps that waits for a pipeline stage",
                  "sum over steps of seconds that a step waited for a stage / sum of (end - start)", SOURCE)


def metrics(steps: Sequence[StepRecord]) -> Iterator[Metric]:
    """Metrics of one workload in one phase, from its serving-step records."""
    if not steps:
        return
    yield STEP.median([s.end - s.start for s in steps])
    seconds = sum(s.end - s.start for s in steps)
    fabric = sum(s.fabric for s in steps)
    if _above_scale(steps):
        yield SHARE.of(fabric / seconds, len(steps))
    idle = sum(s.idle for s in steps)
    if idle > 0 and median(s.train for s in steps) >= LONG * SEGMENT:
        yield SLOWDOWN.of(fabric / idle, len(steps))
    decoding = [s for s in steps if s.decoding]
    if decoding and _above_scale(decoding):
        yield ITL_FABRIC.median([s.fabric for s in decoding])
    if any(s.batch for s in steps):
        yield WAIT.of(sum(s.waited for s in steps) / seconds, len(steps))


def _above_scale(steps: Sequence[StepRecord]) -> bool:
    return bool(median(s.part for s in steps) >= MIN_PACKETS * SEGMENT)
