"""What the tests of the controller on real switches share: a running fabric and its controller process."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from itertools import permutations

from controller.northbound.client import ControllerClient
from topologies.access.netns import inside
from topologies.lab.network import LabNetwork
from topologies.model.errors import LabError
from topologies.switches.ovs.management.process import openflow_socket

TIMEOUT = 30.0


class Lab:
    """A running fabric and its controller process."""

    def __init__(self, net: LabNetwork) -> None:
        self.net, self.fabric = net, net.fabric
        self.client = ControllerClient(net.inventory.api_socket)
        self.process: subprocess.Popen[str] | None = None

    def command(self) -> list[str]:
        return [sys.executable, "-m", "controller", "--inventory", str(self.net.inventory_path)]

    def start(self) -> None:
        self.spawn()
        self.client.wait_converged(TIMEOUT)

    def spawn(self) -> None:
        self.process = subprocess.Popen(self.command(), stderr=subprocess.DEVNULL, text=True)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(TIMEOUT)

    def restart(self) -> dict[str, dict[str, int]]:
        """Kill, start, and tell what each switch was sent."""
        self.kill()
        self.start()
        switches: dict[str, dict[str, int]] = self.client.health()["switches"]
        return switches

    def wait_down(self, links: Iterable[str]) -> None:
        """Until the controller takes exactly these links to be down, and each connected switch has the change."""
        wanted = sorted(links)
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            try:
                health = self.client.health()
            except LabError:
                health = {"down": ["no answer"], "switches": {}}
            settled = all(s["settled"] for s in health["switches"].values() if s["connected"])
            if health["down"] == wanted and settled:
                return
            time.sleep(0.02)
        raise AssertionError(f"down after {TIMEOUT:g} s: {health['down']}, expected {wanted}")

    def ofctl(self, switch: str, *words: str, text: str = "") -> str:
        process = self.net.inventory.switches[switch]
        command, *rest = words
        done = subprocess.run(["ovs-ofctl", "-O", "OpenFlow15", command, f"unix:{openflow_socket(process)}", *rest],
                              capture_output=True, text=True, check=True, input=text)
        return "\n".join(sorted(line for line in done.stdout.splitlines() if "reply" not in line))

    def installed(self) -> dict[str, str]:
        return {s.name: self.ofctl(s.name, "dump-flows", "--no-stats") + self.ofctl(s.name, "dump-groups")
                for s in self.fabric.switches}

    def socket(self, host: str, port: int = 0) -> socket.socket:
        return self.socket_at(host, self.fabric.host(host).ip, port)

    def socket_at(self, host: str, ip: str, port: int = 0) -> socket.socket:
        """A datagram socket of a host that has another address than the fabric gave it."""
        with inside(self.net.inventory.netns_path(host)):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((ip, port))
        made.settimeout(2)
        return made

    def raw(self, host: str) -> socket.socket:
        with inside(self.net.inventory.netns_path(host)):
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            made.bind((f"{host}-eth0", 0x0800))
        return made

    def ear(self, host: str) -> socket.socket:
        """Hears all that comes in at a host, of whatever protocol."""
        with inside(self.net.inventory.netns_path(host)):
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            made.bind((f"{host}-eth0", 0x0003))     # ETH_P_ALL
        return made

    def arrives(self, source: str, target: str, count: int = 1) -> bool:
        """Whether `count` datagrams of as many flows get from one host to another."""
        with self.socket(target, 9000) as receiver:
            for n in range(count):
                with self.socket(source) as sender:
                    sender.sendto(b"%d" % n, (self.fabric.host(target).ip, 9000))
            try:
                return {int(receiver.recv(100)) for _ in range(count)} == set(range(count))
            except TimeoutError:
                return False

    def drops(self, rule: str) -> int:
        found = self.client.counters()["drops"].get(rule, {"packets": 0})
        return int(found["packets"])

    def unreached(self) -> list[tuple[str, str]]:
        """Pairs of hosts of which not all of eight flows arrive."""
        return [(a.name, b.name) for a, b in permutations(self.fabric.all_hosts, 2)
                if not self.arrives(a.name, b.name, count=8)]
