"""The tables of a study as rows of text, the same for the page, the terminal and CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping

from scenarios.cost.study import HEADER as COSTS
from scenarios.report.text import plural, quantity
from scenarios.study.analysis import Analysis, Compared
from scenarios.study.narrative import covers, signed, spread
from scenarios.study.result import DesignResult, StudyResult
from scenarios.study.statistics import MIN_PAIRS, Difference
from topologies.model.document import show

Row = tuple[str, ...]


def overview(analysis: Analysis) -> tuple[Row, list[Row]]:
    """Header and a row for each design: its runs, and of each metric median and interval, or range of few runs."""
    result = analysis.result
    header = ("design", "runs", *(m.label for m in analysis.metrics))
    rows = [(_called(result, name), _runs(design), *(_median(m, name) for m in analysis.metrics))
            for name, design in result.designs.items()]
    return header, rows


def _called(result: StudyResult, name: str) -> str:
    words = [w for w, is_so in (("baseline", name == result.baseline), ("reference", result.designs[name].reference))
             if is_so]
    return f"{name} ({', '.join(words)})" if words else name


def _runs(design: DesignResult) -> str:
    """'5', or '4 (1 INVALID)'."""
    left_out = sum(not run.usable for run in design.runs)
    return f"{len(design.used)} ({left_out} INVALID)" if left_out else str(len(design.used))


def _median(metric: Compared, name: str) -> str:
    e = metric.estimates.get(name)
    if e is None:
        return "-"
    value = quantity(e.median, metric.unit)
    return value if e.n == 1 else f"{value} ({spread(e, metric.unit)})"


DIFFERENCES = ("metric", "design", "against", "median", "difference", "interval", "coverage", "pairs", "seen")


def differences(analysis: Analysis) -> list[Row]:
    """Every design against the baseline in every metric, under the header DIFFERENCES."""
    return [(m.label, f.design, f.against, quantity(m.estimates[f.design].median, m.unit), *_reported(m, f.difference))
            for m in analysis.metrics for f in m.findings]


def _reported(metric: Compared, d: Difference | None) -> Row:
    if d is None:
        return "-", "-", "-", "0", "no seed has both"
    share = f" ({signed(100 * d.share, '%')})" if d.share is not None else ""
    better = "better" if metric.is_better(d.median) else "worse"
    seen = better if d.seen else "no" if d.n >= MIN_PAIRS else "too few pairs"
    return (signed(d.median, metric.unit) + share, spread(d, metric.unit), covers(d), str(d.n), seen)


def verdicts(result: StudyResult) -> str:
    """'13 VALID, 2 SUSPECT and 1 INVALID of 16 runs'."""
    levels = Counter(run.verdict for _, run in result.outcomes)
    parts = [f"{levels[level]} {level}" for level in ("VALID", "SUSPECT", "INVALID") if levels[level]]
    return f"{', '.join(parts)} of {plural(sum(levels.values()), 'run')}" if parts else "no run has ended"


RUNS = ("run", "design", "seed", "verdict", "counts", "took", "why")


def runs(result: StudyResult) -> list[Row]:
    """Every finished run as it was done, and whether it counts, under the header RUNS."""
    found = sorted(result.outcomes, key=lambda item: item[1].started)
    return [(run.run, name, str(run.seed), run.verdict,
             "yes" if result.designs[name].used.get(run.seed) == run else "no",
             quantity(run.seconds, "s"), run.reasons[0] if run.reasons else "") for name, run in found]


def settings(design: DesignResult) -> str:
    """What a design changes in its scenario: 'fabric.spines = 4, ...'."""
    return ", ".join(f"{path} = {show(value)}" for path, value in design.settings.items()) or "nothing"


SUMMARY = ("metric", "unit", "better", "design", "median", "low", "high", "coverage", "runs", "difference",
           "difference_low", "difference_high", "difference_coverage", "pairs", "seen")


def summary_csv(analysis: Analysis) -> str:
    """One line for each metric and design, numbers in the metric's unit; empty where there is no interval."""
    return _csv(SUMMARY, _summary(analysis))


def _summary(analysis: Analysis) -> Iterator[tuple[object, ...]]:
    for m in analysis.metrics:
        found = {f.design: f.difference for f in m.findings}
        for name, e in m.estimates.items():
            d = found.get(name)
            tail = (d.median, d.low, d.high, d.confidence, d.n, d.seen) if d else (None,) * 6
            yield (m.choice.metric, m.unit, m.choice.better, name, e.median, e.low, e.high, e.confidence, e.n, *tail)


def runs_csv(analysis: Analysis) -> str:
    """One line for each finished run, with every metric of the study."""
    keys = [m.choice.metric for m in analysis.metrics]
    result = analysis.result
    return _csv(("run", "design", "seed", "verdict", "counts", *keys), (
        (run.run, name, run.seed, run.verdict, result.designs[name].used.get(run.seed) == run,
         *(run.metrics[key].shown if key in run.metrics else None for key in keys)) for name, run in result.outcomes))


def _csv(header: Row, rows: Iterator[tuple[object, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def json_object(analysis: Analysis, sentences: Mapping[str, list[str]]) -> dict[str, object]:
    """What `--json` prints: the sentences, and medians and differences as numbers."""
    return {"study": analysis.result.name, "quick": analysis.result.quick, **sentences,
            "leaders": {m.choice.metric: list(m.leaders) for m in analysis.metrics},
            "summary": [dict(zip(SUMMARY, row, strict=True)) for row in _summary(analysis)],
            "costs": None if analysis.costs is None else {
                "sentences": analysis.costs.sentences, "basis": analysis.costs.basis,
                "rows": [dict(zip(COSTS, row, strict=True)) for row in analysis.costs.rows]},
            "missing": [list(key) for key in analysis.result.missing]}
