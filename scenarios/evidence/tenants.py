"""The VPCs of a run: applied before it starts, changed on schedule, proved by packets in between.

    apply -> [measurement starts] -> proof -> phase -> proof, if it has changed anything -> phase -> ...

What happened is tenants.json of the run:
    changes  [{t, phase, moves: {host: [from, to]}, version, rules, seconds, pending}]      s since t0; rules: s until
             all switches held the new rules; seconds: until the hosts had their new addresses as well
    shares   [{t, phase, seconds, classes: {name: {min, max}}}]     of all classes, from then on; shares of a link
    proofs   [{t, when, pairs, allowed, denied, drops, reached, false_allows, false_denies, uncounted, seconds}];
             drops: how many of the probes a rule had to drop; reached: pairs 'h1->h2' whose probe arrived
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from controller.intent.vpc import Allocation
from controller.verify.reachability import matrix
from scenarios.evidence.results import RunDirectory, write_whole
from scenarios.evidence.shares import reshared
from scenarios.run.lab import Lab
from scenarios.run.timed import Step
from scenarios.run.verify import Verification, verify
from scenarios.run.vpcs import apply_intent
from scenarios.spec.events import History
from scenarios.spec.scenario import Scenario, Scheduled
from scenarios.spec.vpc_schedule import changes_of, moved, places
from topologies.model.inventory import Inventory
from topologies.switches.datapaths import datapath_of
from traffic.runtime.records import RecordWriter
from traffic.transports.tcp.settings import prepare_namespace

Json = dict[str, Any]
NOWHERE = "default"     # where a host without an attachment is


class Tenants:
    """Who is in which VPC of a running lab. Without VPCs in the scenario it does nothing."""

    def __init__(self, lab: Lab, scenario: Scenario, run: RunDirectory, t0: float) -> None:
        self._lab, self._scenario, self._run, self._t0 = lab, scenario, run, t0
        self._intent = scenario.intent
        self._used = bool(scenario.vpcs)
        self._moved: set[str] = set()       # since the last phase began
        self._classes = dict(lab.fabric.spec.classes)
        self._changes: list[Json] = []
        self._shares: list[Json] = []
        self._proofs: list[Json] = []

    def begin(self) -> None:
        """The scenario's VPCs, before anything is measured."""
        if self._used:
            apply_intent(self._lab.inventory, self._intent)

    def steps(self, phase: str, history: History) -> list[Step]:
        """The changes of a phase, to be done at their times; what they declare to the proof goes into `history`."""
        scale = self._lab.fabric.spec.scale.scale
        return [(scale.to_emulated_time(change.at), partial(self._change, phase, change, history))
                for _, change in changes_of(self._scenario, phase)]

    def prove(self, when: str) -> None:
        """Test every pair of hosts by packets, if there are VPCs; what came of it, good or bad, is written down with
        all changes so far."""
        if not self._used and not self._shares:
            return
        if self._used:
            t, found = time.monotonic(), verify(self._lab.inventory)
            self._proofs.append({"t": t - self._t0, "when": when, **_summary(found), "seconds": time.monotonic() - t})
        self._write()

    def inventory(self, phase: str) -> Path:
        """Before a phase: the lab's inventory with the addresses that hosts have now, which its traffic goes by."""
        if not self._used:
            return self._lab.net.inventory_path
        self._prepare_moved()
        path = self._run.logs / f"{phase}.inventory.json"
        write_whole(path, self.addressed.model_dump_json(indent=1).encode())
        return path

    @property
    def addressed(self) -> Inventory:
        """The lab's inventory with the addresses that hosts have now."""
        hosts = self._lab.controller.intent()["hosts"] if self._used else {}
        return with_addresses(self._lab.inventory, hosts)

    def gateways(self) -> dict[tuple[str, str], str]:
        """(from, to) -> MAC that such frames are addressed to: the host's, or the gateway's where they are routed."""
        if not self._used:
            return {}
        allocation = Allocation.model_validate(self._lab.controller.intent()["allocation"])
        return {(c.source, c.target): c.next_mac for c in matrix(self._intent, self._lab.fabric, allocation)}

    def _change(self, phase: str, change: Scheduled, history: History) -> None:
        """Raises LabError."""
        if change.shares:
            self._share(phase, change, history)
        if change.move:
            self._move(phase, change)

    def _share(self, phase: str, change: Scheduled, history: History) -> None:
        t, self._classes = time.monotonic(), reshared(self._classes, change.shares)
        datapath_of(self._lab.inventory).set_shares(self._lab.inventory, self._classes)
        history.classes = self._classes
        self._shares.append({"t": t - self._t0, "phase": phase, "seconds": time.monotonic() - t,
                             "classes": {name: {"min": c.min, "max": c.max} for name, c in self._classes.items()}})

    def _move(self, phase: str, change: Scheduled) -> None:
        before, after = places(self._intent), moved(self._intent, change.move)
        t = time.monotonic()
        answer = apply_intent(self._lab.inventory, after)
        seconds = time.monotonic() - t
        self._intent = after
        self._changes.append({
            "t": t - self._t0, "phase": phase, "version": answer["version"], "rules": answer["seconds"],
            "seconds": seconds, "pending": answer["pending"],
            "moves": {host: [before.get(host, NOWHERE), subnet] for host, subnet in change.move.items()}})
        self._moved |= set(change.move)

    def _prepare_moved(self) -> None:
        """A new address is a new route, which has to have TCP's settings too. Not during the traffic."""
        with RecordWriter(self._run.records_path) as writer:
            for host in sorted(self._moved):
                writer.write(prepare_namespace(self._lab.inventory.netns[host], self._lab.fabric.spec.tcp, host))
        self._moved.clear()

    def _write(self) -> None:
        self._run.write("tenants", {"changes": self._changes, "shares": self._shares, "proofs": self._proofs})


def with_addresses(inventory: Inventory, hosts: dict[str, Json]) -> Inventory:
    """The inventory with other addresses of its hosts (host -> {ip, ...}, as the API tells them)."""
    fabric = inventory.fabric
    nodes = tuple(n.model_copy(update={"ip": hosts[n.name]["ip"]}) if n.name in hosts else n for n in fabric.nodes)
    readdressed = type(fabric)(spec=fabric.spec, nodes=nodes, links=fabric.links)
    return inventory.model_copy(update={"fabric": readdressed})


def _summary(found: Verification) -> Json:
    allowed = sum(c.allowed for c in found.cells)
    return {"pairs": len(found.cells), "allowed": allowed, "denied": len(found.cells) - allowed,
            "drops": found.expected_drops().total(),
            "reached": [f"{c.source}->{c.target}" for n, c in enumerate(found.cells)
                        if c.target in found.heard.get(n, ())],
            "false_allows": [{"source": c.source, "target": c.target, "heard": host, "reason": c.reason}
                             for c, host in found.false_allows()],
            "false_denies": [{"source": c.source, "target": c.target, "reason": c.reason}
                             for c in found.false_denies()],
            "uncounted": [{"switch": switch, "rule": rule, "expected": expected, "counted": counted}
                          for (switch, rule), (expected, counted) in found.uncounted().items()]}
