"""The way of one flow between two hosts, twice: by the rules alone, and by what the wires counted.

First the compiled rules are walked, table by table, with no switch involved; only which of several equal paths the
flow's hash takes is asked of the sender's leaf, which sends nothing. Then packets of that very flow are
sent, and every queue that they passed has counted them. Where the two disagree, one of them is wrong: a rule that is
not what the controller compiles, a link that is down, a wire that loses.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from controller.intent.intent import Intent
from controller.intent.vpc import Allocation, resolve
from controller.northbound.client import ControllerClient
from controller.rules.compile import Compiler
from controller.rules.rules import ETH_IPV4, UDP, Bucket, Group, SetField
from controller.rules.state import State
from controller.verify.reachability import Cell, matrix, places
from controller.verify.walk import Delivered, Packet, Walk, Walker
from scenarios.run.verify import PORT, udp_frame
from topologies.access.netns import inside
from topologies.lab.host_addresses import device_of
from topologies.model.errors import LabError
from topologies.model.inventory import Inventory
from topologies.switches.datapaths import datapath_of
from topologies.switches.management import Frame
from topologies.switches.managements import management_of

SENT = 50               # packets: few enough for any queue, more than what else a quiet lab sends meanwhile
ARRIVE = 3.0            # seconds for them to be counted everywhere


@dataclass(frozen=True)
class Trace:
    """cell: what intent says; walk: the way by rules; counted: directions that at least `SENT` packets crossed
    meanwhile -> how many; dropped: packets that the drop rule counted in which the walk ended."""

    cell: Cell
    walk: Walk
    counted: dict[str, int]
    dropped: int

    @property
    def agrees(self) -> bool:
        """Intent, rules and counters tell the same."""
        end = self.walk.end
        if isinstance(end, Delivered):
            return end.host == self.cell.receiver and set(self.counted) == set(self.walk.directions)
        return not self.cell.receiver and self.dropped >= SENT and set(self.counted) == set(self.walk.directions)


def trace(inventory: Inventory, source: str, target: str, port: int = PORT) -> Trace:
    """Trace UDP from `source` to port `port` of `target`. Raises LabError for hosts that take part in nothing."""
    client = ControllerClient(inventory.api_socket)
    answer = client.intent()
    intent, allocation = Intent.model_validate({"objects": answer["objects"]}), Allocation.model_validate(
        answer["allocation"])
    where = places(intent, inventory.fabric, allocation)
    for name in (source, target):
        if name not in where:
            raise LabError(name, f"a host of the lab: {', '.join(where)}", "none of them")
    if source == target:
        raise LabError(target, f"a host other than {source}", "the same", "a host reaches itself without the fabric")
    cell = next(c for c in matrix(intent, inventory.fabric, allocation) if (c.source, c.target) == (source, target))
    ip = where[source].ip
    health = client.health()
    down = frozenset(health["down"])
    rules = Compiler(inventory.fabric, resolve(intent, inventory.fabric, allocation)).rules(
        State(down, frozenset(health["rates"].items())))
    walk = Walker(inventory.fabric, rules, down, _Asked(inventory, cell, ip, port)).send(
        source, _packet(inventory, cell, ip, port))
    return Trace(cell, walk, *_observe(inventory, client, cell, ip, port, walk))


def _packet(inventory: Inventory, cell: Cell, ip: str, port: int) -> Packet:
    return {"eth_src": inventory.fabric.host(cell.source).mac, "eth_dst": cell.next_mac, "eth_type": ETH_IPV4,
            "ip_proto": UDP, "ip_dscp": 0, "nw_ttl": 64, "ipv4_src": ip, "ipv4_dst": cell.ip,
            "udp_src": PORT, "udp_dst": port}


class _Asked:
    """Which live bucket the sender's leaf takes for the flow: the one whose VTEP alias it would encapsulate to."""

    def __init__(self, inventory: Inventory, cell: Cell, ip: str, port: int) -> None:
        self._inventory, self._cell, self._ip, self._port = inventory, cell, ip, port

    def __call__(self, switch: str, group: Group, packet: Packet, live: Sequence[Bucket]) -> Bucket:
        host = self._inventory.fabric.host(self._cell.source)
        number = self._inventory.fabric.access_link(host.name).end(switch).ofport
        sent = management_of(self._inventory).path_of(self._inventory.switches[switch], Frame(
            number, "udp", host.mac, self._cell.next_mac, self._ip, self._cell.ip, PORT, self._port))
        bucket = next((b for b in live for a in b.actions if isinstance(a, SetField) and a.value in sent.tunnel_ends),
                      None)
        if bucket is None:
            raise LabError(switch, f"a live path of {group.name}", sent.shown,
                           "does the controller say that all is converged? aifab evpn, aifab verify")
        return bucket


def _observe(inventory: Inventory, client: ControllerClient, cell: Cell, ip: str, port: int,
             walk: Walk) -> tuple[dict[str, int], int]:
    """Send the flow's packets: (directions that counted them all -> packets, packets that its drop rule counted)."""
    datapath = datapath_of(inventory)
    before, drops = datapath.queues(inventory), _drops(client, walk)
    mac = inventory.fabric.host(cell.source).mac
    with inside(inventory.netns_path(cell.source)), \
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((device_of(inventory, cell.source), 0))
        for n in range(SENT):
            out.send(udp_frame(mac, cell.next_mac, ip, cell.ip, f"aifab trace {n}".encode(), port))
    deadline = time.monotonic() + ARRIVE
    while True:
        now = datapath.queues(inventory)
        counted = {d: now[d].sent - before[d].sent for d in now if now[d].sent - before[d].sent >= SENT}
        dropped = _drops(client, walk) - drops
        done = set(counted) >= set(walk.directions) and (isinstance(walk.end, Delivered) or dropped >= SENT)
        if done or time.monotonic() > deadline:
            return counted, dropped
        time.sleep(0.05)


def _drops(client: ControllerClient, walk: Walk) -> int:
    """What the drop rule has counted in which the walk ends; 0 where it does not end in one."""
    end = walk.end
    if isinstance(end, Delivered):
        return 0
    counts: dict[str, Any] = client.counters()["switches"][end.switch]["drops"]
    return int(counts.get(end.rule, {"packets": 0})["packets"])
