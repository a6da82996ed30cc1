"""An operation while its program runs."""

from __future__ import annotations

from traffic.transports.flow import Flow
from traffic.workloads.lowering import Primitive


class Task:
    """An operation in an iteration."""

    __slots__ = ("dependents", "end", "flow", "is_over", "needs", "op", "ready", "waits", "was_given_up")

    def __init__(self, op: Primitive) -> None:
        self.op = op
        self.dependents: list[Task] = []
        self.needs = 0
        self.flow: Flow | None = None
        self.reset()

    def reset(self) -> None:
        self.waits = self.needs
        self.is_over = self.was_given_up = False
        self.ready = self.end = 0.0
        if self.flow is not None:
            self.flow.reset()
