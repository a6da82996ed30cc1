"""Rules of the default VPC, one flat segment: who may send, who answers ARP, where each MAC lives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

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
from controller.rules.tables import Priority, Table, drop, stand_in
from topologies.model import addressing as addr
from topologies.model.drop_names import no_path
from topologies.model.fabric import Fabric, Node

GROUP_ADDRESS = "01:00:00:00:00:00/01:00:00:00:00:00"   # the bit that broadcast and multicast have
ARP_REQUEST, ARP_REPLY = 1, 2


@dataclass(frozen=True)
class HostFlows:
    """A host's rules in the flat segment.

    own, here: at its leaf; away: at all others; cut_off: in its place while no path leads to its leaf; arp: at all;
    guard: at its leaf, also while the host is in another segment.
    """

    own: tuple[Flow, ...]
    guard: Flow
    arp: Flow
    here: Flow
    away: Flow
    cut_off: Flow

    def ingress(self, is_elsewhere: bool) -> tuple[Flow, ...]:
        return (self.guard,) if is_elsewhere else (*self.own, self.guard)


def host_flows(fabric: Fabric, host: Node, vni: int) -> HostFlows:
    """Made once for all leaves, whoever else is in the segment."""
    port, target = fabric.access_link(host.name).end(host.leaf).ofport, fabric.node(host.leaf)
    name, match = f"host:{host.name}", Match(tunnel_id=vni, eth_dst=host.mac)
    away = Flow(name, Table.BRIDGE, Priority.NORMAL, match, *towards(fabric, target))
    return HostFlows(
        own=(*admitted(host.name, port, host.mac, host.ip, vni),
             to_self(host.name, Match(in_port=port, eth_dst=host.mac))),
        guard=Flow(f"spoof:{host.name}", Table.INGRESS, Priority.GUARD, Match(in_port=port)),
        arp=Flow(f"arp:{host.name}", Table.ARP, Priority.NORMAL,
                 Match(tunnel_id=vni, eth_type=ETH_ARP, arp_op=ARP_REQUEST, arp_tpa=host.ip),
                 arp_answer(host.mac, host.ip)),
        here=Flow(name, Table.DELIVER, Priority.NORMAL, match, (Output(port),)),
        away=away, cut_off=stand_in(away, no_path(target.name)))


class Flat:
    """The default VPC: one flat segment of the hosts that are not `elsewhere`, in a VPC of their own.

    All hosts are known beforehand, so nothing is flooded and nothing is learned. made: the rules of every host of the
    fabric; ingress, forward: leaf -> its rules; unreachable: leaf -> what other leaves hold while no path leads to it.
    """

    def __init__(self, fabric: Fabric, made: Mapping[str, HostFlows], elsewhere: frozenset[str]) -> None:
        self.elsewhere = elsewhere
        inside = [(h.leaf, made[h.name]) for h in fabric.all_hosts if h.name not in elsewhere]
        answers = (*(flows.arp for _, flows in inside), _UNKNOWN_ARP)
        self.ingress, self.forward, self.unreachable = {}, {}, {}
        for leaf in (leaf.name for leaf in fabric.leaves):
            hosts = [(made[h.name], h.name in elsewhere) for h in fabric.hosts_of(leaf)]
            self.ingress[leaf] = (*(flow for flows, is_away in hosts for flow in flows.ingress(is_away)), *_FROM_FABRIC)
            self.forward[leaf] = (*answers, *(flows.here if at == leaf else flows.away for at, flows in inside), *_REST)
            self.unreachable[leaf] = tuple(flows.cut_off for at, flows in inside if at == leaf)


# From the tunnel to delivery; what else comes in, from nowhere.
_FROM_FABRIC = (
    Flow("from-fabric", Table.INGRESS, Priority.NORMAL, Match(in_port=addr.VXLAN_PORT, tunnel_id=addr.DEFAULT_VNI), (),
         Table.DELIVER),
    Flow("unknown-vni", Table.INGRESS, Priority.GUARD, Match(in_port=addr.VXLAN_PORT)),
    drop("not-fabric", Table.INGRESS))
_UNKNOWN_ARP = drop("unknown-arp", Table.ARP)
# Group addresses go nowhere; who is not at another leaf is at this one, or unknown.
_REST = (
    Flow("flood", Table.BRIDGE, Priority.GUARD, Match(eth_dst=GROUP_ADDRESS)),
    Flow("on-leaf", Table.BRIDGE, Priority.DEFAULT, Match(), (), Table.DELIVER),
    drop("unknown-mac", Table.DELIVER))


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


def towards(fabric: Fabric, target: Node) -> tuple[tuple[Action, ...], Table | None]:
    """Actions and jump of a packet that leaf `target` shall get: one group for all hosts, or one by sender."""
    if fabric.spec.paths == "pinned":
        return (SetField("tun_ipv4_dst", target.ip),), Table.PIN
    return (ToGroup(target.index),), None


def leads_to(fabric: Fabric, flows: Iterable[Flow]) -> Iterator[tuple[str, Flow]]:
    """(leaf, rule) of the rules that send over the fabric: their actions end as those of towards()."""
    targets: dict[Action, str] = {}
    for leaf in fabric.tunnel_ends:
        targets[ToGroup(leaf.index)] = targets[SetField("tun_ipv4_dst", leaf.ip)] = leaf.name
    for flow in flows:
        if flow.actions and flow.actions[-1] in targets:
            yield targets[flow.actions[-1]], flow
