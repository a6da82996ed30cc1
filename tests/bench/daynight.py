"""Moving hosts between VPCs under traffic: what it costs those who stay, how long it takes, whether isolation holds."""

from __future__ import annotations

import json
from typing import Any

from scenarios.report.data import load
from scenarios.report.tenants import beside
from scenarios.run.runner import Result, run_scenario
from scenarios.spec.load_scenario import load_scenario
from tests.bench.book import Book


def daynight(book: Book) -> None:
    """The day-night scenario, 5 runs: no packet lost in VPCs that no move touches, isolation exact, every run VALID;
    the time of each move.
    """
    runs = [_once(book) for _ in range(1 if book.quick else 5)]
    for name, values, target in (("packets lost in untouched VPCs", [r["lost"] for r in runs], 0),
                                 ("pairs of hosts not as their VPCs say", [r["wrong"] for r in runs], 0)):
        book.figure(name, max(values), target=f"{target} in every run", met=max(values) == target, runs=values,
                    sent=[r["sent"] for r in runs], pairs=[r["pairs"] for r in runs])
    for key, name in (("rules", "a move, until all switches hold its rules"),
                      ("seconds", "a move, until the host has its new address as well")):
        book.median(name, [round(1e3 * s, 1) for r in runs for s in r[key]], "ms")
    verdicts = [r["verdict"] for r in runs]
    book.figure("verdicts", ", ".join(verdicts), target="VALID", met=set(verdicts) == {"VALID"},
                reasons=[r["reasons"] for r in runs])


def _once(book: Book) -> dict[str, Any]:
    result: Result = run_scenario(load_scenario("day-night"), book.work)
    tenants = json.loads((result.run.path / "tenants.json").read_text())
    streams, proofs = beside(load(result.run)), tenants["proofs"]
    return {
        "sent": sum(s.sent for s in streams), "lost": sum(s.lost for s in streams),
        "pairs": sum(p["pairs"] for p in proofs),
        "wrong": sum(len(p[key]) for p in proofs for key in ("false_allows", "false_denies", "uncounted")),
        "rules": [c["rules"] for c in tenants["changes"]], "seconds": [c["seconds"] for c in tenants["changes"]],
        "verdict": result.verdict.level.name, "reasons": [r.text for r in result.verdict.reasons]}
