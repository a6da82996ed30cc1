"""Names -> addresses, once and for all: IP, MAC, VTEP, path alias, datapath id, port number.

    host       10.9.<leaf>.<n> in a /16, else one after another      02:00 + the IP's four bytes
    leaf i     VTEP 10.255.0.i, one alias per path k: 10.255.k.i     02:ff:00:00:00:i
    router     10.254.<n>.2 on its link with the BGP speaker, its router id; the speaker is 10.254.1.1
    ports      leaf: uplink to spine k = k, hosts from 101, VXLAN 1000; spine: leaf i = i

A MAC derived from the IP makes an ARP answer computable at any leaf.
"""

from __future__ import annotations

import ipaddress

FIRST_HOST_PORT = 101
VXLAN_PORT = 1000
DEFAULT_VNI = 100
VXLAN_UDP_PORT = 4789   # RFC 7348
GATEWAY_MAC = "02:fe:00:00:00:01"   # of every gateway at every leaf: a host finds the same one wherever it is
UNDERLAY = ipaddress.IPv4Network("10.255.0.0/16")
BGP_LINKS = ipaddress.IPv4Network("10.254.0.0/16")
VXLAN_OVERHEAD = 50     # outer Ethernet 14 + IPv4 20 + UDP 8 + VXLAN 8
ETHERNET_HEADER = 14    # what a wire counts of a frame beside its MTU


def own_networks(subnet: str) -> dict[ipaddress.IPv4Network, str]:
    """Network -> what the lab itself has there, where no tenant may be; subnet: that of the hosts in no VPC."""
    return {UNDERLAY: "the underlay, with the VTEPs and their path aliases",
            BGP_LINKS: "the links with BGP routers, with the router ids",
            ipaddress.IPv4Network(subnet): "the default VPC, with the hosts in no other and the probes"}


def host_ip(subnet: str, leaf: int, n: int, flat_n: int) -> str:
    """Address of host n (from 1) of leaf `leaf` (from 1); flat_n counts all hosts from 0."""
    net = ipaddress.IPv4Network(subnet)
    if net.prefixlen == 16 and leaf < 255 and n < 254:
        return str(net.network_address + leaf * 256 + n)
    return str(net.network_address + 2 + flat_n)


def host_mac(ip: str) -> str:
    return "02:00:" + ":".join(f"{b:02x}" for b in ipaddress.IPv4Address(ip).packed)


def leaf_mac(leaf: int) -> str:
    return f"02:ff:00:00:00:{leaf:02x}"


def vtep(leaf: int, path: int = 0) -> str:
    """The leaf's VTEP; with path k, its alias that paths of this number lead to (`Fabric.paths`)."""
    return f"10.255.{path}.{leaf}"


def path_of(vtep: str) -> int:
    """The number of the paths that lead to an alias; 0 for a VTEP itself."""
    return int(vtep.split(".")[2])


def bgp_link(n: int) -> tuple[str, str]:
    """Addresses of the controller's BGP speaker and of its peer n (from 1), on a link of their own (/30)."""
    return f"10.254.{n}.1", f"10.254.{n}.2"


def leaf_dpid(leaf: int) -> int:
    return 0x1000 + leaf


def spine_dpid(spine: int) -> int:
    return 0x2000 + spine
SENTINEL_DSCP = 63      # the lab's own probes; leaves clear it on packets of any other host
