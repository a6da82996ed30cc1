"""What the benchmarks share: a scenario run whole, or traffic in a lab that is up, with its packet accounting."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scenarios.run.child import Child
from scenarios.run.jobs import drain_time
from scenarios.run.lab import Lab, lab
from scenarios.run.runner import Result, run_scenario
from scenarios.spec.load_scenario import load_scenario
from scenarios.study.idle_wait import wait_until_idle
from scenarios.verdict.invariants.headroom import STEAL
from tests.bench.book import Book
from tests.workloads import workload_of
from topologies.access.events import Done
from topologies.lab.host_limits import measuring_lock
from topologies.links.htb.counters import sent_bytes
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec
from topologies.proof.counters import hops, snapshot, wait_quiet
from topologies.proof.ledger import Ledger, balance
from traffic.runtime.reading import lines
from traffic.transports.udp.plan import Job, streams_of
from traffic.workloads.specs import CollectiveSpec, StreamSpec
from traffic.workloads.workload import to_json

TRIES = 3           # of a run that the hypervisor disturbs
READY = 30.0        # seconds for a process of traffic to be ready
END = 300.0         # and to be done
Row = dict[str, Any]


@contextmanager
def lab_alone(spec: FabricSpec) -> Iterator[Lab]:
    """A lab that forwards, as the only measuring one of this machine."""
    with measuring_lock(wait=True), lab(expand(spec)) as it:
        yield it


def stolen(counters: Iterable[Row]) -> float:
    """The largest fraction of a second that the hypervisor took in the whole run."""
    return max(float(c["steal"]) for c in counters if c["kind"] == "cpu")


def undisturbed(run: Callable[[], Result], tries: int = TRIES) -> tuple[Result, int]:
    """The first run that the hypervisor left alone, or the last, and how many there were.

    On a shared machine the hypervisor takes time away, and the verdict says so. That says nothing of aifab's own
    headroom, so such a run is made again, whatever else it found; how often is reported beside the figure.
    """
    made = 1
    while stolen(lines((result := run()).run.counters_path)) > STEAL and made < tries:
        made += 1
        wait_until_idle()
    return result, made


def library_run(book: Book, name: str, options: Sequence[str] = ()) -> Result:
    """A scenario of the library as it is run from the command line, undisturbed if that can be had."""
    scenario = load_scenario(name, options)
    return undisturbed(lambda: run_scenario(scenario, book.work, lock=not book.quick), 1 if book.quick else TRIES)[0]


def run_streams(it: Lab, specs: Mapping[str, StreamSpec], work: Path, seed: int = 1,
                during: Callable[[], None] | None = None) -> list[Row]:
    """All records of these UDP streams, run side by side; `during` is called when they have started."""
    streams = tuple(s for name, spec in specs.items() for s in streams_of(spec, it.fabric, name, seed))
    stem = work / f"streams-{time.monotonic_ns()}"
    records = stem.with_suffix(".jsonl")
    job = Job(inventory=it.net.inventory_path, t0=time.monotonic(), records=records, phase="bench",
              streams=streams, drain=drain_time(it.fabric))
    _run("UDP streams", "traffic.transports.udp", job.model_dump_json(), stem, during)
    return list(lines(records))


def run_collective(it: Lab, spec: CollectiveSpec, work: Path, seed: int = 1) -> list[Row]:
    """All records of one collective workload."""
    stem = work / f"engine-{time.monotonic_ns()}"
    records = stem.with_suffix(".jsonl")
    job = {"inventory": str(it.net.inventory_path), "t0": time.monotonic(), "records": str(records), "phase": "bench",
           "seed": seed, "workloads": [to_json(workload_of(spec, it.fabric, "bench", seed))]}
    _run("the traffic engine", "traffic.engine", json.dumps(job), stem, None)
    return list(lines(records))


def _run(name: str, module: str, job: str, stem: Path, during: Callable[[], None] | None) -> None:
    path = stem.with_suffix(".job.json")
    path.write_text(job)
    child = Child(stem.name, name, module, str(path), logs=stem.parent)
    try:
        child.ready(READY)
        child.say("go")
        if during is not None:
            during()
        child.wait_for(Done, END)
    finally:
        child.end()


def of_kind(records: list[Row], kind: str, **wanted: Any) -> list[Row]:
    """Records of one kind whose fields have the wanted values."""
    return [r for r in records if r["kind"] == kind and all(r[key] == value for key, value in wanted.items())]


def uplink_bytes(it: Lab, leaf: str) -> dict[str, int]:
    """Name of each uplink of a leaf -> bytes that it has sent towards its spine so far."""
    sent = sent_bytes(it.inventory)
    return {k.name: sent[f"{leaf}->{k.far(leaf).node}"] for k in it.fabric.uplinks(leaf)}


class Accounting:
    """The packets of one stretch of a lab's life: filled when the block of `accounting` is left."""

    ledger: Ledger


@contextmanager
def accounting(it: Lab) -> Iterator[Accounting]:
    """Account for packets from one quiet moment of a lab to the next."""
    wait_quiet(it.inventory)
    before = snapshot(it.inventory, it.policy_drops)
    found = Accounting()
    yield found
    wait_quiet(it.inventory, timeout=30)
    found.ledger = balance(it.fabric, hops(it.inventory), before, snapshot(it.inventory, it.policy_drops))
