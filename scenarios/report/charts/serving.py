"""Figures of serving workloads: how soon first tokens came, and what that time was made of.

    all requests   ██▒▒▒▒▒▒▒▒░░░░░░░░░░█        █ network in  ▒ queue  ░ prefill  █ first token out
    slowest tenth  ███▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒░░░░░░░░░██
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure as Canvas

from scenarios.report.charts.canvas import DASHES, WIDE, Figure, Ink, Look, canvas, figure
from scenarios.report.text import number, percent, plural, quantity
from traffic.inference.records import ServingRecord, ServingSetupRecord
from traffic.metrics.metric import ENOUGH
from traffic.metrics.serving.inference import FETCH, PARTS, met, ttft
from traffic.runtime.reading import Records

MAX_CURVES = 6
SHORT = ("network in", "KV fetch", "queue", "prefill", "first token out")
LOOKS: tuple[Look, ...] = (       # distinguished by pattern as well as by colour
    {"facecolor": Ink.SERIES[0], "edgecolor": Ink.SERIES[0]},
    {"facecolor": Ink.SERIES[0], "edgecolor": Ink.SERIES[0], "hatch": "xxxx", "alpha": 0.6},
    {"facecolor": "none", "edgecolor": Ink.MUTED, "hatch": "/////"},
    {"facecolor": Ink.LOAD[0], "edgecolor": Ink.LOAD[1]},
    {"facecolor": Ink.SERIES[1], "edgecolor": Ink.SERIES[1], "hatch": "...."})


@dataclass(frozen=True)
class Group:
    """Requests of one workload in one phase, and the SLOs that they were held to (emulated seconds)."""

    name: str
    requests: Sequence[ServingRecord]
    setup: ServingSetupRecord

    @property
    def answered(self) -> list[ServingRecord]:
        """Those with an answer, the one with the soonest first token first."""
        return sorted((r for r in self.requests if r.status == "ok"), key=ttft)


def groups(records: Records) -> list[Group]:
    """Workload by workload and phase by phase, where anything was answered."""
    setups = {(s.workload, s.phase): s for s in records[ServingSetupRecord]}
    found = {key: its[ServingRecord] for key, its in records.by_phase(ServingRecord).items()}
    several = len({phase for _, phase in found}) > 1
    made = [Group(f"{w} in {p}" if several else w, rows, setups[w, p]) for (w, p), rows in found.items()
            if (w, p) in setups]
    return [g for g in made if g.answered]


def serving_figures(records: Records) -> Iterator[Figure]:
    """When first tokens came, and what made them late; nothing without serving."""
    found = groups(records)
    if found:
        yield ttft_figure(found)
        yield parts_figure(found)


def ttft_figure(found: Sequence[Group]) -> Figure:
    """Share of requests whose first token came within a time. What was not answered counts: curves end below 100 %."""
    rows = tuple((g.name, number(len(g.requests)), number(len(g.answered)), quantity(ttft(g.answered[0]), "s"),
                  quantity(float(np.median([ttft(r) for r in g.answered])), "s"), quantity(ttft(g.answered[-1]), "s"),
                  quantity(g.setup.slo_ttft, "s"), number(sum(met(r, g.setup) for r in g.requests)))
                 for g in found)
    caption = " ".join(
        f"{g.name}: {number(len(g.answered))} of {plural(len(g.requests), 'request')} answered, half of the first "
        f"tokens within {quantity(float(np.median([ttft(r) for r in g.answered])), 's')}, "
        f"{percent(sum(ttft(r) <= g.setup.slo_ttft for r in g.answered) / len(g.requests))} of the requests "
        f"within the SLO of {quantity(g.setup.slo_ttft, 's')}." for g in found[:MAX_CURVES])
    return figure("ttft", lambda width: _draw_ttft(width, found[:MAX_CURVES]), title="When first tokens came",
                  caption=f"{caption} Vertical lines: the SLO.",
                  alt=f"Cumulative distribution of the time to the first token. {caption}",
                  header=("workload", "requests", "answered", "soonest", "median", "latest", "SLO", "met every SLO"),
                  rows=rows)


def _draw_ttft(width: float, found: Sequence[Group]) -> Canvas:
    drawing = canvas(width, 2.9)
    axes = drawing.add_subplot()
    for i, g in enumerate(found):
        times = np.asarray([ttft(r) for r in g.answered])
        pick = np.unique(np.linspace(0, len(times) - 1, min(len(times), 400)).astype(int))
        axes.step(times[pick], (pick + 1) / len(g.requests) * 100, where="post", color=Ink.SERIES[i],
                  linestyle=DASHES[i], label=g.name)
    for slo in {g.setup.slo_ttft for g in found}:
        axes.axvline(slo, color=Ink.MUTED, linewidth=0.9, linestyle=":")
    axes.set_ylim(0, 102)
    axes.set_xlim(0)
    axes.set_xlabel("first token within (s)")
    axes.set_ylabel("requests (%)")
    axes.grid()
    drawing.legend(loc="outside upper left", ncols=4 if width >= WIDE else 2, handlelength=2.6, borderaxespad=0.2)
    return drawing


Parts = tuple[str, list[float]]     # which requests, mean seconds of each part of their TTFT


def parts(g: Group) -> list[Parts]:
    """Of all answered requests, and of the slowest tenth where there are enough to have one."""
    answered = g.answered
    chosen = [("all", answered)]
    if len(answered) >= ENOUGH[90]:
        chosen.append(("slowest tenth", answered[-(len(answered) // 10):]))
    return [(f"{g.name}, {which}", [fmean(end(r) - start(r) for r in rows) for _, start, end in PARTS])
            for which, rows in chosen]


def parts_figure(found: Sequence[Group]) -> Figure:
    """Stacked bars of the mean time to the first token."""
    bars = [p for g in found for p in parts(g)]
    caption = " ".join(f"{name}: {quantity(sum(times), 's')}, the largest part {SHORT[int(np.argmax(times))]} with "
                       f"{percent(max(times) / sum(times))}." for name, times in bars if sum(times) > 0)
    shown = [k for k in range(len(PARTS)) if PARTS[k][0] is not FETCH or any(times[k] for _, times in bars)]
    rows = tuple((name, *(f"{times[k]:.4f}" for k in shown), f"{sum(times):.4f}") for name, times in bars)
    return figure("ttft-parts", lambda width: _draw_parts(width, bars, shown), title="What the first token waited "
                                                                                        "for",
                  caption=f"Means. {caption}", alt=f"Stacked bars of the mean time to the first token. {caption}",
                  header=("requests", *(f"{SHORT[k]} (s)" for k in shown), "TTFT (s)"), rows=rows)


def _draw_parts(width: float, bars: Sequence[Parts], shown: Sequence[int]) -> Canvas:
    drawing = canvas(width, 0.9 + 0.42 * max(len(bars), 2))
    axes = drawing.add_subplot()
    for i, (name, times) in enumerate(bars):
        left = 0.0
        for k in shown:
            axes.barh(i, times[k], 0.5, left=left, linewidth=0.6, label=SHORT[k] if i == 0 else None, **LOOKS[k])
            left += times[k]
        if width < WIDE:    # no room beside the bars
            axes.annotate(name, (0, i - 0.27), (2, 1), textcoords="offset points", fontsize=8, va="bottom")
    axes.set_yticks(range(len(bars)), [name for name, _ in bars] if width >= WIDE else [""] * len(bars))
    axes.set_ylim(len(bars) - 0.5, -0.75)
    axes.set_xlim(0)
    axes.set_xlabel("time since the request was due (s)")
    axes.grid(axis="x")
    drawing.legend(loc="outside upper left", ncols=4 if width >= WIDE else 2, borderaxespad=0.2)
    return drawing
