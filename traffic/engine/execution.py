"""Runs one program: an operation starts when all that it waits for is over, and says what happened.

    waiting --launch--> running --over--> over        given up: over without having happened
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic

from topologies.model.errors import LabError, RunError
from traffic.collectives import part
from traffic.engine.channels import Channels
from traffic.engine.reporting import Reporter
from traffic.engine.task import Task
from traffic.runtime.timers import Timers
from traffic.transports.flow import Flow, Lane
from traffic.workloads.jitter import lengths
from traffic.workloads.lowering import Program
from traffic.workloads.workload import Compute, Transfer


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What an execution tells: an iteration's number and seconds; its end; why it cannot go on."""

    iteration: Callable[[int, float], None]
    finished: Callable[[], None]
    failed: Callable[[LabError], None]


class Execution:
    """One workload from its first warm-up iteration to its last."""

    def __init__(self, program: Program, timers: Timers, reporter: Reporter, callbacks: Callbacks) -> None:
        self.program, self._timers, self._reporter, self._callbacks = program, timers, reporter, callbacks
        self._channels: Channels | None = None
        self.tasks = {op.id: Task(op) for op in program.ops}
        self._answers = {op.reply: op.id for op in program.ops if isinstance(op, Transfer) and op.reply}
        self._connect_tasks()
        self._running: set[Task] = set()            # transfers that are under way
        self._agenda: deque[Task] = deque()
        self._at_work = False
        self._left = 0
        self._iteration = -program.workload.warmup
        self._lengths: dict[str, float] = {}        # of computes, in this iteration, where they vary
        self._start = 0.0
        self._stopped = False

    @property
    def channels(self) -> Channels:
        assert self._channels is not None, "use() comes before start()"  # noqa: S101 - an order of our own calls
        return self._channels

    def use(self, channels: Channels) -> None:
        """Take the connections, which tell their troubles to `broken`."""
        self._channels = channels

    @property
    def total_bytes(self) -> int:
        """Of all iterations, warm-up included."""
        workload = self.program.workload
        return self.program.total_bytes * (workload.warmup + workload.iterations)

    @property
    def done_bytes(self) -> int:
        return self.channels.meter.bytes

    def _connect_tasks(self) -> None:
        workload = self.program.workload
        for task in self.tasks.values():
            for name in task.op.after:
                self.tasks[name].dependents.append(task)
            task.needs = len(task.op.after) + (1 if isinstance(task.op, Transfer) and task.op.at else 0)
            if isinstance(task.op, Transfer) and task.op.size:
                task.flow = self._flow(task.op, task, workload.flows_per_pair)
        for task in self.tasks.values():
            if isinstance(task.op, Transfer) and task.op.behind and task.flow is not None:
                source = self.tasks[task.op.behind].flow
                if source is not None:
                    task.flow.pass_on(source)

    def _flow(self, op: Transfer, task: Task, flows: int) -> Flow:
        sizes = [s for s in (part(op.size, flows, k) for k in range(flows)) if s]
        return Flow(sizes, partial(self._arrived, task, op), wants_first=bool(op.reply))

    # -- iterations ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin the next iteration."""
        for task in self.tasks.values():
            task.reset()
        self._left = len(self.tasks)
        self._lengths = lengths(self.program.workload, self._iteration)
        self._start = monotonic()
        for task in self.tasks.values():
            if isinstance(task.op, Transfer) and task.op.at:
                self._timers.at(self._start + task.op.at, partial(self._due, task, self._iteration))
            if not task.waits:
                self._agenda.append(task)
        if not self._left:
            self._iteration_over()
        self._work()

    def stop(self) -> None:
        """Start nothing more."""
        self._stopped = True

    def _iteration_over(self) -> None:
        now = monotonic()
        self._reporter.iteration(self._iteration, self._start, now, self.tasks)
        self._callbacks.iteration(self._iteration, now - self._start)
        self._iteration += 1
        if self._iteration < self.program.workload.iterations:
            self._timers.at(now, self.start)
        else:
            self._callbacks.finished()

    # -- operations ---------------------------------------------------------------------------------

    def _due(self, task: Task, iteration: int) -> None:
        """The time of `task` has come; one that was given up may have left this behind."""
        if iteration == self._iteration:
            self._satisfied(task)

    def _satisfied(self, task: Task) -> None:
        """One thing that `task` waits for has come true."""
        task.waits -= 1
        if not task.waits and not task.is_over:
            self._agenda.append(task)
            self._work()

    def _work(self) -> None:
        """Launch what is ready; a launch that is over at once makes more ready, without recursion."""
        if self._at_work:
            return
        self._at_work = True
        while self._agenda and not self._stopped:
            self._launch(self._agenda.popleft())
        self._at_work = False

    def _launch(self, task: Task) -> None:
        op = task.op
        task.ready = monotonic()
        if isinstance(op, Compute):
            seconds = self._lengths.get(op.id, op.seconds)
            if seconds:
                self._timers.at(task.ready + seconds, partial(self._computed, task, self._iteration))
            else:
                task.end = task.ready
                self._over(task)
        elif task.flow is None:
            task.end = task.ready
            self._over(task)
        else:
            task.flow.ready = task.flow.since = task.ready
            self._running.add(task)
            self.channels.lanes(op, partial(self._go, task, task.flow))

    def _go(self, task: Task, flow: Flow, lanes: Sequence[Lane]) -> None:
        if not task.is_over and not self._stopped:
            flow.go(lanes[:len(flow.portions)])

    def _computed(self, task: Task, iteration: int) -> None:
        if iteration == self._iteration and not task.is_over and not self._stopped:
            task.end = monotonic()
            self._reporter.computed(self._iteration, task, self._lengths.get(task.op.id))
            self._over(task)

    def _arrived(self, task: Task, op: Transfer, flow: Flow) -> None:
        task.end = flow.end
        self._running.discard(task)
        self.channels.over(op)
        self._reporter.transferred(self._iteration, op, flow)
        self._over(task)

    def _over(self, task: Task) -> None:
        task.is_over = True
        self._left -= 1
        self._reporter.over(self._iteration, self._start, task, self.tasks)
        if not self._left:
            self._iteration_over()
        for dependent in task.dependents:
            self._satisfied(dependent)

    # -- troubles -----------------------------------------------------------------------------------

    def broken(self, op_id: str, error: LabError) -> None:
        """A connection broke. In a pool its request has failed; shared, the run cannot go on."""
        if self.program.workload.connections == "shared":
            self._callbacks.failed(error)
            return
        task = self.tasks[op_id]
        if task.is_over:        # between a request and its answer
            task = self.tasks[self._answers[op_id]]
        if not task.is_over:
            self._give_up(task, "failed")

    def _give_up(self, first: Task, status: str) -> None:
        """`first` and all that waits for it will not happen."""
        lost, todo = [], [first]
        while todo:
            task = todo.pop()
            if not task.is_over:
                task.is_over = task.was_given_up = True
                task.end = monotonic()
                lost.append(task)
                todo += task.dependents
        for task in lost:
            self._running.discard(task)
            if isinstance(task.op, Transfer) and task.flow is not None:
                self.channels.give_up(task.op)
        self._left -= len(lost)
        self._reporter.given_up(self._iteration, self._start, lost, status, self.tasks)
        if not self._left:
            self._iteration_over()

    def find_stalled(self) -> None:
        """Look for transfers that have made no progress for the workload's timeout."""
        now, timeout = monotonic(), self.program.workload.timeout
        stalled = [task for task in self._running if self._is_stalled(task, now, timeout)]
        if not stalled:
            return
        if self.program.workload.connections == "shared":
            self._callbacks.failed(self._stall_error(stalled))
            return
        for task in stalled:
            if not task.is_over:
                self._give_up(task, "timeout")

    def _is_stalled(self, task: Task, now: float, timeout: float) -> bool:
        flow = task.flow
        if flow is None:
            return False
        progress = flow.progress
        has_nothing_to_do = flow.active and flow.allowed == flow.got    # it waits for the one that it is behind
        if progress != flow.seen or has_nothing_to_do:
            flow.seen, flow.since = progress, now
        return now - flow.since >= timeout

    def _stall_error(self, stalled: list[Task]) -> LabError:
        """Names the transfer that has stood still longest."""
        workload = self.program.workload
        flow, op = min(((t.flow, t.op) for t in stalled if t.flow is not None and isinstance(t.op, Transfer)),
                       key=lambda found: found[0].since)
        src, dst = workload.hosts[op.src], workload.hosts[op.dst]
        others = f"; {len(stalled) - 1} more stand still" if len(stalled) > 1 else ""
        return RunError(
            f"workload {workload.name}, transfer {op.id}",
            f"progress from rank {op.src} on {src} to rank {op.dst} on {dst} within {workload.timeout:g} s",
            f"{flow.got} of {op.size} B arrived, none lately{others}",
            f"is a link down between {src} and {dst}? a longer timeout suits a slower network")
