"""Max-min fair rates of flows on the links that they take: nobody gets more without someone poorer getting less.

A byte of payload weighs f bytes on a link that it crosses (headers, VXLAN), and a on the links of its way back, where
the ACKs go. Data and ACKs of all flows share every link, and rates are found so that each link has room for both:

    sum over flows of weight(l) x rate <= C(l)              weight: f, a, or both where data and ACKs take one link

Every link shares its bytes out evenly: a stream (data or ACKs of a flow) gets what it asks for or the link's level,
and the level is as high as the link has room for. A flow goes as fast as the tightest of its links lets it:

    rate = min over its links of level(l) / weight(l)       level(l) = infinite where all get what they ask for

ACKs ask for a fiftieth of the data that they answer, so they get it and hold nobody up, until a link is so slow that
the ACKs alone would take more than an even part of it: then they pace their flow. Each flow has a full link on which no
stream has more than its own; that is the fairness. Links are taken in turn until no level changes. No rate is zero,
as a level is never under C(l) / streams.

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
