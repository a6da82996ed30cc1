"""The evidence of a run without a flaw, and ways to spoil it: 20 s at 10 Mbit/s, three wires, one of them busy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from scenarios.verdict.invariants.evidence import Count, Evidence, Phase, Sentinel
from topologies.proof.calibrate import Calibration, RateCheck, RttCheck
from traffic.runtime.counters import Counters, Cpu

RATE, FRAME, PERIOD, SECONDS = 10e6, 1514, 0.05, 20
DEEP = 70_000   # bytes that wait: more than the rate carries from one sample to the next
DIRECTIONS = ("h1->leaf1", "leaf1->h3", "leaf1->spine1")
BUSY = 1        # leaf1->h3 never runs empty
SAMPLES = int(SECONDS / PERIOD) + 1


def counters(**changes: Any) -> Counters:
    """Exactly the rate on the busy wire, nothing on the others."""
    t = np.arange(SAMPLES) * PERIOD
    sent = np.zeros((SAMPLES, len(DIRECTIONS)), np.int64)
    sent[:, BUSY] = np.round(RATE / 8 * t)
    backlog = np.zeros_like(sent)
    backlog[:, BUSY] = DEEP
    waits, nice = {"leaf1": 0.1, "spine1": 0.1, "engine": 0.02}, {"leaf1": 0, "spine1": 0, "engine": 0}
    cpu = tuple(Cpu(t=float(s + 1), seconds=1.0, idle=0.5, steal=0.0, runq=waits, nice=nice) for s in range(SECONDS))
    whole = Counters(
        period=PERIOD, directions=DIRECTIONS, rates=np.full(len(DIRECTIONS), RATE),
        queues=np.full(len(DIRECTIONS), float(DEEP)), frames=np.full(len(DIRECTIONS), float(FRAME)),
        switches=("leaf1", "spine1"), t=t, took=np.full(SAMPLES, 0.001), late=np.zeros(SAMPLES), bytes=sent,
        drops=np.zeros_like(sent), backlog=backlog, cpu=cpu)
    return replace(whole, **changes)


def second(index: int, **changes: Any) -> Counters:
    """One second of the run otherwise."""
    whole = counters()
    cpu = list(whole.cpu)
    merged = {k: {**getattr(cpu[index], k), **v} if isinstance(v, dict) else v for k, v in changes.items()}
    cpu[index] = replace(cpu[index], **merged)
    return replace(whole, cpu=tuple(cpu))


def at_share(share: float, start: float, end: float, direction: int = BUSY) -> Counters:
    """The busy wire sends this share of its rate between two times."""
    whole = counters()
    rate = np.where((whole.t > start) & (whole.t <= end), share, 1.0) * RATE / 8 * PERIOD
    sent = whole.bytes.copy()
    sent[:, direction] = np.round(np.cumsum(rate))
    backlog = whole.backlog.copy()
    backlog[:, direction] = DEEP
    return replace(whole, bytes=sent, backlog=backlog)


def sentinel(p: float = 0.5e-3, count: int = SECONDS * 250) -> Sentinel:
    return Sentinel("probe1->probe2", np.arange(count) / 250, np.full(count, p))


def ledger(**changes: Any) -> dict[str, Any]:
    accounting = {"balances": True, "sent": 1000, "received": 990, "queue_drops": {"leaf1->h3": 10}, "policy_drops": {},
                  "emulator_drops": {}, "fault_losses": {}, "unexplained": {}, "receive_errors": {}, "in_queues": 0}
    return {**accounting, **changes}


def calibration(rate_error: float = 0.0, rtt_error: float = 0.0) -> Calibration:
    rates = tuple(RateCheck(d, RATE, RATE * (1 + (rate_error if d == DIRECTIONS[0] else 0))) for d in DIRECTIONS)
    return Calibration(rates, (RttCheck("probe1", "probe2", 0.001 + rtt_error, 0.001, 0.0005),), full=True)


def evidence(**changes: Any) -> Evidence:
    whole = Evidence(
        counters=counters(), calibration=calibration(), audit=(), emulator={"softnet backlog": Count(7, 7)},
        ledger=ledger(), lateness_p99={"engine": 0.2e-3}, headline_p50=2.0, sentinels=(sentinel(),), host_rate=RATE,
        host_frame=FRAME, phases=(Phase("main", 0.0, float(SECONDS)),), locked=True)
    return replace(whole, **changes)
