"""What was found, in sentences: which design is cheapest, by how much, and which price would change that."""

from __future__ import annotations

from collections.abc import Sequence

from scenarios.cost.prices import Prices
from scenarios.cost.sensitivity import Ranking, Sensitivity, Turn
from scenarios.report.text import number, percent, plural

ALIKE = 0.005       # a smaller difference is not reported as one: the digits shown would be equal
FAR = 100.0         # a price that would have to change by more is not worth a sentence


def money(value: float | None, currency: str) -> str:
    """'12,400 USD', '0.00412 USD'; a dash where there is none."""
    return "-" if value is None else f"{number(round(value) if abs(value) >= 1000 else value)} {currency}".rstrip()


def sentences(found: Ranking, currency: str) -> list[str]:
    """The cheapest, and how firm that is."""
    first, second = found.order[0], found.order[1]
    least, next_one = found.costs[first], found.costs[second]
    if least <= 0 or next_one / least - 1 < ALIKE:
        return [f"By the cost of {found.what}, {first} and {second} do not differ: {money(least, currency)}."]
    return [f"By the cost of {found.what}, {first} is cheapest: {money(least, currency)}, "
            f"{percent(1 - least / next_one)} less than {second}.", *_firm(found, first)]


def _firm(found: Ranking, first: str) -> list[str]:
    turned = [s for s in found.sensitivities if any(order[0] != first for order in s.orders)]
    turns = [text for s in found.sensitivities for text in _turns(s)]
    firm = "" if turned else "Half or double of any one price does not change that."
    return [s for s in (firm, f"It would change with {'; with '.join(turns)}." if turns else
                        "No single price can change that.") if s]


def _turns(s: Sensitivity) -> list[str]:
    near = [t for t in (s.down, s.up) if t is not None and 1 / FAR < t.factor < FAR]
    return [f"{s.price} at {_times(t)} today's price ({t.design} first)" for t in near]


def _times(turn: Turn) -> str:
    return f"{turn.factor:.3g} times"


def basis(prices: Prices) -> str:
    """Which prices these are."""
    figures = prices.figures
    dates = sorted(f.date for f in figures)
    return (f"Prices: {prices.file} ({prices.currency}, {dates[0]} to {dates[-1]}; "
            f"{sum(f.assumed for f in figures)} of {plural(len(figures), 'figure')} are assumptions), written off in "
            f"{plural(prices.amortisation_years, 'year')}.")


def caveats(runs: int, found: Sequence[Ranking]) -> list[str]:
    """What a comparison of single runs cannot say."""
    return ["Each design was run once: repeat with other seeds before a difference is called one."] \
        if runs > 1 and found else []
