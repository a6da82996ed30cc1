"""A study file: a base scenario, the designs to compare, how often, and by which metrics. Frozen after loading."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Annotated, Literal

from pydantic import Field, model_validator

from topologies.model.document import nearest, show
from topologies.model.errors import Violation, Violations
from topologies.model.fields import Rate, Strict

DesignName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
Settings = dict[str, object]       # dotted path of the scenario -> value, as --set has them
MAX_DESIGNS = 64
NAMED_VALUE = 24                # characters of a value in the name of a design


class MetricChoice(Strict):
    """A metric that the designs are compared by; the first of a study decides which design won."""

    metric: str = Field(description="its key in metrics.json, such as chat.ttft_p99")
    better: Literal["higher", "lower"]
    title: str = Field("", description="what reports call it; default: the metric's own title")
    unit: str | None = Field(None, description="the unit that it must have; default: whatever it has")


class Design(Strict):
    """One network, or one way to use it."""

    scenario: str | None = Field(None, description="default: the study's")
    set: Settings = Field({}, description="dotted path of the scenario -> value, as --set has them")
    reference: bool = Field(False, description="shown and compared, but it cannot win: nobody would build it")
    description: str = ""


class Quick(Strict):
    """What `--quick` changes: fewer designs, fewer repeats, smaller loads."""

    designs: tuple[str, ...] = Field((), description="the only ones; default: all")
    repeats: int | None = Field(None, ge=1, le=100)
    set: Settings = Field({}, description="in every design, after all others")


@dataclass(frozen=True)
class Cell:
    """One design with every setting of it. settings: (place in the study file, dotted path, value)."""

    name: str
    scenario: str
    settings: tuple[tuple[tuple[str | int, ...], str, object], ...]
    reference: bool
    description: str


class Study(Strict):
    """What `aifab compare` runs."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")
    question: str
    scenario: str = Field(description="the base: a scenario file beside this one, or a name of the library")
    set: Settings = Field({}, description="in every design")
    designs: dict[DesignName, Design] = Field({}, max_length=MAX_DESIGNS, description="by name")
    axes: dict[str, Annotated[tuple[object, ...], Field(min_length=1)]] = Field({}, description=(
        "dotted path -> values; every combination of them is a design"))
    baseline: str = Field("", description="the design that the others are compared with; default: the first")
    repeats: int = Field(7, ge=1, le=100)
    seed: int = Field(1, ge=0, description="of the first repeat; the next ones take the numbers after it")
    retries: int = Field(1, ge=0, le=5, description="how often a run that the machine made INVALID is repeated")
    metrics: tuple[MetricChoice, ...] = Field(min_length=1, max_length=256)
    prices: str | None = Field(None, description="a price file: reports then include costs")
    priced_as: Rate | None = Field(None, description="what the hosts of fabrics without a scale stand for")
    quick: Quick | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        violations = [*self._axes_vary()]
        if self._count <= MAX_DESIGNS:
            violations += self._names_exist()
        violations += self._metrics_once()
        if self.priced_as is not None and self.prices is None:
            violations.append(Violation(("priced_as",), "prices, which say what such hosts cost", "no prices",
                                        "add them, such as prices: typical"))
        if violations:
            raise Violations(violations)
        return self

    def _axes_vary(self) -> Iterator[Violation]:
        for path, values in self.axes.items():
            for n, value in enumerate(values[:MAX_DESIGNS]):
                if value in values[:n]:
                    yield Violation(("axes", path, n), "each value once", f"{show(value)} again")
        count = self._count
        if count < 2 or count > MAX_DESIGNS:
            at = "axes" if self.axes else "designs"
            yield Violation((at,), f"2 to {MAX_DESIGNS} designs to compare", str(count))

    def _names_exist(self) -> Iterator[Violation]:
        names = [cell.name for cell in self.cells]
        if self.baseline and self.baseline not in names:
            yield _unknown(("baseline",), self.baseline, names)
        for n, name in enumerate(self.quick.designs if self.quick else ()):
            if name not in names:
                yield _unknown(("quick", "designs", n), name, names)

    def _metrics_once(self) -> Iterator[Violation]:
        keys = [m.metric for m in self.metrics]
        for n, key in enumerate(keys):
            if key in keys[:n]:
                yield Violation(("metrics", n, "metric"), "each metric once", f"{key} again")

    @property
    def _count(self) -> int:
        """How many cells there are: known before they are made."""
        return max(len(self.designs), 1) * prod(map(len, self.axes.values()))

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every design: the named ones, each with every combination of the axes' values."""
        named: dict[str, Design] = dict(self.designs) if self.designs or not self.axes else {"": Design()}
        return tuple(self._cell(name, design, chosen) for name, design in named.items()
                     for chosen in product(*([(path, n, v) for n, v in enumerate(values)]
                                             for path, values in self.axes.items())))

    def _cell(self, name: str, design: Design, chosen: tuple[tuple[str, int, object], ...]) -> Cell:
        words = [name, *(f"{self._short(path)}={show(value)[:NAMED_VALUE]}" for path, _, value in chosen)]
        settings = (*((("set", path), path, value) for path, value in self.set.items()),
                    *((("designs", name, "set", path), path, value) for path, value in design.set.items()),
                    *((("axes", path, n), path, value) for path, n, value in chosen))
        return Cell(", ".join(w for w in words if w), design.scenario or self.scenario, settings, design.reference,
                    design.description)

    def _short(self, path: str) -> str:
        """The last part of an axis' path, or all of it where another axis ends alike."""
        last = path.rsplit(".", 1)[-1]
        return path if sum(p.rsplit(".", 1)[-1] == last for p in self.axes) > 1 else last

    def of_quick(self, quick: bool) -> tuple[tuple[Cell, ...], int]:
        """The designs and repeats of the full or of the quick form; `quick.set` comes last."""
        if not quick or self.quick is None:
            return self.cells, self.repeats
        chosen = [c for c in self.cells if c.name in self.quick.designs or not self.quick.designs]
        last = tuple((("quick", "set", path), path, value) for path, value in self.quick.set.items())
        cells = tuple(Cell(c.name, c.scenario, c.settings + last, c.reference, c.description) for c in chosen)
        return cells, self.quick.repeats or self.repeats


def _unknown(at: tuple[str | int, ...], name: str, names: list[str]) -> Violation:
    return Violation(at, f"a design: {', '.join(names)}", name, nearest(name, names))
