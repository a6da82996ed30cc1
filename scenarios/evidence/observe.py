"""Where connections go: asked of the switches themselves, before the traffic starts.

Each leaf is asked what it would do with a packet that has the addresses and ports of a connection. What it would put
on the wire bears the VTEP alias that it has chosen, and an alias names its path (controller/rules/ecmp.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from topologies.access.events import Standing
from topologies.model.errors import RunError
from topologies.model.fabric import Fabric, Node, Path
from topologies.model.inventory import Inventory
from topologies.switches.management import Frame, Layer4, Sent
from topologies.switches.managements import management_of
from traffic.runtime.records import PathRecord

Gateways = Mapping[tuple[str, str], str]     # (from, to), names of hosts -> MAC that such frames are addressed to


def observed_paths(inventory: Inventory, connections: Iterable[Standing], phase: str,
                   gateways: Gateways = MappingProxyType({})) -> list[PathRecord]:
    """The path of every connection that the engine says is standing.

    inventory: with the addresses that hosts have by now. gateways: where it is not the MAC of the receiver.
    Raises RunError if a switch would send one somewhere that the fabric does not know, HostError if it does
    not answer.
    """
    fabric = inventory.fabric
    found = []
    for c in connections:
        src, dst = fabric.host(c["src"]), fabric.host(c["dst"])
        found.append(PathRecord(
            workload=c["workload"], phase=phase, src=src.name, dst=dst.name, src_rank=c["ranks"][0],
            dst_rank=c["ranks"][1], number=c["number"], sport=c["sport"], dport=c["dport"],
            there=_way(inventory, gateways, src, dst, c["protocol"], c["sport"], c["dport"]),
            back=_way(inventory, gateways, dst, src, c["protocol"], c["dport"], c["sport"])))
    return found


def _way(inventory: Inventory, gateways: Gateways, src: Node, dst: Node, protocol: Layer4, sport: int,
         dport: int) -> tuple[str, ...]:
    """Directions of one way of a connection; none between two ranks on one host."""
    if src.name == dst.name:
        return ()
    if src.leaf == dst.leaf:
        return f"{src.name}->{src.leaf}", f"{src.leaf}->{dst.name}"
    path = path_chosen(inventory.fabric, src, dst, _asked(inventory, gateways, src, dst, protocol, sport, dport))
    return f"{src.name}->{src.leaf}", *path.directions, f"{dst.leaf}->{dst.name}"


def _asked(inventory: Inventory, gateways: Gateways, src: Node, dst: Node, protocol: Layer4, sport: int,
           dport: int) -> Sent:
    port = inventory.fabric.access_link(src.name).end(src.leaf).ofport
    to = gateways.get((src.name, dst.name), dst.mac)
    return management_of(inventory).path_of(
        inventory.switches[src.leaf], Frame(port, protocol, src.mac, to, src.ip, dst.ip, sport, dport))


def path_chosen(fabric: Fabric, src: Node, dst: Node, sent: Sent) -> Path:
    """The path by which the leaf of `src` sends to `dst`, hosts of different leaves."""
    by_alias = {path.alias: path for path in fabric.paths(src.leaf, dst.leaf)}
    path = next((by_alias[vtep] for vtep in sent.tunnel_ends if vtep in by_alias), None)
    if path is None:
        raise RunError(f"the path from {src.name} to {dst.name}", f"{src.leaf} to send it to {dst.leaf} over a spine",
                       sent.shown, "is a link down, or did somebody change the rules?")
    return path
