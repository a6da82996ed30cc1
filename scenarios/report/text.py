"""Numbers as people read them: with their unit, and no more digits than the measurement carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import SupportsFloat

from topologies.model.units import show_rate, show_size, show_time

DIGITS = 3      # significant digits of a measured value


def significant(value: float, digits: int = DIGITS) -> float:
    return float(f"{value:.{digits}g}")


def number(value: float) -> str:
    """12408 -> '12,408'; 0.98213 -> '0.982'. Whole numbers keep every digit: they are counts."""
    if float(value).is_integer():
        return f"{value:,.0f}"
    rounded = significant(value)
    return f"{rounded:,.0f}" if abs(rounded) >= 1000 else f"{rounded:g}"


def quantity(value: object, unit: str = "") -> str:
    """A metric's value, or a [low, high] range of values, with its unit; a dash if there is none."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " to ".join(quantity(v, unit) for v in value) or "-"
    if value is None or isinstance(value, (str, bool)) or not isinstance(value, SupportsFloat):
        return "-" if value is None else str(value)
    if unit in ("bit/s", "B", "s") and value:
        show = {"bit/s": show_rate, "B": show_size, "s": show_time}[unit]
        return show(significant(float(value)))
    return f"{number(float(value))} {unit}".rstrip()


def percent(share: float) -> str:
    """0.934 -> '93 %', 0.01303 -> '1.3 %', 0.00042 -> '0.042 %': never '0 %' for something."""
    value = share * 100
    return f"{value:.0f} %" if abs(value) >= 10 else f"{significant(value, 2):g} %"


def plural(count: float, word: str) -> str:
    """1 -> '1 packet', 1204 -> '1,204 packets'."""
    return f"{number(count)} {word}{'' if count == 1 else 's'}"
