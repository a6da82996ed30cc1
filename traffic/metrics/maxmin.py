"""Max-min fair rates of flows on the links that they take: nobody gets more without someone poorer getting less.

    all rates rise together; when a link is full, the flows that send data through it stop there, the others go on

A byte of payload weighs f bytes on a link that it crosses (headers, VXLAN), and a on the links of its way back,
where the ACKs go. ACKs fill links but nobody is held up by them, so they are taken off the capacities:

    C'(l) = C(l) - sum over flows that return through l of a x rate        until the rates do not change any more

Source: Bertsekas and Gallager, "Data Networks" (1992), 6.5.2, progressive filling.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
_PASSES = 4         # ACKs are 2 % of the data they answer: each pass leaves a fiftieth of the error


@dataclass(frozen=True, slots=True)
class Course:
    """Links of one flow: direction -> bytes on it per byte of payload; of its data, and of its ACKs."""

    data: Mapping[str, float]
    acks: Mapping[str, float]


def fair_rates(flows: Mapping[K, Course], capacity: Mapping[str, float]) -> dict[K, float]:
    """Flow -> payload rate, in the unit of the capacities; infinite for one that crosses no link."""
    rates = dict.fromkeys(flows, 0.0)
    for _ in range(_PASSES):
        left = dict(capacity)
        for name, course in flows.items():
            for link, weight in course.acks.items():
                if rates[name] != float("inf"):
                    left[link] -= weight * rates[name]
        rates = _filled(flows, left)
    return rates


def _filled(flows: Mapping[K, Course], capacity: Mapping[str, float]) -> dict[K, float]:
    """Progressive filling; no ACKs."""
    rates: dict[K, float] = {}
    left = {link: max(c, 0.0) for link, c in capacity.items()}
    rising = dict(flows)
    while rising:
        load: dict[str, float] = {}
        for course in rising.values():
            for link, weight in course.data.items():
                load[link] = load.get(link, 0.0) + weight
        if not load:
            return rates | dict.fromkeys(rising, float("inf"))
        full = min(load, key=lambda link: left[link] / load[link])
        level = left[full] / load[full]
        for name in [n for n, course in rising.items() if full in course.data]:
            rates[name] = level
            for link, weight in rising.pop(name).data.items():
                left[link] = max(left[link] - weight * level, 0.0)
    return rates
