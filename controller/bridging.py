"""Rules of a MAC-VRF on one leaf: who may send, who answers ARP, where each MAC lives.

All hosts are known beforehand, so nothing is flooded and nothing is learned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.rules import (
    ETH_ARP,
    ETH_IPV4,
    IN_PORT,
    Action,
    CopyField,
    Flow,
    Match,
    Output,
    SetField,
    ToGroup,
)
from controller.tables import Priority, Table, drop
from topologies import addressing as addr
from topologies.fabric import Fabric, Node

GROUP_ADDRESS = "01:00:00:00:00:00/01:00:00:00:00:00"   # the bit that broadcast and multicast have
ARP_REQUEST, ARP_REPLY = 1, 2


def _port(fabric: Fabric, host: Node) -> int:
    return fabric.access_link(host.name).end(host.leaf).number


def ingress(fabric: Fabric, leaf: Node, vni: int) -> Iterator[Flow]:
    """From a host port: into the segment, if MAC and IP are the host's own. From the tunnel: to delivery."""
    segment = (SetField("tunnel_id", vni),)
    for host in fabric.hosts_of(leaf.name):
        port = _port(fabric, host)
        yield Flow(f"arp-from:{host.name}", Table.INGRESS, Priority.NORMAL,
                   Match(in_port=port, eth_src=host.mac, eth_type=ETH_ARP, arp_spa=host.ip, arp_sha=host.mac),
                   segment, Table.ARP)
        yield Flow(f"from:{host.name}", Table.INGRESS, Priority.NORMAL,
                   Match(in_port=port, eth_src=host.mac, eth_type=ETH_IPV4, ipv4_src=host.ip), segment, Table.QOS)
        yield Flow(f"spoof:{host.name}", Table.INGRESS, Priority.GUARD, Match(in_port=port))
    yield Flow("from-fabric", Table.INGRESS, Priority.NORMAL,
               Match(in_port=addr.VXLAN_PORT, tunnel_id=vni), (), Table.DELIVER)
    yield Flow("unknown-vni", Table.INGRESS, Priority.GUARD, Match(in_port=addr.VXLAN_PORT))
    yield drop("not-fabric", Table.INGRESS)


def arp_answer(host: Node) -> tuple[Action, ...]:
    """Turn the request around: `host` answers the asker, unicast, out of the port that it came from."""
    return (CopyField("eth_src", "eth_dst"), SetField("eth_src", host.mac), SetField("arp_op", ARP_REPLY),
            CopyField("arp_sha", "arp_tha"), CopyField("arp_spa", "arp_tpa"),
            SetField("arp_sha", host.mac), SetField("arp_spa", host.ip), Output(IN_PORT))


def arp(hosts: Iterable[Node], vni: int) -> Iterator[Flow]:
    """The leaf answers for every host of the segment, wherever it is."""
    for host in hosts:
        yield Flow(f"arp:{host.name}", Table.ARP, Priority.NORMAL,
                   Match(tunnel_id=vni, eth_type=ETH_ARP, arp_op=ARP_REQUEST, arp_tpa=host.ip), arp_answer(host))
    yield drop("unknown-arp", Table.ARP)


def forward(fabric: Fabric, leaf: Node, vni: int) -> Iterator[Flow]:
    """Remote hosts to the paths to their leaf, the rest to delivery on this leaf; group addresses go nowhere."""
    for host in fabric.all_hosts:
        match = Match(tunnel_id=vni, eth_dst=host.mac)
        if host.leaf == leaf.name:
            yield Flow(f"host:{host.name}", Table.DELIVER, Priority.NORMAL, match, (Output(_port(fabric, host)),))
        else:
            target = fabric.node(host.leaf)
            actions, goto = _towards(fabric, target)
            yield Flow(f"host:{host.name}", Table.BRIDGE, Priority.NORMAL, match, actions, goto)
    yield Flow("flood", Table.BRIDGE, Priority.GUARD, Match(eth_dst=GROUP_ADDRESS))
    yield Flow("on-leaf", Table.BRIDGE, Priority.DEFAULT, Match(), (), Table.DELIVER)
    yield drop("unknown-mac", Table.DELIVER)


def _towards(fabric: Fabric, target: Node) -> tuple[tuple[Action, ...], Table | None]:
    """Actions and jump of a packet that leaf `target` shall get: one group for all hosts, or one by sender."""
    if fabric.spec.paths == "pinned":
        return (SetField("tun_ipv4_dst", target.ip),), Table.PIN
    return (ToGroup(target.index),), None


def unreachable(fabric: Fabric, target: Node, vni: int) -> Iterator[Flow]:
    """While no path leads to leaf `target`: its hosts' packets are dropped under its name."""
    for host in fabric.hosts_of(target.name):
        yield Flow(f"no-path:{target.name}", Table.BRIDGE, Priority.OVERRIDE, Match(tunnel_id=vni, eth_dst=host.mac))
