"""Invariant 2: a wire whose queue is not empty sends at its rate.

    window   the queue non-empty at every sample; 250 ms, or 200 full frames' time on slow links, to the
             nearest sample
    ratio    8 x bytes sent / (rate x length of the window)
    slack    (2 x frame + rate / 8 x (took0 + took1) / 2) / (rate / 8 x length)

    proof    bytes sent < sum over its samples of min(bytes waiting, rate / 8 x time to the next sample)

Non-empty at every sample is not non-empty in between: a sender that fills and empties its queue in turn,
at about the pace of the samples, sends less than the rate and does nothing wrong. A window below its limit
therefore counts only by proof: what waited at a sample and had the time to go must have gone; or in a run of 40 or
more samples that all found packets, if that is no accident: had the queue been empty while the wire did not send, so
many samples in a row would have missed it somewhere in the series with a chance below 0.1 %. Otherwise it is
doubtful, and set aside.

    chance   samples of the series x empty x (1 - empty) ^ samples of the run     empty = share that was not sent

Slack is what the reading itself cannot know: one frame at each edge may just have gone or not, and
the counter was read somewhere within `took`. Slow readings get longer windows. A window is outside if its
ratio is below 0.97 - slack or above 1.02 + slack; it is low below 0.90 - slack.

    SUSPECT   more than 1 % of all windows outside; or of one direction's, if two or more; or a low one
    INVALID   more than 2 % (and two or more; three of one direction); or one below 0.80 - slack

docs/decisions/010-link-windows.md says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from scenarios.verdict.invariants.evidence import Check, Evidence, Fault, Level, Reason, plural, unchecked
from traffic.runtime.counters import Counters

NUMBER, NAME = 2, "link"
WINDOW = 0.25               # s
WINDOW_FRAMES = 200         # one frame is then half a percent
LOW, HIGH = 0.97, 1.02
FLOOR, HARD_FLOOR = 0.90, 0.80      # twice as far below the rate
OUTSIDE, TWICE_OUTSIDE = 0.01, 0.02
READING = 0.01              # of a window: a reading that took longer says nothing about it
LONGEST = 2                 # times the length, of windows between slow readings
COMPANY = 40                # samples: more than two cycles that beat with each other keep in step
CHANCE = 1e-3               # of so many samples without an empty one
UNUSABLE = 0.10             # of the windows may be lost to late samples before the check counts as not made


class Window(NamedTuple):
    """One direction between two samples; ratio and slack as above."""

    direction: str
    start: float
    end: float
    ratio: float
    slack: float
    owed: float         # bytes that had to go / bytes that could go, at most 1
    company: int        # samples in a row, of which those of the window are some, that found packets
    chance: float       # that so many in a row, anywhere, miss a queue that is empty while the wire does not send

    @property
    def doubtful(self) -> bool:
        """Below its limit, but the queue may have been empty for the difference."""
        proven = self.ratio < LOW * self.owed - self.slack
        in_company = self.company >= COMPANY and self.chance < CHANCE
        return self.ratio < LOW - self.slack and not proven and not in_company

    @property
    def outside(self) -> bool:
        return not LOW - self.slack <= self.ratio <= HIGH + self.slack


def windows(counters: Counters, faults: Sequence[Fault]) -> tuple[list[Window], int]:
    """All windows of a run that could be judged, and the number of those lost to the sampler's own lateness.

    Doubtful windows are in neither.
    """
    found: list[Window] = []
    unusable = 0
    for d in np.flatnonzero((counters.backlog > 0).sum(axis=0) >= 2):
        events = [f for f in faults if counters.directions[d] in f.directions]
        for start, end, clean in _spans(counters, int(d), events):
            t0, t1 = counters.t[start], counters.t[end]
            if any(f.overlaps(t0, t1) for f in events):
                continue
            window = _window(counters, int(d), start, end, events)
            if window.doubtful:
                continue
            if (np.diff(counters.bytes[start:end + 1, d]) < 0).any():
                unusable += 1       # a counter that went backwards is no measurement
            elif clean and counters.took[start] + counters.took[end] <= 2 * READING * (t1 - t0):
                found.append(window)
            else:
                unusable += 1
    return found, unusable


def _rate(counters: Counters, d: int, events: Sequence[Fault], at: float) -> float:
    """bit/s of a direction: the spec's, or that of the last declared change."""
    changes = [f for f in events if f.rate is not None and f.end <= at]
    last = max(changes, key=lambda f: f.end).rate if changes else None
    return float(counters.rates[d]) if last is None else last


def _spans(counters: Counters, d: int, events: Sequence[Fault]) -> Iterator[tuple[int, int, bool]]:
    """First and last sample of each window of one direction, and whether no sample in it was late."""
    waiting, t = counters.backlog[:, d] > 0, counters.t
    on_time = counters.late <= counters.period
    on_time[1:] &= np.diff(t) <= 2.5 * counters.period
    start: int | None = None
    clean = True
    for i in range(len(t)):
        if not waiting[i]:
            start = None
        elif start is None or any(t[start] <= f.end < t[i] for f in events):    # a window has one rate
            start, clean = i, True
        else:
            clean &= bool(on_time[i])
            if t[i] - t[start] >= _length(counters, d, _rate(counters, d, events, t[start]), counters.took[[start, i]]):
                yield start, i, clean
                start, clean = i, True


def _length(counters: Counters, d: int, rate: float, took: npt.NDArray[np.float64]) -> float:
    """Seconds between the samples of a window of direction d that sends at `rate`; took: reading the two at its ends.

    A reading that took so long that no window of LONGEST could bear it makes none longer: it spoils its window.
    """
    length = max(WINDOW, WINDOW_FRAMES * float(counters.frames[d]) * 8 / rate) - counters.period / 2
    read = float(took.sum()) / (2 * READING)
    return max(length, read) if read <= LONGEST * length else length


def _window(counters: Counters, d: int, start: int, end: int, events: Sequence[Fault]) -> Window:
    t0, t1 = float(counters.t[start]), float(counters.t[end])
    rate = _rate(counters, d, events, t0)
    could = rate / 8 * (t1 - t0)
    sent = float(counters.bytes[end, d] - counters.bytes[start, d])
    took = float(counters.took[start] + counters.took[end])
    slack = (2 * float(counters.frames[d]) + rate / 8 * took / 2) / could
    waited = counters.backlog[start:end, d]
    owed = float(np.minimum(waited, rate / 8 * np.diff(counters.t[start:end + 1])).sum())
    first, last = _company(counters, d, start, events)
    went = float(counters.bytes[last, d] - counters.bytes[first, d])
    busy = went / (rate / 8 * float(counters.t[last] - counters.t[first]))
    count = last - first + 1
    chance = len(counters.t) * (1 - busy) * busy ** count if busy < 1 else 1.0
    return Window(counters.directions[d], t0, t1, sent / could, slack, owed / could, count, min(chance, 1.0))


def _company(counters: Counters, d: int, at: int, events: Sequence[Fault]) -> tuple[int, int]:
    """First and last sample of those in a row that all found packets, with no event among them; `at` is one of them."""
    empty = np.flatnonzero(counters.backlog[:, d] == 0)
    before, after = empty[empty < at], empty[empty > at]
    first, last = int(before[-1] + 1 if len(before) else 0), int(after[0] - 1 if len(after) else len(counters.t) - 1)
    for f in events:
        if f.end <= counters.t[at]:
            first = max(first, int(np.searchsorted(counters.t, f.end)))
        else:
            last = min(last, int(np.searchsorted(counters.t, f.start)) - 1)
    return first, max(last, at + 1)


def check(evidence: Evidence) -> Check:
    """Every direction's windows against its rate."""
    counters = evidence.counters
    if counters is None or not len(counters.t):
        return unchecked(NUMBER, "the wires were not sampled")
    found, unusable = windows(counters, evidence.faults)
    reasons = (*_coverage(evidence, counters), *_backwards(counters), *_share(found), *_low(found),
               *_lost(len(found), unusable))
    if not found:
        return Check(NUMBER, "no queue held packets for a whole window: no wire was ever the limit", reasons,
                     {"windows": 0, "unusable": unusable})
    outside = sum(w.outside for w in found)
    lowest = min(found, key=lambda w: w.ratio)
    text = (f"{plural(len(found), 'window')} with packets waiting: {outside} outside {LOW:.0%} to {HIGH:.0%} of the "
            f"rate ({outside / len(found):.1%}, limit {OUTSIDE:.0%}); the lowest {lowest.ratio:.1%}, on "
            f"{lowest.direction} at {lowest.start:.2f} s (limit {FLOOR:.0%})")
    return Check(NUMBER, text, reasons, {"windows": len(found), "unusable": unusable, "outside": outside,
                                         "lowest": lowest.ratio, "highest": max(w.ratio for w in found)})


def _coverage(evidence: Evidence, counters: Counters) -> Iterator[Reason]:
    """Samples from before the first phase until after the last, without a hole."""
    edge = 2 * counters.period
    for phase in evidence.phases:
        if counters.t[0] > phase.start + edge or counters.t[-1] < phase.end - edge:
            yield Reason(NAME, Level.SUSPECT, f"the wires were sampled from {counters.t[0]:.2f} s to "
                         f"{counters.t[-1]:.2f} s only; phase {phase.name} ran from {phase.start:.2f} s to "
                         f"{phase.end:.2f} s")


def _backwards(counters: Counters) -> Iterator[Reason]:
    """Sent bytes that became fewer: somebody replaced the queue, so what it sent around then is not known."""
    for d in np.flatnonzero((np.diff(counters.bytes, axis=0) < 0).any(axis=0)):
        at = float(counters.t[int(np.flatnonzero(np.diff(counters.bytes[:, d]) < 0)[0]) + 1])
        where = counters.directions[d]
        yield Reason(NAME, Level.SUSPECT, f"the count of bytes sent on {where} went backwards at {at:.2f} s: not "
                     "measured there", None, None, where, at)


def _lost(judged: int, unusable: int) -> Iterator[Reason]:
    share = unusable / max(judged + unusable, 1)
    if share > UNUSABLE:
        yield Reason(NAME, Level.SUSPECT, f"{unusable} of {judged + unusable} windows could not be judged because the "
                     f"sampler itself was late in them; the limit is {UNUSABLE:.0%}", share, UNUSABLE)


def _share(found: Sequence[Window]) -> Iterator[Reason]:
    """Too many windows outside: of the run, or of one direction that the others would hide."""
    directions = dict.fromkeys(w.direction for w in found)
    groups = [("all directions", found, 1)]
    groups += [(d, [w for w in found if w.direction == d], 2) for d in directions]
    for where, group, least in groups:
        outside = [w for w in group if w.outside]
        level = _level(len(outside), len(group), least)
        if level:
            worst = max(outside, key=lambda w: abs(w.ratio - 1))
            yield Reason(NAME, level, f"{where}: {len(outside)} of {plural(len(group), 'window')} with packets waiting "
                         f"were outside {LOW:.0%} to {HIGH:.0%} of the rate; the limit is {OUTSIDE:.0%} of them (the "
                         f"worst: {worst.direction} sent {worst.ratio:.1%} at {worst.start:.2f} s)",
                         len(outside) / len(group), OUTSIDE, where, worst.start)


def _level(outside: int, total: int, least: int) -> Level:
    if outside > least and outside > TWICE_OUTSIDE * total:
        return Level.INVALID
    return Level.SUSPECT if outside >= least and outside > OUTSIDE * total else Level.VALID


def _low(found: Sequence[Window]) -> Iterator[Reason]:
    """The lowest window of each direction, if it is below the floor."""
    lowest: dict[str, Window] = {}
    for w in found:
        if w.direction not in lowest or w.ratio + w.slack < lowest[w.direction].ratio + lowest[w.direction].slack:
            lowest[w.direction] = w
    for w in lowest.values():
        reached = w.ratio + w.slack
        if reached < FLOOR:
            yield Reason(NAME, Level.INVALID if reached < HARD_FLOOR else Level.SUSPECT,
                         f"the wire {w.direction} sent {w.ratio:.1%} of its rate with packets waiting at "
                         f"{w.start:.2f} s; the limit is {FLOOR:.0%}", w.ratio, FLOOR, w.direction, w.start)
