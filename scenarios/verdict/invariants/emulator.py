"""Invariant 3: the emulator itself lost nothing, outside of declared faults. Any loss is INVALID.

Sources: what switches and kernel backlogs had no room for, whatever the run counted before and
after; the ledger's emulator drops and receive-buffer errors; and the sentinels, whose class on the
wires is never congested, so that a lost one is a loss of the emulator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from scenarios.verdict.invariants.evidence import Check, Count, Evidence, Level, Reason, plural

NUMBER, NAME = 3, "no emulator loss"
IN_FLIGHT = 0.1     # s: a packet sent so long before a fault may still have met it


def check(evidence: Evidence) -> Check:
    """Every counter of the emulator, and the sentinels' own losses."""
    ledger = evidence.ledger or {}
    reasons = (*_counters(evidence.emulator), *_named(ledger.get("emulator_drops", {}), "dropped by the emulator"),
               *_named(ledger.get("receive_errors", {}), "lost to a full receive buffer"), *_sentinels(evidence))
    lost = sum(r.measured or 0 for r in reasons)
    text = (f"{plural(len(evidence.emulator or ()), 'counter')} of the emulator and "
            f"{plural(len(evidence.sentinels), 'sentinel stream')}: {lost:g} packets lost (limit 0)")
    return Check(NUMBER, text, reasons, {"lost": lost})


def _loss(where: str, lost: int, how: str) -> Reason:
    return Reason(NAME, Level.INVALID, f"{where}: {plural(lost, 'packet')} {how}; the limit is 0", lost, 0, where)


def _counters(counters: Mapping[str, Count] | None) -> Iterator[Reason]:
    if not counters:
        yield Reason(NAME, Level.SUSPECT, "the emulator's own loss counters were not read")
    for where, count in (counters or {}).items():
        if count.after is None or count.after < count.before:
            found = "could not be read" if count.after is None else "went backwards"
            yield Reason(NAME, Level.SUSPECT, f"{where}: the counter {found} at the end of the run", None, 0, where)
            continue
        lost = count.after - count.before - count.in_faults
        if lost:
            yield _loss(where, lost, "lost by the emulator")


def _named(losses: Mapping[str, int], how: str) -> Iterator[Reason]:
    for where, lost in losses.items():
        if lost:
            yield _loss(where, lost, how)


def _sentinels(evidence: Evidence) -> Iterator[Reason]:
    for s in evidence.sentinels:
        missing = np.isnan(s.delay)
        for fault in evidence.faults:
            missing &= ~((s.sent >= fault.start - IN_FLIGHT) & (s.sent <= fault.end))
        lost = int(missing.sum())
        if lost:
            yield _loss(f"sentinel {s.where}", lost, "of a class that is never congested lost (the first sent at "
                        f"{s.sent[missing][0]:.2f} s)")
