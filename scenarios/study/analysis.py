"""What the runs of a study say: medians of each design, differences from the baseline, and who leads. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from scenarios.cost.study import StudyCosts, costs_of
from scenarios.study.result import StudyResult
from scenarios.study.spec import MetricChoice
from scenarios.study.statistics import MIN_PAIRS, Difference, Estimate, difference, estimate


@dataclass(frozen=True)
class Finding:
    """One design held against another in one metric. difference: None where no seed has both."""

    design: str
    against: str
    difference: Difference | None

    @property
    def seen(self) -> bool:
        return self.difference is not None and self.difference.seen


@dataclass(frozen=True)
class Compared:
    """One metric over the designs that have it.

    ranked      designs that may win, the best median first
    leaders     the first of them, and those that cannot be distinguished from it
    findings    every other design against the baseline
    of_leader   the first of them against every other candidate
    mixed       why the metric was not compared: its unit differs; or empty
    """

    choice: MetricChoice
    label: str
    unit: str
    estimates: dict[str, Estimate]
    findings: tuple[Finding, ...]
    ranked: tuple[str, ...]
    of_leader: dict[str, Finding]
    mixed: str = ""

    @property
    def leaders(self) -> tuple[str, ...]:
        return (*self.ranked[:1], *(n for n in self.ranked[1:] if n not in self.beaten and n not in self.unreported))

    @property
    def beaten(self) -> dict[str, Difference]:
        """Those that the first is distinguished from, and better than in the pairs as well, not by its median alone."""
        return {name: f.difference for name, f in self.of_leader.items()
                if f.difference is not None and f.seen and self.is_better(f.difference.median)}

    @property
    def unreported(self) -> tuple[str, ...]:
        """Those that share too few pairs with the first: whether they are as good cannot be said."""
        return tuple(name for name, f in self.of_leader.items()
                     if f.difference is None or f.difference.n < MIN_PAIRS)

    def is_better(self, value: float) -> bool:
        """Whether a difference of that sign is an improvement."""
        return value > 0 if self.choice.better == "higher" else value < 0


@dataclass(frozen=True)
class Analysis:
    """All that is reported of a study. comparisons: how many differences were looked at; costs: where it names
    prices."""

    result: StudyResult
    metrics: tuple[Compared, ...]
    costs: StudyCosts | None = None

    @property
    def comparisons(self) -> list[Difference]:
        return [f.difference for m in self.metrics for f in m.findings if f.difference is not None]


def analyse(result: StudyResult) -> Analysis:
    """Medians, differences and leaders, in every metric of the study; with `prices` costs are metrics as well.

    Raises LabError for a price file that no longer has what it had when the study began.
    """
    costs = costs_of(result)
    reported = result if costs is None else costs.result
    labels = _labels(reported)
    return Analysis(reported, tuple(_compared(reported, choice, labels[choice.metric]) for choice in reported.metrics),
                    costs)


def _labels(result: StudyResult) -> dict[str, str]:
    """Metric -> what to call it; the workload's name is added where two would have the same."""
    titles = {c.metric: c.title or _said(result, c.metric, "title") or c.metric for c in result.metrics}
    names = list(titles.values())
    return {key: f"{title} of {key.split('.')[0]}" if names.count(title) > 1 else title
            for key, title in titles.items()}


def _said(result: StudyResult, metric: str, what: str) -> str:
    """Unit or title of a metric as the first run that has it says."""
    return next((str(getattr(run.metrics[metric], what)) for _, run in result.outcomes if metric in run.metrics), "")


def _compared(result: StudyResult, choice: MetricChoice, label: str) -> Compared:
    key, unit = choice.metric, _said(result, choice.metric, "unit")
    units = {choice.unit} if choice.unit is not None else set()
    units |= {run.metrics[key].unit for _, run in result.outcomes if key in run.metrics}
    if len(units) > 1:
        return Compared(choice, label, unit, {}, (), (), {}, f"its unit is {' and '.join(sorted(units))}")
    values = {name: design.values(key) for name, design in result.designs.items()}
    estimates = {name: e for name, v in values.items() if (e := estimate(v.values()))}
    better = -1 if choice.better == "higher" else 1
    ranked = sorted((name for name in estimates if not result.designs[name].reference),
                    key=lambda name: better * estimates[name].median)

    def against(name: str, other: str) -> Finding:
        return Finding(name, other, difference(values[name], values[other]))

    base = result.baseline
    findings = tuple(against(name, base) for name in estimates if name != base) if base in estimates else ()
    of_leader = {name: against(ranked[0], name) for name in ranked[1:]}
    return Compared(choice, label, unit, estimates, findings, tuple(ranked), of_leader)
