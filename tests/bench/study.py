"""Does a quick study say the same each time? The shared fabric's, again and again with seeds of its own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from scenarios.run.runner import run_scenario
from scenarios.study import page
from scenarios.study.analysis import Analysis, analyse
from scenarios.study.execute import execute
from scenarios.study.idle_wait import wait_until_idle
from scenarios.study.load import load_study
from scenarios.study.narrative import lead_sentence
from scenarios.study.store import Store
from tests.bench.book import Book

STUDIES = 5
SEEN = 4            # of them that have to tell the difference
WALL = 15 * 60.0    # seconds of a quick study
RETRIES = 5         # the most that a study allows: shared machines are noisy for minutes
Key = tuple[str, str]       # metric, design


def study(book: Book) -> None:
    """Quick form of shared-fabric, five times with fresh seeds: no INVALID run, 15 minutes each; what the first metric
    says of each design against flat has one direction in 5 of 5 and is reported as a difference in 4 of 5.
    """
    found = [once(book, n) for n in range(1 if book.quick else STUDIES)]
    directions: dict[Key, list[int]] = {}
    seen: Counter[Key] = Counter()
    for analysis in found:
        for key, sign, reported in differences(analysis):
            directions.setdefault(key, []).append(sign)
            seen[key] += reported
    first = found[0].result.metrics[0].metric
    for (metric, design), signs in directions.items():
        same = max(Counter(signs).values())
        headline = metric == first and not book.quick
        book.figure(f"{metric}, {design} against {found[0].result.baseline}: same direction", f"{same} of {len(found)}",
                    target=f"{STUDIES} of {STUDIES}, reported in {SEEN}" if headline else "",
                    met=same == STUDIES and seen[metric, design] >= SEEN if headline else None,
                    directions=signs, reported=seen[metric, design])


def once(book: Book, n: int) -> Analysis:
    """One study, its wall time, and how many of its runs were INVALID, repeated ones included."""
    smaller = ["quick.repeats=1"] if book.quick else []
    plan = load_study("shared-fabric", [f"seed={100 * n + 1}", f"retries={RETRIES}", *smaller], quick=True)
    store = Store(book.work / f"study-{n + 1}")
    start = time.monotonic()
    with store.locked():
        result = execute(plan, store, lambda scenario: run_scenario(scenario, store.runs, lock=not book.quick),
                         calm=wait_until_idle)
        analysis = analyse(result)
        page.write(analysis, store.directory)
    seconds = time.monotonic() - start
    book.figure(f"study {n + 1}: wall time", seconds, "s", target=f"at most {WALL:g} s",
                met=None if book.quick else seconds <= WALL)
    levels = Counter(run.verdict for _, run in result.outcomes)
    book.figure(f"study {n + 1}: INVALID runs", levels["INVALID"], target="0",
                met=None if book.quick else not levels["INVALID"], verdicts=dict(levels), missing=len(result.missing),
                answer=[lead_sentence(m) for m in analysis.metrics])
    return analysis


def differences(analysis: Analysis) -> Iterator[tuple[Key, int, bool]]:
    """(metric, design), the sign of its difference from the baseline, and whether it was reported as one."""
    for metric in analysis.metrics:
        for f in metric.findings:
            if f.difference is not None:
                sign = (f.difference.median > 0) - (f.difference.median < 0)
                yield (metric.choice.metric, f.design), sign, f.seen
