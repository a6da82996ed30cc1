"""Costs of a study: of each run as one more metric, so that they get medians, intervals and findings like any other;
and of each design a row, with which price would turn the ranking.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from scenarios.cost.designs import HOUR, Design, Priced, called, left_out, rankings
from scenarios.cost.prices import Prices, load_prices
from scenarios.cost.running import GPU_HOUR, Key, total
from scenarios.cost.summary import basis, money, sentences
from scenarios.report.text import number, percent
from scenarios.spec.scenario import Scenario
from scenarios.study.result import DesignResult, Measure, Outcome, StudyResult
from scenarios.study.spec import MetricChoice
from topologies.model.errors import LabError, SpecErrors

Row = tuple[str, ...]
HEADER: Row = ("design", "fabric", "an hour, a host", "work", "cost", "fabric's part", "GPUs' part",
               "waiting for the network", "tokens outside the SLOs")


@dataclass(frozen=True)
class StudyCosts:
    """result: the study with each run's costs among its metrics. Rows are of medians over the runs that count."""

    result: StudyResult
    rows: tuple[Row, ...]
    sentences: tuple[str, ...]
    basis: str


def check_prices(prices: str, directory: Path, priced_as: float | None, scenarios: Mapping[str, Scenario]) -> None:
    """Whether every design can be priced, before anything runs. Raises SpecErrors with all that is missing."""
    file = load_prices(prices, directory)
    errors: dict[str, LabError] = {}
    for name, scenario in scenarios.items():
        try:
            Priced(name, scenario, file, priced_as)
        except SpecErrors as several:
            errors |= {str(e): e for e in several.errors}
        except LabError as error:
            errors[str(error)] = error
    if errors:
        raise SpecErrors(list(errors.values()))


def costs_of(result: StudyResult) -> StudyCosts | None:
    """None where the study names no prices. Raises LabError where the price file has lost what it had."""
    if result.prices is None:
        return None
    prices = load_prices(result.prices, Path(result.directory))
    priced = {name: Priced(name, d.scenario, prices, result.priced_as) for name, d in result.designs.items()}
    medians = [p.design(_medians(result.designs[name])) for name, p in priced.items()]
    keys = _comparable(medians)
    designs = {name: d.model_copy(update={"runs": tuple(_with_costs(run, priced[name], keys) for run in d.runs)})
               for name, d in result.designs.items()}
    choices = tuple(MetricChoice(metric=_metric(key), better="lower", title=f"cost of {called(key)}") for key in keys)
    reported = result.model_copy(update={"designs": designs, "metrics": (*result.metrics, *choices)})
    may_win = [d for d in medians if not result.designs[d.name].reference]
    found = [_reported(r.what, sentences(r, prices.currency)) for r in rankings(may_win)]
    return StudyCosts(reported, tuple(row for d in medians for row in _rows(d, prices)),
                      (*found, *left_out(medians)), basis(prices))


def _reported(what: str, said: list[str]) -> str:
    """One ranking. What work cost is measured, so a median alone is called that."""
    text = " ".join(said)
    return text if what == HOUR else f"Medians alone, whether or not a difference was seen: {text[0].lower()}{text[1:]}"


def _metric(key: Key) -> str:
    return f"{key[0]}.{key[1]}.cost"


def _medians(design: DesignResult) -> dict[str, dict[str, float]]:
    """Every metric's median over the runs that count: a cost follows from one of them, so it is the median cost."""
    runs = list(design.used.values())
    keys = dict.fromkeys(key for run in runs for key in run.metrics)
    return {key: {"value": median(run.metrics[key].shown for run in runs if key in run.metrics)} for key in keys}


def _comparable(designs: Sequence[Design]) -> list[Key]:
    """Work that two designs or more did alike."""
    keys = dict.fromkeys(key for d in designs for key in d.costs)
    did = {key: [d.work[key] for d in designs if key in d.costs] for key in keys}
    return [key for key, works in did.items() if len(works) > 1 and len(set(works)) == 1]


def _with_costs(run: Outcome, priced: Priced, keys: Sequence[Key]) -> Outcome:
    found = priced.design({key: m.model_dump() for key, m in run.metrics.items()})
    costs = {_metric(key): Measure(value=cost, unit=priced.prices.currency) for key in keys
             if key in found.costs and (cost := found.costs[key].total) is not None}
    return run.model_copy(update={"metrics": {**run.metrics, **costs}})


def _rows(design: Design, prices: Prices) -> Iterator[Row]:
    """A row for each work of a design, or one without."""
    first = (design.name, money(design.bill.price, prices.currency),
             money(total(design.hour) / design.bill.hosts, prices.currency))
    if not design.costs:
        yield (*first, *["-"] * 6)
    for cost in design.costs.values():
        gpus = (cost.amounts or {}).get(GPU_HOUR, 0.0)
        yield (*first, called(cost.key), money(cost.total, prices.currency), number((cost.total or 0.0) - gpus),
               number(gpus), money(cost.lost, ""), "-" if cost.missed_share is None else percent(cost.missed_share))
