"""What the operator of a router with a VTEP would set up on it: underlay, bridges, a VRF, and FRR's part of EVPN.

    namespace of the router                                        namespace of each host
      up1 .. upN    links with the spines; routes to every leaf      eth0  its address, default route by the gateway
      br<VNI>       bridge of a subnet, with the gateway's address
        vx<VNI>     its tunnel; remote MACs and neighbours by FRR
        <host>      veth to a host's eth0
      vrf<l3vni>    routes between the bridges; br<l3vni> and vx<l3vni> carry what it sends to other VTEPs

The bridges have the gateway's MAC of all leaves (an anycast gateway), the tunnels learn nothing by themselves.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping

from topologies.access.netns import inside, set_sysctl
from topologies.lab.interfaces import bring_up
from topologies.lab.shell import ip_batch
from topologies.model.addressing import GATEWAY_MAC, VXLAN_UDP_PORT
from topologies.model.bgp_spec import RemoteHostSpec, RemoteVtepSpec
from topologies.model.fabric import Fabric, Node

TABLE = 100     # of routes in the VRF
LAST_METRIC = 4278198272    # behind any route of a daemon, as the kernel's documentation of VRFs has it


def prepare(fabric: Fabric, router: Node, vtep: RemoteVtepSpec, netns: str, hosts: Mapping[str, str]) -> None:
    """Everything but FRR, in namespaces that exist: the router's, with its links, and those of its hosts (by name)."""
    with inside(f"/run/netns/{netns}"):
        for key, value in (("ip_forward", int(vtep.l3vni is not None)), ("conf.all.rp_filter", 0),
                           ("conf.default.rp_filter", 0),
                           ("fib_multipath_hash_policy", 1), ("conf.all.ignore_routes_with_linkdown", 1),
                           ("conf.default.ignore_routes_with_linkdown", 1)):
            set_sysctl(f"net.ipv4.{key}", value)
    ip_batch([*_underlay(fabric, router), *_bridges(fabric, router, vtep)], netns)
    for name, host in vtep.hosts.items():
        _attach(fabric, name, host, netns, hosts[name])


def _underlay(fabric: Fabric, router: Node) -> Iterator[str]:
    """The VTEP's addresses, and every leaf over all spines. Spines do not change MACs: a leaf's is the next hop's."""
    devices = [link.a.interface for link in fabric.uplinks(router.name)]
    for ip in (router.ip, *router.aliases):
        yield f"addr add {ip}/32 dev lo"
    for other in (n for n in fabric.tunnel_ends if n.name != router.name):
        yield from (f"neigh add {other.ip} lladdr {other.mac} dev {device} nud permanent" for device in devices)
        yield (f"route add {other.ip}/32 src {router.ip} "
               + " ".join(f"nexthop dev {device}" for device in devices))


def _bridges(fabric: Fabric, router: Node, vtep: RemoteVtepSpec) -> Iterator[str]:
    vrf = ""
    if vtep.l3vni:
        vrf = f"vrf{vtep.l3vni}"
        yield f"link add {vrf} type vrf table {TABLE}"
        yield f"link set {vrf} up"
        # A VRF that knows no route would go on to the main table: to the underlay, and to the controller's speaker.
        yield f"route add unreachable default metric {LAST_METRIC} table {TABLE}"
        yield from _bridge(fabric, router, vtep.l3vni, router.mac, vrf, "")
    for host in {h.vni: h for h in vtep.hosts.values()}.values():
        yield from _bridge(fabric, router, host.vni, GATEWAY_MAC, vrf, f"{host.gateway}/{_length(host)}")


def _bridge(fabric: Fabric, router: Node, vni: int, mac: str, vrf: str, address: str) -> Iterator[str]:
    bridge, tunnel = f"br{vni}", f"vx{vni}"
    yield f"link add {bridge} address {mac} mtu {fabric.spec.mtu} type bridge stp_state 0 mcast_snooping 0"
    if vrf:
        yield f"link set {bridge} master {vrf}"
    yield (f"link add {tunnel} mtu {fabric.spec.mtu} type vxlan id {vni} local {router.ip} "
           f"dstport {VXLAN_UDP_PORT} nolearning")
    yield f"link set {tunnel} master {bridge}"
    yield f"link set {tunnel} type bridge_slave learning off neigh_suppress {'on' if address else 'off'}"
    if address:
        yield f"addr add {address} dev {bridge}"
    yield from (f"link set {device} up" for device in (tunnel, bridge))


def _attach(fabric: Fabric, name: str, host: RemoteHostSpec, router: str, netns: str) -> None:
    ip_batch([f"link add {name} mtu {fabric.spec.mtu} type veth peer name eth0 mtu {fabric.spec.mtu} "
              f"gso_max_segs 1 netns {netns}", f"link set {name} master br{host.vni}"], router)
    with inside(f"/run/netns/{router}"):
        bring_up(name, offloads=False)
    with inside(f"/run/netns/{netns}"):
        bring_up("lo")
        bring_up("eth0", str(ipaddress.IPv4Interface(host.address).ip), _length(host), offloads=False)
    ip_batch([f"route add default via {host.gateway}"], netns)


def _length(host: RemoteHostSpec) -> int:
    return ipaddress.IPv4Interface(host.address).network.prefixlen


def zebra_configuration(vtep: RemoteVtepSpec) -> str:
    """Which VRF belongs to which VNI."""
    return f"vrf vrf{vtep.l3vni}\n vni {vtep.l3vni}\nexit-vrf\n" if vtep.l3vni else ""


def evpn_configuration(vtep: RemoteVtepSpec, fabric_asn: int) -> str:
    """Of bgpd, in the router's address family l2vpn evpn: its VNIs with the fabric's route targets."""
    lines = ["  advertise-all-vni"]
    for vni in sorted({h.vni for h in vtep.hosts.values()}):
        lines += [f"  vni {vni}", *(f"   route-target {way} {fabric_asn}:{vni}" for way in ("import", "export")),
                  "  exit-vni"]
    return "\n".join(lines) + "\n"


def vrf_configuration(vtep: RemoteVtepSpec, asn: int, router_id: str, fabric_asn: int) -> str:
    """Of bgpd, behind the router's own section: the VRF with the VPC's route target."""
    if not vtep.l3vni:
        return ""
    targets = "".join(f"  route-target {way} {fabric_asn}:{vtep.l3vni}\n" for way in ("import", "export"))
    return (f"router bgp {asn} vrf vrf{vtep.l3vni}\n bgp router-id {router_id}\n no bgp ebgp-requires-policy\n"
            f" address-family l2vpn evpn\n{targets} exit-address-family\n")
