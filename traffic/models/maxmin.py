"""Max-min fair rates of flows on the links that they take: nobody gets more without someone poorer getting less.

A byte of payload weighs f bytes on a link that it crosses (headers, VXLAN), and a on the links of its way back, where
the ACKs go. Data and ACKs of all flows share every link, and rates are found so that each link has room for both:

    sum over flows of weight(l) x rate <= C(l)              weight: f, a, or both where data and ACKs take one link

Every link shares its bytes out evenly: a stream (data or ACKs of a flow) gets what it asks for or the link's level,
and the level is as high as the link has room for. A flow goes as fast as the tightest of its links lets it:

    rate = min over its links of level(l) / weight(l)       level(l) = infinite where all get what they ask for

ACKs ask for a fiftieth of the data that they answer, so they get it and hold nobody up, until a link is so slow that
the ACKs alone would take more than an even part of it: then they pace their flow. Each flow has a full link on which no
stream has more than its own; that is the fairness. No rate is zero, as a level is never under C(l) / streams.

Where ACKs hold nobody up, as nearly always, the levels follow at once: all rates rise together, and when a link is full
the flows that send data through it stop there; what ACKs take is known from the pass before. What comes of that is kept
if it fulfils the law above. Else links are taken in turn until no level changes, which may take thousands of turns.

Source: Bertsekas and Gallager, "Data Networks" (1992), 6.5.2, where all weigh alike; Bonald and Roberts,
"Multi-resource fairness" (SIGMETRICS 2015), bottleneck max fairness, where they do not; the iteration is that of
Charny, Clark and Jain, "Congestion control with explicit rate indication" (ICC 1995).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
_SWEEPS = 2000      # over all links; some 20 settle the levels with ACKs of a fiftieth of the data, some 50 with half
_SETTLED = 1e-12    # relative change of a level that is none
_PASSES = 12        # of rising rates: each leaves a fiftieth of the error in what ACKs take
_PASSED = 1e-10     # relative change of a rate from pass to pass that is none
_INF = float("inf")


@dataclass(frozen=True, slots=True)
class Course:
    """Links of one flow: direction -> bytes on it per byte of payload; of its data, and of its ACKs."""

    data: Mapping[str, float]
    acks: Mapping[str, float]

    @property
    def weights(self) -> dict[str, float]:
        """Direction -> bytes on it per byte of payload, data and ACKs together; only where there are any."""
        both = {d: self.data.get(d, 0.0) + self.acks.get(d, 0.0) for d in (*self.data, *self.acks)}
        return {d: w for d, w in both.items() if w > 0}


class _Flow:
    """A flow while levels are sought: what each of its links allows it, and which two allow it least."""

    __slots__ = ("_allowed", "_least", "_next", "_tightest", "weights")

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = weights
        self._allowed = dict.fromkeys(weights, _INF)
        self._tightest, self._least, self._next = "", _INF, _INF

    def allow(self, link: str, level: float) -> None:
        """The link has a new level."""
        self._allowed[link] = level / self.weights[link]
        self._tightest, self._least, self._next = "", _INF, _INF
        for name, rate in self._allowed.items():
            if rate < self._least:
                self._tightest, self._least, self._next = name, rate, self._least
            elif rate < self._next:
                self._next = rate

    def asks(self, link: str) -> float:
        """What it would put on a link if only the others held it up."""
        return self.weights[link] * (self._next if link == self._tightest else self._least)

    @property
    def rate(self) -> float:
        return self._least


def fair_rates(flows: Mapping[K, Course], capacity: Mapping[str, float]) -> dict[K, float]:
    """Flow -> payload rate, in the unit of the capacities; infinite for one that crosses no link.

    Above zero where every capacity is; zero for a flow over a link without any.
    """
    simple = _rising(flows, capacity)
    if simple is not None:
        return simple
    found = {name: _Flow(course.weights) for name, course in flows.items()}
    members: dict[str, list[_Flow]] = {}
    for flow in found.values():
        for link in flow.weights:
            members.setdefault(link, []).append(flow)
    _settle(members, capacity)
    over = 1.0      # rounding alone: a share of 1e-12
    for link, on_it in members.items():
        if capacity[link] > 0:
            over = max(over, sum(flow.weights[link] * flow.rate for flow in on_it) / capacity[link])
    return {name: flow.rate / over for name, flow in found.items()}


def _rising(flows: Mapping[K, Course], capacity: Mapping[str, float]) -> dict[K, float] | None:
    """The rates where ACKs hold nobody up; None where they might, or where flows weigh unlike on one link."""
    weights: dict[str, float] = {}
    for course in flows.values():
        if not course.data.keys().isdisjoint(course.acks):
            return None
        if any(weights.setdefault(link, w) != w or w <= 0 for link, w in course.data.items()):
            return None
    rates = dict.fromkeys(flows, 0.0)
    for _ in range(_PASSES):
        before = rates
        rates = _filled(flows, _without_acks(flows, rates, capacity))
        if min(rates.values(), default=1.0) <= 0:
            return None
        if all(abs(rate - before[name]) <= _PASSED * rate for name, rate in rates.items()):
            return rates if _acks_pass(flows, rates, weights, capacity) else None
    return None


def _without_acks(flows: Mapping[K, Course], rates: Mapping[K, float], capacity: Mapping[str, float],
                  ) -> dict[str, float]:
    """What ACKs leave of the links."""
    left = dict(capacity)
    for name, course in flows.items():
        if rates[name] < _INF:
            for link, weight in course.acks.items():
                left[link] -= weight * rates[name]
    return left


def _filled(flows: Mapping[K, Course], capacity: Mapping[str, float]) -> dict[K, float]:
    """Progressive filling by data alone."""
    rates: dict[K, float] = {}
    left = {link: max(c, 0.0) for link, c in capacity.items()}
    on_it: dict[str, dict[K, float]] = {}       # link -> the flows that still rise, with their weights
    for name, course in flows.items():
        for link, weight in course.data.items():
            on_it.setdefault(link, {})[name] = weight
    load = {link: sum(those.values()) for link, those in on_it.items()}
    while on_it:
        full = min(on_it, key=lambda link: left[link] / load[link])
        level = left[full] / load[full]
        for name in list(on_it[full]):
            rates[name] = level
            for link, weight in flows[name].data.items():
                del on_it[link][name]
                left[link] = max(left[link] - weight * level, 0.0)
                load[link] -= weight
                if not on_it[link]:
                    del on_it[link]
    return {name: rates.get(name, _INF) for name in flows}


def _acks_pass(flows: Mapping[K, Course], rates: Mapping[K, float], weights: Mapping[str, float],
               capacity: Mapping[str, float]) -> bool:
    """Whether no link is too full, and on no full one a flow's ACKs ask for more than the level of the data there."""
    load, level, acks = dict.fromkeys(capacity, 0.0), dict.fromkeys(capacity, 0.0), dict.fromkeys(capacity, 0.0)
    for name, course in flows.items():
        if rates[name] == _INF:     # it sends no data over any link
            return not any(course.acks.values())
        for link in course.data:
            load[link] += weights[link] * rates[name]
            level[link] = max(level[link], weights[link] * rates[name])
        for link, weight in course.acks.items():
            load[link] += weight * rates[name]
            acks[link] = max(acks[link], weight * rates[name])
    slack = 1e-7
    return all(load[link] <= c * (1 + slack) and (acks[link] <= level[link] or load[link] < c * (1 - slack))
               for link, c in capacity.items())


def _settle(members: Mapping[str, Sequence[_Flow]], capacity: Mapping[str, float]) -> None:
    """Give every link its level, in turn, until none changes."""
    levels = dict.fromkeys(members, _INF)
    for _ in range(_SWEEPS):
        moved = 0.0
        for link, on_it in members.items():
            level = _level([flow.asks(link) for flow in on_it], max(capacity[link], 0.0))
            if level != levels[link]:
                moved = max(moved, _change(levels[link], level))
                levels[link] = level
                for flow in on_it:
                    flow.allow(link, level)
        if moved <= _SETTLED:
            return


def _level(asked: Sequence[float], capacity: float) -> float:
    """The most that one stream may have if no link shall carry more than it can; infinite if that holds up nobody."""
    left = capacity
    for n, want in enumerate(sorted(asked)):
        even = left / (len(asked) - n)
        if want > even:
            return even
        left = max(left - want, 0.0)
    return _INF


def _change(old: float, new: float) -> float:
    return _INF if _INF in (old, new) else abs(new - old) / max(old, new)
