"""Declared outages of switches: one dies with its rules, as at a power failure, and starts again without any.

What its own counters had counted dies with it: it is read before and added to what is read at the final packet
accounting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from controller.northbound.client import ControllerClient
from controller.southbound import rule_counters
from scenarios.run.waits import wait_for
from topologies.model.fabric import Fabric
from topologies.model.inventory import Inventory
from topologies.proof.ledger import Counters, Fault
from topologies.switches.datapaths import datapath_of

READY = 30.0        # seconds for a switch that has started again to hold its rules
LOOK = 0.05         # seconds between two looks: each is a request to the controller
Watch = Callable[[str, int], None]      # switch, pid: whose CPU the sampler is to follow


@dataclass
class Outage:
    """One switch, away from `since` to `until` (s since t0); None: to the end. Its own counts when it went."""

    switch: str
    since: float
    until: float | None = None
    policy: dict[str, int] = field(default_factory=dict)    # drop rule -> packets
    overruns: int = 0

    @property
    def name(self) -> str:
        return f"{self.switch} down"

    def end(self, last: float) -> float:
        return last if self.until is None else self.until


def take_down(inventory: Inventory, switch: str, t0: float, note: Callable[[Outage], None]) -> None:
    """End a switch. The outage is noted before: its window must not be shorter than it is."""
    datapath = datapath_of(inventory)
    policy, lost = rule_counters.drops_of(inventory, switch), datapath.losses(inventory, switch)
    note(Outage(switch, time.monotonic() - t0, policy=policy, overruns=lost))
    datapath.kill(inventory, switch)


def bring_up(inventory: Inventory, outage: Outage, t0: float, settle: float, watch: Watch) -> None:
    """Start it again; the outage ends `settle` seconds after it holds its rules. Raises LabError if it never does."""
    watch(outage.switch, datapath_of(inventory).start_again(inventory, outage.switch))
    wait_for(f"{outage.switch} to hold its rules again", partial(_holds_rules, inventory, outage.switch), READY,
             "does the controller run?", LOOK)
    outage.until = time.monotonic() - t0 + settle


def _holds_rules(inventory: Inventory, switch: str) -> bool:
    health = ControllerClient(inventory.api_socket).health()
    return bool(health["converged"] and switch not in health["dead"] and health["switches"][switch]["settled"])


def daemons(inventory: Inventory, outages: Iterable[Outage]) -> dict[str, int]:
    """Switch that was away -> pid of its daemon now, 0 for none."""
    return {o.switch: datapath_of(inventory).pid_of(inventory, o.switch) for o in outages}


def with_lost_counts(counters: Counters, outages: Iterable[Outage]) -> Counters:
    """What was read at the end, and what switches had counted when they died."""
    policy, overruns = {s: dict(rules) for s, rules in counters.policy.items()}, dict(counters.overruns)
    for outage in outages:
        rules = policy.setdefault(outage.switch, {})
        for rule, packets in outage.policy.items():
            rules[rule] = rules.get(rule, 0) + packets
        overruns[outage.switch] = overruns.get(outage.switch, 0) + outage.overruns
    return replace(counters, policy=policy, overruns=overruns)


def faults(outages: Iterable[Outage], fabric: Fabric, end: float) -> list[Fault]:
    """For the ledger: each switch once, with all of its time, beside all of its links.

    Leaves first: what was dropped for want of a path to one of them is theirs before it can be a spine's.
    """
    seconds: dict[str, float] = {}
    for outage in sorted(outages, key=lambda o: not fabric.node(o.switch).is_leaf):
        seconds[outage.switch] = seconds.get(outage.switch, 0.0) + outage.end(end) - outage.since
    return [Fault(f"{switch} down", tuple(k.name for k in fabric.links_of(switch)), s, switch)
            for switch, s in seconds.items()]
