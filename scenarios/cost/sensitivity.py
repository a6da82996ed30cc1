"""Which design is cheapest, and which price would change that: exact, as every cost is linear in every price.

With amounts x[k] of a cost by class of price k, a factor f on one price makes the cost  c + (f - 1) x[k].
Two designs cost the same where  f = 1 + (c2 - c1) / (x1[k] - x2[k]); nowhere if both have as much of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scenarios.cost.running import CLASSES, Amounts, total

STEPS = (0.5, 1.0, 2.0)     # the factors at which every price's ranking is reported
ALIKE = 1e-9                # of the cost; amounts that differ by less are the same


@dataclass(frozen=True)
class Turn:
    """At `factor` times its price the first place goes from `first` to `design`."""

    factor: float
    design: str


@dataclass(frozen=True)
class Sensitivity:
    """Of a ranking to one price: the order at each of STEPS; the nearest turns below and above today's price."""

    price: str
    orders: tuple[tuple[str, ...], ...]
    down: Turn | None
    up: Turn | None


@dataclass(frozen=True)
class Ranking:
    """Designs by one cost, cheapest first; `what` it is of, such as 'a training step of job in phase main'."""

    what: str
    costs: Mapping[str, float]
    sensitivities: tuple[Sensitivity, ...]

    @property
    def order(self) -> tuple[str, ...]:
        return tuple(self.costs)


def ranking(what: str, designs: Mapping[str, Amounts]) -> Ranking:
    """Of two designs or more."""
    order = _order(designs, "", 1.0)
    classes = [k for k in CLASSES if any(amounts.get(k) for amounts in designs.values())]
    return Ranking(what, {name: total(designs[name]) for name in order},
                   tuple(_sensitivity(k, designs, order[0]) for k in classes))


def _sensitivity(price: str, designs: Mapping[str, Amounts], first: str) -> Sensitivity:
    below, above = _turns(price, designs, first)
    return Sensitivity(price, tuple(_order(designs, price, f) for f in STEPS),
                       max(below, key=lambda t: t.factor, default=None),
                       min(above, key=lambda t: t.factor, default=None))


def _turns(price: str, designs: Mapping[str, Amounts], first: str) -> tuple[list[Turn], list[Turn]]:
    """Where each other design becomes cheaper than the first one: as the price falls, as it rises."""
    mine, cost = designs[first].get(price, 0.0), total(designs[first])
    below, above = [], []
    for name, amounts in designs.items():
        slope = mine - amounts.get(price, 0.0)
        if name == first or abs(slope) <= ALIKE * cost:
            continue
        factor = 1 + (total(amounts) - cost) / slope
        if slope > 0:
            above.append(Turn(factor, name))
        elif factor > 0:
            below.append(Turn(factor, name))
    return below, above


def _order(designs: Mapping[str, Amounts], price: str, factor: float) -> tuple[str, ...]:
    """Cheapest first; what costs the same keeps the order in which it was given."""
    costs = {name: total(amounts) + (factor - 1) * amounts.get(price, 0.0) for name, amounts in designs.items()}
    return tuple(sorted(designs, key=lambda name: costs[name]))
