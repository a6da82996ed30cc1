"""Everything that proves a measurement, around the traffic of a run.

    calibrate, audit, sampler on, counters --> sentinel on --> [phases] --> sentinel off,
    quiet, counters, audit, sampler off --> ledger
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from scenarios.evidence.outages import daemons, faults, with_lost_counts
from scenarios.evidence.results import RunDirectory, write_whole
from scenarios.run.child import Child
from scenarios.run.lab import Lab
from scenarios.spec.events import History
from scenarios.verdict.invariants.evidence import Late
from topologies.model.histogram import Histogram
from topologies.proof.audit import audit
from topologies.proof.calibrate import Calibration, calibrate
from topologies.proof.counters import hops, snapshot, wait_quiet
from topologies.proof.findings import Finding
from topologies.proof.ledger import Counters, Ledger, balance
from topologies.switches.datapaths import datapath_of
from traffic.runtime.records import SENTINEL
from traffic.transports.udp.plan import sentinel_job

READY = 20.0        # seconds for a helper process to be ready
SENTINEL_END = 30.0


@dataclass
class Proof:
    """What was found out about the emulation itself; filled while the run goes on."""

    history: History
    calibration: Calibration | None = None
    audits: list[Finding] = field(default_factory=list)
    before: Counters | None = None
    after: Counters | None = None
    ledger: Ledger | None = None
    phases: list[tuple[str, float, float]] = field(default_factory=list)    # name, start, end: s since t0
    sentinel: bool = False
    controller_ended: bool = False
    late: list[Late] = field(default_factory=list)


class Measurement:
    """One measured stretch of a lab's life; `start` and `finish` once each, `abort` at any time."""

    def __init__(self, lab: Lab, run: RunDirectory, t0: float, seed: int) -> None:
        self.lab, self.run, self.t0, self.seed = lab, run, t0, seed
        self.proof = Proof(History(lab.fabric))
        self.sampler: Child | None = None
        self.sentinel: Child | None = None

    def start(self) -> None:
        """Leaves the lab quiet but for the sentinel."""
        inventory = self.lab.inventory
        self.proof.calibration = calibrate(inventory, self.seed)
        self.proof.audits += audit(inventory)
        watched = [f"{name}={pid}" for name, pid in datapath_of(inventory).processes(inventory).items()]
        self.sampler = Child(
            "sampler", "the sampler", "topologies.proof.sampler", "--inventory", str(self.lab.net.inventory_path),
            "--output", str(self.run.counters_path), "--t0", repr(self.t0), "--watch", *watched, logs=self.run.logs)
        self.sampler.ready(READY)
        wait_quiet(inventory)
        self.proof.before = snapshot(inventory, self.lab.policy_drops)
        self._start_sentinel()

    def _start_sentinel(self) -> None:
        job = sentinel_job(self.lab.fabric, self.lab.net.inventory_path, self.t0, self.run.records_path, self.seed)
        if job is None:
            return
        path = self.run.logs / f"{SENTINEL}.job.json"
        write_whole(path, job.model_dump_json().encode())
        self.sentinel = Child(SENTINEL, "the sentinel stream", "traffic.transports.udp", str(path), logs=self.run.logs)
        self.sentinel.ready(READY)
        self.sentinel.say("go")
        self.proof.sentinel = True

    def watch(self, name: str, pid: int) -> None:
        """Let the sampler watch a process's CPU."""
        if self.sampler is not None:
            self.sampler.say(f"watch {name} {pid}")

    def unwatch(self, name: str) -> None:
        if self.sampler is not None:
            self.sampler.say(f"unwatch {name}")

    def begin_second(self) -> None:
        """Let the sampler end a second of the processors here: phases are made of whole ones."""
        if self.sampler is not None:
            self.sampler.say("second")

    def lateness(self) -> dict[str, Histogram]:
        """How late the fabric's own edge has been so far."""
        return datapath_of(self.lab.inventory).lateness(self.lab.inventory)

    def note_lateness(self, phase: str, before: Mapping[str, Histogram]) -> None:
        """A phase is over that began with `before`."""
        for what, now in self.lateness().items():
            since = now - before[what]
            self.proof.late.append(Late(what, phase, since.count, since.quantile(0.99) / 1e9, since.max / 1e9))

    def finish(self) -> Ledger:
        """Stop the sentinel, wait for quiet, account for packets. Raises RunError if it does not get quiet."""
        if self.sentinel is not None:
            self.sentinel.stop(SENTINEL_END)
        inventory, end = self.lab.inventory, time.monotonic() - self.t0
        wait_quiet(inventory)
        outages, history = self.proof.history.outages, self.proof.history
        away = daemons(inventory, outages)
        read = snapshot(inventory, self.lab.policy_drops, [name for name, pid in away.items() if not pid])
        self.proof.after = with_lost_counts(read, outages)
        self.proof.controller_ended = self.lab.process.poll() is not None
        self.proof.audits += audit(inventory, replace(history.declared(), daemons=away))
        if self.sampler is not None:
            self.sampler.stop(READY)
        if self.proof.before is None:
            raise ValueError("finish() before start()")
        self.proof.ledger = balance(self.lab.fabric, hops(inventory), self.proof.before, self.proof.after,
                                    [*history.faults(end), *faults(outages, self.lab.fabric, end)])
        return self.proof.ledger

    def abort(self) -> None:
        """End the helper processes; they write what they hold."""
        for child in (self.sentinel, self.sampler):
            if child is not None:
                child.end()
