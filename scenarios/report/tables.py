"""The tables of a report as rows of text, the same for the page and for the terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ruamel.yaml import YAML

from scenarios.report.data import RunData
from scenarios.report.losses import losses
from scenarios.report.measured import Json
from scenarios.report.text import number, plural, quantity, significant
from scenarios.spec.scenario import Scenario
from topologies.model.fabric import Fabric
from topologies.model.scale import NOT_SCALED
from topologies.model.units import show_time
from topologies.proof.calibrate import serialisation
from topologies.switches.datapaths import chosen
from traffic.metrics.on_paths import SUFFIX
from traffic.runtime.records import ConnectionRecord, TcpSettingsRecord
from traffic.workloads.specs import RoceSpec, StreamSpec


@dataclass(frozen=True)
class Term:
    """One line of packet accounting: packets, by cause and place."""

    cause: str
    place: str
    count: int

    @property
    def words(self) -> str:
        return f"{_WORDS[self.cause][0]} {self.place}".rstrip()


@dataclass(frozen=True)
class Accounting:
    """The ledger as an addition. `difference` is what is left of `sent` after all terms; 0 if packet accounting
    balances."""

    terms: tuple[Term, ...]
    sent: int
    balances: bool

    @property
    def total(self) -> int:
        return sum(term.count for term in self.terms)

    @property
    def difference(self) -> int:
        return self.sent - self.total

    @property
    def line(self) -> str:
        """'92,408 sent = 91,204 received + 1,204 dropped at 3 queues; packet accounting balances.'"""
        grouped: dict[str, list[Term]] = {}
        for term in self.terms:
            grouped.setdefault(term.cause, []).append(term)
        parts = [f"{number(sum(t.count for t in terms))} {_together(terms)}" for terms in grouped.values()]
        text = f"{number(self.sent)} sent = {' + '.join(parts)}"
        if self.difference:
            text += f" {'+' if self.difference > 0 else '-'} {number(abs(self.difference))} unexplained"
        return f"{text}; packet accounting {'balances' if self.balances else 'does not balance'}."


_WORDS = {      # cause -> one place, several places
    "received": ("received", ""), "queue": ("dropped at", "dropped at {} queues"),
    "policy": ("dropped by policy", "dropped by {} policies"), "fault": ("lost in fault", "lost in {} faults"),
    "emulator": ("lost by the emulator at", "lost by the emulator at {} places"), "waiting": ("still in queues", ""),
}


def _together(terms: list[Term]) -> str:
    return terms[0].words if len(terms) == 1 else _WORDS[terms[0].cause][1].format(len(terms))


def accounting(ledger: Json) -> Accounting:
    """Received and every *named* loss. What the ledger calls unexplained is no term: it is the difference."""
    terms = [Term("received", "", int(ledger.get("received", 0)))]
    terms += [Term(cause, place, n) for cause, place, n in losses(ledger) if cause in _WORDS]
    if ledger.get("in_queues"):
        terms.append(Term("waiting", "", int(ledger["in_queues"])))
    sent = int(ledger.get("sent", 0))
    adds_up = sent == sum(t.count for t in terms)
    return Accounting(tuple(terms), sent, bool(ledger.get("balances")) and adds_up)


@dataclass(frozen=True)
class MetricRow:
    key: str
    title: str
    value: str
    real: str
    spread: str
    samples: str
    formula: str
    source: str


def metric_rows(data: RunData) -> list[MetricRow]:
    """Every metric once, in the order of metrics.json.

    A workload that ran in several phases has those of the first one under its plain name as well: they are left out.
    """
    again = {f"{name}." for name in data.scenario.workloads
             if sum(name in phase.run for phase in data.scenario.phases) > 1}
    phases = [p.name for p in data.scenario.phases]

    def copied(key: str) -> bool:
        name, _, tag = key.partition(".")
        return f"{name}." in again and any(f"{name}.{phase}.{tag}" in data.metrics for phase in phases)

    return [_metric_row(key, m) for key, m in data.metrics.items() if not copied(key)]


def _metric_row(key: str, metric: Json) -> MetricRow:
    unit = str(metric.get("unit") or "")
    spread, samples = metric.get("spread"), metric.get("samples")
    return MetricRow(
        key, _title(key, metric), quantity(metric.get("value"), unit),
        quantity(metric["real"], unit) if metric.get("real") is not None else "",
        _spread(spread, unit), number(samples) if isinstance(samples, (int, float)) else "",
        str(metric.get("formula") or ""), str(metric.get("source") or ""))


def _title(key: str, metric: Json) -> str:
    title = str(metric.get("title") or metric.get("tag") or key)
    return f"{title}: {metric['where']}" if metric.get("where") else title


def _spread(spread: object, unit: str) -> str:
    if spread is None:
        return ""
    if isinstance(spread, Mapping):
        return ", ".join(f"{name} {quantity(value, unit)}" for name, value in spread.items() if value is not None)
    return quantity(spread, unit)


def prediction_rows(data: RunData) -> list[tuple[str, str, str, str]]:
    """What was predicted before the traffic, what was measured, and their ratio where both are numbers."""
    return [_prediction_row(key, p, data.metrics.get(key.removesuffix(SUFFIX))) for key, p in data.predictions.items()]


def _prediction_row(key: str, predicted: Json, measured: Json | None) -> tuple[str, str, str, str]:
    title = f"{key}: {predicted['title']}" if predicted.get("title") else key
    expected, found = predicted.get("value"), measured.get("value") if measured else None
    unit = str(predicted.get("unit") or "")
    shown = quantity(expected, unit), quantity(found, str(measured.get("unit") or "")) if measured else "not measured"
    same = measured is not None and str(measured.get("unit") or "") == unit
    numbers = isinstance(expected, (int, float)) and isinstance(found, (int, float)) and expected != 0
    return title, *shown, number(found / expected) if same and numbers else ""  # type: ignore[operator]


def note_rows(data: RunData) -> list[tuple[str, str, str]]:
    """Workload, what, and what was made of it: factors, what was folded, what a reader left out."""
    return [(name, what, str(text)) for name, notes in data.notes.items() for what, text in notes.items()]


def provenance(data: RunData) -> list[tuple[str, str]]:
    """Where the numbers come from."""
    meta = data.meta
    rows = [("run", data.id), ("status", meta.status + (f": {meta.error}" if meta.error else "")),
            ("started", _moment(meta.started)),
            ("finished", _moment(meta.finished) if meta.finished else "no end was recorded"),
            ("command", " ".join(meta.argv)), ("seed", str(meta.seed)), ("machine", plural(meta.cores, "core")),
            ("switches and links", chosen(data.fabric).title),
            ("aifab", meta.aifab)]
    rows += [(name, version) for name, version in meta.versions.items()]
    return [*((k, v) for k, v in rows if v), *_tcp(data)]


def _moment(stamp: str) -> str:
    """'2026-01-01T12:00:00.123+00:00' -> '2026-01-01 12:00:00 UTC'"""
    return f"{stamp[:19].replace('T', ' ')} UTC"


def _tcp(data: RunData) -> list[tuple[str, str]]:
    """TCP as it was set in the hosts, each setting with the number of hosts that have it."""
    seen: dict[str, int] = {}
    for record in data.records[TcpSettingsRecord]:
        idle = "on" if record.slow_start_after_idle else "off"
        text = (f"{record.congestion_control}, minimum retransmission timeout {show_time(record.rto_min)}, "
                f"initial window {record.initial_window}, slow start after idle {idle}")
        seen[text] = seen.get(text, 0) + 1
    return [("TCP", f"{text} ({plural(count, 'host')})") for text, count in seen.items()] + _retransmits(data)


def _retransmits(data: RunData) -> list[tuple[str, str]]:
    """Segments sent again, both ways, over the whole life of the connections (warm-up included)."""
    connections = data.records[ConnectionRecord]
    again = sum(c.retransmits + c.reply_retransmits for c in connections)
    text = f"{plural(again, 'segment')} sent again over {plural(len(connections), 'connection')}, warm-up included"
    return [("TCP", text)] if connections else []


def limits(scenario: Scenario, fabric: Fabric) -> list[str]:
    """What this emulation cannot tell."""
    scale = scenario.fabric.scale.scale
    factors = "" if scale.is_identity else \
        f" (rates x {scale.rate:g}, sizes x {scale.size:g}, times x {scale.time:g})"
    return [
        "Transport is the kernel's TCP or UDP over tail-drop queues. Training clusters mostly run RoCE over lossless "
        "or ECN-marked Ethernet: there, congestion shows as pauses and rate cuts where it shows here as drops and "
        "retransmissions.",
        "Time stamps come from software on a shared CPU. They are good to tens of microseconds, not to the 100 ns of a "
        "hardware tester, and rates are not held to 0.1 %.",
        "Switches are programs: their forwarding delay and buffer architecture are not those of a switch chip. "
        "Queues are the emulated links' own, one for each direction.",
        *chosen(fabric).remarks(fabric),
        f"What does not scale{factors}: {'; '.join(NOT_SCALED)}.",
        *_isolated_frames(scenario, fabric),
    ]


def _isolated_frames(scenario: Scenario, fabric: Fabric) -> Iterator[str]:
    """What latencies of single packets leave out (docs/decisions/003-isolated-frames.md): of their slowest pair."""
    datapath = chosen(fabric)
    if any(datapath.crossing_time(link, link.max_frame) > link.delay for link in fabric.links):
        return      # there a frame pays for itself
    for name, spec in scenario.workloads.items():
        if isinstance(spec, StreamSpec | RoceSpec):
            unpaid, src, dst = max((serialisation(fabric, a, b, spec.frame), a, b) for a, b in spec.pairs)
            yield ("A frame that meets empty queues does not pay for its own serialisation here: on real links one of "
                   f"{name}, {spec.frame} bytes from {src} to {dst}, takes {show_time(significant(unpaid))} longer.")


def scenario_yaml(scenario: Scenario) -> str:
    """The frozen scenario with every default written out; it can be run again as it is."""
    text = io.StringIO()
    yaml = YAML()
    yaml.width = 100
    yaml.dump(scenario.model_dump(mode="json", exclude_none=True), text)
    return text.getvalue()
