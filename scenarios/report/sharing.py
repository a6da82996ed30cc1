"""What workloads cost each other when they share the network, as sentences: each against itself alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scenarios.report.measured import Tags, value_of
from scenarios.report.text import number
from traffic.metrics.interference import FIRST_TOKEN, INTERFERENCE, LATENCY

ALIKE = 1.005                   # a smaller factor is left out: the digits shown would be equal
FACTORS = ((INTERFERENCE, ""), (FIRST_TOKEN, " to its first tokens (median)"), (LATENCY, " to be answered (median)"))


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
    for definition, what in FACTORS:
        if (factor := value_of(tags, definition)) is not None:
            times = "" if 1 / ALIKE < factor < ALIKE else f"{number(factor)} times "
            return f"took {times}as long{what}"
    return ""
