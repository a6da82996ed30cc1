"""Routers beside the fabric, as a user writes them: BGP peers of the controller, and the hosts behind those that are a
VTEP themselves."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Set
from typing import Literal

from pydantic import Field

from topologies.model.addressing import BGP_LINKS, DEFAULT_VNI, UNDERLAY, own_networks
from topologies.model.errors import Violation
from topologies.model.fields import Rate, Strict

HOST_NAME = re.compile(r"[a-z][a-z0-9]{0,9}")      # its interface NAME-eth0 has to fit 15 characters
RESERVED_NAME = re.compile(r"(leaf|spine|border|probe|ext)\d*")
DEVICE_NAME = re.compile(r"lo|(eth|up|br|vx|vrf)\d+")      # what a router's namespace has beside its hosts
MAX_VNI = 2**24 - 1
Networks = Mapping[ipaddress.IPv4Network, str]


class RemoteHostSpec(Strict):
    """A host behind a router's VTEP: what its operator has configured there, in the terms of the fabric's VPC."""

    address: str = Field(description="with the length of its subnet, such as 10.1.0.50/24")
    gateway: str = Field(description="the address that the subnet's gateway has in the VPC")
    vni: int = Field(ge=1, le=MAX_VNI, description="of the subnet (aifab evpn vnis)")


class RemoteVtepSpec(Strict):
    """A router with links to every spine and a VTEP of its own: a leaf that the controller does not control."""

    uplink_rate: Rate | None = Field(None, description="of each of its links; as a host's, if it is left out")
    l3vni: int | None = Field(None, ge=1, le=MAX_VNI, description=(
        "of the VPC, for a VRF that routes between its subnets; without one the router bridges only"))
    hosts: dict[str, RemoteHostSpec] = Field(min_length=1, max_length=32)


class BgpPeerSpec(Strict):
    """A router that speaks BGP with the controller: which program it runs, and its autonomous system."""

    router: Literal["frr", "gobgp"]
    asn: int = Field(ge=1, le=65534)
    vtep: RemoteVtepSpec | None = Field(None, description="frr: forwards packets as well, over VXLAN")


class BgpSpec(Strict):
    """Routers beside the fabric, each in a namespace of its own, that exchange EVPN routes with the controller."""

    peers: dict[str, BgpPeerSpec] = Field(min_length=1, max_length=16)

    @property
    def vteps(self) -> dict[str, RemoteVtepSpec]:
        """Router -> its VTEP, of those that have one."""
        return {name: peer.vtep for name, peer in self.peers.items() if peer.vtep is not None}


def violations(bgp: BgpSpec, hosts: Set[str], subnet: str, one_fabric: bool) -> Iterator[Violation]:
    """What does not fit: hosts are the names that racks have given; subnet: that of the fabric's hosts; one_fabric:
    every leaf reaches every spine."""
    seen: set[str] = set()
    try:
        own = own_networks(subnet)
    except ValueError:      # which is reported at its place
        own = dict.fromkeys((UNDERLAY, BGP_LINKS), "")
    for router, peer in bgp.peers.items():
        at: tuple[str, ...] = ("bgp", "peers", router)
        behind = peer.vtep.hosts if peer.vtep else ()
        for name, place in ((router, at), *((h, (*at, "vtep", "hosts", h)) for h in behind)):
            taken = name in hosts or name in seen or re.fullmatch(r"h\d+", name) or DEVICE_NAME.fullmatch(name)
            if taken or not HOST_NAME.fullmatch(name) or RESERVED_NAME.fullmatch(name):
                yield Violation(place, "a name of at most 10 small letters and digits that starts with a "
                                "letter and that no host, leaf or spine has, nor a device such as eth0 or br1",
                                name or "an empty text")
            seen.add(name)
        if peer.vtep is not None:
            yield from _vtep_violations(router, peer, peer.vtep, own, one_fabric)


def _vtep_violations(router: str, peer: BgpPeerSpec, vtep: RemoteVtepSpec, own: Networks,
                     one_fabric: bool) -> Iterator[Violation]:
    at = ("bgp", "peers", router, "vtep")
    if peer.router != "frr":
        yield Violation(at, "vtep with router: frr only, which programs the kernel", f"router: {peer.router}")
    if not one_fabric:
        yield Violation(at, "a fabric of one side, whose spines the router has links with", "topology: bifurcated")
    if vtep.l3vni == DEFAULT_VNI:
        yield Violation((*at, "l3vni"), "the VNI of a VPC", f"{DEFAULT_VNI}, that of hosts in no VPC")
    gateways: dict[int, str] = {}
    owners: dict[tuple[int, str], str] = {}
    for name, host in vtep.hosts.items():
        yield from _host_violations((*at, "hosts", name), name, host, vtep.l3vni, own, gateways, owners)


def _host_violations(at: tuple[str, ...], name: str, host: RemoteHostSpec, l3vni: int | None, own: Networks,
                     gateways: dict[int, str], owners: dict[tuple[int, str], str]) -> Iterator[Violation]:
    """own: the lab's own networks; of the hosts before this one, gateways: VNI -> gateway with length, owners: (VNI,
    address) -> host."""
    try:
        interface = ipaddress.IPv4Interface(host.address)
        gateway = ipaddress.IPv4Address(host.gateway)
    except ValueError as error:
        yield Violation(at, "an address such as 10.1.0.50/24 and a gateway such as 10.1.0.1", str(error))
        return
    network = interface.network
    edges = (network.network_address, network.broadcast_address)
    if interface.ip in edges:
        yield Violation((*at, "address"), "an address that a host can have", host.address)
    for reserved, whose in own.items():
        if network.overlaps(reserved):
            yield Violation((*at, "address"), f"a subnet outside of {reserved}: {whose}", host.address)
    if gateway not in network or gateway == interface.ip or gateway in edges:
        yield Violation((*at, "gateway"), f"another address of {network}", host.gateway)
    if host.vni in (l3vni, DEFAULT_VNI):
        yield Violation((*at, "vni"), "the VNI of a subnet, not of a VPC nor of the default one", str(host.vni))
    subnet = f"{gateway}/{network.prefixlen}"
    if gateways.setdefault(host.vni, subnet) != subnet:
        yield Violation((*at, "vni"), f"one subnet for each VNI: {host.vni} is {gateways[host.vni]}'s", subnet)
    if any(vni != host.vni and ipaddress.IPv4Interface(g).network.overlaps(network) for vni, g in gateways.items()):
        yield Violation((*at, "address"), "one VNI for each subnet of a router", host.address)
    if (owner := owners.setdefault((host.vni, str(interface.ip)), name)) != name:
        yield Violation((*at, "address"), f"an address that no other host of VNI {host.vni} has",
                        f"{interface.ip}, {owner}'s")
