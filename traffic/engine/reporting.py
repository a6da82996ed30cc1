"""An execution's events as records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from traffic.engine.task import Task
from traffic.runtime.records import (
    CollectiveRecord,
    ComputeRecord,
    RecordWriter,
    RequestRecord,
    StepRecord,
    TransferRecord,
)
from traffic.transports.flow import Flow
from traffic.workloads.lowering import Program, Span
from traffic.workloads.workload import Compute, Transfer


class Reporter:
    """Writes the records of one workload in one phase; t0 is the run's zero on CLOCK_MONOTONIC."""

    def __init__(self, program: Program, phase: str, t0: float, writer: RecordWriter) -> None:
        self._program, self._workload, self._phase = program, program.workload, phase
        self._t0, self._writer = t0, writer
        self._span_of = {end: span for span in program.spans for end in span.end}
        self._ends_left: dict[str, int] = {}
        self._responses = {op.id: op for op in program.ops if isinstance(op, Transfer) and op.reply}

    def _time(self, when: float) -> float:
        return when - self._t0

    def _stamp(self, when: float) -> float | None:
        """A stamp of a flow: 0 is never."""
        return when - self._t0 if when else None

    def transferred(self, iteration: int, op: Transfer, flow: Flow) -> None:
        hosts = self._workload.hosts
        self._writer.write(TransferRecord(
            workload=self._workload.name, phase=self._phase, iteration=iteration, op=op.id, src=hosts[op.src],
            dst=hosts[op.dst], src_rank=op.src, dst_rank=op.dst, bytes=op.size, ready=self._time(flow.ready),
            start=self._time(flow.start), end=self._time(flow.end)))

    def computed(self, iteration: int, task: Task, drawn: float | None = None) -> None:
        """drawn: its planned seconds in this iteration, where they vary."""
        op = task.op
        if isinstance(op, Compute):
            self._writer.write(ComputeRecord(
                workload=self._workload.name, phase=self._phase, iteration=iteration, op=op.id, rank=op.rank,
                host=self._workload.hosts[op.rank], seconds=op.seconds if drawn is None else drawn,
                start=self._time(task.ready), end=self._time(task.end)))

    def over(self, iteration: int, start: float, task: Task, tasks: Mapping[str, Task]) -> None:
        """An operation is over: it may complete a collective or a request."""
        span = self._span_of.get(task.op.id)
        if span is not None:
            left = self._ends_left.get(span.collective.id, len(span.end)) - 1
            self._ends_left[span.collective.id] = left
            if not left:
                del self._ends_left[span.collective.id]
                self._collective(iteration, span, tasks)
        response = self._responses.get(task.op.id)
        if response is not None:
            self._request(iteration, start, response, "ok", tasks)

    def given_up(self, iteration: int, start: float, lost: Sequence[Task], status: str,
                 tasks: Mapping[str, Task]) -> None:
        """These operations will not happen. The first one's request has `status`, those behind it failed."""
        for task in lost:
            response = self._responses.get(task.op.id)
            if response is not None:
                own = lost[0].op.id in {response.id, response.reply, *response.after}
                self._request(iteration, start, response, status if own else "failed", tasks)

    def _collective(self, iteration: int, span: Span, tasks: Mapping[str, Task]) -> None:
        c = span.collective
        begin = tuple(self._time(tasks[i].end) for i in span.begin)
        end = tuple(self._time(tasks[i].end) for i in span.end)
        self._writer.write(CollectiveRecord(
            workload=self._workload.name, phase=self._phase, iteration=iteration, op=c.id, collective=c.kind,
            algorithm=c.algorithm, ranks=c.ranks, bytes=c.size, start=min(begin), end=max(end), rank_start=begin,
            rank_end=end))

    def _request(self, iteration: int, start: float, answered: Transfer, status: str,
                 tasks: Mapping[str, Task]) -> None:
        """Of a response to the request that it replies to; a request is called what is behind the slash in its id."""
        request, response = tasks[answered.reply], tasks[answered.id]
        asked = request.op
        if not isinstance(asked, Transfer):
            return
        due = start + asked.at if asked.at or not asked.after else request.ready or start
        first = response.flow.first if response.flow is not None else response.end
        self._writer.write(RequestRecord(
            workload=self._workload.name, phase=self._phase, iteration=iteration,
            id=asked.id.partition("/")[2] or asked.id,
            client=self._workload.hosts[asked.src], server=self._workload.hosts[asked.dst], request_bytes=asked.size,
            response_bytes=answered.size, status=status, scheduled=self._time(due),
            sent=self._stamp(request.flow.start) if request.flow is not None else None, first_byte=self._stamp(first),
            done=self._stamp(response.end) if status == "ok" else None))

    def iteration(self, iteration: int, start: float, end: float, tasks: Mapping[str, Task]) -> None:
        """The step record. A rank's part ends with its last compute or input; a rank that only sends, with that."""
        first: dict[int, float] = {}        # own operations, by the rank that acts
        arriving: dict[int, float] = {}
        inputs: dict[int, float] = {}
        outputs: dict[int, float] = {}
        for task in tasks.values():
            if task.was_given_up:
                continue
            op = task.op
            acts, gets = (op.rank, op.rank) if isinstance(op, Compute) else (op.src, op.dst)
            first[acts] = min(first.get(acts, task.ready), task.ready)
            arriving[gets] = min(arriving.get(gets, task.ready), task.ready)
            outputs[acts] = max(outputs.get(acts, task.end), task.end)
            inputs[gets] = max(inputs.get(gets, task.end), task.end)
        begin, last = {**arriving, **first}, {**outputs, **inputs}
        ranks = tuple((self._time(begin[r]), self._time(last[r])) if r in begin else None
                      for r in range(len(self._workload.hosts)))
        self._writer.write(StepRecord(
            workload=self._workload.name, phase=self._phase, iteration=iteration, start=self._time(start),
            end=self._time(end), ranks=ranks))
