"""Tasks of agents while they run: a call goes out when all that it waits for has ended.

    user ══asks══> agent ─> calls, each when due ─> ... ─> the last one's answer ══> user
                     ├─ a call that ends badly: the task fails, what is under way is cancelled, the user gets an error
                     └─ time-out: likewise, and the connection is closed

Tasks are an open loop: each begins when it is due, whatever became of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic

from traffic.inference.agent import Call, Task
from traffic.inference.client import Clients, Exchange
from traffic.inference.links import CONTROL_BYTES, Links
from traffic.inference.plan import Serving
from traffic.inference.records import TaskRecord
from traffic.inference.tools import ToolCall, Tools
from traffic.runtime.timers import Timers
from traffic.transports.pool import Lease


class TaskRun:
    """One task, from when it is due to its end. Stamps of time.monotonic(); None until reached."""

    def __init__(self, task: Task, due: float, agents: Agents) -> None:
        self.task, self.due, self._agents = task, due, agents
        self.status = self.reason = ""
        self.asked: float | None = None         # the user's prompt is at the agent
        self.answered: float | None = None      # the last call has ended
        self.done: float | None = None
        self.begun = 0                          # calls
        self._missing = {c.id: len(c.after) for c in task.calls}
        self._followers: dict[int, list[Call]] = {c.id: [] for c in task.calls}
        for call in task.calls:
            for before in call.after:
                self._followers[before].append(call)
        self._open: dict[int, Exchange | ToolCall] = {}
        self._lease: Lease | None = None

    def start(self) -> None:
        """It is due."""
        self._agents.timers.at(self.due + self._agents.timeout, self._time_out)
        self._lease = self._agents.links.lease(self.task.user, self.task.agent, self._broken)
        self._lease.ask(self.task.ask, self._asked)

    def _asked(self) -> None:
        self.asked = monotonic()
        for call in self.task.calls:
            if not call.after:
                self._begin(call, self.asked)

    def _begin(self, call: Call, due: float) -> None:
        if self.status:
            return
        self.begun += 1
        if call.kind == "model":
            exchange = self._open[call.id] = self._agents.ask_model(call, due)
            exchange.start()
        else:
            self._open[call.id] = tool = self._agents.tools.prepare(call, self.task, due, self._tool_over)
            tool.start()

    def _tool_over(self, tool: ToolCall) -> None:
        self._agents.write_tool(tool)
        self.ended(tool.call, tool.status)

    def ended(self, call: Call, status: str) -> None:
        """One of its calls is over: those that have waited for it alone are due after their pause."""
        del self._open[call.id]
        if self.status:
            return
        if status != "ok":
            what = "model call" if call.kind == "model" else f"{call.kind} call of {call.tool}"
            self._fail("timeout" if status == "timeout" else "failed", f"{what}: {status}")
        elif call is self.task.calls[-1]:
            self.answered = monotonic()
            self._tell(self.task.answer)
        else:
            self._follow(call, monotonic())

    def _follow(self, call: Call, now: float) -> None:
        for follower in self._followers[call.id]:
            self._missing[follower.id] -= 1
            if self._missing[follower.id]:
                continue
            due = now + follower.pause
            if follower.pause:
                self._agents.timers.at(due, partial(self._begin, follower, due))
            else:
                self._begin(follower, due)

    def _tell(self, size: int) -> None:
        if self._lease is not None:
            self._lease.answer(size, self._reported)

    def _reported(self) -> None:
        """The answer, or the word that there is none, is with the user."""
        if self.done is None and self._lease is not None:
            self._lease.release()
            self._end("ok", "")

    def _fail(self, status: str, reason: str) -> None:
        """Nothing more is begun, and nobody waits for what is under way."""
        if not self.status:
            self.status, self.reason = status, reason
        for call in list(self._open.values()):
            call.cancel()
        if self.done is None:
            self._tell(CONTROL_BYTES)

    def _time_out(self) -> None:
        if self.done is None:
            self._give_up("timeout", "the task's time-out")

    def _broken(self) -> None:
        if self.done is None:
            self._give_up("failed", "the connection to the user broke")

    def _give_up(self, status: str, reason: str) -> None:
        if self._lease is not None:
            self._lease.abandon()
            self._lease = None
        self._fail(status, reason)
        self._end(status, reason)

    def _end(self, status: str, reason: str) -> None:
        if not self.status:
            self.status, self.reason = status, reason
        self.done = monotonic()
        self._agents.over(self)

    def record(self, workload: str, phase: str, t0: float) -> TaskRecord:
        """As it ended, with its whole tree as it was drawn."""
        task = self.task
        asked, answered, done = (None if t is None else t - t0 for t in (self.asked, self.answered, self.done))
        return TaskRecord(
            workload=workload, phase=phase, id=task.id, user=task.user, agent=task.agent, status=self.status,
            reason=self.reason, request_bytes=task.ask, response_bytes=task.answer, scheduled=self.due - t0,
            asked=asked, answered=answered, done=done, begun=self.begun,
            calls=tuple((c.id, c.kind, c.after, c.pause) for c in task.calls))


class Agents:
    """All tasks of one workload. write_tool: called at each tool call's end; over: at each task's."""

    def __init__(self, serving: Serving, clients: Clients, links: Links, timers: Timers,
                 write_tool: Callable[[ToolCall], None], over: Callable[[TaskRun], None]) -> None:
        agent = serving.spec.agent
        self.timeout = agent.timeout * serving.time if agent else 0.0
        self.links, self.timers, self.tools = links, timers, Tools(serving, links, timers)
        self.write_tool, self.over = write_tool, over
        self._tasks, self._clients = serving.tasks, clients
        self._requests = {r.id: r for r in serving.requests}
        self._runs: dict[int, TaskRun] = {}
        self._calls = {c.id: c for t in serving.tasks for c in t.calls}

    def start(self, when: float) -> None:
        """The open loop begins at `when`."""
        for task in self._tasks:
            run = self._runs[task.id] = TaskRun(task, when + task.at, self)
            self.timers.at(run.due, run.start)

    def ask_model(self, call: Call, due: float) -> Exchange:
        """A model call that is due now, not yet sent."""
        return Exchange(self._requests[call.id], due, self._clients)

    def ended(self, exchange: Exchange) -> None:
        """A model call is over."""
        self._runs[exchange.request.task].ended(self._calls[exchange.request.id], exchange.status)
