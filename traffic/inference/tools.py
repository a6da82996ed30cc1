"""Calls of tools: real bytes to a server and back, with its drawn time in between, tried again where that fails.

    try ══ask══> server ──service──> ══answer══> ok
     ├─ the connection is refused or breaks ──┐
     └─ nothing within the tool's time-out ───┴─ backoff ─> the tool's next server, while there are retries

A server takes any number of calls at once. One that has died has its port closed: what connects is refused
by its host's kernel. What it was working on breaks at once, half a round trip before a reset would tell.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic

from traffic.inference.agent import Call, Task
from traffic.inference.links import Links
from traffic.inference.plan import Serving
from traffic.inference.records import ToolRecord
from traffic.runtime.timers import Timers
from traffic.transports.pool import Lease

Over = Callable[["ToolCall"], None]


class ToolCall:
    """One call, from when it is due to its end. Stamps of time.monotonic(), of the last try; None until reached."""

    def __init__(self, call: Call, task: Task, due: float, tools: Tools, over: Over) -> None:
        self.call, self.due, self._task, self._tools, self._over = call, due, task, tools, over
        self.status = self.server = ""
        self.tries = 0
        self.sent: float | None = None
        self.arrived: float | None = None
        self.made: float | None = None
        self.done: float | None = None
        self._current = 0       # the try that is under way, 0 in a pause
        self._lease: Lease | None = None

    def start(self) -> None:
        """Try the next server."""
        if self.status:
            return
        tools, call = self._tools, self.call
        self.tries += 1
        number = self._current = self.tries
        self.server = call.servers[(number - 1) % len(call.servers)]
        self.sent, self.arrived, self.made = monotonic(), None, None
        tools.timers.at(self.sent + tools.timeout, partial(self._lost, number, "timeout"))
        broken = partial(self._lost, number, "failed")
        if self.server in tools.dead:
            self._lease = tools.links.refused(self._task.agent, self.server, broken)
        else:
            self._lease = tools.links.lease(self._task.agent, self.server, broken)
            self._lease.ask(call.ask, partial(self._arrived, number))

    def _is_current(self, number: int) -> bool:
        return not self.status and number == self._current != 0

    def _arrived(self, number: int) -> None:
        if self._is_current(number):
            self.arrived = monotonic()
            self._tools.timers.at(self.arrived + self.call.service, partial(self._served, number))

    def _served(self, number: int) -> None:
        if self._is_current(number) and self._lease is not None:
            self.made = monotonic()
            self._lease.answer(self.call.answer, partial(self._answered, number))

    def _answered(self, number: int) -> None:
        if self._is_current(number) and self._lease is not None:
            self._lease.release()
            self._end("ok")

    def _lost(self, number: int, status: str) -> None:
        """A try came to nothing."""
        if not self._is_current(number):
            return
        self._drop()
        if self.tries <= self._tools.retries:
            pause = self._tools.backoff * 2 ** (self.tries - 1)
            self._tools.timers.at(monotonic() + pause, self.start)
        else:
            self._end(status)

    def _drop(self) -> None:
        self._current = 0
        if self._lease is not None:
            self._lease.abandon()

    def server_died(self) -> None:
        """Its server has died under it."""
        self._lost(self._current, "failed")

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        if not self.status:
            self._drop()
            self._end("cancelled")

    def _end(self, status: str) -> None:
        self.status, self.done = status, monotonic()
        self._tools.forget(self)
        self._over(self)

    def record(self, workload: str, phase: str, t0: float) -> ToolRecord:
        """As it ended."""
        call = self.call
        stamps = {name: None if t is None else t - t0 for name, t in (
            ("sent", self.sent), ("arrived", self.arrived), ("made", self.made), ("done", self.done))}
        return ToolRecord(
            workload=workload, phase=phase, task=self._task.id, id=call.id, tool=call.tool, place=call.kind,
            agent=self._task.agent, server=self.server, status=self.status, tries=self.tries, request_bytes=call.ask,
            response_bytes=call.answer if self.status == "ok" else 0, service=call.service, scheduled=self.due - t0,
            **stamps)


class Tools:
    """The tool servers of one workload."""

    def __init__(self, serving: Serving, links: Links, timers: Timers) -> None:
        agent = serving.spec.agent
        self.links, self.timers = links, timers
        self.timeout = agent.tool_timeout * serving.time if agent else 0.0
        self.retries = agent.tool_retries if agent else 0
        self.backoff = serving.spec.backoff * serving.time
        self.dead: set[str] = set()
        self._open: dict[ToolCall, None] = {}

    def prepare(self, call: Call, task: Task, due: float, over: Over) -> ToolCall:
        """A call that is due now, not yet sent; `over` is called at its end."""
        prepared = ToolCall(call, task, due, self, over)
        self._open[prepared] = None
        return prepared

    def forget(self, call: ToolCall) -> None:
        """It has ended."""
        self._open.pop(call, None)

    def kill(self, host: str) -> None:
        """The tool servers on a host die."""
        self.dead.add(host)
        for call in [c for c in self._open if c.server == host]:
            call.server_died()
