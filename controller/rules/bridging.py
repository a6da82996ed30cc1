"""Rules of the default VPC on one leaf, one flat segment: who may send, who answers ARP, where each MAC lives.

All hosts are known beforehand, so nothing is flooded and nothing is learned.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from controller.rules.rules import (
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
from controller.rules.tables import STAND_IN, Priority, Table, drop
from topologies.model import addressing as addr
from topologies.model.fabric import Fabric, Node

GROUP_ADDRESS = "01:00:00:00:00:00/01:00:00:00:00:00"   # the bit that broadcast and multicast have
ARP_REQUEST, ARP_REPLY = 1, 2


def _port(fabric: Fabric, host: Node) -> int:
    return fabric.access_link(host.name).end(host.leaf).ofport


def ingress(fabric: Fabric, leaf: Node, vni: int, elsewhere: Container[str] = ()) -> Iterator[Flow]:
    """From a host port: into the segment, if MAC and IP are the host's own. From the tunnel: to delivery.

    elsewhere: names of hosts that are in a VPC of their own, which admits them.
    """
    for host in fabric.hosts_of(leaf.name):
        port = _port(fabric, host)
        if host.name not in elsewhere:
            yield from admitted(host.name, port, host.mac, host.ip, vni)
            yield to_self(host.name, Match(in_port=port, eth_dst=host.mac))
        yield Flow(f"spoof:{host.name}", Table.INGRESS, Priority.GUARD, Match(in_port=port))
    yield Flow("from-fabric", Table.INGRESS, Priority.NORMAL,
               Match(in_port=addr.VXLAN_PORT, tunnel_id=vni), (), Table.DELIVER)
    yield Flow("unknown-vni", Table.INGRESS, Priority.GUARD, Match(in_port=addr.VXLAN_PORT))
    yield drop("not-fabric", Table.INGRESS)


def admitted(host: str, port: int, mac: str, ip: str, vni: int) -> Iterator[Flow]:
    """What a host sends under its own addresses enters segment `vni`."""
    segment = (SetField("tunnel_id", vni),)
    yield Flow(f"arp-from:{host}", Table.INGRESS, Priority.NORMAL,
               Match(in_port=port, eth_src=mac, eth_type=ETH_ARP, arp_spa=ip, arp_sha=mac), segment, Table.ARP)
    yield Flow(f"from:{host}", Table.INGRESS, Priority.NORMAL,
               Match(in_port=port, eth_src=mac, eth_type=ETH_IPV4, ipv4_src=ip), segment, Table.QOS)


def to_self(host: str, match: Match, rank: int = 0) -> Flow:
    """What a host sends to itself would be sent back to its port, which a switch refuses without counting it."""
    return Flow(f"to-self:{host}", Table.INGRESS, Priority.OVERRIDE + rank, match)


def arp_answer(mac: str, ip: str) -> tuple[Action, ...]:
    """Turn the request around: the owner of `ip` answers the asker, unicast, out of the port that it came from."""
    return (CopyField("eth_src", "eth_dst"), SetField("eth_src", mac), SetField("arp_op", ARP_REPLY),
            CopyField("arp_sha", "arp_tha"), CopyField("arp_spa", "arp_tpa"),
            SetField("arp_sha", mac), SetField("arp_spa", ip), Output(IN_PORT))


def arp(hosts: Iterable[Node], vni: int) -> Iterator[Flow]:
    """The leaf answers for every host of the segment, wherever it is."""
    for host in hosts:
        yield Flow(f"arp:{host.name}", Table.ARP, Priority.NORMAL,
                   Match(tunnel_id=vni, eth_type=ETH_ARP, arp_op=ARP_REQUEST, arp_tpa=host.ip),
                   arp_answer(host.mac, host.ip))
    yield drop("unknown-arp", Table.ARP)


def forward(fabric: Fabric, leaf: Node, vni: int, elsewhere: Container[str] = ()) -> Iterator[Flow]:
    """Remote hosts to the paths to their leaf, the rest to delivery on this leaf; group addresses go nowhere."""
    for host in [h for h in fabric.all_hosts if h.name not in elsewhere]:
        match = Match(tunnel_id=vni, eth_dst=host.mac)
        if host.leaf == leaf.name:
            yield Flow(f"host:{host.name}", Table.DELIVER, Priority.NORMAL, match, (Output(_port(fabric, host)),))
        else:
            target = fabric.node(host.leaf)
            actions, goto = towards(fabric, target)
            yield Flow(f"host:{host.name}", Table.BRIDGE, Priority.NORMAL, match, actions, goto)
    yield Flow("flood", Table.BRIDGE, Priority.GUARD, Match(eth_dst=GROUP_ADDRESS))
    yield Flow("on-leaf", Table.BRIDGE, Priority.DEFAULT, Match(), (), Table.DELIVER)
    yield drop("unknown-mac", Table.DELIVER)


def towards(fabric: Fabric, target: Node) -> tuple[tuple[Action, ...], Table | None]:
    """Actions and jump of a packet that leaf `target` shall get: one group for all hosts, or one by sender."""
    if fabric.spec.paths == "pinned":
        return (SetField("tun_ipv4_dst", target.ip),), Table.PIN
    return (ToGroup(target.index),), None


def unreachable(fabric: Fabric, target: Node, vni: int, elsewhere: Container[str] = ()) -> Iterator[Flow]:
    """While no path leads to leaf `target`: its hosts' packets are dropped under its name."""
    for host in [h for h in fabric.hosts_of(target.name) if h.name not in elsewhere]:
        yield Flow(f"no-path:{target.name}", Table.BRIDGE, Priority.NORMAL + STAND_IN,
                   Match(tunnel_id=vni, eth_dst=host.mac))


def leads_to(fabric: Fabric, flows: Iterable[Flow]) -> Iterator[tuple[str, Flow]]:
    """(leaf, rule) of the rules that send over the fabric: towards(), read backwards."""
    targets: dict[Action, str] = {}
    for leaf in fabric.tunnel_ends:
        targets[ToGroup(leaf.index)] = targets[SetField("tun_ipv4_dst", leaf.ip)] = leaf.name
    for flow in flows:
        yield from ((targets[action], flow) for action in flow.actions if action in targets)
