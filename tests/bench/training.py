"""Training under contention: does the fluid model hold, and do the counters name the link?"""

from __future__ import annotations

import time
from typing import Any

from scenarios.load_scenario import LIBRARY, load_scenario
from scenarios.runner import Result, run_scenario
from scenarios.scenario import Scenario
from tests.bench.book import Book

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
    """The library's misconfigured switch, with its event told to the model, under several seeds."""
    ratios, named = [], []
    for seed in seeds:
        result = run_scenario(altered("training-misconfigured-switch", seed, told=True), book.work)
        ratios.append(against_model(result, "ring.misconfigured.step_time"))
        named.append(str(result.metrics["fabric.misconfigured.pacing"].get("where")))
        note(book, f"slow uplink, seed {seed}", result)
    book.median("slow uplink: step time / fair shares", ratios, target=f"within {WITHIN:.0%}",
                met=all(abs(r - 1) <= WITHIN for r in ratios))
    right = [set(d.split("->")) == set(SLOW_LINK.split("-")) for d in named]
    book.figure("slow uplink: link that the counters name", ", ".join(named), target=SLOW_LINK, met=all(right))


def two_jobs(book: Book, seeds: tuple[int, ...]) -> None:
    """The library's two jobs under several seeds: measured interference factors over the model's."""
    ratios = []
    for seed in seeds:
        result = run_scenario(altered("training-two-jobs", seed), book.work)
        ratios += [against_model(result, f"{job}.together.interference") for job in ("blue", "green")]
        note(book, f"two jobs, seed {seed}", result)
    book.median("two jobs: interference factor / fair shares", ratios, target=f"within {WITHIN:.0%}",
                met=all(abs(r - 1) <= WITHIN for r in ratios))


def altered(name: str, seed: int, *, told: bool = False) -> Scenario:
    """A scenario of the library with another seed; told: with no event hidden."""
    spec: dict[str, Any] = load_scenario(name).model_dump(mode="json", exclude_none=True)
    if told:
        spec["events"] = [{**event, "hidden": False} for event in spec["events"]]
    return Scenario.model_validate({**spec, "seed": seed})


def against_model(result: Result, key: str) -> float:
    """Measured over what the model foretold on the observed paths."""
    foretold = (result.run.read("predictions") or {})[f"{key}_on_paths"]["value"]
    return float(result.metrics[key]["value"] / foretold)


def note(book: Book, what: str, result: Result) -> None:
    """The verdict of a run, which has to be VALID for its figures to count."""
    book.figure(f"{what}: verdict", result.verdict.level.name, target="VALID", met=result.verdict.level.name == "VALID",
                run=result.run.id, reasons=[r.text for r in result.verdict.reasons])


def library(book: Book, name: str) -> None:
    """A scenario of the library as it is: verdict, and how long it takes from start to report."""
    start = time.monotonic()
    note(book, name, run_scenario(load_scenario(name), book.work))
    seconds = time.monotonic() - start
    book.figure(f"{name}: wall time", seconds, "s", target=f"at most {WALL:g} s", met=seconds <= WALL)
