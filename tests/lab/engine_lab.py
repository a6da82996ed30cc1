"""A network for the tests of the traffic engine: hosts on a Linux bridge, each shaped where it sends.

    h1 ─HTB─ veth ─┐
    h2 ─HTB─ veth ─┼─ bridge          every host in a namespace of its own, named with this process's id
    ...            ┘

Each host's bridge port has its name.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from topologies.lab.host_limits import hold_settings, release_settings
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.inventory import Inventory
from topologies.model.spec import FabricSpec
from traffic.runtime.reading import lines
from traffic.workloads.workload import Workload, to_json

Json = dict[str, Any]


def run(command: str, script: str = "") -> str:
    done = subprocess.run(command.split(), input=script, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@dataclass
class EngineRun:
    """An engine process under test: its events so far and where its records go."""

    process: subprocess.Popen[str]
    records: Path
    events: list[Json] = field(default_factory=list)

    def until(self, *kinds: str) -> Json:
        """Read events up to the first one of these kinds."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1]["event"] in kinds:
                return self.events[-1]
        assert self.process.stderr is not None
        raise AssertionError(f"no {kinds} in {self.events}; stderr: {self.process.stderr.read()}")

    def go(self) -> None:
        assert self.process.stdin is not None
        self.until("ready")
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def end(self) -> int:
        """Wait for the end and return the exit code."""
        assert self.process.stdout is not None
        self.events += [json.loads(line) for line in self.process.stdout]
        code = self.process.wait(30)
        assert self.process.stderr is not None
        errors = self.process.stderr.read()
        assert not errors, errors
        return code

    def of(self, kind: str) -> list[Json]:
        return [r for r in lines(self.records) if r["kind"] == kind]


@dataclass(frozen=True)
class EngineLab:
    """A running network of hosts h1 .. hN."""

    fabric: Fabric
    directory: Path
    prefix: str

    @property
    def inventory(self) -> Path:
        return self.directory / "inventory.json"

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(h.name for h in self.fabric.hosts)

    def netns(self, host: str) -> str:
        return f"{self.prefix}{host}"

    def ip(self, host: str, command: str) -> str:
        return run(f"ip -n {self.netns(host)} {command}")

    def port(self, host: str, state: str) -> None:
        """Take the bridge's port towards a host up or down: the host only loses its carrier."""
        run(f"ip -n {self.prefix}sw link set {host} {state}")

    @contextmanager
    def engine(self, *workloads: Workload, seed: int = 1, **job: Any) -> Iterator[EngineRun]:
        """A started engine with this job; ended when the block is left."""
        records = self.directory / f"records-{time.monotonic_ns()}.jsonl"
        path = records.with_suffix(".job")
        path.write_text(json.dumps({
            "inventory": str(self.inventory), "t0": time.monotonic(), "records": str(records), "phase": "main",
            "seed": seed, "workloads": [to_json(w) for w in workloads], **job}))
        pipe = subprocess.PIPE
        with subprocess.Popen([sys.executable, "-m", "traffic.engine", str(path)], stdin=pipe, stdout=pipe, stderr=pipe,
                              text=True) as process:
            try:
                yield EngineRun(process, records)
            finally:
                if process.poll() is None:
                    process.kill()

    def run(self, *workloads: Workload, seed: int = 1) -> EngineRun:
        """Run to a good end."""
        with self.engine(*workloads, seed=seed) as engine:
            engine.go()
            assert engine.end() == 0, engine.events[-1]
        return engine


def _attach(fabric: Fabric, prefix: str, host: str, rate: str) -> None:
    node, netns, sw = fabric.host(host), f"{prefix}{host}", f"{prefix}sw"
    device = f"{host}-eth0"
    run(f"ip link add name {device} netns {netns} address {node.mac} gso_max_segs 1 type veth "
        f"peer name {host} netns {sw}")
    run(f"ip -n {netns} -batch -", f"""link set lo up
addr add {node.ip}/16 dev {device}
link set {device} up
""")
    run(f"ip -n {sw} -batch -", f"link set {host} master br0\nlink set {host} up\n")
    if rate:
        run(f"tc -n {netns} -batch -", f"""qdisc add dev {device} root handle 1: htb default 10 r2q 1000
class add dev {device} parent 1: classid 1:10 htb rate {rate} ceil {rate} burst 3028 cburst 3028
qdisc add dev {device} parent 1:10 handle 10: bfifo limit 4000000
""")


@contextmanager
def engine_lab(directory: Path, hosts: int, rate: str = "20mbit") -> Iterator[EngineLab]:
    """`hosts` hosts that send at `rate` ('' for no limit)."""
    prefix = f"en{os.getpid()}n{hosts}"
    fabric = expand(FabricSpec(name="engine", leaves=1, spines=1, hosts_per_leaf=hosts, probes=False,
                               host_rate=rate or "10mbit"))
    made: list[str] = []
    hold_settings(prefix)       # 64 hosts that all talk to each other need a larger neighbour table
    try:
        for name in ("sw", *(h.name for h in fabric.hosts)):
            run(f"ip netns add {prefix}{name}")
            made.append(prefix + name)
        run(f"ip -n {prefix}sw link add name br0 type bridge forward_delay 0")
        run(f"ip -n {prefix}sw link set br0 up")
        for h in fabric.hosts:
            _attach(fabric, prefix, h.name, rate)
        lab = EngineLab(fabric, directory, prefix)
        lab.inventory.write_text(Inventory(
            lab="engine", directory=str(directory), fabric=fabric, netns={h: prefix + h for h in lab.hosts},
            wiring=f"{prefix}sw", wires={}, switches={}, datapath="ovs", controller_socket="", api_socket="",
        ).model_dump_json())
        yield lab
    finally:
        for netns in reversed(made):
            run(f"ip netns del {netns}")
        release_settings(prefix)
