"""Switches that hold nothing at first, take what they are sent and confirm it at once."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future

from controller.change import Rollout
from controller.desired_state import DesiredState
from controller.southbound.connection import FlowCounter, GroupCounters
from controller.southbound.reconcile import Change, Installed


class Switches:
    """All of a fabric, connected.

    batches: what each was sent at once, in order; lost: switches whose barriers never come back any more; late: the
    same, but they may, when `late[switch]` is set by hand.
    """

    def __init__(self, desired: DesiredState) -> None:
        self.rollout, self.batches = Rollout(desired, self), list[tuple[str, tuple[Change, ...]]]()
        self.lost: set[str] = set()
        self.late: dict[str, list[Future[None]]] = {}
        for switch in desired.wanted:
            desired.connected(switch)
            self.rollout.installed(switch, Installed())
        self.batches.clear()

    def send(self, switch: str, changes: Iterable[Change]) -> None:
        self.batches.append((switch, tuple(changes)))

    def barrier(self, switch: str, *, changed: bool) -> Future[None]:
        done: Future[None] = Future()
        if switch in self.late:
            self.late[switch].append(done)
        elif switch in self.lost:
            done.cancel()
        else:
            done.set_result(None)
        return done

    def read_counters(self) -> dict[str, tuple[list[FlowCounter], list[GroupCounters]]]:
        return {}
