"""Declared changes of links and switches while traffic runs, and what they declare to the proof.

A link or a switch (scenarios/evidence/outages.py) taken down is a fault: what is lost beside it between down and the
settling after up has that name. A changed rate or queue is no fault; it is a new expectation for the audit and the
link check.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from controller.northbound.client import ControllerClient
from scenarios.evidence.outages import Outage, Watch, bring_up, take_down
from scenarios.run.timed import Timed
from scenarios.spec.scenario import LinkEvent, Scenario, SwitchEvent
from topologies.model.disciplines import QueueSpec
from topologies.model.fabric import Fabric, Link
from topologies.model.inventory import Inventory
from topologies.model.scale import Scale
from topologies.model.spec import ClassSpec
from topologies.proof.findings import Declared
from topologies.proof.ledger import Fault
from topologies.switches.datapaths import datapath_of

SETTLE = 1.0        # seconds after a change in which losses still belong to it


@dataclass(frozen=True)
class Change:
    """One event as it happened; t in seconds since t0, done when the kernel had taken it over."""

    t: float
    link: str
    what: str
    state: str | None = None
    rate: float | None = None
    queue: int | None = None
    done: float | None = None
    hidden: bool = False

    @property
    def end(self) -> float:
        """s since t0; one that nobody timed took no time."""
        return self.t if self.done is None else self.done


@dataclass
class History:
    """All changes of a run in order, and what follows from them."""

    fabric: Fabric
    changes: list[Change] = field(default_factory=list)
    classes: dict[str, ClassSpec] | None = None     # all of them, with the shares that the schedule left them
    outages: list[Outage] = field(default_factory=list)

    def declared(self) -> Declared:
        """Rates and queues as the last events left them."""
        rates = {c.link: c.rate for c in self.changes if c.rate is not None}
        return Declared(rates, {c.link: c.queue for c in self.changes if c.queue is not None}, self.classes)

    def known_rates(self) -> dict[str, float]:
        """Link -> bit/s as the last event left it, of changes that are not hidden."""
        return {c.link: c.rate for c in self.changes if c.rate is not None and not c.hidden}

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
        covered: dict[str, float] = {}      # a flapping link fails again before the last failure has settled
        for _, link, since, until in self.windows(end):
            begin = max(since, covered.get(link, since))
            seconds[link] = seconds.get(link, 0.0) + max(until - begin, 0.0)
            covered[link] = max(until, begin)
        return [Fault(f"{link} down", (link,), s) for link, s in seconds.items()]


class Player(Timed):
    """Applies the events of one phase at their times."""

    def __init__(self, inventory: Inventory, events: Sequence[LinkEvent | SwitchEvent], history: History, t0: float,
                 watch: Watch = lambda _name, _pid: None) -> None:
        scale = inventory.fabric.spec.scale.scale
        self._inventory, self._history, self._t0, self._watch = inventory, history, t0, watch
        super().__init__("events", [(scale.to_emulated_time(e.at), partial(self._happen, e)) for e in events])

    def _happen(self, event: LinkEvent | SwitchEvent) -> None:
        if isinstance(event, SwitchEvent):
            self._switch(event)
            return
        apply(self._inventory, event, self._history.changes.append, self._t0)
        if event.rate is not None and not event.hidden and self._inventory.fabric.spec.paths == "weighted":
            ControllerClient(self._inventory.api_socket).set_rates(self._history.known_rates())


    def _switch(self, event: SwitchEvent) -> None:
        """Its outage ends when it holds its rules: what comes later waits for that."""
        outages = self._history.outages
        if event.state in ("down", "restart"):
            take_down(self._inventory, event.switch, self._t0, outages.append)
        if event.state in ("up", "restart"):
            last = next(o for o in reversed(outages) if o.switch == event.switch)
            bring_up(self._inventory, last, self._t0, SETTLE, self._watch)


def apply(inventory: Inventory, event: LinkEvent, note: Callable[[Change], None], t0: float) -> None:
    """Carry out one event, a single step. A link that goes down is noted before, one that comes up after: the
    window of a fault must not be shorter than the fault. A new rate or queue is noted with both times."""
    scale = inventory.fabric.spec.scale.scale
    link, datapath = inventory.fabric.link(event.link), datapath_of(inventory)

    def now() -> float:
        return time.monotonic() - t0

    if event.state == "down":
        note(Change(now(), link.name, "down", state="down", hidden=event.hidden))
        datapath.set_state(inventory, link.name, up=False)
    if event.rate is not None:
        rate, start = scale.to_emulated_rate(event.rate), now()
        datapath.set_rate(inventory, link.name, rate)
        note(Change(start, link.name, "rate", rate=rate, done=now(), hidden=event.hidden))
    if event.queue is not None:
        size, start = queue_bytes(event.queue, link, scale), now()
        datapath.set_queue(inventory, link.name, size)
        note(Change(start, link.name, "queue", queue=size, done=now(), hidden=event.hidden))
    if event.state == "up":
        datapath.set_state(inventory, link.name, up=True)
        note(Change(now(), link.name, "up", state="up", hidden=event.hidden))


def queue_bytes(queue: QueueSpec, link: Link, scale: Scale) -> int:
    """Bytes of an event's queue on a link, emulated; one in packets is full frames, which are not scaled."""
    return queue.packets * link.max_frame if queue.packets else round(scale.to_emulated_size(queue.bytes or 0))


def slowest(scenario: Scenario, fabric: Fabric) -> Fabric:
    """The fabric with each link at the lowest rate and the longest queue that events give it: what waits longest."""
    scale, links = fabric.spec.scale.scale, dict(fabric.links_by_name)
    for event in (e for e in scenario.events if isinstance(e, LinkEvent)):
        link = links[fabric.link(event.link).name]
        links[link.name] = link.model_copy(update={
            "rate": min(link.rate, scale.to_emulated_rate(event.rate)) if event.rate else link.rate,
            "queue": max(link.queue, queue_bytes(event.queue, link, scale)) if event.queue else link.queue})
    return Fabric(spec=fabric.spec, nodes=fabric.nodes, links=tuple(links.values()))
