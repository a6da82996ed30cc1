"""How long agents' tasks took, and what of it: the critical path of each task and the parts that it is made of.

    user ─network─> agent: model call ─> tool call ─think─> model call ... ─network─> user
                           network, queue, prefill, decode      network, tools (or external)

The critical path leads back from the last call to whichever of the calls it waited for ended last, and so on.
A call is due at that end, after its pause, so the parts on the path add up to the task's time; what ran beside
the path cost the task nothing. Of a model call: network = prompt in, tokens out after the last one was computed,
and a KV cache's transfer after the first token; queue; prefill; decode = the rest, preemption included. Of a
tool call: network = there and back in the last try; the rest is the tool's, tries that came to nothing included.
What the workers of a replica exchange is in its prefill and decode; then the network's share is not reported.

Source: docs/reference/methods.md: tasks of agents. Critical path: the longest chain of an activity network (Kelley and
Walker 1959).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from topologies.model.scale import MIN_PACKETS
from traffic.inference.records import ServingRecord, TaskRecord, ToolRecord
from traffic.metrics.metric import Definition, Metric, percentile
from traffic.metrics.serving.inference import admitted, fetched, made
from traffic.runtime.records import reached
from traffic.transports.tcp import TCP

Call = ServingRecord | ToolRecord
SOURCE = "docs/reference/methods.md: tasks of agents"
SEGMENT = TCP.overhead.payload()    # bytes, at an MTU of 1500

TIME = Definition("task_time", "s", "time of a task (median)", "median of answer whole at the user - due", SOURCE)
_PART = "mean over answered tasks of {} on the critical path"
NETWORK = Definition("task_network", "s", "task: network (mean)", _PART.format("the bytes' way, the user's included,"),
                     SOURCE)
QUEUE = Definition("task_queue", "s", "task: queue (mean)", _PART.format("admitted to the batch - arrived"), SOURCE)
PREFILL = Definition("task_prefill", "s", "task: prefill (mean)", _PART.format("first token computed - admitted"),
                     SOURCE)
DECODE = Definition("task_decode", "s", "task: decode (mean)", _PART.format("last token computed - first"), SOURCE)
TOOLS = Definition("task_tools", "s", "task: tools (mean)", _PART.format("tools' time, failed tries included,"), SOURCE)
EXTERNAL = Definition("task_external", "s", "task: external services (mean)",
                      _PART.format("external services' time, failed tries included,"), SOURCE)
THINK = Definition("task_think", "s", "task: think time (mean)", _PART.format("pauses before steps"), SOURCE)
PARTS = {"network": NETWORK, "queue": QUEUE, "prefill": PREFILL, "decode": DECODE, "tools": TOOLS,
         "external": EXTERNAL, "think": THINK}
DOMINANT = Definition("task_dominant", "", "largest part of a task", "the largest of the parts' means / mean task time",
                      SOURCE)
SHARE = Definition("task_network_share", "", "share of a task that is the network's", "network / task time, of means; "
                   "reported where the median prompt and the median tool's answer have 10 packets, and replicas are of "
                   "one host each", SOURCE)
CALLS = Definition("task_calls", "", "calls of a task (mean)", "mean of model, tool and external calls", SOURCE)
DONE = Definition("tasks_completed", "tasks", "tasks answered", "tasks with status ok", SOURCE)
FAILED = Definition("tasks_failed", "tasks", "tasks failed", "tasks with status failed", SOURCE)
TIMED_OUT = Definition("tasks_timed_out", "tasks", "tasks timed out", "tasks with status timeout", SOURCE)
OUTCOMES = {"ok": DONE, "failed": FAILED, "timeout": TIMED_OUT}
ERRORS = Definition("tool_errors", "", "failed tries of tool calls",
                    "tries - calls with status ok, of tool and external calls that were not cancelled", SOURCE)


@dataclass(frozen=True, slots=True)
class Step:
    """A call as a path sees it: what it waits for, its pause after that and its length, s."""

    after: tuple[int, ...]
    pause: float
    seconds: float


def critical_path(steps: Mapping[int, Step]) -> tuple[int, ...]:
    """The chain of calls that ends last, first to last; the earlier named of equals. () for no calls.

    steps: by their ids, each after those that it waits for.
    """
    ends: dict[int, float] = {}
    before: dict[int, int] = {}
    for number, step in steps.items():
        start = 0.0
        if step.after:
            before[number] = max(step.after, key=ends.__getitem__)
            start = ends[before[number]]
        ends[number] = start + step.pause + step.seconds
    if not ends:
        return ()
    path = [max(ends, key=ends.__getitem__)]
    while path[-1] in before:
        path.append(before[path[-1]])
    return tuple(reversed(path))


@dataclass(frozen=True, slots=True)
class Anatomy:
    """An answered task: its time, the ids on its critical path, and seconds of each part, which add up to the time."""

    task: int
    seconds: float
    path: tuple[int, ...]
    parts: dict[str, float]

    @property
    def dominant(self) -> str:
        """The largest part."""
        return max(self.parts, key=self.parts.__getitem__)

    def as_json(self) -> dict[str, object]:
        """For tasks.json."""
        return {"task": self.task, "seconds": self.seconds, "path": list(self.path), "dominant": self.dominant,
                "parts": self.parts}


def anatomies(tasks: Sequence[TaskRecord], models: Sequence[ServingRecord],
              tools: Sequence[ToolRecord]) -> list[Anatomy]:
    """Of every answered task."""
    calls: dict[int, Call] = {r.id: r for r in models}
    calls |= {r.id: r for r in tools}
    return [_anatomy(t, calls) for t in tasks if t.status == "ok"]


def _anatomy(task: TaskRecord, calls: Mapping[int, Call]) -> Anatomy:
    steps = {number: Step(after, pause, reached(calls[number].done) - calls[number].scheduled)
             for number, _, after, pause in task.calls}
    path = critical_path(steps)
    parts = dict.fromkeys(PARTS, 0.0)
    done = reached(task.done)
    parts["network"] = reached(task.asked) - task.scheduled + done - reached(task.answered)
    for number in path:
        call = calls[number]
        parts["think"] += steps[number].pause
        for part, seconds in (parts_of_tool(call) if isinstance(call, ToolRecord) else parts_of_model(call)).items():
            parts[part] += seconds
    return Anatomy(task.id, done - task.scheduled, path, parts)


def parts_of_model(r: ServingRecord) -> dict[str, float]:
    """Part -> seconds of an answered model call; they add up to done - scheduled."""
    moved = max(r.kv_end - max(reached(r.kv_start), made(r)), 0.0) if r.kv_end is not None else 0.0
    ready, computed = fetched(r), reached(r.computed)
    return {"network": ready - r.scheduled + reached(r.done) - computed + moved,
            "queue": admitted(r) - ready, "prefill": made(r) - admitted(r),
            "decode": computed - made(r) - moved}


def parts_of_tool(r: ToolRecord) -> dict[str, float]:
    """Part -> seconds of an answered tool call; they add up to done - scheduled."""
    done = reached(r.done)
    network = reached(r.arrived) - reached(r.sent) + done - reached(r.made)
    return {"network": network, "external" if r.place == "external" else "tools": done - r.scheduled - network}


def metrics(tasks: Sequence[TaskRecord], models: Sequence[ServingRecord], tools: Sequence[ToolRecord]) -> list[Metric]:
    """Metrics of one workload's tasks in one phase."""
    if not tasks:
        return []
    found = anatomies(tasks, models, tools)
    return [*_times(found), *_parts(found, models, tools), *_outcomes(tasks, tools)]


def _times(found: Sequence[Anatomy]) -> Iterator[Metric]:
    times = [a.seconds for a in found]
    if times:
        yield TIME.median(times)
    for q in (90, 99):
        value = percentile(times, q)
        if value is not None:
            yield replace(TIME, tag=f"{TIME.tag}_p{q}", title=TIME.title.replace("median", f"p{q}"),
                          formula=TIME.formula.replace("median", f"p{q}")).of(value, len(times))


def _parts(found: Sequence[Anatomy], models: Sequence[ServingRecord], tools: Sequence[ToolRecord]) -> Iterator[Metric]:
    """The parts of the mean time, which add up to it; the largest by name; the network's share above scale."""
    if not found:
        return
    for part, definition in PARTS.items():
        yield definition.mean([a.parts[part] for a in found])
    mean = {part: fmean(a.parts[part] for a in found) for part in PARTS}
    largest, whole = max(mean, key=mean.__getitem__), sum(mean.values())
    yield replace(DOMINANT.of(mean[largest] / whole, len(found)), where=largest)
    sizes = [[r.request_bytes for r in models], [r.response_bytes for r in tools if r.status == "ok"]]
    alone = not any(r.prefill_fabric for r in models)
    if alone and all(median(of) >= MIN_PACKETS * SEGMENT for of in sizes if of):
        yield SHARE.of(mean["network"] / whole, len(found))


def _outcomes(tasks: Sequence[TaskRecord], tools: Sequence[ToolRecord]) -> Iterator[Metric]:
    yield CALLS.mean([len(t.calls) for t in tasks])
    for status, definition in OUTCOMES.items():
        yield definition.of(sum(t.status == status for t in tasks), len(tasks))
    ended = [r for r in tools if r.status != "cancelled"]
    if ended:
        yield ERRORS.of(sum(r.tries - (r.status == "ok") for r in ended), len(ended))
