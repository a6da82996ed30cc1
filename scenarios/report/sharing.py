"""What workloads cost each other when they share the network, as sentences: each against itself alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scenarios.report.text import number

Tags = Mapping[str, Mapping[str, Any]]      # tag -> metric, of one workload in one phase
ALIKE = 1.005                   # a smaller factor is left out: the digits shown would be equal
FACTORS = {"interference": "", "ttft_interference": " to its first tokens (median)",
           "e2e_interference": " to be answered (median)"}


def sharing_sentences(phases: Mapping[str, Sequence[tuple[str, Tags]]]) -> list[str]:
    """One sentence for each phase in which something ran beside others that also ran by itself.

    phases: phase -> what ran in it, as (words for it, metrics).
    """
    found = []
    for phase, ran in phases.items():
        costs = [(subject, cost) for subject, tags in ran if (cost := _cost(tags))]
        if len(costs) == 1:
            found.append(f"{costs[0][0]} in phase {phase} {costs[0][1]} as it did alone.")
        elif costs:
            each = [f"{subject[0].lower()}{subject[1:]} {cost}" for subject, cost in costs]
            found.append(f"Side by side in phase {phase}, {', '.join(each[:-1])} and {each[-1]} as alone.")
    return found


def _cost(tags: Tags) -> str:
    """'took 1.9 times as long'; '' where it was not measured."""
    for tag, what in FACTORS.items():
        factor = tags[tag].get("value") if tag in tags else None
        if isinstance(factor, (int, float)):
            times = "" if 1 / ALIKE < factor < ALIKE else f"{number(factor)} times "
            return f"took {times}as long{what}"
    return ""
