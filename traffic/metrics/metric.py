"""What a metric is: a number with its unit, its formula and its source; and how samples become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, median, stdev

import numpy as np

from topologies.model.scale import Scale

ENOUGH = {90: 100, 99: 1000}        # samples without which a percentile is not reported (docs/reference/methods.md)


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a run.

    tag      short name, the end of its key       title    for people
    unit     s, bit/s, 1/s, B, "" for ratios      samples  how many values it was made of
    spread   smallest and largest sample, or None where there is one value only
    formula  how it is computed                   source   where the definition comes from
    real     the value in real units, where the fabric is scaled and the unit is one that scales
    where    the link, the rank or the part that was found by it, where it is about one
    """

    value: float
    unit: str
    tag: str
    title: str
    samples: int
    spread: tuple[float, float] | None
    formula: str
    source: str
    real: float | None = None
    where: str = ""

    def as_json(self) -> dict[str, object]:
        """As it stands in metrics.json; `real` and `where` only where they exist."""
        body = asdict(self)
        if self.real is None:
            del body["real"]
        if not self.where:
            del body["where"]
        return {**body, "spread": list(self.spread) if self.spread else None}


@dataclass(frozen=True, slots=True)
class Definition:
    """All of a metric but its number; each is written once, beside its code."""

    tag: str
    unit: str
    title: str
    formula: str
    source: str

    def of(self, value: float, samples: int = 1, spread: tuple[float, float] | None = None) -> Metric:
        return Metric(value, self.unit, self.tag, self.title, samples, spread, self.formula, self.source)

    def median(self, values: Sequence[float]) -> Metric:
        """The median of at least one sample."""
        return self.of(median(values), len(values), spread(values))

    def mean(self, values: Sequence[float]) -> Metric:
        """The mean of at least one sample."""
        return self.of(fmean(values), len(values), spread(values))


def spread(values: Sequence[float]) -> tuple[float, float] | None:
    """(smallest, largest); None for a single value."""
    return (min(values), max(values)) if len(values) > 1 else None


def percentile(values: Sequence[float], q: int) -> float | None:
    """The q-th percentile by linear interpolation; None where too few samples make it meaningless."""
    return float(np.percentile(values, q)) if len(values) >= ENOUGH[q] else None


def variation(values: Sequence[float]) -> float | None:
    """Coefficient of variation: sample standard deviation / mean; None below two samples or at mean 0."""
    mean = fmean(values) if values else 0.0
    return stdev(values) / mean if len(values) > 1 and mean else None


def with_real(metric: Metric, scale: Scale) -> Metric:
    """The metric with its value in real units beside it, where the scale is none of 1:1."""
    convert = {"s": scale.to_real_time, "bit/s": scale.to_real_rate, "B": scale.to_real_size}.get(metric.unit)
    if scale.is_identity or convert is None:
        return metric
    return replace(metric, real=convert(metric.value))
