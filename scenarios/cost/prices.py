"""The price file: what each part costs, with source and date, and how links are cabled.

A part that a design needs and the file lacks is refused by name, with what is nearest: nothing is ever interpolated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, PrivateAttr, WithJsonSchema, model_validator

from topologies.model.document import nearest
from topologies.model.errors import SpecError, Violation, Violations
from topologies.model.fields import Rate, Strict
from topologies.model.load import find_spec, load_model
from topologies.model.units import show_rate

PRICES = Path(__file__).parents[1] / "prices"
DEFAULT = "typical"
ASSUMPTION = "assumption"
HOURS = 8760        # of a year
Media = Literal["dac", "aoc", "fibre"]
Where = Literal["access", "rail", "fabric"]
_LENGTH = re.compile(r"(\d+(?:\.\d+)?) ?m")


def _length(text: object) -> float:
    match = _LENGTH.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError("a length in m, such as 3m")
    return float(match[1])


Length = Annotated[float, BeforeValidator(_length), WithJsonSchema({"type": "string", "examples": ["3m"]})]


class Figure(Strict):
    """A number, where it comes from and when that was read or published."""

    value: float = Field(ge=0, allow_inf_nan=False)
    source: str = Field(min_length=1, description="`assumption` where no public source stands behind it")
    date: Annotated[str, BeforeValidator(str), Field(pattern=r"^\d{4}-\d{2}(-\d{2})?$")]

    @property
    def assumed(self) -> bool:
        return self.source.startswith(ASSUMPTION)


NOTHING = Figure(value=0, source="none", date="2026-01")


class Part(Strict):
    """Something that is bought for one rate; its power in watts."""

    rate: Rate
    price: Figure
    watts: Figure = NOTHING


class Cable(Strict):
    """Of at most `reach`. dac and aoc have their plugs and one rate; a fibre takes an optic at each end."""

    media: Media
    rate: Rate | None = None
    reach: Length
    price: Figure
    watts: Figure = NOTHING

    @model_validator(mode="after")
    def _rate_of_plugs(self) -> Cable:
        if (self.media == "fibre") != (self.rate is None):
            raise ValueError("a rate with media: dac and aoc, and none with media: fibre")
        return self


class GpuHour(Strict):
    """An hour of one GPU, with its share of a server."""

    gpu: str = Field(min_length=1)
    price: Figure


class Run(Strict):
    """What one kind of link is made of."""

    media: Media
    length: Length


class Cabling(Strict):
    """access: host to leaf; rail: the same in a rail-optimized fabric; fabric: leaf to spine."""

    access: Run
    rail: Run
    fabric: Run


class Electricity(Strict):
    """Price of a kWh, and what the building takes for each watt of equipment."""

    per_kwh: Figure
    pue: Figure


P = TypeVar("P", bound=Part)


class Prices(Strict):
    """A price file. All prices in `currency`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    amortisation_years: float = Field(gt=0, le=30)
    gpu: str = Field(description="of workloads that name none")
    cabling: Cabling
    switch_ports: tuple[Part, ...] = Field(min_length=1)
    optics: tuple[Part, ...] = ()
    cables: tuple[Cable, ...] = ()
    nics: tuple[Part, ...] = ()
    gpu_hours: tuple[GpuHour, ...] = ()
    electricity: Electricity
    _file: str = PrivateAttr("the price file")

    @model_validator(mode="after")
    def _each_once(self) -> Prices:
        violations = []
        for key in ("switch_ports", "optics", "nics", "gpu_hours", "cables"):
            seen: set[object] = set()
            for n, part in enumerate(getattr(self, key)):
                what = part.gpu if isinstance(part, GpuHour) else (
                    part.media, part.rate, part.reach) if isinstance(part, Cable) else part.rate
                if what in seen:
                    violations.append(Violation((key, n), "each part once", "a part that is listed already"))
                seen.add(what)
        if violations:
            raise Violations(violations)
        return self

    @property
    def file(self) -> str:
        """How errors call it."""
        return self._file

    def port(self, rate: float, slack: float = 1.0) -> tuple[int, Part]:
        """How many ports carry a link of `rate`, and which: the smallest that does, else several of the largest.

        slack: a port counts for so many times its rate (topologies.model.expansion.NON_BLOCKING on uplinks).
        """
        room = slack * (1 + 1e-9)
        ports = sorted(self.switch_ports, key=lambda p: p.rate)
        fitting = [p for p in ports if p.rate * room >= rate]
        return (1, fitting[0]) if fitting else (math.ceil(rate / (ports[-1].rate * room)), ports[-1])

    def optic(self, rate: float, needed_by: str) -> Part:
        return self._of_rate(self.optics, "optics", "an optic", rate, needed_by)

    def nic(self, rate: float, needed_by: str) -> Part:
        return self._of_rate(self.nics, "nics", "a NIC", rate, needed_by)

    def cable(self, where: Where, rate: float, needed_by: str) -> Cable:
        """The shortest that reaches. Raises SpecError where there is none."""
        run: Run = getattr(self.cabling, where)
        fitting = [c for c in self.cables if c.media == run.media and c.rate in (None, rate) and c.reach >= run.length]
        if fitting:
            return min(fitting, key=lambda c: c.reach)
        wanted = run.media if run.media == "fibre" else f"{run.media} of {show_rate(rate)}"
        alike = [c for c in self.cables if c.media == run.media] or list(self.cables)
        raise SpecError(f"{self.file}: cables", f"a {wanted} that reaches {run.length:g} m, which {needed_by} needs",
                        _list([_cable(c) for c in alike]),
                        f"add one, or change cabling.{where}: {{media: {run.media}, length: {run.length:g}m}}")

    def gpu_hour(self, gpu: str, needed_by: str) -> Figure:
        """Price of an hour of that GPU. Raises SpecError where it has none."""
        known = {g.gpu: g.price for g in self.gpu_hours}
        if gpu not in known:
            raise SpecError(f"{self.file}: gpu_hours", f"the price of an hour of {gpu}, which {needed_by} needs",
                            _list(list(known)), nearest(gpu, list(known)) or f"add - {{gpu: {gpu}, price: ...}}")
        return known[gpu]

    def _of_rate(self, parts: Sequence[P], key: str, what: str, rate: float, needed_by: str) -> P:
        found = next((p for p in parts if p.rate == rate), None)
        if found is None:
            close = min(parts, key=lambda p: abs(math.log(p.rate / rate)), default=None)
            raise SpecError(f"{self.file}: {key}", f"{what} of {show_rate(rate)}, which {needed_by} needs",
                            _list([show_rate(p.rate) for p in parts]),
                            f"{f'the nearest is {show_rate(close.rate)}; ' if close else ''}"
                            f"add - {{rate: {rate / 1e9:g}gbit, price: ...}}")
        return found

    @property
    def figures(self) -> list[Figure]:
        """Every figure of the file that a price may be made of."""
        parts: list[Part | Cable] = [*self.switch_ports, *self.optics, *self.cables, *self.nics]
        found = [f for p in parts for f in (p.price, p.watts) if f != NOTHING]
        return [*found, *(g.price for g in self.gpu_hours), self.electricity.per_kwh, self.electricity.pue]


def _cable(c: Cable) -> str:
    return f"{c.media}{f' of {show_rate(c.rate)}' if c.rate else ''} up to {c.reach:g} m"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def load_prices(name: str = DEFAULT, relative_to: Path | None = None) -> Prices:
    """A price file by path or by its name in scenarios/prices. Raises SpecError or SpecErrors."""
    path, shown = find_spec(name, PRICES, "price file", relative_to)
    prices = load_model(path, Prices, name=shown)
    prices._file = shown
    return prices
