"""Invariant 5: who makes the traffic kept its own time.

    p99 timer lateness <= max(1 ms, 5 % of the headline metric's p50)      beyond SUSPECT, beyond twice INVALID
    p99 replay lag <= max(5 ms, 1 % of the median E2EL)           beyond SUSPECT; of serving workloads
"""

from __future__ import annotations

from collections.abc import Iterator

from scenarios.verdict.invariants.evidence import Check, Evidence, Level, Reason, over

NUMBER, NAME = 5, "timers"
FLOOR, SHARE = 1e-3, 0.05
LAG_FLOOR, LAG_SHARE = 5e-3, 0.01       # docs/reference/methods.md: the verdict


def limit_of(headline_p50: float | None) -> float:
    """Seconds; a headline that is no time leaves the floor."""
    return max(FLOOR, SHARE * (headline_p50 or 0.0))


def check(evidence: Evidence) -> Check:
    """The timer lateness of every process that kept the traffic's time."""
    limit = limit_of(evidence.headline_p50)
    reasons = tuple(_reasons(evidence, limit))
    if not evidence.timers and not evidence.lateness_p99:
        return Check(NUMBER, "no process kept the traffic's time", reasons)
    worst = max(evidence.lateness_p99.values(), default=float("nan"))
    said = ", ".join(f"{name} {lateness * 1e3:.2f} ms" for name,
                     lateness in evidence.lateness_p99.items()) or "not measured"
    return Check(NUMBER, f"p99 timer lateness: {said} (limit {limit * 1e3:.2f} ms)", reasons,
                 {"lateness_p99_s": worst, "limit_s": limit})


def _reasons(evidence: Evidence, limit: float) -> Iterator[Reason]:
    for name in evidence.timers:
        if name not in evidence.lateness_p99:
            yield Reason(NAME, Level.SUSPECT, f"the timers of {name} were not measured", None, limit, name)
    for name, lateness in evidence.lateness_p99.items():
        if level := over(lateness, limit):
            yield Reason(NAME, level, f"timers of {name} ran late by {lateness * 1e3:.2f} ms (p99); the limit is "
                         f"{limit * 1e3:.2f} ms", lateness, limit, name)
    for workload, (lag, e2el) in evidence.replay_lag.items():
        most = max(LAG_FLOOR, LAG_SHARE * e2el)
        if level := over(lag, most, twice=float("inf")):
            yield Reason(NAME, level, f"the requests of {workload} left {lag * 1e3:.1f} ms late (p99); the limit is "
                         f"{most * 1e3:.1f} ms", lag, most, workload)
