"""Declared changes of links while traffic runs, and what they declare to the proof.

A link taken down is a fault: what is lost beside it between down and the settling after up has that
name. A changed rate or queue is no fault; it is a new expectation for the audit and the link check.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scenarios.scenario import LinkEvent
from topologies import wires
from topologies.audit import Declared
from topologies.errors import LabError
from topologies.fabric import Fabric
from topologies.inventory import Inventory
from topologies.ledger import Fault

SETTLE = 1.0        # seconds after a change in which losses still belong to it


@dataclass(frozen=True)
class Change:
    """One event as it happened; t in seconds since t0."""

    t: float
    link: str
    what: str
    state: str | None = None
    rate: float | None = None
    queue: int | None = None


@dataclass
class History:
    """All changes of a run in order, and what follows from them."""

    fabric: Fabric
    changes: list[Change] = field(default_factory=list)

    def declared(self) -> Declared:
        """Rates and queues as the last events left them."""
        rates = {c.link: c.rate for c in self.changes if c.rate is not None}
        return Declared(rates, {c.link: c.queue for c in self.changes if c.queue is not None})

    def windows(self, end: float) -> list[tuple[str, str, float, float]]:
        """(name, link, from, to) of every fault; one that was never mended lasts to the end."""
        found: list[tuple[str, str, float, float]] = []
        open_since: dict[str, float] = {}
        for c in self.changes:
            if c.state == "down":
                open_since.setdefault(c.link, c.t)
            elif c.state == "up" and c.link in open_since:
                found.append((f"{c.link} down", c.link, open_since.pop(c.link), c.t + SETTLE))
        return found + [(f"{link} down", link, since, end) for link, since in open_since.items()]

    def faults(self, end: float) -> list[Fault]:
        """For the ledger: each faulty link once, with all of its time."""
        seconds: dict[str, float] = {}
        for _, link, since, until in self.windows(end):
            seconds[link] = seconds.get(link, 0.0) + until - since
        return [Fault(f"{link} down", (link,), s) for link, s in seconds.items()]


class Player:
    """Applies the events of one phase at their times, in a thread of its own."""

    def __init__(self, inventory: Inventory, events: Sequence[LinkEvent], history: History, t0: float) -> None:
        self._inventory, self._history, self._t0 = inventory, history, t0
        self._events = sorted(events, key=lambda e: e.at)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True, name="events")
        self.error: LabError | None = None
        self._start = 0.0

    def start(self) -> None:
        self._start = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """No further event; raises what went wrong with one."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self.error is not None:
            raise self.error

    @property
    def left(self) -> int:
        """Events that have not happened."""
        return len(self._events)

    def _play(self) -> None:
        scale = self._inventory.fabric.spec.scale.scale
        while self._events and not self._stop.wait(
                max(0.0, self._start + scale.to_emulated_time(self._events[0].at) - time.monotonic())):
            event = self._events.pop(0)
            try:
                apply(self._inventory, event, self._history.changes.append, self._t0)
            except LabError as error:
                self.error = error
                return


def apply(inventory: Inventory, event: LinkEvent, note: Callable[[Change], None], t0: float) -> None:
    """Carry out one event. A link that goes down is noted before, one that comes up after: the
    window of a fault must not be shorter than the fault."""
    fabric, scale = inventory.fabric, inventory.fabric.spec.scale.scale
    link = fabric.link(event.link)
    if event.state == "down":
        note(Change(time.monotonic() - t0, link.name, "down", state="down"))
        wires.set_state(inventory, link.name, up=False)
    if event.rate is not None:
        rate = scale.to_emulated_rate(event.rate)
        note(Change(time.monotonic() - t0, link.name, "rate", rate=rate))
        wires.set_rate(inventory, link.name, rate)
    if event.queue is not None:
        size = (event.queue.packets * link.max_frame if event.queue.packets
                else round(scale.to_emulated_size(event.queue.bytes or 0)))
        note(Change(time.monotonic() - t0, link.name, "queue", queue=size))
        wires.set_queue(inventory, link.name, size)
    if event.state == "up":
        wires.set_state(inventory, link.name, up=True)
        note(Change(time.monotonic() - t0, link.name, "up", state="up"))
