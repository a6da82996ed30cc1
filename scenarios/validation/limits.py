"""Numbers that a check compares with: bare for ratios and counts, with a unit for what has one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from topologies.model.units import parse_rate, parse_share, parse_size, parse_time

EXAMPLES = {"s": "500ms", "bit/s": "9.4mbit", "B": "60kB"}      # unit of a metric -> how a limit of it is written
_PARSERS: tuple[tuple[str, Callable[[object], float]], ...] = (
    ("s", parse_time), ("bit/s", parse_rate), ("B", parse_size), ("", parse_share))


def amount(limit: float | str) -> tuple[float, str]:
    """The number and its unit: 's', 'bit/s', 'B', or '' for a bare one and a share. Raises ValueError."""
    if not isinstance(limit, str):
        return float(limit), ""
    for unit, parse in _PARSERS:
        try:
            return float(parse(limit)), unit
        except ValueError:
            continue
    raise ValueError("a number, or one with a unit such as 9.4mbit, 500ms, 60kB or 5%")


def _readable(value: object) -> float | str:
    if not isinstance(value, str) and (not isinstance(value, int | float) or isinstance(value, bool)
                                       or not math.isfinite(value)):
        raise ValueError("a number, or one with a unit such as 9.4mbit, 500ms, 60kB or 5%")
    amount(value)
    return value


Limit = Annotated[float | str, BeforeValidator(_readable),
                  WithJsonSchema({"type": ["number", "string"], "examples": [0.95, "9.4mbit", "500ms"]})]
