"""A small network for the tests of UDP streams: hosts on a Linux bridge, one of them behind a slow queue.

    h1 h2 h3 ──veth── bridge ──HTB + bfifo──veth── h4           each host in a namespace of its own

Everything has a name with this process's id in it, and goes when the block ends.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from topologies.access.netns import inside, set_sysctl
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.inventory import Inventory
from topologies.model.spec import FabricSpec
from traffic.runtime.reading import lines
from traffic.transports.udp.plan import Job, Stream

HOSTS = ("h1", "h2", "h3", "h4")
TIMEOUT = 60.0
ROOT = Path(__file__).parents[2]
J = TypeVar("J", bound=Job)


def run(command: str, text: str = "") -> str:
    """Run a command, with `text` as its input; what it printed."""
    return subprocess.run(command.split(), check=True, capture_output=True, text=True, input=text).stdout


@dataclass(frozen=True)
class StreamLab:
    """inventory: path of an inventory that knows the hosts; switch: namespace of the bridge."""

    fabric: Fabric
    inventory: Path
    prefix: str
    switch: str

    def netns(self, host: str) -> str:
        return f"{self.prefix}{host}"

    def queue_drops(self) -> int:
        """Packets that the queue towards h4 dropped."""
        rows = json.loads(run(f"ip netns exec {self.switch} tc -s -j qdisc show dev h4"))
        return sum(row["drops"] for row in rows if row["kind"] == "bfifo")


@contextmanager
def stream_lab(directory: Path, rate: str = "20mbit", limit: int = 60_000) -> Iterator[StreamLab]:
    """Four hosts; towards h4 the bridge sends at `rate` from a queue of `limit` bytes."""
    prefix = f"st{os.getpid()}"
    fabric = expand(FabricSpec(name="streams", leaves=1, spines=1, hosts_per_leaf=4, probes=False))
    switch = f"{prefix}sw"
    made: list[str] = []
    try:
        for netns in (switch, *(prefix + h for h in HOSTS)):
            run(f"ip netns add {netns}")
            made.append(netns)
        run(f"ip -n {switch} link add name bridge0 type bridge")
        run(f"ip -n {switch} link set bridge0 up")
        for host in HOSTS:
            _attach(fabric, prefix, switch, host)
        for host in HOSTS:
            others = [fabric.host(h) for h in HOSTS if h != host]
            run(f"ip -n {prefix}{host} -batch -",
                "".join(f"neigh add {h.ip} lladdr {h.mac} dev {host}-eth0\n" for h in others))
        run(f"ip netns exec {switch} tc qdisc add dev h4 root handle 1: htb default 10 r2q 1000")
        run(f"ip netns exec {switch} tc class add dev h4 parent 1: classid 1:10 htb rate {rate} ceil {rate} "
            "burst 3028 cburst 3028")
        run(f"ip netns exec {switch} tc qdisc add dev h4 parent 1:10 handle 10: bfifo limit {limit}")
        path = directory / "inventory.json"
        path.write_text(Inventory(
            lab="streams", directory=str(directory), fabric=fabric, netns={h: prefix + h for h in HOSTS},
            wiring=switch, wires={}, switches={}, datapath="ovs", controller_socket="", api_socket="",
        ).model_dump_json())
        yield StreamLab(fabric, path, prefix, switch)
    finally:
        for netns in reversed(made):
            run(f"ip netns del {netns}")


def _attach(fabric: Fabric, prefix: str, switch: str, host: str) -> None:
    """A host's interface, with the address and MAC that the fabric gives it, on the bridge."""
    node, netns = fabric.host(host), prefix + host
    with inside(f"/run/netns/{netns}"):
        set_sysctl("net.ipv6.conf.default.disable_ipv6", 1)
    with inside(f"/run/netns/{switch}"):
        set_sysctl("net.ipv6.conf.default.disable_ipv6", 1)
    run(f"ip link add {host}-eth0 netns {netns} address {node.mac} type veth peer name {host} netns {switch}")
    run(f"ip netns exec {netns} ethtool -K {host}-eth0 gso off tso off gro off tx off")
    run(f"ip -n {netns} addr add {node.ip}/16 dev {host}-eth0")
    run(f"ip -n {netns} link set {host}-eth0 up")
    run(f"ip -n {switch} link set {host} master bridge0 up")

class Process:
    """A process of packets under test, `python -m MODULE JOB`: its events, in order, each waited for with a limit."""

    def __init__(self, lab: StreamLab, module: str, model: type[J], streams: Sequence[Stream], **keys: Any) -> None:
        self.records = lab.inventory.with_name("records.jsonl")
        job = model.model_validate({"inventory": str(lab.inventory), "t0": time.monotonic(),
                                    "records": str(self.records), "phase": "main", "streams": tuple(streams), **keys})
        path = lab.inventory.with_name("job.json")
        path.write_text(job.model_dump_json())
        self.process = subprocess.Popen([sys.executable, "-m", module, str(path)], cwd=ROOT,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._text = b""

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def event(self, *names: str) -> dict[str, Any]:
        """The next event of one of these names."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            while b"\n" in self._text:
                line, _, self._text = self._text.partition(b"\n")
                event: dict[str, Any] = json.loads(line)
                if event["event"] in names:
                    return event
            if select.select([self.process.stdout], [], [], 1.0)[0]:
                piece = os.read(self.process.stdout.fileno(), 65536)
                assert piece, f"ended without {names}: {self.process.stderr.read().decode()}"
                self._text += piece
        raise TimeoutError(f"no {names}")

    def start(self) -> dict[str, Any]:
        ready = self.event("ready")
        self.tell("go")
        return ready

    def finish(self) -> int:
        return self.process.wait(TIMEOUT)

    def end(self) -> None:
        """By its pid, if it is still there."""
        self.process.kill()
        self.process.wait(TIMEOUT)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def rows(self, kind: str) -> list[dict[str, Any]]:
        return [r for r in lines(self.records) if r["kind"] == kind]
