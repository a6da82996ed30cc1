"""What each rank did in one step: computed, waited for the slowest to join, exchanged; and how long transfers took.

    rank 0  ████████░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒      █ compute   ░ waits for the slowest   ▒ exchanges
    rank 1  ███████████████▒▒▒▒▒▒▒▒▒▒▒▒
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Patch

from scenarios.report.charts.canvas import DASHES, WIDE, Figure, Ink, Look, canvas, figure
from scenarios.report.text import number, percent, plural, quantity
from topologies.model.fabric import Fabric
from traffic.metrics.serving.inference import LONG, SEGMENT
from traffic.runtime.reading import Records
from traffic.runtime.records import CollectiveRecord, ComputeRecord, StepRecord, TransferRecord
from traffic.transports.tcp import TCP

Span = tuple[float, float]      # seconds from the step's start, and how long
MAX_RANKS = 32          # rows that can be distinguished; of more the first are drawn
MAX_CURVES = 6
# a smaller one is faster than line rate by what the idle links' buckets let pass (decision 003)
MIN_BYTES = LONG * SEGMENT


@dataclass
class Rank:
    """One rank's spans in one step."""

    compute: list[Span] = field(default_factory=list)
    wait: list[Span] = field(default_factory=list)
    exchange: list[Span] = field(default_factory=list)


@dataclass(frozen=True)
class StepOfRanks:
    """One step of one workload in one phase, rank by rank; seconds is its length."""

    workload: str
    phase: str
    iteration: int
    seconds: float
    ranks: Mapping[int, Rank]


def last_steps(records: Records) -> list[StepOfRanks]:
    """The last measured step of each workload in each phase that has collectives."""
    last: dict[tuple[str, str], StepRecord] = {}
    for step in records[StepRecord]:
        if step.iteration >= 0:
            last[step.workload, step.phase] = step
    found = [_step(step, records) for step in last.values()]
    return [s for s in found if any(r.exchange for r in s.ranks.values())]


def _step(step: StepRecord, records: Records) -> StepOfRanks:
    begin, ranks = step.start, {r: Rank() for r in range(len(step.ranks))}
    key = step.workload, step.phase, step.iteration
    for w in records[ComputeRecord]:
        if (w.workload, w.phase, w.iteration) == key:
            ranks.setdefault(w.rank, Rank()).compute.append((w.start - begin, w.end - w.start))
    for c in records[CollectiveRecord]:
        if (c.workload, c.phase, c.iteration) != key:
            continue
        slowest = max(c.rank_start)
        for rank, start, end in zip(c.ranks, c.rank_start, c.rank_end, strict=True):
            row = ranks.setdefault(rank, Rank())
            joined = min(slowest, end)
            row.wait.append((start - begin, joined - start))
            row.exchange.append((joined - begin, end - joined))
    return StepOfRanks(step.workload, step.phase, step.iteration, step.end - begin, ranks)


def timeline_figure(step: StepOfRanks, *, several_phases: bool) -> Figure:
    """What each rank of a step did when."""
    where = f"{step.workload} in phase {step.phase}" if several_phases else step.workload
    sums = {r: [sum(s for _, s in spans) for spans in (row.compute, row.wait, row.exchange)]
            for r, row in step.ranks.items()}
    caption = f"Iteration {step.iteration}, {quantity(step.seconds, 's')}."
    for i, words in ((0, "computing"), (1, "waiting for the slowest to join")):
        shares = [s[i] / step.seconds for s in sums.values()]
        if max(shares) >= 0.005:
            ends = list(dict.fromkeys((percent(min(shares)), percent(max(shares)))))
            caption += f" Share of it spent {words}: {' to '.join(ends)}."
    if len(step.ranks) > MAX_RANKS:
        caption += f" The first {MAX_RANKS} ranks are drawn; the table has all."
    rows = tuple((str(r), *(f"{x:.4f}" for x in s)) for r, s in sums.items())
    return figure(
        f"timeline-{step.workload}-{step.phase}", lambda width: _draw_timeline(width, step),
        title=f"What each rank of {where} did", caption=caption,
        alt=f"Gantt chart with a row for each rank of {where}. {caption}",
        header=("rank", "compute (s)", "wait for the slowest (s)", "exchange (s)"), rows=rows)


def _draw_timeline(width: float, step: StepOfRanks) -> Canvas:
    shown = dict(list(step.ranks.items())[:MAX_RANKS])
    drawing = canvas(width, 0.9 + 0.2 * max(len(shown), 3))
    axes = drawing.add_subplot()
    looks: tuple[tuple[str, str, Look], ...] = (
        ("compute", "compute", {"facecolor": Ink.SERIES[0], "edgecolor": Ink.SERIES[0]}),
        ("wait", "wait for the slowest", {"facecolor": "none", "edgecolor": Ink.MUTED, "hatch": "/////"}),
        ("exchange", "exchange", {"facecolor": Ink.LOAD[0], "edgecolor": Ink.LOAD[1]}))
    for i, row in enumerate(shown.values()):
        for name, _, look in looks:
            spans = [s for s in getattr(row, name) if s[1] > 0]
            axes.broken_barh(spans, (i - 0.36, 0.72), linewidth=0.5, **look)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_yticks(range(len(shown)), [f"rank {r}" for r in shown])
    axes.set_xlim(0, step.seconds * 1.005)
    axes.set_xlabel("time since the step began (s)")
    axes.grid(axis="x")
    handles = [Patch(label=words, **look) for _, words, look in looks]
    drawing.legend(handles=handles, loc="outside upper left", ncols=3, borderaxespad=0.2)
    return drawing


def slowdowns(transfers: Sequence[TransferRecord], fabric: Fabric) -> dict[str, list[float]]:
    """'workload, phase' -> sorted times of its measured transfers over what each would take alone on its two links.

    Transfers that are too small to have a rate, and those between two ranks on one host, are left out.
    """
    phases = {t.phase for t in transfers}
    found: dict[str, list[float]] = {}
    for t in transfers:
        if t.iteration < 0 or t.bytes < MIN_BYTES or t.src == t.dst or t.end <= t.start:
            continue
        rate = min(fabric.access_link(host).rate for host in (t.src, t.dst))
        alone = 8 * t.bytes / TCP.overhead.bulk_limit(rate, fabric.spec.mtu)
        name = f"{t.workload}, {t.phase}" if len(phases) > 1 else t.workload
        found.setdefault(name, []).append((t.end - t.start) / alone)
    return {name: sorted(values) for name, values in found.items()}


def slowdown_figure(transfers: Sequence[TransferRecord], fabric: Fabric) -> Figure | None:
    """Share of transfers that took up to so many times as long as alone at line rate; None without any."""
    curves = list(slowdowns(transfers, fabric).items())
    if not curves:
        return None
    caption = " ".join(f"{name}: {plural(len(v), 'transfer')}, half of them within {number(float(np.median(v)))} times "
                       f"the time that they would take alone at line rate, all within {number(v[-1])}."
                       for name, v in curves[:MAX_CURVES])
    rows = tuple((name, number(len(v)), *(number(float(x)) for x in (v[0], np.median(v), v[-1]))) for name, v in curves)
    return figure("slowdown", lambda width: _draw_slowdown(width, curves[:MAX_CURVES]),
                  title="How long transfers took, against alone at line rate",
                  caption=f"{caption} The grey line is line rate.",
                  alt=f"Cumulative distribution of the slowdown of transfers. {caption}",
                  header=("workload", "transfers", "least", "median", "most"), rows=rows)


def _draw_slowdown(width: float, curves: Sequence[tuple[str, list[float]]]) -> Canvas:
    drawing = canvas(width, 2.8)
    axes = drawing.add_subplot()
    for i, (name, values) in enumerate(curves):
        pick = np.unique(np.linspace(0, len(values) - 1, min(len(values), 400)).astype(int))
        axes.step([values[k] for k in pick], (pick + 1) / len(values) * 100, where="post", color=Ink.SERIES[i],
                  linestyle=DASHES[i], label=name)
    most = max(v[-1] for _, v in curves)
    if most > 8:
        axes.set_xscale("log")
        ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if t <= most * 1.2]
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.minorticks_off()
        axes.set_xlim(0.8, most * 1.1)
    else:
        axes.set_xlim(0, most * 1.05)
    axes.axvline(1, color=Ink.MUTED, linewidth=0.9)
    axes.set_ylim(0, 102)
    axes.set_xlabel("time / time alone at line rate")
    axes.set_ylabel("transfers (%)")
    axes.grid()
    drawing.legend(loc="outside upper left", ncols=3 if width >= WIDE else 1, handlelength=2.6, borderaxespad=0.2)
    return drawing
