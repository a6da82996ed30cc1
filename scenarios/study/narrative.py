"""What a study has found, in sentences that are computed: other data give other sentences.

A difference is reported as one only if its interval leaves out zero; otherwise the sentence says that none was seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from scenarios.report.text import number, percent, plural, quantity
from scenarios.study.analysis import Analysis, Compared, Finding
from scenarios.study.statistics import CONFIDENCE, MIN_PAIRS, Difference, Estimate


def signed(value: float, unit: str) -> str:
    """'-1.2 ms', '+3 requests/s', '0 s'."""
    return f"{'-' if value < 0 else '+' if value > 0 else ''}{quantity(abs(value), unit)}"


def spread(e: Estimate, unit: str) -> str:
    """The interval, '1.2 s to 1.4 s'; of values too few for one their range, 'range 1.2 s to 1.4 s'; a dash of one."""
    if e.n == 1:
        return "-"
    show = signed if isinstance(e, Difference) else quantity
    if e.low is None or e.high is None:
        return f"range {show(e.least, unit)} to {show(e.most, unit)}"
    return f"{show(e.low, unit)} to {show(e.high, unit)}"


def covers(e: Estimate) -> str:
    """What the interval covers, '98.4 %'; a dash where there is none."""
    return "-" if e.confidence is None else f"{100 * e.confidence:.1f} %"


def sure(d: Difference, unit: str) -> str:
    """'98.4 % interval of the paired difference -1.3 s to -0.9 s, 7 of 7 pairs alike'."""
    return (f"{covers(d)} interval of the paired difference {spread(d, unit)}, "
            f"{d.agree} of {plural(d.n, 'pair')} alike")


def finding_sentence(metric: Compared, finding: Finding) -> str:
    """One design against another in one metric."""
    d, a, b = finding.difference, finding.design, finding.against
    if d is None:
        return f"{a} and {b} cannot be compared in {metric.label}: no seed has both."
    if d.n < MIN_PAIRS:
        return (f"Too few pairs to tell {a} and {b} apart in {metric.label}: {d.n}, and a {percent(CONFIDENCE)} "
                f"interval needs {MIN_PAIRS} (differences {_differences(d, metric.unit)}).")
    if not d.seen:
        return (f"No difference seen between {a} and {b} in {metric.label} "
                f"({covers(d)} interval of the paired difference {spread(d, metric.unit)}, {plural(d.n, 'pair')}).")
    verb = "is better than" if metric.is_better(d.median) else "is worse than"
    return (f"{a} {verb} {b} in {metric.label}: {quantity(metric.estimates[a].median, metric.unit)}, "
            f"{by_how_much(d, metric.unit)} than {quantity(d.base, metric.unit)} ({sure(d, metric.unit)}).")


def _differences(d: Difference, unit: str) -> str:
    return f"{signed(d.least, unit)} to {signed(d.most, unit)}" if d.n > 1 else signed(d.median, unit)


def by_how_much(d: Difference, unit: str) -> str:
    """'1.1 s (78 %) less'."""
    share = f" ({percent(abs(d.share))})" if d.share is not None else ""
    return f"{quantity(abs(d.median), unit)}{share} {'more' if d.median > 0 else 'less'}"


def lead_sentence(metric: Compared) -> str:
    """Which design won in one metric, by how much, and how sure that is."""
    if metric.mixed:
        return f"The designs cannot be compared in {metric.label}: {metric.mixed}."
    if not metric.ranked:
        return f"No usable run of a design that could win has measured {metric.label}."
    if not metric.beaten:
        return _undecided(metric)
    best, value = metric.ranked[0], quantity(metric.estimates[metric.ranked[0]].median, metric.unit)
    if len(metric.leaders) == 1:
        words = f"{best} wins in {metric.label} with {value}, "
    else:
        words = (f"{_list(metric.leaders)} lead in {metric.label}, with no difference seen between them: "
                 f"{best} has {value}, ")
    unreported = f"; of {_list(metric.unreported)} there are too few pairs" if metric.unreported else ""
    second, d = next(iter(metric.beaten.items()))
    return f"{words}{by_how_much(d, metric.unit)} than {second}, the next ({sure(d, metric.unit)}){unreported}."


def _undecided(metric: Compared) -> str:
    names = metric.ranked
    value = quantity(metric.estimates[names[0]].median, metric.unit)
    if len(names) == 1:
        return f"In {metric.label} only {names[0]} has a usable run, {value}: there is nothing to compare it with."
    if metric.unreported:
        pairs = min(f.difference.n if f.difference else 0 for f in metric.of_leader.values())
        return (f"Too few runs to say which design is best in {metric.label}: {plural(pairs, 'pair')} "
                f"with the same seeds, and a {percent(CONFIDENCE)} interval needs {MIN_PAIRS}; {names[0]} has the best "
                f"median, {value}.")
    return f"No difference was seen between {_list(names)} in {metric.label}."


def _list(names: tuple[str, ...]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def answer(analysis: Analysis) -> list[str]:
    """The leader of each metric, the study's first metric first; then every finding."""
    return [*(lead_sentence(m) for m in analysis.metrics), *findings(analysis)]


def findings(analysis: Analysis) -> list[str]:
    """Every design against the baseline: differences that were seen first, then those that were not."""
    sentences = [(f.seen, finding_sentence(m, f)) for m in analysis.metrics for f in m.findings]
    return [s for seen, s in sentences if seen] + [s for seen, s in sentences if not seen]


def caveats(analysis: Analysis) -> list[str]:
    """What a reader has to know of the runs behind it."""
    return list(_caveats(analysis))


def _caveats(analysis: Analysis) -> Iterator[str]:
    result = analysis.result
    levels = Counter(run.verdict for _, run in result.outcomes)
    if result.missing:
        one = len(result.missing) == 1
        yield (f"{len(result.missing)} of the {len(result.order)} planned runs {'has' if one else 'have'} "
               "no usable result.")
    if levels["INVALID"]:
        again = sum(1 for name, run in result.outcomes if not run.usable and run.seed in result.designs[name].used)
        yield (f"{plural(levels['INVALID'], 'run')} INVALID and left out"
               + (f"; {number(again)} of them done again" if again else "") + ".")
    suspect = sum(run.verdict == "SUSPECT" for d in result.designs.values() for run in d.used.values())
    if suspect:
        used = sum(len(d.used) for d in result.designs.values())
        yield f"SUSPECT, of the runs that count: {suspect} of {used}. The machine may have affected their numbers."
    machines = sorted({run.made_on for d in result.designs.values() for run in d.used.values()})
    if len(machines) > 1:
        yield f"The runs were not made under the same conditions: {'; '.join(machines)}."
    few = [name for name, d in result.designs.items() if 0 < len(d.used) < MIN_PAIRS]
    if few:
        yield (f"A median of fewer than {MIN_PAIRS} runs has no {percent(CONFIDENCE)} interval: the range is shown for "
               f"{_list(tuple(few))} instead.")
    yield from _chance(analysis)


def _chance(analysis: Analysis) -> Iterator[str]:
    """Many comparisons find something by chance: how many differences that are none one would expect to be reported."""
    enough = [d for d in analysis.comparisons if d.n >= MIN_PAIRS]
    if len(enough) > 1:
        expected = sum(1 - (d.confidence or 0.0) for d in enough)
        yield (f"{len(enough)} comparisons with the baseline were made; even if no design differed, "
               f"chance would report about {number(round(expected, 1))} of them.")
