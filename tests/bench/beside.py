"""Inference beside training on one fabric, four ways: flat, in VPCs alone, in VPCs with classes, on separate spines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from scenarios.run.runner import Result, run_scenario
from scenarios.spec.load_scenario import load_scenario
from tests.bench.book import Book
from tests.bench.labs import TRIES, undisturbed
from traffic.runtime.reading import lines

NAME = "inference-beside-training"
TOGETHER = ("phases=[{name: beside, run: [chat, train]}]", "validate={}")    # its checks are about all phases
DESIGNS: dict[str, Sequence[str]] = {
    "flat": ("fabric=shared", "vpcs=[]", *TOGETHER),
    "VPCs alone": ("fabric=shared", *TOGETHER),
    "VPCs with classes": (),        # and each tenant alone, once for all designs
    "separate spines": ("fabric=bifurcated", *TOGETHER),
}
SHORT = ("workloads.chat.requests=40", "workloads.train.iterations=2")
SEEDS = 5
RECOVERED = 0.8     # of the TTFT that training beside it costs in one flat network
Row = dict[str, Any]


def beside(book: Book) -> None:
    """Median TTFT: VPCs with classes give back at least 80 % of what training beside it costs in one flat network, VPCs
    alone do not; every run VALID. p99 over all seeds, and what each design costs training.
    """
    rows = [seed_row(book, seed) for seed in range(1, 2 if book.quick else SEEDS + 1)]
    alone = [r["alone"] for r in rows]
    book.median("TTFT alone, median", [1e3 * median(a["ttft"]) for a in alone], "ms", p99=p99(alone))
    for name in DESIGNS:
        of = [r[name] for r in rows]
        book.median(f"TTFT beside training, {name}, median", [1e3 * median(d["ttft"]) for d in of], "ms", p99=p99(of))
        book.figure(f"TTFT beside training, {name}, p99 of all seeds", p99(of), "ms")
        book.median(f"training step beside inference / alone, {name}",
                    [d["step"] / a["step"] for d, a in zip(of, alone, strict=True)])
    for name, target in (("VPCs with classes", f"at least {RECOVERED}"), ("separate spines", ""),
                         ("VPCs alone", f"under {1 - RECOVERED:.1f}: isolation gives no bandwidth back")):
        shares = [recovered(r, name) for r in rows]
        met = {"VPCs with classes": median(shares) >= RECOVERED, "VPCs alone": median(shares) < 1 - RECOVERED}
        book.median(f"share of the lost median TTFT that {name} give back", shares, target=target, met=met.get(name))
    verdicts = {name: [r[name]["verdict"] for r in rows] for name in DESIGNS}
    book.figure("verdicts", ", ".join(sorted({v for several in verdicts.values() for v in several})), target="VALID",
                met={v for several in verdicts.values() for v in several} == {"VALID"}, of=verdicts,
                runs_made=sum(r[name]["made"] for r in rows for name in DESIGNS))


def seed_row(book: Book, seed: int) -> dict[str, Row]:
    """What one seed gave in each design, and alone; the same requests in all of them."""
    found: dict[str, Row] = {}
    for name, options in DESIGNS.items():
        scenario = load_scenario(NAME, [f"seed={seed}", *options, *(SHORT if book.quick else ())])
        run = partial(run_scenario, scenario, book.work, lock=not book.quick)
        result, made = undisturbed(run, 1 if book.quick else TRIES)
        found[name] = of_phase(result, "beside") | {"made": made}
        if not options:
            found["alone"] = {"ttft": ttfts(result, "inference-alone"), "step": step(result, "training-alone")}
    return found


def of_phase(result: Result, phase: str) -> Row:
    return {"ttft": ttfts(result, phase), "step": step(result, phase), "verdict": result.verdict.level.name,
            "reasons": [r.text for r in result.verdict.reasons]}


def ttfts(result: Result, phase: str) -> list[float]:
    """Seconds from due to the first token, of every answered request of a phase."""
    return [r["first"] - r["scheduled"] for r in lines(result.run.records_path)
            if r["kind"] == "serving" and r["phase"] == phase and r["status"] == "ok"]


def step(result: Result, phase: str) -> float:
    """Median step time of the training in a phase, seconds; reported by phase where a run has several."""
    metrics = result.metrics
    name = f"train.{phase}.step_time"
    return metrics[name if name in metrics else "train.step_time"].value


def p99(rows: Sequence[Row]) -> float:
    """ms, over all seeds together: docs/reference/methods.md wants 1,000 samples for it."""
    return float(1e3 * np.percentile([t for r in rows for t in r["ttft"]], 99))


def recovered(row: Mapping[str, Row], name: str) -> float:
    """(flat - design) / (flat - alone), of the medians of one seed."""
    flat, alone, design = (median(row[key]["ttft"]) for key in ("flat", "alone", name))
    return (flat - design) / (flat - alone)
