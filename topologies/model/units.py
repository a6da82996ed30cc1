"""Text with a unit <-> numbers: rates in bit/s, sizes in bytes, times in seconds.

Units are never implied: a bare `20` is refused, because 20 what? Prefixes are decimal (k = 1000),
as link rates are; KiB, MiB and GiB are binary.
"""

from __future__ import annotations

import math
import re

RATE_UNITS = {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12}
SIZE_UNITS = {
    "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}
TIME_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}

LARGEST = 1e15      # beyond it a typing error is likelier than a network
SMALLEST = 1e-15    # below it as well

_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s].*?)?\s*$")
# A capital B is a byte: 20MB/s is no way to write 20 Mbit/s.
_RATE_SPELLINGS = re.compile(r"^([kKmMgGtT]?)(?:(?i:bits?(?:/s)?)|bps|b/s)$")


def _split(text: object, example: str) -> tuple[float, str]:
    """The number and the unit of `text`. Raises ValueError that names an example."""
    match = _NUMBER.match(text) if isinstance(text, str) else None
    if match is None or match[2] is None:
        raise ValueError(f"a number with a unit, such as {example}")
    number = float(match[1])
    if not number < LARGEST:
        raise ValueError(f"a number below {LARGEST:g} with a unit, such as {example}")
    if number and abs(number) < SMALLEST:
        raise ValueError(f"zero, or a number from {SMALLEST:g} on, with a unit, such as {example}")
    return number, match[2]


def parse_rate(text: object) -> float:
    """'20mbit', '400Gb/s' -> bit/s. Raises ValueError saying what was expected."""
    number, unit = _split(text, "20mbit")
    spelled = _RATE_SPELLINGS.match(unit)
    if spelled is None:
        raise ValueError("a rate in bit, kbit, mbit, gbit or tbit, such as 20mbit")
    if number <= 0:
        raise ValueError("a rate above zero, such as 20mbit")
    return number * RATE_UNITS[spelled[1].lower() + "bit"]


def parse_size(text: object) -> int:
    """'60kB', '8MB', '64KiB' -> bytes. Raises ValueError saying what was expected."""
    number, unit = _split(text, "60kB")
    if unit not in SIZE_UNITS:
        raise ValueError("a size in B, kB, MB, GB, TB, KiB, MiB or GiB, such as 60kB")
    if number < 0:
        raise ValueError("a size of zero or more, such as 60kB")
    return round(number * SIZE_UNITS[unit])


def parse_time(text: object) -> float:
    """'5ms', '1.5s' -> seconds. Raises ValueError saying what was expected."""
    number, unit = _split(text, "5ms")
    unit = unit.replace("µ", "u").replace("μ", "u")
    if unit not in TIME_UNITS:
        raise ValueError("a time in ns, us, ms, s, min or h, such as 5ms")
    if number < 0:
        raise ValueError("a time of zero or more, such as 5ms")
    return number * TIME_UNITS[unit]


def parse_share(text: object) -> float:
    """'0.1%' -> 0.001. Raises ValueError saying what was expected."""
    number, unit = _split(text, "0.1%")
    if unit != "%" or not 0 <= number <= 100:
        raise ValueError("a share from 0% to 100%, such as 0.1%")
    return number / 100


def _show(value: float, units: dict[str, float], order: list[str]) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {order[0]}"
    fitting = [u for u in order if abs(value) >= units[u]] or [order[0]]
    return f"{value / units[fitting[-1]]:.4g} {fitting[-1]}"


def show_rate(rate: float) -> str:
    """bit/s -> '20 Mbit/s'."""
    text = _show(rate, RATE_UNITS, ["bit", "kbit", "mbit", "gbit", "tbit"])
    number, unit = text.split(" ")
    return f"{number} {unit[0].upper() if len(unit) > 3 and unit[0] != 'k' else unit[0]}{unit[1:]}/s"


def show_size(size: float) -> str:
    """bytes -> '60 kB'."""
    return _show(size, {k: float(v) for k, v in SIZE_UNITS.items()}, ["B", "kB", "MB", "GB", "TB"])


def show_time(seconds: float) -> str:
    """seconds -> '5 ms'."""
    return _show(seconds, TIME_UNITS, ["ns", "us", "ms", "s"]) if seconds else "0 s"


def show_count(count: int, word: str) -> str:
    """'1 pair', '2 pairs'."""
    return f"{count} {word}{'' if count == 1 else 's'}"
