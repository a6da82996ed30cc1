"""A small network for the tests of UDP streams: hosts on a Linux bridge, one of them behind a slow queue.

    h1 h2 h3 ──veth── bridge ──HTB + bfifo──veth── h4           each host in a namespace of its own

Everything has a name with this process's id in it, and goes when the block ends.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from topologies.fabric import Fabric, expand
from topologies.inventory import Inventory
from topologies.netns import inside, set_sysctl
from topologies.spec import FabricSpec

HOSTS = ("h1", "h2", "h3", "h4")


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
        Inventory(lab="streams", directory=str(directory), fabric=fabric, netns={h: prefix + h for h in HOSTS},
                  wiring=switch, wires={}, switches={}, datapath="user", controller_socket="",
                  api_socket="").write(path)
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
