"""Can this result be believed? VALID, SUSPECT or INVALID, with reasons (docs/reference/methods.md: the verdict).

Mininet-HiFi's idea (Handigol et al., CoNEXT 2012): an emulation's result counts only if the invariants
of the emulated hardware held. Seven invariants are checked, each by a module of scenarios/invariants;
the worst of them is the verdict. What should have been checked and could not be is SUSPECT.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from scenarios.verdict.invariants import calibration, emulator, headroom, ledger, link, lock, timers
from scenarios.verdict.invariants.evidence import Check, Evidence, Level, Reason, Sentinel
from traffic.runtime.reading import Records
from traffic.runtime.records import SENTINEL
from traffic.transports.udp.records import PacketsRecord, StreamRecord

EXIT_CODES = {Level.VALID: 0, Level.INVALID: 3, Level.SUSPECT: 4}
_CHECKS = (calibration.check, link.check, emulator.check, headroom.check, timers.check, ledger.check, lock.check)


@dataclass(frozen=True)
class Verdict:
    """The worst level, every reason for it (worst first), and what each invariant found."""

    level: Level
    reasons: tuple[Reason, ...]
    checked: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """0 VALID, 3 INVALID, 4 SUSPECT."""
        return EXIT_CODES[self.level]

    def as_json(self) -> dict[str, object]:
        """The content of verdict.json; what was not measured is null."""
        return {"verdict": self.level.name,
                "reasons": [_finite(asdict(r) | {"level": r.level.name}) for r in self.reasons],
                "checked": [{"number": c.number, "invariant": c.name, "level": c.level.name, "text": c.text,
                             "figures": _finite(c.figures)} for c in self.checked]}


def judge(evidence: Evidence) -> Verdict:
    """All seven invariants on the evidence."""
    checked = tuple(check(evidence) for check in _CHECKS)
    reasons = sorted((r for c in checked for r in c.reasons), key=lambda r: -r.level)
    return Verdict(max(c.level for c in checked), tuple(reasons), checked)


def lab_ended(how: str) -> Verdict:
    """Of a run whose network ended before it did; nothing else of it is judged."""
    reason = Reason(emulator.NAME, Level.INVALID, f"the lab ended during the run: {how}")
    return Verdict(Level.INVALID, (reason,), (Check(emulator.NUMBER, reason.text, (reason,)),))


def _finite(values: Mapping[str, object]) -> dict[str, object]:
    """JSON has no NaN and no infinity."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def sentinels(records: Records, workload: str = SENTINEL) -> tuple[Sentinel, ...]:
    """The sentinel streams among a run's records, with their packets."""
    streams = {r.stream: r for r in records[StreamRecord] if r.workload == workload}
    sent: dict[str, list[float]] = {}
    delay: dict[str, list[float]] = {}
    for r in records[PacketsRecord]:
        if r.workload == workload:
            sent.setdefault(r.stream, []).extend(r.t)
            delay.setdefault(r.stream, []).extend(math.nan if d is None else d for d in r.delay)
    return tuple(Sentinel(f"{r.src}->{r.dst}", np.array(sent.get(name, []), float),
                          np.array(delay.get(name, []), float), r.latency_invalid)
                 for name, r in streams.items())
