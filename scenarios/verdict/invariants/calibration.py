"""Invariant 1: each wire has the rate of its spec, each path its round-trip time, before the run and after it.

    |measured / spec - 1|  <= 3 %                     beyond SUSPECT, beyond 6 % INVALID
    |RTT - expected|       <= max(10 %, 0.3 ms)       beyond SUSPECT, beyond twice INVALID

The audit reads the settings back after the run: any difference from the spec is at least SUSPECT
(the wire was not what the report says it was), beyond 6 % or missing it is INVALID.
"""

from __future__ import annotations

from collections.abc import Iterator

from scenarios.verdict.invariants.evidence import Check, Evidence, Level, Reason, over, plural
from topologies.proof.calibrate import RATE_LIMIT, Calibration, RateCheck, RttCheck
from topologies.proof.findings import Finding

NUMBER, NAME = 1, "calibration"


def check(evidence: Evidence) -> Check:
    """Rates, round trips and the settings read back."""
    calibration = evidence.calibration or Calibration((), (), full=False)
    reasons = (*_rates(calibration.rates), *_rtts(calibration.rtts), *_missing(evidence, calibration),
               *_audit(evidence.audit))
    worst_rate = max((abs(r.error) for r in calibration.rates), default=float("nan"))
    worst_rtt = max((abs(r.measured - r.expected) for r in calibration.rtts), default=float("nan"))
    text = "; ".join((
        f"{plural(len(calibration.rates), 'direction')} measured"
        + (f", the worst {worst_rate:.1%} off its rate (limit {RATE_LIMIT:.0%})" if calibration.rates else ""),
        f"{plural(len(calibration.rtts), 'round trip')} measured"
        + (f", the worst {worst_rtt * 1e3:.2f} ms off" if calibration.rtts else ""),
        f"settings {'not ' if evidence.audit is None else ''}read back after the run"))
    return Check(NUMBER, text, reasons, {"worst_rate_error": worst_rate, "worst_rtt_error_s": worst_rtt})


def _rates(rates: tuple[RateCheck, ...]) -> Iterator[Reason]:
    for r in rates:
        level = over(abs(r.error), RATE_LIMIT)
        if level:
            yield Reason(NAME, level, f"the wire {r.direction} was calibrated at {r.measured / 1e6:.3g} Mbit/s, "
                         f"{abs(r.error):.1%} {'over' if r.error > 0 else 'under'} its {r.spec / 1e6:.3g}; "
                         f"the limit is {RATE_LIMIT:.0%}", abs(r.error), RATE_LIMIT, r.direction)


def _rtts(rtts: tuple[RttCheck, ...]) -> Iterator[Reason]:
    for r in rtts:
        limit = r.limit
        error = abs(r.measured - r.expected)
        level = over(error, limit)
        if level:
            yield Reason(NAME, level, f"the round trip {r.src} - {r.dst} took {r.measured * 1e3:.2f} ms where "
                         f"{r.expected * 1e3:.2f} ms were expected; the limit is {limit * 1e3:.2f} ms off",
                         error, limit, f"{r.src}-{r.dst}")


def _missing(evidence: Evidence, calibration: Calibration) -> Iterator[Reason]:
    """What the calibration left out."""
    measured = {r.direction for r in calibration.rates}
    known = evidence.counters.directions if evidence.counters else tuple(measured)
    missing = [d for d in known if d not in measured]
    if missing or not measured:
        yield Reason(NAME, Level.SUSPECT, f"{len(missing)} of {len(known)} directions were not calibrated"
                     + (f": {', '.join(missing[:5])}" if missing else ""))
    if not calibration.rtts:
        yield Reason(NAME, Level.SUSPECT, "no round trip was calibrated: it takes probe hosts on two leaves")
    if evidence.audit is None:
        yield Reason(NAME, Level.SUSPECT, "the wires' settings were not read back after the run")


def _with_unit(value: float, unit: str) -> str:
    return f"{value:g} {unit}".rstrip()


def _audit(findings: tuple[Finding, ...] | None) -> Iterator[Reason]:
    for f in findings or ():
        if f.found is None:
            yield Reason(NAME, Level.INVALID, f"{f.where} has no {f.what} any more; its spec says "
                         f"{_with_unit(f.expected, f.unit)}", None, f.expected, f.where)
            continue
        error = abs(f.found / f.expected - 1) if f.expected else float("inf")
        level = max(Level.SUSPECT, over(error, RATE_LIMIT))
        yield Reason(NAME, level, f"the {f.what} of {f.where} is {_with_unit(f.found, f.unit)}, which differs "
                     f"from the spec: {_with_unit(f.expected, f.unit)}", f.found, f.expected, f.where)
