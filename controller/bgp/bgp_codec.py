"""EVPN routes <-> what os-ken puts on the wire.

os-ken's own API (evpn_prefix_add) knows neither the second label of a type 2 route nor the router's MAC, and what it
decodes as `label` is a VNI shifted by four bits; so NLRI and communities are built and read here.

    type 2    labels: VNI of the bridge, VNI of the VPC (RFC 9135, 5.1)     Encapsulation: VXLAN (RFC 8365)
    type 3    PMSI tunnel: ingress replication, label: VNI (RFC 8365, 9)    Router's MAC (RFC 9135, 8.1)
    type 5    label: VNI of the VPC (RFC 9136)                              MAC Mobility (RFC 7432, 7.7)
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections import OrderedDict
from typing import Any

from os_ken.lib.packet import bgp
from os_ken.services.protocols.bgp.info_base.evpn import EvpnPath

from controller.evpn.evpn import MacIpRoute, MulticastRoute, PrefixRoute, Route

INGRESS_REPLICATION = 6
ROUTE_TARGET, ROUTERS_MAC = 0x02, 0x03      # subtypes of extended communities
EVPN = 0x06                                 # their type
STICKY = 0x01                               # flag of MAC Mobility
_NO_SEGMENT = bytes(10)                     # ESI 0: single-homed
_NO_GATEWAY = "0.0.0.0"                     # noqa: S104 - none, and nothing to listen on


def path(route: Route, withdraw: bool = False) -> Any:
    """os-ken's path of a route that this speaker originates."""
    if withdraw:
        return EvpnPath(None, _nlri(route), 0, is_withdraw=True)
    return EvpnPath(None, _nlri(route), 0, pattrs=_attributes(route), nexthop=route.next_hop)


def _label(vni: int) -> bytes:
    return vni.to_bytes(3, "big")


def _nlri(route: Route) -> Any:
    match route:
        case MacIpRoute():
            return bgp.EvpnMacIPAdvertisementNLRI(route.rd, route.tag, route.mac, route.ip, esi=_esi(route.esi),
                                                  labels=_label(route.vni) + _label(route.l3vni))
        case MulticastRoute():
            return bgp.EvpnInclusiveMulticastEthernetTagNLRI(route.rd, route.tag, route.next_hop)
        case PrefixRoute():
            return bgp.EvpnIpPrefixNLRI(route.rd, route.tag, route.prefix, esi=_esi(route.esi),
                                        gw_ip_addr=route.gateway or _NO_GATEWAY, label=_label(route.vni))


def _esi(segment: str) -> Any:
    return _any_esi(bytes.fromhex(segment.replace(":", "")) or _NO_SEGMENT)


def _any_esi(data: bytes) -> Any:
    """Type and nine bytes, whatever they mean."""
    return bgp.EvpnArbitraryEsi(bytes(data[1:10]), type_=data[0])


def read_any_segment() -> None:
    """Let os-ken take an ESI of any type: of one that it does not know it makes an error that ends the session."""
    bgp.EvpnEsi.parser = staticmethod(_any_esi)


def _attributes(route: Route) -> OrderedDict[int, Any]:
    found = [bgp.BGPPathAttributeOrigin(bgp.BGP_ATTR_ORIGIN_IGP), bgp.BGPPathAttributeAsPath([[]]),
             bgp.BGPPathAttributeExtendedCommunities(_communities(route))]
    if isinstance(route, MulticastRoute):
        tunnel = bgp.PmsiTunnelIdIngressReplication(route.next_hop)
        found.append(bgp.BGPPathAttributePmsiTunnel(0, INGRESS_REPLICATION, tunnel_id=tunnel, vni=route.vni))
    return OrderedDict((attribute.type, attribute) for attribute in found)


def _communities(route: Route) -> list[Any]:
    targets = (target.split(":") for target in sorted(route.targets))
    found = [bgp.BGPTwoOctetAsSpecificExtendedCommunity(subtype=ROUTE_TARGET, as_number=int(asn),
                                                        local_administrator=int(number)) for asn, number in targets]
    found.append(bgp.BGPEncapsulationExtendedCommunity.from_str("vxlan"))
    if route.router_mac:
        mac = bytes.fromhex(route.router_mac.replace(":", ""))
        found.append(bgp.BGPUnknownExtendedCommunity(type_=EVPN, value=bytes([ROUTERS_MAC]) + mac))
    if isinstance(route, MacIpRoute) and (route.sequence or route.sticky):
        found.append(bgp.BGPEvpnMacMobilityExtendedCommunity(
            subtype=0, flags=STICKY if route.sticky else 0, sequence_number=route.sequence))
    return found


def route(received: Any) -> Route | None:
    """The route of a path that a peer has sent; None for one of a kind or family of addresses that we do not use, and
    for one that cannot be: it must not end the session, which other routes come by.

    A withdrawal has no attributes: its route has what tells it from others, and nothing else is right.
    """
    nlri = received.nlri
    attributes = received.pathattr_map
    communities = getattr(attributes.get(bgp.BGP_ATTR_TYPE_EXTENDED_COMMUNITIES), "communities", [])
    common: dict[str, Any] = {"rd": nlri.route_dist, "targets": _targets(communities),
                              "next_hop": received.nexthop or "", "router_mac": _router_mac(communities),
                              "tag": getattr(nlri, "ethernet_tag_id", 0)}
    match nlri:
        case bgp.EvpnMacIPAdvertisementNLRI() if not nlri.ip_addr or _is_ipv4(nlri.ip_addr):
            labels = nlri._labels       # mpls_labels and vni give the second one wrong, or not at all
            sequence, sticky = _mobility(communities)
            return MacIpRoute(**common, mac=nlri.mac_addr, ip=nlri.ip_addr or "", vni=_vni(labels[:3]),
                              l3vni=_vni(labels[3:6]), sequence=sequence, sticky=sticky, esi=_read_esi(nlri.esi))
        case bgp.EvpnInclusiveMulticastEthernetTagNLRI() if _is_ipv4(nlri.ip_addr):
            tunnel = attributes.get(bgp.BGP_ATTR_TYEP_PMSI_TUNNEL_ATTRIBUTE)
            return MulticastRoute(**common | {"next_hop": nlri.ip_addr}, vni=tunnel.vni or 0 if tunnel else 0)
        case bgp.EvpnIpPrefixNLRI() if _is_ipv4(nlri.ip_prefix.split("/")[0]):
            with contextlib.suppress(ValueError):
                prefix = str(ipaddress.IPv4Network(nlri.ip_prefix, strict=False))
                return PrefixRoute(**common, prefix=prefix, vni=_vni(nlri._label), esi=_read_esi(nlri.esi),
                                   gateway="" if nlri.gw_ip_addr == _NO_GATEWAY else nlri.gw_ip_addr)
    return None


def _vni(label: bytes) -> int:
    return int.from_bytes(label, "big")


def _is_ipv4(text: str) -> bool:
    return ":" not in text


def _targets(communities: list[Any]) -> frozenset[str]:
    return frozenset(bgp.BGPPathAttributeExtendedCommunities(communities).rt_list)


def _router_mac(communities: list[Any]) -> str:
    for community in communities:
        value = getattr(community, "value", b"")
        if community.type == EVPN and value[:1] == bytes([ROUTERS_MAC]):
            return str(value[1:7].hex(":"))
    return ""


def _read_esi(esi: Any) -> str:
    """The ten bytes of an ESI, such as 00:01:02:03:04:05:06:07:08:09; '' for the one that means none."""
    packed = bytes(esi.serialize())
    return "" if packed == _NO_SEGMENT else packed.hex(":")


def _mobility(communities: list[Any]) -> tuple[int, bool]:
    """(sequence number, sticky) of a MAC."""
    found = (c for c in communities if isinstance(c, bgp.BGPEvpnMacMobilityExtendedCommunity))
    return next(((c.sequence_number, bool(c.flags & STICKY)) for c in found), (0, False))
