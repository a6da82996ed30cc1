"""The answer in a few sentences, computed: other measurements give other sentences.

Pure functions of metrics, predictions, ledger and loads. Nothing here knows what a scenario hoped for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scenarios.report.data import RunData
from scenarios.report.series import Load
from scenarios.report.text import number, percent, plural, quantity

Json = Mapping[str, Any]
# tags that say how a workload did, the first that is there; words for it; whether more is better
HEADLINES: tuple[tuple[str, str, bool], ...] = (
    ("busbw", "of bus bandwidth", True),
    ("throughput", "of throughput", True),
    ("jct", "to complete", False),
    ("step_time", "a step", False),
)
SHORT_OF_LIMIT = 0.9    # METHODS' reference line for bus bandwidth; below it the sentence says "only"


def sentences(data: RunData) -> list[str]:
    """What was found, one sentence a finding, most important first; says so if nothing was measured."""
    names = list(data.scenario.workloads)
    found = [s for name in names if (s := workload_sentence(
        name, _subject(data, name), of_workload(data.metrics, name), of_workload(data.predictions, name)))]
    found += compared(names, data.metrics)
    if not found:
        found.append("No metric was measured, so the question stays open.")
    return [*found, *loss_sentences(data.ledger, data.loads)]


def of_workload(metrics: Mapping[str, Json], name: str) -> dict[str, Json]:
    """Metrics 'ring.busbw' of workload 'ring' by what follows its name."""
    return {key.removeprefix(f"{name}."): m for key, m in metrics.items() if key.startswith(f"{name}.")}


def workload_sentence(name: str, subject: str, metrics: Mapping[str, Json], predicted: Mapping[str, Json]) -> str:
    """'The ring all-reduce "ring" reached 9.21 Mbit/s of bus bandwidth, 0.98 of the predicted 9.4 Mbit/s.'"""
    headline = next((h for h in HEADLINES if _value(metrics.get(h[0])) is not None), None)
    if headline is None:
        return _first_metric(name, metrics)
    tag, words, more_is_better = headline
    value, unit = _value(metrics[tag]) or 0.0, str(metrics[tag].get("unit", ""))
    limit = _value(predicted.get(tag))
    if not limit:
        return f"{subject} {'reached' if more_is_better else 'took'} {quantity(value, unit)} {words}."
    return f"{subject} {_against(value, limit, unit, words, more_is_better)}"


def _against(value: float, limit: float, unit: str, words: str, more_is_better: bool) -> str:
    ratio = value / limit
    if more_is_better:
        only = "only " if ratio < SHORT_OF_LIMIT else ""
        return f"reached {only}{quantity(value, unit)} {words}, {number(ratio)} of its limit of {quantity(limit, unit)}."
    return f"took {quantity(value, unit)} {words}, {number(ratio)} times the predicted {quantity(limit, unit)}."


def _first_metric(name: str, metrics: Mapping[str, Json]) -> str:
    """Metrics without a headline: the first that has a value."""
    for metric in metrics.values():
        if _value(metric) is not None:
            return f"{name}: {metric.get('title', metric.get('tag', ''))} was " \
                   f"{quantity(metric['value'], str(metric.get('unit', '')))}."
    return ""


def compared(names: Sequence[str], metrics: Mapping[str, Json]) -> list[str]:
    """For the first headline that several workloads share: which did best and which worst, and by how much."""
    for tag, _, more_is_better in HEADLINES:
        values = {n: v for n in names if (v := _value(metrics.get(f"{n}.{tag}"))) is not None and v > 0}
        if len(values) < 2:
            continue
        ranked = sorted(values, key=lambda n: values[n], reverse=more_is_better)
        best, worst = values[ranked[0]], values[ranked[-1]]
        ratio = best / worst if more_is_better else worst / best
        title = metrics[f"{ranked[0]}.{tag}"].get("title", tag)
        if ratio < 1.005:
            return [f"{', '.join(ranked)} do not differ in {title}."]
        return [f"By {title}, {ranked[0]} did best and {ranked[-1]} worst: a factor of {number(ratio)}."]
    return []


def loss_sentences(ledger: Json | None, loads: Sequence[Load]) -> list[str]:
    """Where packets were lost, and which link was the busiest."""
    found = [queue_sentence(ledger, loads)]
    if ledger:
        found += [_lost(ledger.get("policy_drops"), "a policy dropped"),
                  _lost(ledger.get("fault_losses"), "were lost in declared faults:"),
                  _lost(ledger.get("emulator_drops"), "the emulator itself lost"),
                  _unexplained(ledger.get("unexplained"))]
    return [s for s in found if s]


def queue_sentence(ledger: Json | None, loads: Sequence[Load]) -> str:
    """Drops by queue if there were any, else the busiest queue, which dropped none."""
    busiest = loads[0] if loads else None
    if ledger is None:
        return f"The busiest link, {busiest.direction}, carried {percent(busiest.mean)} of its rate." if busiest else ""
    drops: dict[str, int] = {q: n for q, n in ledger.get("queue_drops", {}).items() if n}
    if not drops:
        return (f"The busiest queue, {busiest.direction} ({percent(busiest.mean)} of its rate on average), "
                "dropped no packet, and no other did." if busiest else "No queue dropped a packet.")
    total, worst = sum(drops.values()), max(drops, key=lambda q: drops[q])
    share = f", {percent(total / ledger['sent'])} of all that were sent" if ledger.get("sent") else ""
    if len(drops) == 1:
        return f"One queue, {worst}, dropped {plural(total, 'packet')}{share}; no other dropped any."
    return (f"{len(drops)} queues dropped {plural(total, 'packet')}{share}; "
            f"most of them, {number(drops[worst])}, at {worst}.")


def _lost(causes: Json | None, words: str) -> str:
    named = {c: n for c, n in (causes or {}).items() if n}
    if not named:
        return ""
    listed = ", ".join(f"{c} {number(n)}" for c, n in named.items())
    total = plural(sum(named.values()), "packet")
    return f"{total} {words.removesuffix(':')}: {listed}." if words.startswith("were") \
        else f"{words[0].upper()}{words[1:]} {total}: {listed}."


def _unexplained(places: Json | None) -> str:
    named = {p: n for p, n in (places or {}).items() if n}
    if not named:
        return ""
    listed = ", ".join(f"{p} {number(n)}" for p, n in named.items())
    return f"The books do not close: {listed} cannot be explained."


def _value(metric: Json | None) -> float | None:
    value = metric.get("value") if metric else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _subject(data: RunData, name: str) -> str:
    spec = data.scenario.workloads[name]
    if spec.kind == "collective":
        algorithm = spec.algorithm or ("direct" if spec.op == "all-to-all" else "ring")
        what = f"The {algorithm} {spec.op}"
    else:
        what = {"training-trace": "The replayed training step", "requests": "The replayed requests",
                "udp": "The UDP streams", "bulk": "The bulk transfers"}[spec.kind]
    return what if len(data.scenario.workloads) == 1 else f"{what} {name!r}".replace("'", "“", 1).replace("'", "”", 1)
