"""Training under contention: does the fluid model hold, and do the counters name the link?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from scenarios.run.runner import Result, run_scenario
from scenarios.spec.load_scenario import LIBRARY, load_scenario
from scenarios.spec.scenario import Scenario
from tests.bench.book import Book
from tests.bench.labs import undisturbed

WITHIN = 0.1
SLOW_LINK = "leaf1-spine3"
WALL = 120.0        # seconds of a scenario of the library


def training(book: Book) -> None:
    """One uplink of eight at a tenth of its rate: step time within 10 % of max-min fair shares on the observed paths,
    the link named from counters; two jobs on one spine: interference factor within 10 %; every training scenario
    of the library VALID within 2 minutes.
    """
    seeds = (1,) if book.quick else (1, 2, 3)
    slow_uplink(book, seeds)
    two_jobs(book, seeds)
    for path in sorted(LIBRARY.glob("training-*.yml"))[:1 if book.quick else None]:
        library(book, path.stem)


def slow_uplink(book: Book, seeds: tuple[int, ...]) -> None:
    """The library's misconfigured switch, with its event reported to the model, under several seeds."""
    ratios, named = [], []
    for seed in seeds:
        scenario = altered("training-misconfigured-switch", seed, reported=True)
        result = note(book, f"slow uplink, seed {seed}", scenario)
        ratios.append(against_model(result, "ring.misconfigured.step_time"))
        named.append(result.metrics["fabric.misconfigured.bottleneck_link"].where)
    book.median("slow uplink: step time / fair shares", ratios, target=f"within {WITHIN:.0%}",
                met=all(abs(r - 1) <= WITHIN for r in ratios))
    right = [set(d.split("->")) == set(SLOW_LINK.split("-")) for d in named]
    book.figure("slow uplink: link that the counters name", ", ".join(named), target=SLOW_LINK, met=all(right))


def two_jobs(book: Book, seeds: tuple[int, ...]) -> None:
    """The library's two jobs under several seeds: measured interference factors over the model's."""
    ratios = []
    for seed in seeds:
        result = note(book, f"two jobs, seed {seed}", altered("training-two-jobs", seed))
        ratios += [against_model(result, f"{job}.together.interference") for job in ("blue", "green")]
    book.median("two jobs: interference factor / fair shares", ratios, target=f"within {WITHIN:.0%}",
                met=all(abs(r - 1) <= WITHIN for r in ratios))


def altered(name: str, seed: int, *, reported: bool = False) -> Scenario:
    """A scenario of the library with another seed; reported: with no event hidden."""
    spec: dict[str, Any] = load_scenario(name).model_dump(mode="json", exclude_none=True)
    if reported:
        spec["events"] = [{**event, "hidden": False} for event in spec["events"]]
    return Scenario.model_validate({**spec, "seed": seed})


def against_model(result: Result, key: str) -> float:
    """Measured over what the model predicted on the observed paths."""
    predicted = (result.run.read("predictions") or {})[f"{key}_on_paths"]["value"]
    return float(result.metrics[key].value / predicted)


def note(book: Book, what: str, scenario: Scenario) -> Result:
    """Run a scenario, again where the hypervisor disturbs it; its verdict has to be VALID for its figures to count."""
    result, made = undisturbed(lambda: run_scenario(scenario, book.work))
    book.figure(f"{what}: verdict", result.verdict.level.name, target="VALID", met=result.verdict.level.name == "VALID",
                run=result.run.id, runs_made=made, reasons=[r.text for r in result.verdict.reasons])
    return result


def library(book: Book, name: str) -> None:
    """A scenario of the library as it is: verdict, and how long it takes from start to report."""
    meta = note(book, name, load_scenario(name)).run.meta
    start, end = (datetime.fromisoformat(t) for t in (meta.started, meta.finished or meta.started))
    seconds = (end - start).total_seconds()
    book.figure(f"{name}: wall time", seconds, "s", target=f"at most {WALL:g} s", met=seconds <= WALL)
