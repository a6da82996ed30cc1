"""Where connections go: asked of the switches themselves, before the traffic starts.

Each leaf traces a packet with the addresses and ports of a connection through its rules and its groups, as it would a
real one (`ofproto/trace`: no packet is sent, nothing is counted). What it would put on the wire bears the VTEP alias
that it has chosen, and an alias names its spine (controller/rules/ecmp.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from topologies.switches.ovs.management.unixctl import call
from topologies.model.errors import RunError
from topologies.model.fabric import Fabric, Node
from topologies.model.inventory import Inventory
from traffic.runtime.records import PathRecord

_OUTER = re.compile(r"\bdst=(\d+\.\d+\.\d+\.\d+)")      # of the encapsulation; the inner addresses are not repeated


Gateways = Mapping[tuple[str, str], str]     # (from, to), names of hosts -> MAC that such frames are addressed to


def observed_paths(inventory: Inventory, connections: Iterable[Mapping[str, Any]], phase: str,
                   gateways: Gateways = MappingProxyType({})) -> list[PathRecord]:
    """The path of every connection that the engine says is standing (traffic.engine.channels.Standing).

    inventory: with the addresses that hosts have by now. gateways: where it is not the MAC of the receiver.
    Raises RunError if a switch would send one somewhere that the fabric does not know, HostError if it does
    not answer.
    """
    fabric = inventory.fabric
    found = []
    for c in connections:
        src, dst = fabric.host(c["src"]), fabric.host(c["dst"])
        found.append(PathRecord(
            c["workload"], phase, src.name, dst.name, c["ranks"][0], c["ranks"][1], c["number"], c["sport"], c["dport"],
            _way(inventory, gateways, src, dst, c["sport"], c["dport"]),
            _way(inventory, gateways, dst, src, c["dport"], c["sport"])))
    return found


def _way(inventory: Inventory, gateways: Gateways, src: Node, dst: Node, sport: int, dport: int) -> tuple[str, ...]:
    """Directions of one way of a connection; none between two ranks on one host."""
    if src.name == dst.name:
        return ()
    if src.leaf == dst.leaf:
        return f"{src.name}->{src.leaf}", f"{src.leaf}->{dst.name}"
    spine = spine_of(inventory.fabric, src, dst, _traced(inventory, gateways, src, dst, sport, dport))
    return f"{src.name}->{src.leaf}", f"{src.leaf}->{spine}", f"{spine}->{dst.leaf}", f"{dst.leaf}->{dst.name}"


def _traced(inventory: Inventory, gateways: Gateways, src: Node, dst: Node, sport: int, dport: int) -> str:
    process = inventory.switches[src.leaf]
    port = inventory.fabric.access_link(src.name).end(src.leaf).number
    to = gateways.get((src.name, dst.name), dst.mac)
    packet = (f"in_port={port},tcp,dl_src={src.mac},dl_dst={to},nw_src={src.ip},nw_dst={dst.ip},nw_ttl=64,"
              f"tp_src={sport},tp_dst={dport}")
    return call(process, "ofproto/trace", process.bridge, packet)


def spine_of(fabric: Fabric, src: Node, dst: Node, trace: str) -> str:
    """The spine in the datapath actions of a trace from `src` to `dst`, hosts of different leaves."""
    actions = next((line for line in trace.splitlines() if line.startswith("Datapath actions:")), "no actions")
    aliases = dict(zip(fabric.node(dst.leaf).aliases, fabric.spines, strict=True))
    spine = next((aliases[vtep] for vtep in _OUTER.findall(actions) if vtep in aliases), None)
    if spine is None:
        raise RunError(f"the path from {src.name} to {dst.name}", f"{src.leaf} to send it to {dst.leaf} over a spine",
                       actions[:200], "is a link down, or did somebody change the rules?")
    return spine.name
