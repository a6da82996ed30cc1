"""What the verdict is given, and the form of what each invariant says about it.

Times are seconds since the run's t0, rates bit/s, sizes bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from topologies.proof.calibrate import Calibration
from topologies.proof.findings import Finding
from traffic.runtime.counters import Counters

NAMES = {1: "calibration", 2: "link", 3: "no emulator loss", 4: "headroom", 5: "timers", 6: "ledger", 7: "lock"}
ROUNDING = 1e-9     # a limit that is met exactly must not fail by the last bit of a float


Accounting = Mapping[str, Any]      # as in ledger.json


class Level(IntEnum):
    """Worse is more."""

    VALID = 0
    SUSPECT = 1
    INVALID = 2


@dataclass(frozen=True)
class Reason:
    """One thing that keeps a run from being VALID. `text` is a sentence with its numbers and its place.

    measured and limit are in the unit that the text uses; None where nothing could be measured.
    """

    invariant: str
    level: Level
    text: str
    measured: float | None = None
    limit: float | None = None
    where: str = ""
    when: float | None = None


@dataclass(frozen=True)
class Check:
    """What one invariant found: its figures also where all is well."""

    number: int
    text: str
    reasons: tuple[Reason, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return NAMES[self.number]

    @property
    def level(self) -> Level:
        return max((r.level for r in self.reasons), default=Level.VALID)


@dataclass(frozen=True)
class Phase:
    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Fault:
    """A declared event and its window, which holds what was in flight when it came.

    directions   whose links it changed
    nodes        switches that it took away
    rate         of its directions from `end` on, if it changed the rate
    """

    name: str
    start: float
    end: float
    directions: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    rate: float | None = None

    def overlaps(self, start: float, end: float) -> bool:
        return start <= self.end and end >= self.start


@dataclass(frozen=True)
class Late:
    """How late what owns switches and links did something in real time in one phase; p99 and most in s, most of all
    phases so far."""

    what: str       # 'frames to and from hosts'
    phase: str
    count: int
    p99: float
    most: float


@dataclass(frozen=True)
class Count:
    """An emulator counter before and after a run; in_faults: what it rose by inside declared faults."""

    before: int
    after: int | None
    in_faults: int = 0


@dataclass(frozen=True)
class Sentinel:
    """One sentinel stream: send times and one-way delays by kernel stamps, NaN where the packet was lost.

    invalid   why the delays mean nothing (the clock was set), or empty
    """

    where: str      # 'probe1->probe2'
    sent: npt.NDArray[np.float64]
    delay: npt.NDArray[np.float64]
    invalid: str = ""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything that a verdict rests on. None (or an empty tuple of sentinels) says: not measured.

    ledger        as in ledger.json
    emulator      counter -> its readings (softnet backlogs, port sockets ...)
    lateness_p99  process that keeps the traffic's time -> 99th percentile of its timers' lateness, s
    headline_p50  median of the metric that the run is about, s; None if it is no time
    host_rate, host_frame   access rate and full frame, for the sentinel's limit
    engines       watched processes that make or take traffic; () if none ran
    timers        those of them whose clock decides when traffic leaves: each must be in lateness_p99
    replay_lag    workload of open-loop requests -> (p99 of how late they left, median E2EL), s
    locked        False with --no-lock
    controller_ended    the controller was gone at the final packet accounting
    late                how late the fabric's own edge ran, where it is counted
    """

    counters: Counters | None
    calibration: Calibration | None
    audit: tuple[Finding, ...] | None
    emulator: Mapping[str, Count] | None
    ledger: Accounting | None
    lateness_p99: Mapping[str, float]
    headline_p50: float | None
    sentinels: tuple[Sentinel, ...]
    host_rate: float
    host_frame: int
    phases: tuple[Phase, ...]
    faults: tuple[Fault, ...] = ()
    engines: tuple[str, ...] = ("engine",)
    timers: tuple[str, ...] = ("engine",)
    replay_lag: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    locked: bool | None = None
    controller_ended: bool = False
    late: tuple[Late, ...] = ()


def over(value: float, limit: float, twice: float | None = None) -> Level:
    """VALID up to the limit, SUSPECT beyond it, INVALID beyond twice the limit. NaN was not measured: SUSPECT."""
    if math.isnan(value):
        return Level.SUSPECT
    if value > (2 * limit if twice is None else twice) * (1 + ROUNDING):
        return Level.INVALID
    return Level.SUSPECT if value > limit * (1 + ROUNDING) else Level.VALID


def under(value: float, limit: float, half: float) -> Level:
    """VALID down to the limit, SUSPECT below it, INVALID below `half`."""
    if math.isnan(value):
        return Level.SUSPECT
    if value < half * (1 - ROUNDING):
        return Level.INVALID
    return Level.SUSPECT if value < limit * (1 - ROUNDING) else Level.VALID


def unchecked(number: int, what: str) -> Check:
    """What should have been checked and could not be: SUSPECT, never silently VALID."""
    text = f"{NAMES[number]} was not checked: {what}"
    return Check(number, f"not checked: {what}", (Reason(NAMES[number], Level.SUSPECT, text),))


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
