"""Curves: load of the busiest links over time, one-way latency of streams over time, latency of requests."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from scenarios.report.charts.canvas import DASHES, WIDE, Figure, Ink, canvas, figure
from scenarios.report.series import Load, active, share, window_edges, window_width
from scenarios.report.text import number, percent, plural, quantity
from traffic.runtime.counters import Counters, Floats
from traffic.runtime.records import RequestRecord, reached
from traffic.transports.udp.records import PacketsRecord

MAX_LINES = 6           # more lines in one figure cannot be distinguished
MAX_BINS = 240          # of a latency curve
MAX_TICKS = 150         # marks of lost packets


def _legend(drawing: Canvas, axes: Axes, width: float) -> None:
    handles, labels = axes.get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside upper left", ncols=6 if width >= WIDE else 2,
                   handlelength=2.6, columnspacing=1.4, borderaxespad=0.2)


def load_figure(counters: Counters, loads: Sequence[Load], phases: Mapping[str, float] | None = None,
                bottlenecks: Collection[str] = ()) -> Figure:
    """Load of the busiest directions over time, and below it what all queues dropped.

    loads: the busiest first, as RunData has them. phases: name -> start, s; drawn where there are several.
    bottlenecks: directions that were the bottleneck, drawn whatever their load is.
    """
    blamed = [load for load in loads if load.direction in bottlenecks]
    top = sorted([*blamed, *(load for load in loads if load not in blamed)][:MAX_LINES], key=lambda k: -k.mean)
    t, used = share(counters, window_width(counters.t))
    columns = [counters.directions.index(load.direction) for load in top]
    dropped = _drops_over_time(counters)
    busiest = loads[0]
    which = f"{len(top)} busiest of {len(loads)} directions{', or that were the bottleneck' if blamed else ''}"
    caption = (f"The {which}. The busiest, {busiest.direction}, "
               f"carried {percent(busiest.mean)} of its rate on average while there was traffic, "
               f"{percent(busiest.peak)} at its peak.")
    caption += f" All queues together dropped {plural(float(dropped.sum()), 'packet')}." if dropped.any() else \
        " No queue dropped a packet while it was sampled."
    rows = tuple((f"{at:.2f}", *(f"{value * 100:.1f}" for value in used[i, columns])) for i, at in enumerate(t))
    return figure(
        "load", lambda width: _draw_loads(width, counters, t, used[:, columns], top, dropped, phases or {}),
        title="Link load over time", caption=caption, alt=f"Line chart. {caption}",
        header=("time (s)", *(f"{load.direction} (%)" for load in top)), rows=rows)


def _drops_over_time(counters: Counters) -> Floats:
    """Packets that all queues dropped in each window of `share`."""
    edges = window_edges(counters.t, window_width(counters.t))
    return np.asarray(np.diff(counters.drops[edges].sum(axis=1)), dtype=float)


def _draw_loads(width: float, counters: Counters, t: Floats, used: Floats, top: Sequence[Load],
                dropped: Floats, phases: Mapping[str, float]) -> Canvas:
    lossy = bool(dropped.any())
    drawing = canvas(width, 4.0 if lossy else 3.0)
    grid = drawing.add_gridspec(2 if lossy else 1, 1, height_ratios=[3, 1] if lossy else [1])
    axes = drawing.add_subplot(grid[0])
    for i, load in enumerate(top):
        axes.plot(t, used[:, i] * 100, color=Ink.SERIES[i], linestyle=DASHES[i], label=load.direction)
    axes.axhline(100, color=Ink.MUTED, linewidth=0.8)
    axes.set_ylim(0, max(105.0, float(np.max(used)) * 103))
    first, last = active(counters)
    for name, begin in phases.items():
        start = max(begin, float(counters.t[first]))
        axes.axvline(start, color=Ink.MUTED, linewidth=0.8, linestyle=":")
        axes.annotate(name, (start, 1), xycoords=("data", "axes fraction"), xytext=(2, 1), textcoords="offset points",
                      fontsize=7, color=Ink.MUTED, annotation_clip=True)
    axes.set_ylabel("load (% of rate)")
    axes.grid(axis="y")
    bottom = axes
    if lossy:
        axes.tick_params(labelbottom=False)
        bottom = drawing.add_subplot(grid[1], sharex=axes)
        bottom.fill_between(t, dropped, step="mid", color=Ink.BAD, linewidth=0)
        bottom.set_ylabel("drops")
        bottom.set_ylim(0)
        bottom.grid(axis="y")
    bottom.set_xlabel("time (s)")
    bottom.set_xlim(float(counters.t[first]), float(counters.t[last]))
    _legend(drawing, axes, width)
    return drawing


@dataclass(frozen=True)
class Stream:
    """Packets of one stream: send times (s), one-way delays (s, nan for a lost packet)."""

    name: str
    t: Floats
    delay: Floats

    @property
    def arrived(self) -> Floats:
        return np.asarray(self.delay[~np.isnan(self.delay)], dtype=float)

    @property
    def lost(self) -> int:
        return int(np.isnan(self.delay).sum())


def streams_of(batches: Sequence[PacketsRecord]) -> list[Stream]:
    """Streams from the batches of their samples, those that lost most first."""
    parts: dict[str, tuple[list[float], list[float]]] = {}
    for batch in batches:
        t, delay = parts.setdefault(batch.stream, ([], []))
        t += batch.t
        delay += [np.nan if d is None else d for d in batch.delay]
    found = [Stream(name, np.asarray(t, dtype=float), np.asarray(d, dtype=float))
             for name, (t, d) in parts.items() if t]
    return sorted(found, key=lambda s: (-s.lost, s.name))


def latency_figure(key: str, title: str, streams: Sequence[Stream]) -> Figure:
    """Median (thick) and longest (thin) one-way latency of streams over time; lost packets as marks below."""
    top = list(streams[:MAX_LINES])
    lost = sum(s.lost for s in streams)
    every = np.concatenate([s.arrived for s in streams])
    caption = plural(len(streams), "stream")
    caption += f", the {len(top)} that lost most drawn" if len(top) < len(streams) else ""
    caption += "; thick: median, thin: longest of each window"
    caption += f"; marks below: {plural(lost, 'lost packet')}." if lost else "; none of the sampled packets was lost."
    if len(every):
        caption += (f" Over all: median {quantity(float(np.median(every)), 's')}, "
                    f"longest {quantity(float(every.max()), 's')}.")
    rows = tuple((s.name, number(len(s.t)), number(s.lost), *_spread(s.arrived)) for s in streams)
    return figure(key, lambda width: _draw_latency(width, top), title=title, caption=caption,
                  alt=f"Line chart of one-way latency over time. {caption}",
                  header=("stream", "sampled packets", "lost", "shortest", "median", "longest"), rows=rows)


def _spread(delay: Floats) -> tuple[str, str, str]:
    if not len(delay):
        return "-", "-", "-"
    low, mid, high = float(delay.min()), float(np.median(delay)), float(delay.max())
    return quantity(low, "s"), quantity(mid, "s"), quantity(high, "s")


def _draw_latency(width: float, streams: Sequence[Stream]) -> Canvas:
    drawing = canvas(width, 3.0)
    axes = drawing.add_subplot()
    for i, stream in enumerate(streams):
        t, median, longest = _binned(stream)
        axes.plot(t, median * 1e3, color=Ink.SERIES[i], linestyle=DASHES[i], label=stream.name)
        axes.plot(t, longest * 1e3, color=Ink.SERIES[i], linewidth=0.6)
        gone = stream.t[np.isnan(stream.delay)]
        gone = gone[::max(1, len(gone) // MAX_TICKS)]
        axes.plot(gone, np.full(len(gone), -0.025 - 0.03 * i), "|", color=Ink.SERIES[i], markersize=4, alpha=0.7,
                  transform=axes.get_xaxis_transform(), clip_on=False)
    axes.set_ylim(0)
    if any(s.lost for s in streams):
        axes.tick_params(axis="x", pad=4 + 5 * len(streams))
    axes.set_xlabel("time (s)")
    axes.set_ylabel("one-way latency (ms)")
    axes.grid(axis="y")
    _legend(drawing, axes, width)
    return drawing


def _binned(stream: Stream) -> tuple[Floats, Floats, Floats]:
    """Middle, median and maximum of at most MAX_BINS windows of equal time; windows without arrivals are left out."""
    here = ~np.isnan(stream.delay)
    t, delay = stream.t[here], stream.delay[here]
    if not len(t):
        return t, delay, delay
    bins = min(MAX_BINS, max(1, len(t) // 10))
    edges = np.linspace(t.min(), t.max(), bins + 1)
    index = np.clip(np.searchsorted(edges, t, side="right") - 1, 0, bins - 1)
    used = np.unique(index)
    groups = [delay[index == b] for b in used]
    middle = (edges[:-1] + edges[1:])[used] / 2
    return middle, np.asarray([np.median(g) for g in groups]), np.asarray([g.max() for g in groups])


def request_figure(requests: Sequence[RequestRecord]) -> Figure | None:
    """Share of requests answered within a time, per workload (and phase, of several); None if none was answered.

    Latency is done - scheduled, as a user feels it. Requests that failed count, so a curve may end below 100 %.
    """
    groups: dict[str, list[RequestRecord]] = {}
    several = len({r.phase for r in requests}) > 1
    for request in requests:
        name = f"{request.workload}, {request.phase}" if several else request.workload
        groups.setdefault(name, []).append(request)
    answered = {name: np.sort([reached(r.done) - r.scheduled for r in group if r.status == "ok"])
                for name, group in groups.items()}
    answered = {name: delays for name, delays in answered.items() if len(delays)}
    if not answered:
        return None
    curves = [(name, delays, len(groups[name])) for name, delays in answered.items()][:MAX_LINES]
    rows = tuple((name, number(total), number(len(d)), *_spread(d)) for name, d, total in curves)
    caption = " ".join(f"{name}: {number(len(d))} of {plural(total, 'request')} answered, half of the answers within "
                       f"{quantity(float(np.median(d)), 's')}, all within {quantity(float(d[-1]), 's')}."
                       for name, d, total in curves)
    return figure("requests", lambda width: _draw_requests(width, curves), title="Latency of requests",
                  caption=caption, alt=f"Cumulative distribution of request latency. {caption}",
                  header=("workload", "requests", "answered", "shortest", "median", "longest"), rows=rows)


def _draw_requests(width: float, curves: Sequence[tuple[str, Floats, int]]) -> Canvas:
    drawing = canvas(width, 2.8)
    axes = drawing.add_subplot()
    for i, (name, delays, total) in enumerate(curves):
        pick = np.unique(np.linspace(0, len(delays) - 1, min(len(delays), 400)).astype(int))
        axes.step(delays[pick], (pick + 1) / total * 100, where="post", color=Ink.SERIES[i], linestyle=DASHES[i],
                  label=name)
    axes.set_ylim(0, 102)
    axes.set_xlim(0)
    axes.set_xlabel("answered within (s)")
    axes.set_ylabel("requests (%)")
    axes.grid()
    _legend(drawing, axes, width)
    return drawing
